"""Working days: Monday to Friday, less public holidays, plus the weekend days that are worked for them.

China's holidays are arranged anew each year by the State Council, so they are rows (`Holiday`) that an
office maintains or imports. Days without a row are what their weekday says.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from server.core import clock
from server.grid.models import Holiday

SHIPPED = Path(__file__).parent / "holidays.csv"
"""The arrangements that were published when this release was made; the sources are in docs/escalation.md."""
DAY = timedelta(days=1)
LONGEST = 400
"""Days that a search looks ahead before it gives up: no holiday is longer, whatever was imported."""


@dataclass(frozen=True)
class Calendar:
    """The exceptions of some stretch of time, asked for once."""

    exceptions: dict[date, bool]

    def is_workday(self, day: date) -> bool:
        return self.exceptions.get(day, day.weekday() < 5)


def calendar(first: date, last: date) -> Calendar:
    """The calendar of these days, both included. One query."""
    rows = Holiday.objects.filter(day__gte=first, day__lte=last)
    return Calendar(dict(rows.values_list("day", "is_workday")))


def is_workday(day: date) -> bool:
    """Whether people work on that day."""
    return calendar(day, day).is_workday(day)


def add_workdays(day: date, count: int) -> date:
    """The `count`-th working day after `day`, or before it where `count` is negative; 0: the day itself."""
    if count == 0:
        return day
    step = DAY if count > 0 else -DAY
    reach = abs(count) * 3 + LONGEST
    far = day + step * reach
    known = calendar(min(day, far), max(day, far))
    left = abs(count)
    while left and day != far:
        day += step
        left -= known.is_workday(day)
    return day


def workdays_between(first: date, last: date) -> int:
    """Working days after `first`, up to and including `last`; negative where `last` comes first."""
    if last < first:
        return -workdays_between(last, first)
    known = calendar(first, last)
    return sum(known.is_workday(day) for day in _days(first + DAY, last))


def _days(first: date, last: date) -> Iterator[date]:
    day = first
    while day <= last:
        yield day
        day += DAY


# ---- hours --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hours:
    """The part of each working day that counts, in local time. `opens` 0:00 and no end: all of it."""

    opens: time = time.min
    closes: time | None = None


WHOLE_DAYS = Hours()


def office_hours() -> Hours:
    """OFFICE_HOURS: "08:30-17:30"."""
    opens, _dash, closes = settings.OFFICE_HOURS.partition("-")
    return Hours(time.fromisoformat(opens), time.fromisoformat(closes))


def after_working_time(moment: datetime, span: timedelta, hours: Hours = WHOLE_DAYS) -> datetime:
    """The moment at which `span` of working time has passed since `moment`. One query.

    From Friday 15:00, 24 hours of whole working days end on Monday at 15:00.
    """
    local = timezone.localtime(moment)
    day, last = local.date(), local.date() + DAY * (span.days * 5 + LONGEST)
    known, left = calendar(day, last), span
    while day <= last:
        if known.is_workday(day):
            opens, closes = _window(day, hours)
            begins = max(opens, moment)
            room = max(closes - begins, timedelta())
            if left <= room:
                return begins + left
            left -= room
        day += DAY
    return moment + span  # a calendar without a working day: better told than never


def _window(day: date, hours: Hours) -> tuple[datetime, datetime]:
    """The moments at which the day's counted time begins and ends."""
    end = (day + DAY, time.min) if hours.closes is None else (day, hours.closes)
    zone = timezone.get_default_timezone()
    opens, closes = (day, hours.opens), end
    # In UTC, so that an hour is an hour on days when a zone changes its clocks.
    return (
        datetime.combine(*opens, tzinfo=zone).astimezone(UTC),
        datetime.combine(*closes, tzinfo=zone).astimezone(UTC),
    )


def is_reminding_time() -> bool:
    """Whether reminders may go out now: on a working day, from REMIND_AT until the evening."""
    local = timezone.localtime(clock.now())
    begins = time.fromisoformat(settings.REMIND_AT)
    return begins <= local.time() < time(21) and is_workday(local.date())


# ---- what is known of the years ahead -----------------------------------------------------------


def years_without_holidays() -> list[int]:
    """Of this year and the next, those without a single row; the next counts from November on.

    That is when the State Council publishes the next year's arrangement.
    """
    day = clock.today()
    years = [day.year] + ([day.year + 1] if day.month >= 11 else [])
    return [year for year in years if not Holiday.objects.filter(day__year=year).exists()]


def shipped_holidays() -> list[Holiday]:
    """The rows of the shipped file, not stored."""
    with SHIPPED.open(encoding="utf-8", newline="") as file:
        return [
            Holiday(
                day=date.fromisoformat(row["day"]),
                name=row["name"],
                is_workday=row["is_workday"] == "1",
            )
            for row in csv.DictReader(file)
        ]
