"""Files that are two things at once: a photo with a ZIP behind it, a PDF that begins as a web page.

Such a file passes for what it is declared as and does something else where it is opened. Phones put
honest things behind their photos (a short video, a second view, a maker's data), so not everything that
follows a picture is refused, only what another program would open or run. Runs in the bounded process.
"""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from media_storage.refusals import Reason, Refused

HEAD = 4096
PDF_HEAD = 1024
"""Readers of PDF look for its beginning so far."""
TAIL = 22 + 65_535
"""A ZIP's directory ends so near the end of the file: its comment is not longer."""
MAX_BEHIND = 1024 * 1024
"""So much of what follows a picture is searched."""
MAX_PIECES = 100_000
"""Chunks of a PNG, boxes of an MP4."""

# Long enough that a megabyte of video has none of them by chance.
_MARKUP = re.compile(
    rb"<(?:html|body|script|iframe|object|embed)[\s>/]|<!doctype\s+html|<\?php[\s=]|<svg\s+xmlns",
    re.IGNORECASE,
)
_ARCHIVE = re.compile(rb"Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|PK\x03\x04.{22}", re.DOTALL)

_ZIP_END, _ZIP_ENTRY, _ZIP64_PLACE = b"PK\x05\x06", b"PK\x01\x02", b"PK\x06\x07"


def check(file: BinaryIO, signature: str) -> None:
    """Raise Refused for a file of this signature (formats.sniff) that is something else as well."""
    file.seek(0)
    head = file.read(HEAD)
    if signature != "pdf" and b"%PDF-" in head[:PDF_HEAD]:
        raise Refused(Reason.MIXED_TYPES, "also a PDF")
    if _MARKUP.search(head[:PDF_HEAD] if signature == "pdf" else head):
        raise Refused(Reason.MIXED_TYPES, "also a web page")
    if signature != "zip" and _is_zip(file):
        raise Refused(Reason.MIXED_TYPES, "also a ZIP")
    _check_behind(_behind(file, signature))


def _check_behind(behind: bytes) -> None:
    if _MARKUP.search(behind):
        raise Refused(Reason.MIXED_TYPES, "a web page behind it")
    if _ARCHIVE.search(behind):
        raise Refused(Reason.MIXED_TYPES, "an archive behind it")


def _is_zip(file: BinaryIO) -> bool:
    """Whether the end of the file is that of a ZIP with something in it, as programs look for it."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - TAIL)
    file.seek(start)
    tail = file.read(TAIL)
    place = tail.rfind(_ZIP_END)
    while place >= 0:
        if _has_directory(file, start + place, tail[place : place + 22]):
            return True
        place = tail.rfind(_ZIP_END, 0, place)
    return False


def _has_directory(file: BinaryIO, place: int, end: bytes) -> bool:
    if len(end) < 22:
        return False
    length = int.from_bytes(end[12:16], "little")
    file.seek(max(0, place - 20))
    if file.read(4) == _ZIP64_PLACE:
        return True
    if not 46 <= length <= place:
        return False
    file.seek(place - length)
    return file.read(4) == _ZIP_ENTRY


def _behind(file: BinaryIO, signature: str) -> bytes:
    """What follows the picture or document in its file, as far as it is searched."""
    place = {
        "jpeg": _end_of_jpeg,
        "png": _end_of_png,
        "webp": _end_of_riff,
        "wav": _end_of_riff,
        "pdf": _end_of_pdf,
    }.get(signature, _nowhere)(file)
    if place is None:
        return b""
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    behind = file.read(MAX_BEHIND)
    if size - place > MAX_BEHIND:
        file.seek(max(place + MAX_BEHIND, size - TAIL))
        behind += file.read(TAIL)
    return behind


def _nowhere(file: BinaryIO) -> int | None:
    return None


def _end_of_jpeg(file: BinaryIO) -> int | None:
    """Behind the first end marker that stands behind pixels; within these 0xFF is never followed so."""
    file.seek(0)
    content = file.read()
    place = 2
    while content[place : place + 1] == b"\xff":
        marker = content[place + 1 : place + 2]
        if marker == b"\xff":
            place += 1
            continue
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        if marker == b"\xd9":
            return place + 2
        place += 2 + length
        if marker == b"\xda":
            break
    end = content.find(b"\xff\xd9", place)
    return end + 2 if end >= 0 else None


def _end_of_png(file: BinaryIO) -> int | None:
    place = 8
    for _ in range(MAX_PIECES):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return None
        place += 12 + int.from_bytes(head[:4], "big")
        if head[4:] == b"IEND":
            return place
    return None


def _end_of_riff(file: BinaryIO) -> int | None:
    file.seek(4)
    return 8 + int.from_bytes(file.read(4), "little")


def _end_of_pdf(file: BinaryIO) -> int | None:
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - MAX_BEHIND)
    file.seek(start)
    place = file.read(MAX_BEHIND).rfind(b"%%EOF")
    return start + place + 5 if place >= 0 else None
