"""Jobs for the bounded process that do what hostile files make decoders do."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from media_storage.bounded.programs import run_program
from media_storage.refusals import Refused


def read(file: BinaryIO, **options: Any) -> dict[str, Any]:
    return {"content": file.read(), "pid": os.getpid(), **options}


def count(file: BinaryIO, *, to: int) -> Iterator[int]:
    yield from range(to)


def nothing(file: BinaryIO) -> None:
    return None


def refuse(file: BinaryIO) -> None:
    raise Refused("broken", "as told")


def fail(file: BinaryIO) -> None:
    raise KeyError("a bug")


def hog(file: BinaryIO) -> int:
    return sum(len(bytearray(8 << 20)) for _ in iter([bytearray(8 << 20) for _ in range(10_000)]))


def grow(file: BinaryIO, *, megabytes: int) -> int:
    return len(bytearray(b"x") * (megabytes << 20))


def spin(file: BinaryIO) -> None:
    while True:
        pass


def sleep(file: BinaryIO, *, seconds: float = 600) -> str:
    time.sleep(seconds)
    return "awake"


def half(file: BinaryIO) -> Iterator[str]:
    """One result, and then the end."""
    yield "first"
    os.kill(os.getpid(), signal.SIGSEGV)


def die(file: BinaryIO, *, of: int) -> None:
    os.kill(os.getpid(), of)
    time.sleep(10)


def die_when_used(file: BinaryIO, *, first: int) -> int:
    """As a child does whose memory an earlier file has spoilt."""
    if os.getpid() == first:
        ctypes.string_at(0)
    return os.getpid()


def leave(file: BinaryIO) -> None:
    os._exit(3)


def babble(file: BinaryIO) -> bytes:
    return bytes(40 << 20)


def belongings(file: BinaryIO) -> dict[str, Any]:
    """What the process has from the worker: its environment, its open files."""
    files = {}
    for number in Path("/proc/self/fd").iterdir():
        try:
            files[number.name] = str(number.readlink())
        except FileNotFoundError:
            continue
    return {
        "environment": dict(os.environ),
        "files": files,
        "modules": sorted(name for name in __import__("sys").modules if "django" in name),
        "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
        "here": str(Path.cwd()),
    }


def write(file: BinaryIO, *, path: str, megabytes: int) -> str:
    with Path(path).open("wb") as written:
        try:
            for _ in range(megabytes):
                written.write(bytes(1 << 20))
                written.flush()
        except OSError as error:
            return str(error)
    return "written"


def program(file: BinaryIO, *, command: list[str], cpu_seconds: int = 5, most: int = 100) -> Any:
    ended = run_program(command, file, cpu_seconds=cpu_seconds, most=most)
    return {"code": ended.code, "output": ended.output, "errors": ended.errors}


def burn(file: BinaryIO, *, seconds: float) -> int:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return os.getpid()


def abort(file: BinaryIO, *, megabytes: int) -> None:
    """As a library does in C++ that gets no more memory."""
    kept = bytearray(b"x") * (megabytes << 20)
    os.kill(os.getpid(), signal.SIGABRT)
    del kept
