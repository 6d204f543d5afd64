"""A short run of the faults, in a process of its own. `make faults` is the long one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300  # about 80 on two cores of its own; others may be at work beside it
CHOSEN = ("--seed", "5", "--kills", "20", "--submissions", "200", "--minutes", "2")

# It brings its own PostgreSQL, so the pass on SQLite would only repeat it.
pytestmark = pytest.mark.skipif(
    not os.environ.get("DATABASE_URL", "").startswith("postgres"),
    reason="runs in the pass on PostgreSQL",
)


@pytest.mark.usefixtures("postgres_url", "redis_url", "s3_url")  # skipped without the programs
def test_nothing_is_lost_or_doubled_while_everything_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults", "--store", "s3", *CHOSEN],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said, _nothing = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()  # it ends what it started
            said, _nothing = process.communicate(timeout=60)
    sys.stdout.write(said)
    assert process.returncode == 0, said
