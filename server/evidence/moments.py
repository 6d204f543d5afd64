"""When: the phone's clock and how far it was off, EXIF, arrival; and the hours that a visit lasted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings

from media_storage.models import Facts, MediaObject
from server.activities.machine import CHECK_IN, COMPLETE, RETURN
from server.activities.models import VisitAction
from server.evidence.models import PhotoCheck
from server.messaging.models import ClockReading

Source = PhotoCheck.Source

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""What a phone says beyond is taken for these: no calendar of every zone holds the ends of time."""
FIRST_CREDIBLE = datetime(2010, 1, 1, tzinfo=UTC)
"""A camera whose clock was never set says 1970, 1980 or 2000."""


@dataclass(frozen=True)
class Moments:
    """The times of one photo. `phone` and `exif` as they were written, the others as we correct them.

    `offset_ms` is what the phone's clock was ahead of ours at that time, measured since `read_at`;
    None where nobody measured it. `at` is the most likely time, told by `source`: EXIF's where there
    is a credible one, because the camera writes it when the shutter opens.
    """

    arrived: datetime
    phone: datetime | None
    exif: datetime | None
    offset_ms: int | None
    read_at: datetime | None
    phone_corrected: datetime | None
    at: datetime | None
    source: Source


@dataclass(frozen=True)
class Stay:
    """From a check-in to the completion; open where the end is to come."""

    begins: datetime
    ends: datetime | None


# ---- clocks -----------------------------------------------------------------------------------


def readings_of(people: Iterable[UUID]) -> dict[UUID, list[ClockReading]]:
    """What was measured of the clocks of these people's phones, with `device`, by person. One query."""
    found: defaultdict[UUID, list[ClockReading]] = defaultdict(list)
    rows = ClockReading.objects.filter(device__user__in=set(people)).select_related("device")
    for row in rows.order_by("since", "pk"):
        found[row.device.user_id].append(row)
    return found


def reading_at(
    readings: Sequence[ClockReading], shown: datetime, *, arrived: datetime
) -> ClockReading | None:
    """The stretch that tells most about a moment that a phone's clock showed; None: none near enough.

    What has arrived was true before: a clock that shows tomorrow is asked about the time of arrival.
    """
    near = timedelta(days=settings.EVIDENCE_CLOCK_READING_DAYS)
    best, least = None, near
    for reading in readings:
        true = min(corrected(shown, reading.offset_ms), arrived)
        away = max(reading.since - true, true - reading.until, timedelta(0))
        if away <= least and (best is None or away < least or reading.since > best.since):
            best, least = reading, away
    return best


def within_calendars(shown: datetime) -> datetime:
    """The moment, or the end of time that it lies beyond."""
    return min(max(shown, EARLIEST), LATEST)


def corrected(shown: datetime, offset_ms: int | None) -> datetime:
    """The moment that a clock showed, told by ours."""
    return within_calendars(within_calendars(shown) - timedelta(milliseconds=offset_ms or 0))


def moments_of(
    media: MediaObject, facts: Facts | None, readings: Sequence[ClockReading]
) -> Moments:
    """The times of a photo, by what was measured of its phone's clock."""
    phone = within_calendars(media.taken_at) if media.taken_at else None
    exif = within_calendars(facts.exif_at) if facts and facts.exif_at else None
    reading = reading_at(readings, phone, arrived=media.created_at) if phone else None
    offset = reading.offset_ms if reading else None
    phone_corrected = corrected(phone, offset) if phone else None
    at, source = phone_corrected, Source.PHONE if phone else Source.NONE
    if exif and exif >= FIRST_CREDIBLE:
        # The camera and the app of one phone have one clock, and err together.
        same_clock = phone is not None and not differ(exif, phone)
        at, source = corrected(exif, offset) if same_clock else exif, Source.EXIF
    return Moments(
        arrived=media.created_at,
        phone=phone,
        exif=exif,
        offset_ms=offset,
        read_at=reading.since if reading else None,
        phone_corrected=phone_corrected,
        at=at,
        source=source,
    )


def differ(one: datetime, other: datetime) -> bool:
    """Whether two times of one photo contradict each other."""
    return abs(one - other) > timedelta(seconds=settings.EVIDENCE_TIMES_DIFFER_SECONDS)


# ---- visits -----------------------------------------------------------------------------------


def action_at(action: VisitAction, readings: Sequence[ClockReading]) -> datetime:
    """When a step of a visit was taken: by the phone's clock, corrected. It may arrive hours later.

    What an office does is done by our own clock.
    """
    if action.action not in (CHECK_IN, COMPLETE):
        return within_calendars(action.at)
    reading = reading_at(readings, action.at, arrived=action.received_at)
    return corrected(action.at, reading.offset_ms if reading else None)


def stays_of(steps: Iterable[tuple[str, datetime]]) -> list[Stay]:
    """The stays at the school that a visit's steps (action, moment) tell, in the order of the steps.

    A visit that was returned goes on: until the next check-in where there is one, it may be completed
    without.
    """
    stays: list[Stay] = []
    begins: datetime | None = None
    for action, at in steps:
        if action in (CHECK_IN, RETURN):
            begins = at
        elif action == COMPLETE and begins is not None:
            stays.append(Stay(begins, max(begins, at)))
            begins = None
    return stays if begins is None else [*stays, Stay(begins, None)]
