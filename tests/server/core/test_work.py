"""The state row is the queue: claims, failures, leases, hints."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django_tasks_db.models import DBTaskResult

from media_storage.models import MediaObject
from server.core import clock, work
from server.core.work import PermanentFailure, Pump, TemporaryFailure

pytestmark = pytest.mark.django_db


def make_row(**values: object) -> MediaObject:
    defaults = {"filename": "a.jpg", "content_type": "image/jpeg", "size": 1, "sha256": "0" * 64}
    return MediaObject.objects.create(work_due_at=clock.now(), **{**defaults, **values})


def pump_for(handle, **values: object) -> Pump:
    return Pump(name="under test", rows=MediaObject.objects.all, handle=handle, **values)


def end_leases() -> None:
    MediaObject.objects.update(work_due_at=clock.now() - timedelta(seconds=1))


def fail_with(failure: Exception):
    def handle(row: MediaObject) -> None:
        raise failure

    return handle


def test_a_row_is_done_once_and_then_has_nothing_due():
    row, done = make_row(), []
    pump = pump_for(done.append)
    assert work.drain(pump) == 1
    assert work.drain(pump) == 0
    assert done == [row]
    row.refresh_from_db()
    assert (row.work_due_at, row.work_error, row.work_attempts) == (None, "", 0)


def test_a_claimed_row_is_not_claimed_again_before_its_lease_ends():
    make_row()
    pump = pump_for(lambda row: None)
    assert len(work.claim(pump)) == 1
    assert work.claim(pump) == []


def test_a_lease_that_ran_out_gives_the_row_to_another_worker():
    row = make_row()
    pump = pump_for(lambda row: None)
    [lost] = work.claim(pump)
    MediaObject.objects.update(work_due_at=clock.now() - timedelta(seconds=1))
    [taken] = work.claim(pump)
    work.run(pump, lost)  # the first worker wakes up: the row is no longer its own
    row.refresh_from_db()
    assert row.work_due_at == taken.work_due_at


def test_a_temporary_failure_comes_again_later():
    row = make_row()
    work.drain(pump_for(fail_with(TemporaryFailure("away", retry_after=30))))
    row.refresh_from_db()
    assert row.work_due_at >= clock.now() + timedelta(seconds=29)
    assert (row.work_error, row.work_dead_at) == ("away", None)


def test_a_permanent_failure_leaves_a_dead_row_with_its_reason():
    row, given_up = make_row(), []
    pump = pump_for(
        fail_with(PermanentFailure("gone")), given_up=lambda row, why: given_up.append(why)
    )
    work.drain(pump)
    row.refresh_from_db()
    assert row.work_due_at is None
    assert row.work_dead_at is not None
    assert (row.work_error, given_up) == ("gone", ["gone"])


def test_an_unexpected_error_is_tried_again_until_the_attempts_are_used_up(caplog):
    row = make_row()
    pump = pump_for(fail_with(KeyError("bug")), max_attempts=2, backoff_seconds=0)
    work.drain(pump)
    row.refresh_from_db()
    assert row.work_attempts == 2
    assert row.work_dead_at is not None
    assert "KeyError" in row.work_error


def test_a_dead_row_can_be_given_a_new_life():
    row = make_row()
    work.drain(pump_for(fail_with(PermanentFailure("gone"))))
    assert work.retry_dead(MediaObject.objects.all()) == 1
    assert work.drain(pump_for(lambda row: None)) == 1
    row.refresh_from_db()
    assert row.work_dead_at is None


def test_a_row_whose_work_kills_its_worker_every_time_ends_as_a_dead_row():
    row, done, given_up = make_row(), [], []
    pump = pump_for(done.append, max_lost=3, given_up=lambda row, why: given_up.append(why))
    for _ in range(3):
        [_row] = work.claim(pump)  # and the worker is gone
        end_leases()
    assert work.drain(pump) == 1
    row.refresh_from_db()
    assert row.work_due_at is None
    assert row.work_dead_at is not None
    assert "3 workers in a row died" in row.work_error
    assert (done, given_up) == ([], [row.work_error])

    work.retry_dead(MediaObject.objects.all())
    assert work.drain(pump) == 1
    assert done == [row]


def test_a_row_that_was_with_a_worker_that_died_goes_alone():
    first = make_row()
    others = [make_row() for _ in range(3)]
    pump = pump_for(lambda row: None, batch=4)
    assert len(work.claim(pump)) == 4
    end_leases()
    assert work.claim(pump) == [first]
    assert work.drain(pump) == 3
    lost = dict(MediaObject.objects.values_list("pk", "work_lost"))
    assert [lost[row.pk] for row in (first, *others)] == [2, 0, 0, 0]
    make_row()
    MediaObject.objects.filter(pk=others[2].pk).update(work_due_at=clock.now(), work_lost=1)
    assert [len(work.claim(pump)) for _ in range(2)] == [1, 1]  # in front of a suspect too


def test_failures_that_are_told_are_no_deaths():
    row = make_row()
    pump = pump_for(fail_with(TemporaryFailure("away")), max_attempts=40, max_lost=2)
    for attempt in range(1, 10):
        MediaObject.objects.update(work_due_at=clock.now())
        assert work.drain(pump) == 1
        row.refresh_from_db()
        assert (row.work_attempts, row.work_lost, row.work_dead_at) == (attempt, 0, None)


def test_a_lease_is_begun_anew_by_work_of_several_steps():
    row = make_row()
    pump = pump_for(lambda row: None)
    [claimed] = work.claim(pump)
    MediaObject.objects.update(work_due_at=clock.now() + timedelta(seconds=1))
    claimed.refresh_from_db()
    assert work.renew(pump, claimed)
    row.refresh_from_db()
    assert row.work_due_at == claimed.work_due_at > clock.now() + timedelta(seconds=50)
    work.run(pump, claimed)
    row.refresh_from_db()
    assert row.work_due_at is None


def test_a_lease_that_went_to_somebody_else_is_not_begun_anew():
    make_row()
    pump = pump_for(lambda row: None)
    [lost] = work.claim(pump)
    end_leases()
    [taken] = work.claim(pump)
    assert not work.renew(pump, lost)
    assert MediaObject.objects.get().work_due_at == taken.work_due_at


@pytest.mark.django_db(transaction=True)
def test_hints_are_coalesced_and_the_sweep_finds_what_they_left():
    from server.core import schedule

    work._last_hint.clear()
    for _ in range(5):
        work.wake("media")
    assert DBTaskResult.objects.count() == 1
    DBTaskResult.objects.all().delete()
    schedule.sweep()
    assert DBTaskResult.objects.count() == 0  # nothing is due
    make_row()
    schedule.sweep()
    assert DBTaskResult.objects.count() == 1


def test_hints_of_earlier_days_are_forgotten():
    work.drain_task.enqueue("media")
    assert work.forget_hints() == 0
    DBTaskResult.objects.update(enqueued_at=clock.now() - timedelta(days=2))
    assert work.forget_hints() == 1


def test_a_lease_is_prolonged_while_the_work_goes_on():
    row, ends = make_row(), []

    def handle(row: MediaObject) -> None:
        MediaObject.objects.update(work_due_at=row.work_due_at)
        for _ in range(2):
            work.extend(pump, row)
            ends.append(MediaObject.objects.get().work_due_at)

    pump = pump_for(handle)
    assert work.drain(pump) == 1
    assert ends == sorted(ends)
    row.refresh_from_db()
    assert row.work_due_at is None


def test_who_lost_the_lease_is_told_so_and_changes_nothing():
    make_row()
    pump = pump_for(lambda row: work.extend(pump, row))
    [lost] = work.claim(pump)
    MediaObject.objects.update(work_due_at=clock.now() - timedelta(seconds=1))
    [taken] = work.claim(pump)
    with pytest.raises(work.LeaseLost):
        work.extend(pump, lost)
    work.run(pump, lost)
    row = MediaObject.objects.get()
    assert (row.work_due_at, row.work_error) == (taken.work_due_at, "")


def test_an_interrupted_try_does_not_count():
    make_row()
    work.drain(pump_for(fail_with(work.Interrupted())), seconds=0.01)
    row = MediaObject.objects.get()
    assert row.work_attempts == 0
    assert row.work_due_at <= clock.now()
    assert row.work_error == ""


def test_a_slow_pump_is_left_to_its_own_thread(monkeypatch):
    from server.core import schedule

    make_row()
    monkeypatch.setattr(work, "_pumps", {})
    work.register(pump_for(lambda row: None, slow=True))
    schedule.sweep()
    assert not DBTaskResult.objects.exists()
    monkeypatch.setattr(work, "_pumps", {})
    work.register(pump_for(lambda row: None))
    schedule.sweep()
    assert DBTaskResult.objects.count() == 1
