"""Which bytes of a file a request wants: one range, as RFC 9110 has it; anything else is the whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


class OutOfRange(Exception):
    """No byte of the file lies in the range."""


@dataclass(frozen=True, slots=True)
class Span:
    """From byte `start` on, `size` bytes."""

    start: int
    size: int

    def content_range(self, whole: int) -> str:
        return f"bytes {self.start}-{self.start + self.size - 1}/{whole}"


def wanted(headers: Mapping[str, str], *, etag: str, size: int) -> Span | None:
    """The part that is asked for, None for the whole. Raises OutOfRange.

    Several ranges get the whole, which RFC 9110 allows; so does an If-Range that names other content.
    """
    if headers.get("If-Range", etag) != etag:
        return None
    match = _ONE_RANGE.match(headers.get("Range", ""))
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return _suffix(int(last), size)
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise OutOfRange
    return Span(start, end - start + 1)


def _suffix(length: int, size: int) -> Span:
    if not length or not size:
        raise OutOfRange
    start = max(0, size - length)
    return Span(start, size - start)


def unchanged(headers: Mapping[str, str], *, etag: str) -> bool:
    """Whether the client has this content already."""
    asked = headers.get("If-None-Match", "")
    known = [each.strip().removeprefix("W/") for each in asked.split(",")]
    return asked.strip() == "*" or etag in known
