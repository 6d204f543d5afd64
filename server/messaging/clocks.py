"""The clocks of phones: how far each is ahead of ours, read when the phone calls and kept with the time.

A phone says what its clock shows with some of its requests (`X-Device-Time`). While the clock keeps
its distance from ours, one row is prolonged once a day; when it jumps, a new row begins. So a reading
is a stretch of time with one offset, and whoever knows a moment of the phone's finds the offset of
then. Nothing is written for a request that tells nothing new, and no row but the phone's own.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.dispatch import Signal

from server.core import clock
from server.messaging.models import ClockReading, Device

STEP = timedelta(seconds=10)
"""A weak link is late by some seconds: less than this is no jump of the clock."""
PROLONGED_EVERY = timedelta(days=1)
NOT_WITHIN = timedelta(minutes=1)
"""A clock that jumps about, or a client that invents times, costs one row a minute at most."""
IMPOSSIBLE = timedelta(days=100 * 365)

clock_read = Signal()
"""`device` (Device), `since` (datetime): what we know of the phone's clock after `since` is new. Sent
inside the transaction that writes it."""


def read_clock(*, device: Device, device_time: datetime, at: datetime | None = None) -> None:
    """Take note of what the phone's clock shows at this moment; `at`, where that was some time ago.

    The offset is what `device_time` is ahead of ours. The way here makes it seem late by as much as
    the request took: a fraction of a second mostly.
    """
    moment = at or clock.now()
    offset = device_time - moment
    if abs(offset) < IMPOSSIBLE and _is_news(device, offset, moment):
        _write(device, offset, moment)


def _is_news(device: Device, offset: timedelta, moment: datetime) -> bool:
    if device.clock_read_at is None or device.clock_offset_ms is None:
        return True
    age = moment - device.clock_read_at
    return age >= PROLONGED_EVERY or (age >= NOT_WITHIN and _has_jumped(device, offset))


def _has_jumped(device: Device, offset: timedelta) -> bool:
    known = timedelta(milliseconds=device.clock_offset_ms or 0)
    return device.clock_read_at is None or abs(offset - known) >= STEP


@transaction.atomic
def _write(device: Device, offset: timedelta, moment: datetime) -> None:
    last, jumped = device.clock_read_at, _has_jumped(device, offset)
    # While the clock keeps its distance, the first measure of it counts: no creep by delays.
    known = None if jumped else device.clock_offset_ms
    offset_ms = offset // timedelta(milliseconds=1) if known is None else known
    ours = Device.objects.filter(pk=device.pk, clock_read_at=last)
    if not ours.update(clock_offset_ms=offset_ms, clock_read_at=moment):
        return  # another request of the same phone was first
    stretches = ClockReading.objects.filter(device=device)
    if jumped or not stretches.filter(until=device.clock_read_at or moment).update(until=moment):
        ClockReading.objects.create(device=device, offset_ms=offset_ms, since=moment, until=moment)
    device.clock_offset_ms, device.clock_read_at = offset_ms, moment
    clock_read.send(Device, device=device, since=last)
