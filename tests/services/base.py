"""What the services share: a free port, a folder, processes that are started, awaited, stopped."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class Missing(Exception):
    """A program that a service needs is not installed; the text says how to get it."""


class Failed(Exception):
    """A service did not start; the text ends with the tail of its log."""


@dataclass(frozen=True)
class Running:
    """A service that answers at `url`, stopped by `stop`. Plain values, to be kept as JSON."""

    name: str
    url: str
    folder: str
    processes: dict[str, int]
    """Ids, each with the moment it began, which tells it from a later process with its id."""
    stop_signal: int = signal.SIGTERM


@dataclass(frozen=True)
class Service:
    """A server program: `variable` carries its address, `start` runs it in an empty folder."""

    name: str
    variable: str
    start: Callable[[Workshop], str]
    stop_signal: int = signal.SIGTERM
    user: str | None = None


@dataclass
class Workshop:
    """The folder where one service lives, and the processes started in it."""

    folder: Path
    user: str | None = None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *command: str | Path) -> None:
        """Run one preparing command to its end."""
        log = self.folder / "setup.log"
        with log.open("ab") as output:
            code = self._popen(command, output.fileno()).wait()
        if code:
            raise Failed(f"{command[0]} ended with {code}\n{_tail(log)}")

    def spawn(self, log_name: str, *command: str | Path) -> None:
        """Start a server that outlives this call."""
        with (self.folder / log_name).open("ab") as output:
            self.processes.append(self._popen(command, output.fileno()))

    def wait(self, ready: Callable[[], bool], *, what: str, seconds: float = 60) -> None:
        """Return when `ready` says so; fail when a process ended or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            ended = any(process.poll() is not None for process in self.processes)
            if ended or time.monotonic() > deadline:
                tails = "\n".join(_tail(log) for log in sorted(self.folder.glob("*.log")))
                raise Failed(f"{what} did not start\n{tails}")
            time.sleep(0.05)  # between two looks; the deadline is above

    def _popen(self, command: Sequence[str | Path], output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; the servers are stopped in order
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
        )


def start(service: Service) -> Running:
    """Start a service in a folder of its own. Raises Missing and Failed."""
    workshop = Workshop(_new_folder(service.name, service.user), user=service.user)
    try:
        url = service.start(workshop)
    except BaseException:
        stop(_running(service, workshop, url=""))
        raise
    return _running(service, workshop, url)


def stop(service: Running, *, seconds: float = 15) -> None:
    """End a service's processes, by force when they do not listen, and remove its folder."""
    _signal(_living(service), service.stop_signal)
    deadline = time.monotonic() + seconds
    while _living(service) and time.monotonic() < deadline:
        time.sleep(0.05)  # between two looks; the deadline is above
    _signal(_living(service), signal.SIGKILL)
    shutil.rmtree(service.folder, ignore_errors=True)


@contextlib.contextmanager
def running(service: Service) -> Iterator[Running]:
    started = start(service)
    try:
        yield started
    finally:
        stop(started)


def free_port() -> int:
    """A loopback port nobody listens on, below those that the system gives to outgoing calls."""
    while True:
        port = random.randint(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program(name: str, *, package: str, folders: Sequence[Path] = ()) -> Path:
    """Where a program is. Raises Missing with the Debian package that has it."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not installed: on Debian `apt-get install {package}`")
    return Path(found)


def _new_folder(name: str, user: str | None) -> Path:
    """A folder that `user` owns, on a file system with extended attributes where there is one."""
    folder = Path(tempfile.mkdtemp(prefix=f"duxue-{name}-", dir=_parent_of_folders()))
    if user:
        shutil.chown(folder, user, user)
    return folder


def _parent_of_folders() -> str:
    """The first temporary folder that keeps extended attributes, which the S3 server writes."""
    candidates = [tempfile.gettempdir(), "/var/tmp"]
    for candidate in candidates:
        with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=candidate) as probe:
            os.setxattr(probe.name, "user.duxue", b"1")
            return candidate
    return candidates[0]


def _running(service: Service, workshop: Workshop, url: str) -> Running:
    processes = {}
    for process in workshop.processes:
        processes[str(process.pid)] = _began(process.pid)
        # It outlives this object on purpose, which Popen would warn of; `stop` goes by the id.
        process.returncode = 0
    return Running(service.name, url, str(workshop.folder), processes, service.stop_signal)


def _living(service: Running) -> list[int]:
    return [int(pid) for pid, began in service.processes.items() if _lives(int(pid), began)]


def _lives(pid: int, began: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # an ended child stays a zombie until somebody asks
    return began != 0 and _began(pid) == began


def _began(pid: int) -> int:
    """When a living process began, in the kernel's ticks since the machine did; else 0."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    state, *others = stat.rpartition(")")[2].split()  # from field 3 on; the second may hold spaces
    return 0 if state == "Z" else int(others[18])


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _tail(log: Path, lines: int = 20) -> str:
    text = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join([f"--- {log.name}", *text])
