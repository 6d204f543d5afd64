"""The worker outlives the database, and gives back what it holds when it is told to stop."""

from __future__ import annotations

import signal
import threading

import pytest
from django.db import OperationalError
from django_tasks_db.management.commands.db_worker import Worker

from media_storage.models import MediaObject
from server.core import clock, work, worker
from server.core.work import Pump


@pytest.fixture
def told_to_stop():
    """`work.stopping`, as it was before afterwards."""
    yield work.stopping
    work.stopping.clear()


def make_rows(count: int) -> None:
    values = {"filename": "a.jpg", "content_type": "image/jpeg", "size": 1, "sha256": "0" * 64}
    for _number in range(count):
        MediaObject.objects.create(work_due_at=clock.now(), **values)


@pytest.mark.django_db
def test_a_drain_that_is_told_to_stop_finishes_its_row_and_gives_the_others_back(told_to_stop):
    make_rows(3)
    done = []

    def handle(row: MediaObject) -> None:
        done.append(row)
        told_to_stop.set()

    pump = Pump(name="under test", rows=MediaObject.objects.all, handle=handle)
    assert work.drain(pump) == len(done) == 1
    rows = MediaObject.objects.exclude(pk=done[0].pk)
    assert [(row.work_attempts, row.work_lost) for row in rows] == [(0, 0), (0, 0)]
    assert work.due(pump).count() == 2
    assert work.drain(pump) == 0  # nothing is claimed any more
    told_to_stop.clear()
    assert work.drain(pump) == 1


@pytest.mark.django_db
def test_a_row_whose_lease_went_to_somebody_else_is_not_given_back():
    make_rows(1)
    pump = Pump(name="under test", rows=MediaObject.objects.all, handle=lambda row: None)
    mine = work.claim(pump)
    MediaObject.objects.update(work_due_at=clock.now())
    [theirs] = work.claim(pump)
    work.release(pump, mine)
    assert MediaObject.objects.get().work_due_at == theirs.work_due_at


def test_a_worker_goes_on_when_the_database_was_away(monkeypatch, told_to_stop):
    patient = worker.new_worker()
    turns = []

    def one_turn(self: Worker) -> None:
        turns.append(self)
        if len(turns) == 1:
            raise OperationalError("server closed the connection unexpectedly")
        self.running = False

    monkeypatch.setattr(Worker, "run", one_turn)
    monkeypatch.setattr(worker, "AWAY_SECONDS", 0)
    patient.run()
    assert turns == [patient, patient]


def test_a_signal_ends_an_idle_worker_at_once_and_tells_the_drains(told_to_stop):
    patient = worker.new_worker()
    with pytest.raises(SystemExit):
        patient.shutdown(signal.SIGTERM, None)
    assert told_to_stop.is_set()
    assert not patient.running


def test_a_signal_lets_a_busy_worker_finish(told_to_stop):
    patient = worker.new_worker()
    patient.running_task = True
    patient.shutdown(signal.SIGTERM, None)
    assert told_to_stop.is_set()
    assert not patient.running


def test_slow_pumps_are_drained_in_a_thread_of_their_own(monkeypatch):
    stop, drained = threading.Event(), []
    quick = Pump(name="quick", rows=MediaObject.objects.all, handle=lambda row: None)
    slow = Pump(name="slow", rows=MediaObject.objects.all, handle=lambda row: None, slow=True)

    def drain(pump: Pump) -> int:
        drained.append(pump.name)
        if len(drained) == 1:
            raise OperationalError("the database system is starting up")
        stop.set()
        return 0

    monkeypatch.setattr(work, "_pumps", {"quick": quick, "slow": slow})
    monkeypatch.setattr(worker.work, "drain", drain)
    monkeypatch.setattr(worker, "close_old_connections", lambda: None)
    thread = threading.Thread(target=worker.run_slow_until, args=(stop,), kwargs={"interval": 0.01})
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert drained == ["slow", "slow"]
