"""Periodic work: a row per kind and its next moment; whoever moves the row on has the turn.

Any number of worker processes may tick; the compare-and-set on `next_at` gives each turn to one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from django.db import Error, close_old_connections, models

from server.core import clock, work

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 5


class Schedule(models.Model):
    """When a kind of periodic work is next due."""

    name = models.CharField(max_length=64, primary_key=True)
    next_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


_periodic: dict[str, tuple[timedelta, Callable[[], object]]] = {}


def every(name: str, interval: timedelta, do: Callable[[], object]) -> None:
    """Run `do` once per interval, in one of the workers. It should be short, or enqueue a task."""
    _periodic[name] = (interval, do)


def take_turn(name: str, interval: timedelta) -> bool:
    """True for exactly one caller per interval, however many ask."""
    moment = clock.now()
    _row, created = Schedule.objects.get_or_create(
        name=name, defaults={"next_at": moment + interval}
    )
    if created:
        return True
    due = Schedule.objects.filter(name=name, next_at__lte=moment)
    return due.update(next_at=moment + interval) == 1


def tick() -> None:
    """Give every periodic kind its turn if it is due; the failure of one leaves the others theirs."""
    for name, (interval, do) in _periodic.items():
        try:
            if take_turn(name, interval):
                do()
        except Error as error:  # the database may be away for a moment: a later tick tries again
            logger.warning("schedule: %s: %s", name, error)
            close_old_connections()
        except Exception:
            logger.exception("schedule: %s failed", name)


def sweep() -> None:
    """Enqueue a drain for every pump that has rows due: what a lost hint left."""
    for pump in work.pumps():
        if not pump.slow and work.is_due(pump):
            work.drain_task.enqueue(pump.name)


every("sweep", timedelta(seconds=SWEEP_SECONDS), sweep)
every("hints", timedelta(hours=1), work.forget_hints)


def run_until(stop: threading.Event, *, interval: float = 1.0) -> None:
    """Tick every `interval` seconds until `stop` is set."""
    while not stop.wait(interval):
        close_old_connections()
        tick()
    close_old_connections()
