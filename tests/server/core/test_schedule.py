"""Periodic work: one turn per interval, whoever asks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError

from server.core import clock, schedule
from server.core.schedule import Schedule, take_turn

pytestmark = pytest.mark.django_db


def test_a_turn_is_taken_once_per_interval():
    hour = timedelta(hours=1)
    assert take_turn("sweep", hour)
    assert not take_turn("sweep", hour)
    Schedule.objects.update(next_at=clock.now() - timedelta(seconds=1))
    assert take_turn("sweep", hour)
    assert not take_turn("sweep", hour)


def test_the_failure_of_one_kind_leaves_the_others_their_turn(monkeypatch):
    hour, done = timedelta(hours=1), []

    def lose() -> None:
        raise OperationalError("the database system is starting up")

    kinds = {
        "breaks": (hour, lambda: 1 / 0),
        "loses": (hour, lose),
        "works": (hour, lambda: done.append(1)),
    }
    monkeypatch.setattr(schedule, "_periodic", kinds)
    monkeypatch.setattr(schedule, "close_old_connections", lambda: None)
    schedule.tick()
    assert done == [1]
