"""What a file says of itself, as columns: data, never proof."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from media_storage.models import Facts, MediaObject
from media_storage.results import Told

MAX_NAME = 80
MAX_ACCURACY_M = 1e6

_MOMENT = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")
# Which field of time has its offset where; the camera's own clock first.
_TIMES = (
    ("DateTimeOriginal", "OffsetTimeOriginal"),
    ("DateTimeDigitized", "OffsetTimeDigitized"),
)


def facts_of(media: MediaObject, told: Told) -> Facts:
    """A row for what the worker read; not saved."""
    moment, has_zone = _moment(told.exif)
    return Facts(
        media=media,
        exif_at=moment,
        exif_has_zone=has_zone,
        **_place(told.exif),
        camera_maker=_name(told.exif, "Make"),
        camera_model=_name(told.exif, "Model"),
        software=_name(told.exif, "Software"),
        exif=dict(told.exif),
        duration_ms=told.duration_ms,
        pages=told.pages,
        perceptual_hash=told.perceptual_hash,
    )


def _name(exif: Mapping[str, Any], field: str) -> str:
    return str(exif.get(field, ""))[:MAX_NAME].strip()


def _moment(exif: Mapping[str, Any]) -> tuple[datetime | None, bool]:
    """When it was taken, and whether the camera said in which zone; else it is TIME_ZONE's."""
    for field, offset in _TIMES:
        naive = _naive(str(exif.get(field, "")))
        if naive is None:
            continue
        zone = _zone(str(exif.get(offset) or exif.get("OffsetTime") or ""))
        with suppress(OverflowError, ValueError):  # at the end of time there is no UTC
            aware = naive.replace(tzinfo=zone or ZoneInfo(settings.TIME_ZONE))
            return aware.astimezone(UTC), zone is not None
    return None, False


def _naive(words: str) -> datetime | None:
    found = _MOMENT.match(words)
    if found is None:
        return None
    with suppress(ValueError):  # cameras that do not know write zeros
        return datetime(*map(int, found.groups()))  # type: ignore[arg-type] # noqa: DTZ001
    return None


def _zone(words: str) -> timezone | None:
    found = _OFFSET.match(words)
    if found is None:
        return None
    sign, hours, minutes = found[1], int(found[2]), int(found[3])
    if hours > 14 or minutes > 59:
        return None
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == "-" else offset)


def _place(exif: Mapping[str, Any]) -> dict[str, float | None]:
    """Nothing where a part is missing or out of range, or the receiver had no fix."""
    latitude = _degrees(exif, "GPSLatitude", "NS", 90)
    longitude = _degrees(exif, "GPSLongitude", "EW", 180)
    void = exif.get("GPSStatus") == "V" or (latitude == 0 and longitude == 0)
    if latitude is None or longitude is None or void:
        return {}
    return {"latitude": latitude, "longitude": longitude, "accuracy_m": _accuracy(exif)}


def _degrees(exif: Mapping[str, Any], field: str, signs: str, most: float) -> float | None:
    parts, sign = exif.get(field), str(exif.get(f"{field}Ref", ""))[:1].upper()
    if isinstance(parts, int | float):
        parts = [float(parts)]
    if not isinstance(parts, list) or not sign or sign not in signs:
        return None
    value: float = sum(float(part) / 60**index for index, part in enumerate(parts[:3]))
    if not 0 <= value <= most:  # so written that NaN is refused too
        return None
    return -value if sign == signs[1] else value


def _accuracy(exif: Mapping[str, Any]) -> float | None:
    value = exif.get("GPSHPositioningError")
    if isinstance(value, int | float) and 0 < value <= MAX_ACCURACY_M:
        return float(value)
    return None
