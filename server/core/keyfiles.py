"""Files that hold keys: whole on the disk or not there, readable for nobody else."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def make_once(path: Path, text: str) -> None:
    """Write the file unless it is there.

    Two processes may try at the same moment: the first one's key is the one that stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft_of(path)
    _write_private(draft, text)
    try:
        with suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename, it replaces nothing
        _sync_folder(path.parent)
    finally:
        draft.unlink()


def add_line(path: Path, line: str) -> None:
    """Write the line below those that the file holds.

    Raises OSError where the file may not be written, as a mounted secret may not.
    """
    known = path.read_text(encoding="ascii") if path.exists() else ""
    draft = _draft_of(path)
    try:
        _write_private(draft, f"{known.rstrip()}\n{line}\n".lstrip())
        draft.replace(path)
        _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(handle)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
