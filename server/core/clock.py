"""The server's clock: the one place that reads it, so that tests can hold it."""

from datetime import date, datetime

from django.utils import timezone


def now() -> datetime:
    """The present moment, aware, UTC."""
    return timezone.now()


def today() -> date:
    """The calendar day at the county (`TIME_ZONE`)."""
    return timezone.localdate(now())
