"""`python -m tests.services run COMMAND…`, or `up`, `env`, `down` for a longer while."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.services import ALL, Missing, Running, running, stop
from tests.services.base import Failed, start

STATE = Path(__file__).resolve().parents[2] / "var" / "services.json"
VARIABLES = {service.name: service.variable for service in ALL}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    parser.add_argument("action", choices=["run", "up", "env", "down"])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    try:
        return _act(chosen.action, chosen.command)
    except (Missing, Failed) as error:
        print(error, file=sys.stderr)
        return 1


def _act(action: str, command: Sequence[str]) -> int:
    match action:
        case "run":
            return _run(command)
        case "up":
            _up()
        case "down":
            _down()
        case _:
            _print_environment(_kept())
    return 0


def _run(command: Sequence[str]) -> int:
    """Run a command beside all services; they end with it, however it ends."""
    signal.signal(signal.SIGTERM, _leave)
    with contextlib.ExitStack() as stack:
        urls = {}
        for service in ALL:
            with _tolerating_what_is_missing():
                urls[service.variable] = stack.enter_context(running(service)).url
        return subprocess.run(command, env={**os.environ, **urls}, check=False).returncode


@contextlib.contextmanager
def _tolerating_what_is_missing() -> Iterator[None]:
    """Go on without a service that is not installed, save in CI; its tests say that they skip."""
    try:
        yield
    except Missing as error:
        if os.environ.get("CI"):
            raise
        print(f"Going on without: {error}", file=sys.stderr)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _up() -> None:
    """Start what is not kept yet. What starts is written down at once, so `down` finds it."""
    kept = _kept()
    known = {service.name for service in kept}
    for service in ALL:
        if service.name in known:
            continue
        with _tolerating_what_is_missing():
            kept.append(start(service))
            STATE.parent.mkdir(exist_ok=True)
            STATE.write_text(json.dumps([dataclasses.asdict(each) for each in kept]))
    _print_environment(kept)


def _down() -> None:
    for service in _kept():
        stop(service)
    STATE.unlink(missing_ok=True)


def _kept() -> list[Running]:
    if not STATE.exists():
        return []
    return [Running(**fields) for fields in json.loads(STATE.read_text())]


def _print_environment(services: Sequence[Running]) -> None:
    for service in services:
        print(f"export {VARIABLES[service.name]}='{service.url}'")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
