"""EXIF: the few fields that matter, read from a file's raw block with bounds on everything.

Not by a library: those keep what they find, and a hostile block of 10 MB lets each of its 65,535
entries point to all of it. Here only known entries are looked at, each at most once, and cut.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Value = str | int | float | list[float]

MAX_BYTES = 1024 * 1024
"""A larger block is cut: what is read stands at its beginning."""
MAX_ENTRIES = 1000
MAX_TEXT = 120

_GENERAL = {
    0x010F: "Make",
    0x0110: "Model",
    0x0112: "Orientation",
    0x0131: "Software",
    0x0132: "DateTime",
}
_EXPOSURE = {
    0x829A: "ExposureTime",
    0x829D: "FNumber",
    0x8827: "ISOSpeedRatings",
    0x9003: "DateTimeOriginal",
    0x9004: "DateTimeDigitized",
    0x9010: "OffsetTime",
    0x9011: "OffsetTimeOriginal",
    0x9012: "OffsetTimeDigitized",
    0x9209: "Flash",
    0x920A: "FocalLength",
    0x9291: "SubsecTimeOriginal",
    0xA002: "PixelXDimension",
    0xA003: "PixelYDimension",
    0xA405: "FocalLengthIn35mmFilm",
    0xA433: "LensMake",
    0xA434: "LensModel",
}
_POSITION = {
    0x0001: "GPSLatitudeRef",
    0x0002: "GPSLatitude",
    0x0003: "GPSLongitudeRef",
    0x0004: "GPSLongitude",
    0x0005: "GPSAltitudeRef",
    0x0006: "GPSAltitude",
    0x0007: "GPSTimeStamp",
    0x0009: "GPSStatus",
    0x000B: "GPSDOP",
    0x0010: "GPSImgDirectionRef",
    0x0011: "GPSImgDirection",
    0x0012: "GPSMapDatum",
    0x001D: "GPSDateStamp",
    0x001F: "GPSHPositioningError",
}
_EXPOSURE_AT, _POSITION_AT = 0x8769, 0x8825

_BYTE, _TEXT, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _SLONG, _SRATIONAL = 1, 2, 3, 4, 5, 7, 9, 10
_SIZES = {
    _BYTE: 1,
    _TEXT: 1,
    _SHORT: 2,
    _LONG: 4,
    _RATIONAL: 8,
    _UNDEFINED: 1,
    _SLONG: 4,
    _SRATIONAL: 8,
}
_CODES = {_BYTE: "B", _SHORT: "H", _LONG: "I", _SLONG: "i"}


def read(block: bytes) -> dict[str, Value]:
    """The known fields by their names in the standard; nothing of a block that makes no sense.

    Texts are one line of printable characters; rational numbers are floats; a list has at most four.
    """
    block = block[: MAX_BYTES + 6].removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return {}
    reader = _Reader(block, order)
    general = dict(reader.entries(reader.long(4)))
    found = reader.named(general, _GENERAL)
    for pointer, names in ((_EXPOSURE_AT, _EXPOSURE), (_POSITION_AT, _POSITION)):
        place = reader.value(general[pointer]) if pointer in general else None
        if isinstance(place, int):
            found |= reader.named(dict(reader.entries(place)), names)
    return found


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    place: int
    """Of the entry's last four bytes: its value, or where that is."""


@dataclass(frozen=True, slots=True)
class _Reader:
    block: bytes
    order: str

    def long(self, place: int) -> int:
        """Zero outside the block."""
        return int.from_bytes(self.block[place : place + 4], self._endian) if place >= 0 else 0

    def entries(self, place: int) -> Iterator[tuple[int, _Entry]]:
        """Of one directory; the first of several with one number."""
        count = int.from_bytes(self.block[place : place + 2], self._endian)
        seen = set()
        for index in range(min(count, MAX_ENTRIES)):
            at = place + 2 + 12 * index
            piece = self.block[at : at + 8]
            if len(piece) < 8:
                return
            number, kind, many = struct.unpack(f"{self.order}HHI", piece)
            if number not in seen:
                seen.add(number)
                yield number, _Entry(kind, many, at + 8)

    def named(self, entries: dict[int, _Entry], names: dict[int, str]) -> dict[str, Value]:
        values = ((name, self.value(entries[key])) for key, name in names.items() if key in entries)
        return {name: value for name, value in values if value not in (None, "", [])}

    def value(self, entry: _Entry) -> Value | None:
        """None for what cannot be read or is no number."""
        if entry.kind not in _SIZES:
            return None
        size = _SIZES[entry.kind]
        place = entry.place if entry.count * size <= 4 else self.long(entry.place)
        if entry.kind in (_TEXT, _UNDEFINED):
            return _text(self.block[place : place + min(entry.count, MAX_TEXT)])
        numbers = [
            self._number(entry.kind, place + size * each) for each in range(min(entry.count, 4))
        ]
        kept = [number for number in numbers if number is not None]
        if len(kept) != len(numbers) or not kept:
            return None
        return kept[0] if len(kept) == 1 else [float(each) for each in kept]

    def _number(self, kind: int, place: int) -> int | float | None:
        code = _CODES.get(kind) or ("2i" if kind == _SRATIONAL else "2I")
        size = struct.calcsize(f"{self.order}{code}")
        piece = self.block[place : place + size]
        if len(piece) < size:
            return None
        parts = struct.unpack(f"{self.order}{code}", piece)
        if len(parts) == 1:
            return int(parts[0])
        return parts[0] / parts[1] if parts[1] else None

    @property
    def _endian(self) -> Literal["little", "big"]:
        return "little" if self.order == "<" else "big"


def _text(content: bytes) -> str:
    """Up to the first NUL. Databases take no NUL, and pages no line breaks."""
    words = content.partition(b"\x00")[0].decode("utf-8", errors="replace")
    return "".join(
        each if unicodedata.category(each)[0] not in "CZ" or each == " " else " " for each in words
    ).strip()
