"""The server's clock: the one place that reads it, so that tests can hold it."""

from datetime import UTC, date, datetime

from django.utils import timezone

EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""A phone's clock may be wrong, but not so wrong that the time cannot be stored and shown."""


def now() -> datetime:
    """The present moment, aware, UTC."""
    return timezone.now()


def today() -> date:
    """The calendar day at the county (`TIME_ZONE`)."""
    return timezone.localdate(now())


def is_possible(moment: datetime) -> bool:
    """Whether every calendar and every zone can hold what a phone told."""
    return EARLIEST < moment < LATEST
