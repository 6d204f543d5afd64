"""Rows of work, workers, crashes and failures in any order: each effect at least once, none stuck.

A machine plays them against the claims; a race of real threads plays them on PostgreSQL.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from django.db import connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media_storage.models import MediaObject
from server.core import clock, work
from server.core.work import PermanentFailure, Pump, TemporaryFailure

LEASE, ATTEMPTS, LOST = 60, 4, 2

# What becomes of one claimed row: done; killed before the work, or after it and before it is
# recorded; a failure that may pass, one that may not, one that nobody foresaw.
FATES = ("done", "killed before", "killed after", "temporary", "permanent", "surprise")
STEPS = st.one_of(
    st.tuples(st.just("work"), st.lists(st.sampled_from(FATES), min_size=1, max_size=4)),
    st.tuples(st.just("wait"), st.integers(1, 2 * LEASE)),
    st.tuples(st.just("late"), st.just(0)),
)


class World:
    """The rows, a clock that is moved by hand, and what was done how often."""

    def __init__(self, rows: int) -> None:
        self.moment = clock.now()
        self.done: Counter[UUID] = Counter()
        self.fate = "done"
        self.late: list[Any] = []
        self.pump = Pump(
            name="played",
            rows=MediaObject.objects.all,
            handle=self.handle,
            lease_seconds=LEASE,
            batch=2,
            max_attempts=ATTEMPTS,
            max_lost=LOST,
        )
        for number in range(rows):
            make_row(number, self.moment)

    def now(self) -> datetime:
        return self.moment

    def handle(self, row: MediaObject) -> None:
        if self.fate == "temporary":
            raise TemporaryFailure("away", retry_after=5)
        if self.fate == "permanent":
            raise PermanentFailure("gone")
        if self.fate == "surprise":
            raise KeyError("bug")
        self.done[row.pk] += 1

    def work(self, fates: list[str]) -> None:
        """One worker's claim; a killed one leaves its row claimed, and may wake up later."""
        claimed = work.claim(self.pump)
        for row, fate in zip(claimed, fates * len(claimed), strict=False):
            self.fate = fate
            if fate.startswith("killed"):
                self.late.append(row)
                if fate == "killed after":
                    self.done[row.pk] += 1
            else:
                work.run(self.pump, row)

    def wake_late(self) -> None:
        """Workers that were thought dead run on with the rows that they once claimed."""
        self.fate = "done"
        while self.late:
            work.run(self.pump, self.late.pop())

    def play(self, steps: list[tuple[str, Any]]) -> None:
        for kind, what in steps:
            if kind == "work":
                self.work(what)
            elif kind == "wait":
                self.moment += timedelta(seconds=what)
            else:
                self.wake_late()

    def end(self) -> None:
        """From here on nothing goes wrong: retry what died, and work until nothing is due."""
        self.fate = "done"
        for _ in range(ATTEMPTS + 2):
            work.retry_dead(MediaObject.objects.all())
            self.moment += timedelta(hours=2)
            work.drain(self.pump)


def make_row(number: int, moment: Any) -> None:
    MediaObject.objects.create(
        filename=f"{number}.jpg",
        content_type="image/jpeg",
        size=1,
        sha256="0" * 64,
        work_due_at=moment,
    )


@pytest.mark.django_db
@settings(
    max_examples=150,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=st.integers(1, 4), steps=st.lists(STEPS, max_size=25))
def test_whatever_happens_each_effect_comes_and_no_row_is_stuck(
    rows: int, steps: list[tuple[str, Any]], db: None
):
    logging_off = mock.patch.object(work.logger, "exception")
    with transaction.atomic(), logging_off:
        world = World(rows)
        with mock.patch.object(clock, "now", world.now):
            world.play(steps)
            world.end()
        kept = MediaObject.objects.all()
        assert {row.pk for row in kept} == world.done.keys()
        for row in kept:
            assert (row.work_due_at, row.work_dead_at, row.work_error) == (None, None, "")
        transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_workers_that_race_and_die_do_everything_and_never_two_at_once():
    moment, workers, rows = clock.now(), 6, 120
    for number in range(rows):
        make_row(number, moment)
    seen: Counter[UUID] = Counter()
    busy: set[UUID] = set()
    lock, shared = threading.Lock(), threading.local()

    def handle(row: MediaObject) -> None:
        with lock:
            assert row.pk not in busy, "two workers hold one lease"
            busy.add(row.pk)
            seen[row.pk] += 1
        shared.pause(row)
        with lock:
            busy.discard(row.pk)

    pump = Pump(name="raced", rows=MediaObject.objects.all, handle=handle, batch=3)

    def worker(number: int) -> None:
        choose = random.Random(number)
        stop = threading.Event()
        shared.pause = lambda row: stop.wait(choose.choice([0, 0, 0.002]))
        while claimed := work.claim(pump):
            for row in claimed:
                if choose.random() < 0.1:  # killed: the lease is what is left of this worker
                    continue
                work.run(pump, row)
        connections.close_all()

    race(worker, workers)
    left = MediaObject.objects.filter(work_due_at__isnull=False)
    assert 0 < left.count() < rows
    left.update(work_due_at=moment)  # their leases end
    shared.pause = lambda row: None
    work.drain(pump)
    assert not left.exists()
    assert set(seen.values()) == {1}
    assert len(seen) == rows


def race(worker: Any, count: int) -> None:
    threads = [threading.Thread(target=worker, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
