"""Programs that can be killed at any moment and started again exactly as they were."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.services import Running


class NotBack(Exception):
    """A program did not come back after it was started again."""


@dataclass
class Part:
    """One program and the processes below it. `ready` tells whether it does its work again."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    user: str | None = None
    pid: int = 0
    _began: int = 0

    def __post_init__(self) -> None:
        self._began = _began(self.pid) if self.pid else 0

    def start(self) -> None:
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        # It may outlive this object, which Popen would warn of; we go by the id.
        process.returncode = 0
        self.pid, self._began = process.pid, _began(process.pid)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def lives(self) -> bool:
        """Whether it runs: it, and not a later process with its id."""
        return self._began != 0 and _began(self.pid) == self._began

    def children(self) -> list[int]:
        """Ids of the processes that it started itself."""
        return [pid for pid in descendants(self.pid) if _parent(pid) == self.pid]

    def kill(self) -> None:
        """SIGKILL for it and everything below it, as when the machine's power goes."""
        if not self.lives():
            return
        _signal(self.pid, signal.SIGSTOP)  # so that it starts nothing while we look below it
        pids = [self.pid, *descendants(self.pid)]
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        await_true(lambda: not any(map(_began, pids)), f"the end of {self.name}", seconds=20)

    def terminate(self, *, seconds: float = 40) -> float:
        """SIGTERM, and how long it took until it and all below it ended. Raises NotBack."""
        began = time.monotonic()
        pids = [self.pid, *descendants(self.pid)]
        _signal(self.pid, signal.SIGTERM)
        await_true(
            lambda: not any(map(_began, pids)), f"the graceful end of {self.name}", seconds=seconds
        )
        return time.monotonic() - began

    def wait_ready(self, *, seconds: float = 60) -> None:
        await_true(self.ready, self.name, seconds=seconds)


def adopt(
    service: Running,
    *,
    ready: Callable[[], bool],
    user: str | None = None,
    command: Sequence[str] = (),
) -> list[Part]:
    """The processes of a service that runs already, as parts that can be started again.

    `command`: of a program that has written something else over its own.
    """
    return [
        Part(
            name=f"{service.name}-{number}",
            command=command or _command(int(pid)),
            folder=Path(service.folder),
            environment=os.environ,
            ready=ready,
            user=user,
            pid=int(pid),
        )
        for number, pid in enumerate(service.processes)
    ]


def descendants(pid: int) -> list[int]:
    """Every living process below this one."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            parents.setdefault(_parent(int(path.name)), []).append(int(path.name))
    found, left = [], [pid]
    while left:
        below = parents.get(left.pop(), [])
        found += below
        left += below
    return found


def _command(pid: int) -> list[str]:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return [word.decode() for word in words[:-1]]


def _stat(pid: int) -> list[str]:
    """The kernel's account of a process from the third field on; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    return int(stat[1]) if (stat := _stat(pid)) else 0


def _began(pid: int) -> int:
    """When a living process began, in the kernel's ticks; else 0."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # an ended child stays a zombie until somebody asks
    stat = _stat(pid)
    return int(stat[19]) if stat and stat[0] not in "ZX" else 0


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def await_true(ready: Callable[[], bool], what: str, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise NotBack(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)  # between two looks; the deadline is above
