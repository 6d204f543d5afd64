"""Two who decide about the same file at the same moment: on SQLite one after the other, on
PostgreSQL truly at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from uuid import uuid4

import pytest
from django.db import connection, transaction

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.care import deleting
from server.care.deleting import PUMP
from server.care.holds import set_hold
from server.care.models import Deletion
from server.care.retention import set_retention
from server.core import clock, work
from server.core.audit import AuditEntry
from server.findings.services import raise_finding
from tests.cast import Cast
from tests.server.care.conftest import answer_with, found

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 0.4


def in_thread(pool: ThreadPoolExecutor, do: Callable[[], object]):
    def run() -> object:
        try:
            return do()
        finally:
            connection.close()

    return pool.submit(run)


@pytest.fixture
def due(expired: MediaObject) -> Deletion:
    """Announced, and its grace period is over."""
    [row] = found()
    moment = clock.now() - timedelta(seconds=1)
    Deletion.objects.update(delete_after=moment, work_due_at=moment)
    row.refresh_from_db()
    return row


def hold_on(name: str, row: Deletion, cast: Cast) -> Callable[[], object]:
    visit = Visit.objects.get(submissions__attachments__media=row.media_id)
    keys = {
        "activity": visit.activity_id,
        "school": visit.school_id,
        "visit": visit.pk,
        "media": row.media_id,
    }
    return lambda: set_hold(target=name, target_id=keys[name], by=cast.office, reason="诉讼")


@pytest.mark.parametrize("name", ["activity", "school", "visit", "media"])
def test_a_hold_that_is_being_set_is_waited_for_and_seen(
    name: str, due: Deletion, cast: Cast
) -> None:
    set_it, told, go = hold_on(name, due, cast), Event(), Event()

    def hold() -> None:
        with transaction.atomic():
            set_it()
            told.set()
            go.wait(10)

    with ThreadPoolExecutor(2) as pool:
        holding = in_thread(pool, hold)
        assert told.wait(10)
        # Its rows are not committed yet: a worker that did not wait would not see them.
        working = in_thread(pool, lambda: work.drain(PUMP))
        go.wait(PATIENCE)
        go.set()
        holding.result(20)
        working.result(20)
    due.refresh_from_db()
    due.media.refresh_from_db()
    assert (due.state, due.kept_code, due.media.state) == ("kept", "held", "ready")


@pytest.mark.parametrize("name", ["activity", "school", "visit", "media"])
def test_a_file_that_is_announced_while_a_hold_is_being_set_stays(
    name: str, expired: MediaObject, cast: Cast, settings
) -> None:
    """The hold finds no deletion to stop, and the announcement no hold: the locks are what is left."""
    settings.DELETION_GRACE_DAYS = 0
    set_it, told, go = hold_on(name, Deletion(media=expired), cast), Event(), Event()

    def hold() -> None:
        with transaction.atomic():
            set_it()
            told.set()
            go.wait(10)

    def announce_and_delete() -> None:
        found()
        work.drain(PUMP)

    with ThreadPoolExecutor(2) as pool:
        holding = in_thread(pool, hold)
        assert told.wait(10)
        working = in_thread(pool, announce_and_delete)
        go.wait(PATIENCE * 2)
        go.set()
        holding.result(20)
        working.result(20)
    expired.refresh_from_db()
    assert expired.state == "ready"
    assert not Deletion.objects.exclude(state="kept").exists()


@pytest.mark.parametrize("name", ["activity", "school", "visit", "media"])
def test_a_hold_that_comes_too_late_finds_the_file_deleted(
    name: str, due: Deletion, cast: Cast, monkeypatch
) -> None:
    begun, go = Event(), Event()
    tell = deleting._tell_phones

    def slowly(media: MediaObject) -> None:
        tell(media)
        begun.set()
        go.wait(10)

    monkeypatch.setattr(deleting, "_tell_phones", slowly)
    with ThreadPoolExecutor(2) as pool:
        working = in_thread(pool, lambda: work.drain(PUMP))
        assert begun.wait(10)
        holding = in_thread(pool, hold_on(name, due, cast))
        go.wait(PATIENCE)
        go.set()
        working.result(20)
        _hold, kept = holding.result(20)
    assert kept == 0
    due.refresh_from_db()
    assert due.state == "deleted"
    started, set_at = (
        AuditEntry.objects.get(action=action).pk for action in ("deletion.started", "hold.set")
    )
    assert started < set_at


def test_a_longer_period_that_is_being_set_is_waited_for(due: Deletion, cast: Cast) -> None:
    told, go = Event(), Event()

    def lengthen() -> None:
        with transaction.atomic():
            set_retention(activity_id=due.activity_id, by=cast.office, keep_days=99, reason="x")
            told.set()
            go.wait(10)

    with ThreadPoolExecutor(2) as pool:
        lengthening = in_thread(pool, lengthen)
        assert told.wait(10)
        working = in_thread(pool, lambda: work.drain(PUMP))
        go.wait(PATIENCE)
        go.set()
        lengthening.result(20)
        working.result(20)
    due.refresh_from_db()
    assert (due.state, due.kept_code) == ("kept", "not_due")


def test_evidence_that_is_being_brought_is_waited_for(due: Deletion, cast: Cast) -> None:
    """The school answers an open problem with the same photo; the worker waits and keeps it."""
    told, go = Event(), Event()
    MediaObject.objects.filter(pk=due.media_id).update(owner=cast.principal)
    problem, _created = raise_finding(
        finding_id=uuid4(),
        by=cast.office,
        school_id=cast.school.pk,
        title="再次发现",
        due_on=clock.today(),
    )

    def claim() -> None:
        with transaction.atomic():
            answer_with(problem, cast.principal, due.media)
            told.set()
            go.wait(10)

    with ThreadPoolExecutor(2) as pool:
        claiming = in_thread(pool, claim)
        assert told.wait(10)
        working = in_thread(pool, lambda: work.drain(PUMP))
        go.wait(PATIENCE)
        go.set()
        claiming.result(20)
        working.result(20)
    due.refresh_from_db()
    assert (due.state, due.kept_code) == ("kept", "not_due")


def test_two_workers_delete_one_file_once(due: Deletion) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = [
            in_thread(pool, lambda: deleting.carry_out(Deletion.objects.get())) for _ in range(4)
        ]
        for run in runs:
            run.result(20)
    due.refresh_from_db()
    assert due.state == "deleted"
    assert AuditEntry.objects.filter(action="media.deleted").count() == 1
    assert AuditEntry.objects.filter(action="deletion.started").count() == 1
