"""A clock that tests hold: the moment by the county's clock, and working days of a known year."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.utils import timezone

from server.grid.models import Holiday
from server.grid.workdays import shipped_holidays


class Clock:
    """Set to a moment, as text in local time: `set("2026-11-25T09:00")`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def set(self, text: str) -> datetime:
        moment = datetime.fromisoformat(f"{text}+08:00").astimezone(UTC)
        self._patch.setattr(timezone, "now", lambda: moment)
        return moment


@pytest.fixture
def held_clock(monkeypatch: pytest.MonkeyPatch, db: None) -> Clock:
    """A held clock, with the shipped holidays in the table whatever an earlier test emptied."""
    Holiday.objects.all().delete()
    Holiday.objects.bulk_create(shipped_holidays())
    return Clock(monkeypatch)
