"""What the benchmarks of messages share: PostgreSQL with durable settings, the product's environment.

What is measured runs in a process of its own, which is given the folder and a plan and prints JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import DURABLE_POSTGRES, running

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line: what, how much, of what."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the product lives for this benchmark."""

    folder: Path
    environment: Mapping[str, str]

    def start(
        self, module: str, function: str, plan: Mapping[str, Any], *, niceness: int = 0
    ) -> subprocess.Popen[str]:
        """Run the function in the product's environment; it prints one JSON object."""
        code = f"from tests.benchmarks.messages import play; play({module!r}, {function!r})"
        command = [sys.executable, "-c", code, json.dumps(dict(plan))]
        if niceness:
            command = ["nice", "-n", str(niceness), *command]
        return subprocess.Popen(
            command, env=dict(self.environment), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )

    def run(self, module: str, function: str, plan: Mapping[str, Any], *, niceness: int = 0) -> Any:
        """The same, to its end. Raises RuntimeError."""
        return result_of(self.start(module, function, plan, niceness=niceness))


def result_of(process: subprocess.Popen[str]) -> Any:
    """What it printed. Raises RuntimeError."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    return json.loads(output.splitlines()[-1])


def play(module: str, function: str) -> None:
    """Inside the product's environment: call it with the plan."""
    import importlib

    import django

    django.setup()
    result = getattr(importlib.import_module(module), function)(json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps(result) + "\n")


@contextmanager
def place(**more: str) -> Iterator[Place]:
    """A database of its own with the product's tables."""
    folder = Path(tempfile.mkdtemp(prefix="duxue-bench-"))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    try:
        with running(DURABLE_POSTGRES) as postgres:
            environment = {
                **kept,
                "DATABASE_URL": postgres.url,
                "CONN_MAX_AGE": "600",
                "VAR_DIR": str(folder),
                "QUIET_HOURS": "",
                "PYTHONPATH": str(ROOT),
                "DJANGO_SETTINGS_MODULE": "server.config.settings",
                **more,
            }
            made = Place(folder=folder, environment=environment)
            made.run(__name__, "migrate", {})
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def migrate(_plan: Mapping[str, Any]) -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def say(title: str, figures: Sequence[Figure], write: Callable[[str], None]) -> None:
    """A small table."""
    write(f"\n{title}")
    for each in figures:
        digits = 0 if each.value >= 100 else 2
        write(f"  {each.name:58}{each.value:14,.{digits}f} {each.unit}")
