"""What is written on a shared copy: school, activity, who, when, where, and how to find the original."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import translation
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from media_storage.models import Facts, MediaObject
from server.evidence.moments import Moments, moments_of, readings_of
from server.grid.coordinates import distance_m
from server.grid.models import School
from server.messaging.models import ClockReading
from server.sharing.uses import Use

Line = tuple[str, str]
"""A label, and what it says."""

ARRIVED_LATE = timedelta(minutes=10)
"""After the picture was taken: then the time of arrival is written too."""
CLOCK_WRONG = timedelta(minutes=1)
TRACE_DIGITS = 16


def caption_of(media: MediaObject, uses: Sequence[Use]) -> list[Line]:
    """The lines of the plate, the heading first, for a picture with a use.

    In the installation's language: one copy is for all. Of several uses the first one with a school.
    """
    use = uses[0]
    facts: Facts | None = getattr(media, "facts", None)
    with translation.override(settings.LANGUAGE_CODE):
        return [
            ("", use.school.name if use.school else _("未归入入校任务")),
            *_what(use),
            *_who(media, use),
            *_when(media, facts),
            *_where(media, facts, use.school),
            (_("编号"), trace_of(media)),
        ]


def trace_of(media: MediaObject) -> str:
    """The beginning of the original's SHA-256, in groups: an office finds a printed copy's original by
    it."""
    digits = media.sha256[:TRACE_DIGITS].upper()
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def _what(use: Use) -> Iterator[Line]:
    if use.activity:
        yield _("活动"), use.activity
    if use.finding:
        yield _("整改"), use.finding


def _who(media: MediaObject, use: Use) -> Iterator[Line]:
    if media.owner:
        yield _("上传") if use.finding else _("督学"), str(media.owner)


def _when(media: MediaObject, facts: Facts | None) -> Iterator[Line]:
    """The phone's time with what is known of its clock; when it arrived, if much later."""
    moments = moments_of(media, facts, _readings(media))
    arrived = media.stored_at or media.created_at
    if moments.phone:
        yield _("时间"), f"{_exactly(moments.phone)}{_clock(moments)}"
    elif moments.exif:
        yield _("时间"), _("%s（EXIF）") % _exactly(moments.exif)
    taken = moments.phone_corrected or moments.exif
    if taken is None or abs(arrived - taken) >= ARRIVED_LATE:
        yield _("到达"), _exactly(arrived)


def _readings(media: MediaObject) -> Sequence[ClockReading]:
    if media.owner_id is None or media.taken_at is None:
        return ()
    return readings_of([media.owner_id]).get(media.owner_id, ())


def _exactly(moment: datetime) -> str:
    """2026-11-23 10:12:05 +08:00: local time with its offset, for a print is read anywhere."""
    return localtime(moment).isoformat(sep=" ", timespec="seconds").replace("+", " +")


def _clock(moments: Moments) -> str:
    """How far the phone's clock was off, where it was measured and matters."""
    off = timedelta(milliseconds=moments.offset_ms or 0)
    if abs(off) < CLOCK_WRONG:
        return ""
    words = {"span": _span(abs(off))}
    return (
        _("（手机时钟快 %(span)s）") % words
        if off > timedelta(0)
        else _("（手机时钟慢 %(span)s）") % words
    )


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes < 120:
        return _("%d 分钟") % minutes
    hours = round(minutes / 60)
    return _("%d 小时") % hours if hours < 48 else _("%d 天") % round(hours / 24)


def _where(media: MediaObject, facts: Facts | None, school: School | None) -> Iterator[Line]:
    for place, source in ((media, ""), (facts, _("EXIF"))):
        if place is None or place.latitude is None or place.longitude is None:
            continue
        point = (place.latitude, place.longitude)
        accuracy = [] if place.accuracy_m is None else [_("±%d 米") % round(place.accuracy_m)]
        notes = [*([source] if source else []), *accuracy]
        text = f"{point[0]:.5f}, {point[1]:.5f}"
        text += _("（%s）") % _("，").join(notes) if notes else ""
        if school and school.latitude is not None and school.longitude is not None:
            text += _("，距学校 %s") % _length(
                distance_m((school.latitude, school.longitude), point)
            )
        yield _("位置"), text
        return
    yield _("位置"), _("没有记录")


def _length(metres: float) -> str:
    if metres < 1000:
        return _("%d 米") % round(metres)
    return _("%.1f 公里") % (metres / 1000)
