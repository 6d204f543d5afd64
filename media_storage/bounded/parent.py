"""The worker's side: keeps a child for each kind of limits, watches its clock, says how it died."""

from __future__ import annotations

import atexit
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from media_storage.bounded.jobs import JOBS
from media_storage.bounded.limits import IDLE_SECONDS, JOBS_PER_CHILD, USED_MUCH_BYTES, Limits
from media_storage.bounded.wire import (
    Answer,
    Closed,
    Failure,
    Order,
    Refusal,
    Result,
    Usage,
    peak_bytes,
    receive_answer,
    send,
)
from media_storage.refusals import Reason, Refused

Plain = None | bool | int | float | str | bytes | Sequence["Plain"] | Mapping[str, "Plain"]

ROOT = Path(__file__).resolve().parents[2]
_BEGIN = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from media_storage.bounded.child import main; main(*map(float, sys.argv[2:]))"
)
_KEPT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
# One thread in each library's pool: more would only take address space, by the number of cores.
# What a photo needed is kept for the next one: asking the system for it anew took a tenth of the time.
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 1024 * 1024),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_OUTSIDERS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL}
_LAST_WORDS = 4000
MUCH = 0.8
"""Of its memory: a decoder that ends itself so full of it did so for lack of more."""


class HasDescriptor(Protocol):
    """A file that the system knows."""

    def fileno(self) -> int:
        """Its number."""


class Disturbed(Exception):
    """Ended by the clock or from outside: perhaps not the file's fault. `code`: what else it is."""

    def __init__(self, code: str, cause: str) -> None:
        super().__init__(f"{code}: {cause}")
        self.code = code
        self.cause = cause


class JobFailed(Exception):
    """A bug: the job raised what it should not; here with the child's traceback."""


class Unstartable(Exception):
    """The system gave us no process."""


def run(job: str, file: HasDescriptor, **options: Plain) -> Any:
    """The one result of a job, None if it has none. Raises as `stream` does."""
    results = list(stream(job, file, **options))
    return results[0] if results else None


def stream(job: str, file: HasDescriptor, **options: Plain) -> Generator[Any, None, None]:
    """Each result of a job as it is made; close the generator if you stop early.

    `file` is read from its beginning through its descriptor: leave it alone meanwhile. Raises
    Refused, Disturbed, JobFailed, Unstartable.
    """
    told = JOBS[job]
    order = Order(told.function, told.limits.cpu_seconds, options)
    with _turn():
        child = _take(told.limits)
        served = child.served
        try:
            yield from child.results(order, file)
        except _Died as died:
            if not served or died.told:
                raise died.verdict from None
        else:
            return
        # It may have suffered from a file before this one: once more, where there was none.
        try:
            yield from Child(told.limits).results(order, file)
        except _Died as died:
            raise died.verdict from None


def usage() -> Usage:
    """What the last job of this process took, as far as could be seen."""
    return _last_usage


def close() -> None:
    """End the children that idle; done by itself when this process ends."""
    while _idle:
        _idle.popitem()[1].end()


# A child dies with the thread that started it, not only with the process: so one thread starts all.
_starter = ThreadPoolExecutor(1, thread_name_prefix="bounded")
_last_usage = Usage()
_idle: dict[Limits, Child] = {}
_one_at_a_time = threading.Lock()
_holder = 0
atexit.register(close)


@contextmanager
def _turn() -> Iterator[None]:
    global _holder  # noqa: PLW0603 - one turn in a process
    if _holder == threading.get_ident():
        raise RuntimeError("a job within a job")
    with _one_at_a_time:
        _holder = threading.get_ident()
        try:
            yield
        finally:
            _holder = 0


def _take(limits: Limits) -> Child:
    return _idle.pop(limits, None) or Child(limits)


class _Died(Exception):
    """The child ended in the middle of a job. `told`: it had given results before."""

    def __init__(self, verdict: Refused | Disturbed, *, told: bool) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict
        self.told = told


class Child:
    """A process that does one job after the other."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.served = 0
        self.cpu_seconds = 0.0
        self.line, theirs = socket.socketpair()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - ends with the child
        fcntl.fcntl(self.log, fcntl.F_SETFL, fcntl.fcntl(self.log, fcntl.F_GETFL) | os.O_APPEND)
        self.ours_before = peak_bytes()
        try:
            self.process = _starter.submit(self._start, theirs.fileno()).result()
        except (OSError, RuntimeError) as error:  # RuntimeError: Python itself is ending
            self.line.close()
            self.log.close()
            raise Unstartable(str(error)) from error
        finally:
            theirs.close()

    def _start(self, line: int) -> subprocess.Popen[bytes]:
        numbers = (line, os.getpid(), self.limits.memory_bytes, IDLE_SECONDS)
        return subprocess.Popen(  # noqa: S603 - our own Python
            [sys.executable, "-I", "-c", _BEGIN, str(ROOT), *map(str, numbers)],
            pass_fds=[line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
            env=_environment(),
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the worker, which finishes what it has begun
        )

    def results(self, order: Order, file: HasDescriptor) -> Iterator[Any]:
        """Do one job. Whatever goes wrong ends the child; else it waits for the next."""
        told = False
        clock = _Clock(self.line, self.limits.wall_seconds)
        try:
            clock()
            send(self.line, order, file=file.fileno())
            while isinstance(answer := receive_answer(self.line, clock), Result):
                told = True
                clock.stop()
                yield answer.value
            self._ended(answer)
        except TimeoutError:
            self.end(remember=True)
            late = f"more than {self.limits.wall_seconds:g} seconds"
            raise _Died(Disturbed(Reason.TOO_SLOW, late), told=told) from None
        except (Closed, ValueError) as nonsense:
            raise _Died(self._cause_of_death(nonsense), told=told) from None
        except Refused as refused:
            if refused.code == Reason.TOO_MUCH_MEMORY:
                self.end()
                raise _Died(refused, told=told) from None
            self._rest()
            raise
        except BaseException:
            self.end()
            raise
        self._rest()

    def end(self, *, remember: bool = False) -> None:
        """Kill it, and every program that it has started. Does nothing the second time."""
        with suppress(ProcessLookupError, PermissionError):
            if self.process.returncode is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        self._bury(0, remember=remember)
        self.line.close()
        self.log.close()

    def _ended(self, answer: Answer) -> None:
        """What the last answer to an order means."""
        if isinstance(answer, Result):
            raise TypeError("not the last answer")
        _remember(answer.usage)
        self.cpu_seconds += answer.usage.cpu_seconds
        if isinstance(answer, Refusal):
            raise Refused(answer.code, answer.cause)
        if isinstance(answer, Failure):
            raise JobFailed(answer.traceback)

    def _rest(self) -> None:
        """Ready for the next file, unless it has had its day."""
        self.served += 1
        if self.served >= JOBS_PER_CHILD or _last_usage.peak_bytes > USED_MUCH_BYTES:
            self.end()
            return
        self.line.settimeout(None)
        os.ftruncate(self.log.fileno(), 0)
        _idle[self.limits] = self

    def _cause_of_death(self, seen: Exception) -> Refused | Disturbed:
        # Its line closes before it has quite ended: a kill too early would hide how it ended.
        self._bury(os.WNOHANG, remember=True)
        code, words = self.process.returncode, self._last_words()
        self.end()
        cause = f"{_how(code)}: {str(seen) or words}"
        if code is None or code >= 0:  # it talks nonsense, or left by itself
            return Refused(Reason.CRASHED, cause)
        if -code == signal.SIGXCPU:
            return Refused(Reason.TOO_SLOW, f"more than {self.limits.cpu_seconds} seconds of CPU")
        if -code == signal.SIGKILL:
            return Disturbed(Reason.TOO_MUCH_MEMORY, "killed, as when the machine lacks memory")
        if -code in _OUTSIDERS:
            return Disturbed(Reason.CRASHED, cause)
        if _last_usage.peak_bytes > MUCH * self.limits.memory_bytes:
            return Refused(Reason.TOO_MUCH_MEMORY, cause)
        return Refused(Reason.CRASHED, cause)

    def _last_words(self) -> str:
        size = os.fstat(self.log.fileno()).st_size
        words = os.pread(self.log.fileno(), _LAST_WORDS, max(0, size - _LAST_WORDS))
        return words.decode(errors="replace").strip()

    def _bury(self, options: int, *, remember: bool) -> None:
        """Learn how it ended, and what it took if nobody told; with WNOHANG, for a second at most."""
        deadline = time.monotonic() + 1
        while self.process.returncode is None:
            try:
                process, status, used = os.wait4(self.process.pid, options)
            except ChildProcessError:
                # Somebody else in this process waits for every child: how it ended is lost.
                self.process.returncode = 0
                return
            if process:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                if remember:
                    self._remember_all(used)
            elif time.monotonic() > deadline:
                return
            else:
                time.sleep(0.005)

    def _remember_all(self, used: resource.struct_rusage) -> None:
        # It began as a copy of the worker, whose memory counts here as its own: below that, who knows.
        peak = used.ru_maxrss * 1024
        cpu_seconds = used.ru_utime + used.ru_stime - self.cpu_seconds
        known = peak if peak > self.ours_before else 0
        _remember(Usage(cpu_seconds=cpu_seconds, peak_bytes=known))


class _Clock:
    """Counts the time that is spent waiting, and bounds each read by what is left."""

    def __init__(self, line: socket.socket, seconds: float) -> None:
        self.line = line
        self.left = seconds
        self.since: float | None = None

    def __call__(self) -> None:
        """Before a read. Raises TimeoutError."""
        self.stop()
        self.since = time.monotonic()
        if self.left <= 0:
            raise TimeoutError
        self.line.settimeout(self.left)

    def stop(self) -> None:
        """Not waiting any more."""
        if self.since is not None:
            self.left -= time.monotonic() - self.since
            self.since = None


def _remember(seen: Usage) -> None:
    global _last_usage  # noqa: PLW0603 - of this process's last job
    _last_usage = seen


def _environment() -> dict[str, str]:
    """Nothing of the worker's, whose environment holds its secrets."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, **_ENVIRONMENT}


def _how(code: int | None) -> str:
    if code is None:
        return "made no sense"
    if code >= 0:
        return f"left with {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
