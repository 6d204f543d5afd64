"""Periodic work: one turn per interval, whoever asks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.core import clock
from server.core.schedule import Schedule, take_turn

pytestmark = pytest.mark.django_db


def test_a_turn_is_taken_once_per_interval():
    hour = timedelta(hours=1)
    assert take_turn("sweep", hour)
    assert not take_turn("sweep", hour)
    Schedule.objects.update(next_at=clock.now() - timedelta(seconds=1))
    assert take_turn("sweep", hour)
    assert not take_turn("sweep", hour)
