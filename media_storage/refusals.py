"""Why a file is refused, as code that needs no Django: the process that decodes files knows no more.

MediaObject.Rejection has the sentences that the inspector reads.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The codes of MediaObject.Rejection."""

    EMPTY = "empty"
    UNSUPPORTED = "unsupported_type"
    TYPE_MISMATCH = "type_mismatch"
    MIXED_TYPES = "mixed_types"
    BROKEN = "broken"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LARGE = "too_large"
    UNPACKS_TOO_LARGE = "unpacks_too_large"
    TOO_SLOW = "too_slow"
    TOO_MUCH_MEMORY = "too_much_memory"
    CRASHED = "crashed"


class Refused(Exception):
    """The file is not one that we keep using; `code` is a Reason, `cause` is for the log."""

    def __init__(self, code: str, cause: str = "") -> None:
        super().__init__(f"{code}: {cause}" if cause else code)
        self.code = code
        self.cause = cause
