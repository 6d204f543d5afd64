"""What the jobs on files tell the worker, as shapes that are checked on arrival.

A child that a file has taken over may say anything: what does not fit here is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Side = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Bits64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Exif = dict[
    Annotated[str, msgspec.Meta(max_length=40)],
    Annotated[str, msgspec.Meta(max_length=256)] | int | float | list[float],
]


class Told(msgspec.Struct, tag="told", kw_only=True):
    """What a file says of itself. Width and height in pixels as displayed; `note` is a Note's code."""

    width: Side | None = None
    height: Side | None = None
    exif: Exif = {}
    perceptual_hash: Bits64 | None = None
    duration_ms: Milliseconds | None = None
    pages: Count | None = None
    note: Literal["", "no_tool", "no_preview", "locked"] = ""


class SmallPicture(msgspec.Struct, tag="picture", kw_only=True):
    """A rendition: sRGB, upright, no metadata. `name`: as in Rendition.Name."""

    name: Annotated[str, msgspec.Meta(max_length=8)]
    width: Side
    height: Side
    content_type: Literal["image/jpeg", "image/webp", "image/png"]
    data: bytes


def understood(value: Any) -> Told | SmallPicture:
    """One result of a job on a file. Raises msgspec.ValidationError."""
    return msgspec.convert(value, type=Told | SmallPicture)
