"""What one file may cost. docs/media.md says the same in words; docs/media-hostile.md what it does."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one job. A program that the job starts (ffmpeg) has the same limits again."""

    memory_bytes: int = 640 * MB
    """Address space, so more than what it really takes: RLIMIT_AS."""
    cpu_seconds: int = 20
    wall_seconds: float = 40.0


STANDARD = Limits()

MAX_MESSAGE = 32 * MB
"""Bytes of one result. A rendition takes a hundredth of it."""
MAX_WRITTEN = 64 * MB
"""Bytes of a file that the child writes: it has no reason to write any."""
MAX_OPEN_FILES = 64

JOBS_PER_CHILD = 200
USED_MUCH_BYTES = 200 * MB
"""A child whose memory once went above this is replaced: it may not give it back."""
IDLE_SECONDS = 60.0
