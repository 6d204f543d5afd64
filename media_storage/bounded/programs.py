"""Programs that a job starts (ffmpeg): as bounded as the job is, and gone with it."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from media_storage.bounded.child import die_with
from media_storage.bounded.limits import MAX_MESSAGE

_LAST_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: below zero, by which signal."""

    code: int
    output: bytes
    errors: str


def run_program(
    command: Sequence[str], file: BinaryIO, *, cpu_seconds: int, most: int = MAX_MESSAGE
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
        output = process.stdout.read(most + 1)
        if len(output) > most:
            process.kill()
        code = process.wait()
        errors.seek(0)
        words = errors.read(_LAST_WORDS).decode(errors="replace").strip()
    return Ended(code, output[:most], words)
