"""A small disk for the folder store, that can be filled and freed again.

It is a file system in memory of a fixed size, which only root may mount; whoever is not root runs
without it, and without the fault `disk_full`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PIECE = bytes(1 << 20)


class NoDisk(Exception):
    """This machine or this user cannot mount a small disk."""


class SmallDisk:
    """A mounted folder of limited size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Write until nothing fits any more."""
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(PIECE):
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(*, megabytes: int) -> Iterator[SmallDisk]:
    """Raises NoDisk where it cannot be mounted."""
    if os.geteuid() != 0:
        raise NoDisk("only root may mount a small disk")
    folder = Path(tempfile.mkdtemp(prefix="duxue-disk-"))
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "duxue-faults", str(folder)]
    try:
        if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
            raise NoDisk("mount is refused here")
        try:
            yield SmallDisk(folder)
        finally:
            # Lazily: a process that dies later than it should must not keep us here.
            subprocess.run(["umount", "-l", str(folder)], check=False)
    finally:
        folder.rmdir()
