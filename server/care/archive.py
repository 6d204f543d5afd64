"""A ZIP as a stream: made entry by entry, without knowing where it goes, in constant memory."""

from __future__ import annotations

import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from django.utils.timezone import localtime

MAX_PART = 60
"""Characters of one folder or file name: four of them stay below Windows' 260 with room to spare."""
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?")


@dataclass(frozen=True)
class Entry:
    """One file: its path in the archive, its time, its size in bytes, and its bytes in pieces."""

    path: str
    at: datetime
    size: int
    chunks: Iterable[bytes]


def zip_stream(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The archive's bytes, while the entries come. Stored, not deflated: photos do not shrink.

    Names are UTF-8 and marked so; sizes above 4 GiB and more than 65,535 entries use zip64.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[call-overload]
        for entry in entries:
            with archive.open(_header(entry), "w") as file:
                for chunk in entry.chunks:
                    file.write(chunk)
                    yield sink.taken()
            yield sink.taken()
    yield sink.taken()


def _header(entry: Entry) -> zipfile.ZipInfo:
    local = localtime(entry.at)
    moment = (max(local.year, 1980), local.month, local.day, local.hour, local.minute, local.second)
    header = zipfile.ZipInfo(entry.path, date_time=moment)
    header.file_size = entry.size  # says whether zip64 is needed
    header.external_attr = 0o644 << 16
    return header


class _Sink:
    """What zipfile writes into: no seeking, so it never goes back to what is gone."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """zipfile asks for it; there is nothing to do."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def safe_cell(value: Any) -> Any:
    """Nothing that a spreadsheet would run: texts of people may begin with a formula's sign."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value


def safe_name(text: str, *, fallback: str = "_") -> str:
    """One folder or file name that Windows, macOS and Linux take, as much of it as fits."""
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text))
    text = "".join(each for each in text if unicodedata.category(each)[0] != "C")
    suffix = PurePosixPath(text).suffix
    suffix = suffix if 1 < len(suffix) <= 8 else ""
    stem = text[: len(text) - len(suffix)] if suffix else text
    # Windows drops trailing dots and blanks, and then finds its own file no more.
    stem = " ".join(stem.split())[: MAX_PART - len(suffix)].strip(" .")
    name = f"{stem or fallback}{suffix}".rstrip(" .")
    return f"_{name}" if _RESERVED.fullmatch(name) else name


class Paths:
    """Hands out paths that differ, also where capital letters count as small ones."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, *parts: str) -> str:
        """The path of these names, each made safe; a number in the last where it is taken."""
        *folders, name = (safe_name(part) for part in parts)
        path = PurePosixPath(*folders, name)
        number = 1
        while str(path).casefold() in self._taken:
            number += 1
            path = path.with_name(
                f"{PurePosixPath(name).stem} ({number}){PurePosixPath(name).suffix}"
            )
        self._taken.add(str(path).casefold())
        return str(path)
