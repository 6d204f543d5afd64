"""The change feed: nothing is missed, whoever commits first."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction

from server.core import changes
from server.core.changes import Change, changes_after, latest_cursor, record_change
from tests.feed import settle


def seen(cursor: changes.Cursor, *, schools: tuple = (), user_id=None) -> list:
    rows = changes_after(cursor, schools=schools, user_id=user_id or uuid4(), limit=100)
    return [row.object_id for row in rows]


@pytest.mark.django_db(transaction=True)
def test_a_reader_gets_the_changes_of_its_schools_of_itself_and_of_all():
    mine, other, person = uuid4(), uuid4(), uuid4()
    start = latest_cursor()
    objects = [uuid4() for _ in range(4)]
    record_change("visit", objects[0], school_id=mine)
    record_change("visit", objects[1], school_id=other)
    record_change("notice", objects[2], user_ids=[person, uuid4()])
    record_change("instrument", objects[3])
    settle()
    assert seen(start, schools=(mine,), user_id=person) == [objects[0], objects[2], objects[3]]


@pytest.mark.django_db(transaction=True)
def test_a_cursor_resumes_after_the_row_it_names():
    start = latest_cursor()
    for _ in range(3):
        record_change("instrument", uuid4())
    settle()
    first, second, third = changes_after(start, schools=(), user_id=uuid4(), limit=10)
    assert seen((first.txid, first.id)) == [second.object_id, third.object_id]
    assert latest_cursor() == (third.txid, third.id)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has one writer: commits cannot overtake"
)
def test_a_change_that_commits_late_is_not_stepped_over():
    start = latest_cursor()
    early, late = uuid4(), uuid4()
    written, may_commit = threading.Event(), threading.Event()

    def slow_writer() -> None:
        with transaction.atomic():
            record_change("visit", late)
            written.set()
            may_commit.wait(10)
        connections.close_all()

    thread = threading.Thread(target=slow_writer)
    thread.start()
    assert written.wait(10)
    record_change("visit", early)  # a greater number than the slow writer's, committed before it
    assert seen(start) == []  # a plain sequence would give `early` here and lose `late`
    cursor = latest_cursor()
    may_commit.set()
    thread.join()
    settle()
    assert sorted(seen(cursor)) == sorted([early, late])
    assert Change.objects.get(object_id=late).id < Change.objects.get(object_id=early).id
