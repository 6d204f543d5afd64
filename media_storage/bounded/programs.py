"""Programs that a job starts (ffmpeg): as bounded as the job is, and gone with it."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, BinaryIO

from media_storage.bounded.child import die_with
from media_storage.bounded.limits import MAX_MESSAGE

WALL_SECONDS = 12.0
_LAST_WORDS = 2000
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended; `code` below zero: by which signal."""

    code: int
    output: bytes
    errors: str
    out_of_time: bool = False


def run_program(
    command: Sequence[str],
    file: BinaryIO,
    *,
    cpu_seconds: int,
    wall_seconds: float = WALL_SECONDS,
    most: int = MAX_MESSAGE,
) -> Ended:
    """Run it with `{file}` in its arguments standing for the file. Output above `most` ends it.

    For jobs only: it has the job's limits of memory and files, and CPU seconds of its own.
    """
    ours, number = os.getpid(), file.fileno()

    def begin() -> None:
        die_with(ours)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))

    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(  # noqa: S603 - a command of the job's own
            [part.replace("{file}", f"/dev/fd/{number}") for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[number],
            preexec_fn=begin,  # noqa: PLW1509 - a job has one thread
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - asked for
        output, ended = _read(process.stdout, most, wall_seconds)
        if not ended:
            process.kill()
        code = process.wait()
        errors.seek(0)
        words = errors.read(_LAST_WORDS).decode(errors="replace").strip()
    late = not ended and len(output) <= most
    return Ended(code, output[:most], words, late or code == -signal.SIGXCPU)


def _read(pipe: IO[bytes], most: int, seconds: float) -> tuple[bytes, bool]:
    """What comes, and whether that was all: not where the time is up, or it is too much."""
    output, deadline = bytearray(), time.monotonic() + seconds
    while len(output) <= most:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return bytes(output), False
        piece = os.read(pipe.fileno(), _PIECE)
        if not piece:
            return bytes(output), True
        output += piece
    return bytes(output), False
