"""The hostile corpus gets the verdicts that docs/media-hostile.md promises, for the stated cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from media_storage.bounded.limits import STANDARD
from tests.media_storage.hostile import CASES, PAGE_OF_RESULTS, Case, Seen
from tests.media_storage.pictures import has_ffmpeg
from tests.once import once

pytestmark = [
    pytest.mark.skipif(
        bool(os.environ.get("DATABASE_URL")), reason="no database in it: once is enough"
    ),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures by /proc"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """What became of each file, judged in a process that is as small as a worker."""
    told = map(json.loads, once(tmp_path_factory, "hostile", _judged).splitlines())
    return {each.pop("name"): Seen(**each) for each in told}


def _judged() -> str:
    command = [sys.executable, "-W", "ignore", "-m", "tests.media_storage.hostile", "--json"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        command,
        cwd=PAGE_OF_RESULTS.parents[1],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_file_gets_its_verdict_for_the_stated_cost(
    case: Case, seen: dict[str, Seen]
) -> None:
    if case.needs_ffmpeg and not has_ffmpeg():
        pytest.skip("ffmpeg is not installed: make services")
    found = seen[case.name]
    assert (found.verdict, found.note) == (case.verdict, case.note)
    assert found.peak_bytes < STANDARD.memory_bytes
    # Besides the job: starting Python, and the second that the system counts in.
    assert found.cpu_seconds < STANDARD.cpu_seconds + 3
    if case.verdict == "ready":
        assert found.peak_bytes < 0.65 * STANDARD.memory_bytes, "too near to the bound"


def test_the_page_has_a_line_for_each_with_its_verdict() -> None:
    lines = {}
    for line in PAGE_OF_RESULTS.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 4:
            lines[cells[1]] = cells[3]
    for case in CASES:
        assert case.verdict in lines[case.name], case.name
        assert case.note in lines[case.name], case.name
    assert len({case.name for case in CASES}) == len(CASES)
