"""Clocks of phones: read when they call, written only when there is news."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from server.messaging.clocks import read_clock
from server.messaging.models import ClockReading, Device
from tests.activities import device_of

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Clock:
    """Ours, moved by hand; the phone shows it with an offset."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.moment = NOW

    def calls(self, *, after: timedelta = timedelta(0), ahead: timedelta = timedelta(0)) -> None:
        """The phone calls, as a request finds it: its row has just been read."""
        self.moment += after
        read_clock(device=Device.objects.get(pk=self.device.pk), device_time=self.moment + ahead)


@pytest.fixture
def clock(cast, monkeypatch) -> Clock:
    clock = Clock(device_of(cast.ada))
    monkeypatch.setattr(timezone, "now", lambda: clock.moment)
    return clock


def stretches(clock: Clock) -> list[tuple[float, float, float]]:
    """(offset in seconds, from, until in hours)."""
    return [
        (
            row.offset_ms / 1000,
            (row.since - NOW) / timedelta(hours=1),
            (row.until - NOW) / timedelta(hours=1),
        )
        for row in ClockReading.objects.order_by("since")
    ]


HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def test_the_first_call_tells_the_offset(clock):
    clock.calls(ahead=3 * HOUR)
    assert stretches(clock) == [(10_800, 0, 0)]
    device = Device.objects.get(pk=clock.device.pk)
    assert (device.clock_offset_ms, device.clock_read_at) == (10_800_000, NOW)


def test_a_call_that_tells_nothing_new_costs_no_query(clock, django_assert_num_queries):
    clock.calls()
    device = Device.objects.get(pk=clock.device.pk)
    clock.moment += HOUR
    with django_assert_num_queries(0):
        read_clock(device=device, device_time=clock.moment + 5 * SECOND)


def test_a_clock_that_jumps_begins_a_new_stretch(clock):
    clock.calls()
    clock.calls(after=HOUR, ahead=-2 * HOUR)
    clock.calls(after=HOUR, ahead=-2 * HOUR)
    assert stretches(clock) == [(0, 0, 0), (-7200, 1, 1)]


def test_a_clock_that_keeps_its_distance_prolongs_its_stretch_once_a_day(clock):
    for _ in range(50):
        clock.calls(after=HOUR, ahead=4 * SECOND)
    assert stretches(clock) == [(4, 1, 49)]


def test_delays_do_not_add_up(clock):
    for n in range(10):
        clock.calls(after=24 * HOUR, ahead=-n * SECOND)
    assert [offset for offset, _since, _until in stretches(clock)] == [0]


def test_a_client_that_invents_times_costs_a_row_a_minute_at_most(clock):
    for n in range(120):
        clock.calls(after=SECOND, ahead=n * HOUR)
    assert len(stretches(clock)) == 2


def test_a_clock_at_the_end_of_time_is_no_reading(clock):
    read_clock(device=clock.device, device_time=datetime(9999, 12, 31, 23, tzinfo=UTC))
    read_clock(device=clock.device, device_time=datetime(1, 1, 1, tzinfo=UTC))
    assert stretches(clock) == []


def test_of_two_calls_at_once_one_writes(clock):
    one, two = (Device.objects.get(pk=clock.device.pk) for _ in range(2))
    read_clock(device=one, device_time=NOW)
    read_clock(device=two, device_time=NOW)
    assert len(stretches(clock)) == 1
