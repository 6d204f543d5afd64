"""Writers that commit out of order, phones that sync all the time: no phone misses a change.

Real threads and transactions on PostgreSQL. Every run draws a seed and prints it; DUXUE_SEED repeats
the writers' choices and pauses (the scheduler's own cannot be repeated).
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections, transaction

from server.core import changes
from server.core.changes import Change, changes_after, latest_cursor, record_change
from server.grid.models import User
from server.messaging.models import Notice
from server.messaging.services import notify
from tests.cast import Cast
from tests.clients import Phone
from tests.feed import settle

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="SQLite has one writer: commits cannot overtake"
    ),
]

Job = Callable[[threading.Event], Any]

WRITERS, READERS = 4, 3
SECONDS = 5.0


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("DUXUE_SEED") or random.randrange(2**32))
    print(f"DUXUE_SEED={chosen}")  # noqa: T201 - shown where the test fails
    return chosen


@dataclass
class Reader:
    """A phone in its barest form: a cursor, and how often it was told of each object."""

    school: UUID
    cursor: changes.Cursor
    seen: dict[UUID, int] = field(default_factory=dict)

    def read(self, limit: int) -> bool:
        """One page; False at the end."""
        rows = changes_after(self.cursor, schools=[self.school], user_id=self.school, limit=limit)
        for row in rows:
            self.seen[row.object_id] = self.seen.get(row.object_id, 0) + 1
        if rows:
            self.cursor = (rows[-1].txid, rows[-1].pk)
        return bool(rows)

    def read_all(self) -> None:
        while self.read(100):
            pass


def write_out_of_order(school: UUID, choose: random.Random, stop: threading.Event) -> list[UUID]:
    """Transactions of some changes, with pauses between change and commit; some are rolled back."""
    written: list[UUID] = []
    while not stop.is_set():
        objects = [uuid4() for _ in range(choose.randint(1, 3))]
        with transaction.atomic():
            for each in objects:
                record_change("visit", each, school_id=school)
                stop.wait(choose.choice([0, 0, 0.001, 0.01, 0.03]))
            if given_up := choose.random() < 0.1:
                transaction.set_rollback(True)
        written += [] if given_up else objects
    return written


def read_on(reader: Reader, choose: random.Random, stop: threading.Event) -> None:
    while not stop.is_set():
        reader.read(choose.choice([1, 3, 100]))


def run_together(writers: list[Job], readers: list[Job], *, seconds: float) -> list[Any]:
    """What the writers returned. All stop when the time is up, or when one of them fails."""
    stop = threading.Event()

    def guarded(job: Job) -> Any:
        try:
            return job(stop)
        except BaseException:
            stop.set()
            raise
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(writers) + len(readers)) as pool:
        running = [pool.submit(guarded, job) for job in [*writers, *readers]]
        stop.wait(seconds)
        stop.set()
        return [each.result() for each in running][: len(writers)]


def race(seed: int, *, seconds: float) -> tuple[set[UUID], list[Reader]]:
    """Writers and readers of one school for a while; what was committed, and who saw what."""
    school, start = uuid4(), latest_cursor()
    readers = [Reader(school, start) for _ in range(READERS)]
    written = run_together(
        [
            partial(write_out_of_order, school, random.Random(f"{seed}-w{n}"))
            for n in range(WRITERS)
        ],
        [partial(read_on, r, random.Random(f"{seed}-r{n}")) for n, r in enumerate(readers)],
        seconds=seconds,
    )
    settle()
    for reader in readers:
        reader.read_all()
    return {each for some in written for each in some}, readers


def test_no_reader_misses_a_change_or_gets_one_twice(seed: int):
    committed, readers = race(seed, seconds=SECONDS)
    assert len(committed) > 100
    for reader in readers:
        assert reader.seen.keys() == committed
        assert set(reader.seen.values()) == {1}


def test_without_the_horizon_a_change_is_missed(seed: int):
    """The proof that the test above can fail: a plain sequence as the cursor loses changes."""
    plain = mock.patch.multiple(changes, _settled=lambda rows: rows, changes_after=by_sequence)
    with plain, mock.patch(f"{__name__}.changes_after", by_sequence):
        for attempt in range(5):
            committed, readers = race(seed + attempt, seconds=2)
            if any(committed - reader.seen.keys() for reader in readers):
                return
    raise AssertionError("a cursor without a horizon missed nothing: the race is too tame")


def by_sequence(
    cursor: changes.Cursor, *, schools: list[UUID], user_id: UUID, limit: int
) -> list[Change]:
    """What one would write first: rows with a greater number."""
    rows = Change.objects.filter(school_id__in=schools, pk__gt=cursor[1])
    return list(rows.order_by("pk")[:limit])


# ---- the same as phones see it ------------------------------------------------------------------


def tell_out_of_order(cast: Cast, choose: random.Random, stop: threading.Event) -> list[str]:
    """Notices to two inspectors, each in a transaction that takes its time."""
    told: list[str] = []
    while not stop.is_set():
        with transaction.atomic():
            notice = notify(
                "announcement",
                recipients=[cast.ada, cast.bruno],
                created_by=cast.office,
                title=f"通知 {len(told)}",
                body="内容",
            )
            stop.wait(choose.choice([0, 0.005, 0.02, 0.05]))
        told.append(str(notice.pk))
    return told


def logged_in(user: User) -> Phone:
    """Not the fixture `phone`, for which the feed has no horizon: it is what is under test here."""
    phone = Phone()
    phone.log_in(user.username)
    return phone


def sync_on(phone: Phone, copy: dict[str, int], cursors: list[str], stop: threading.Event) -> None:
    while not stop.is_set():
        sync_once(phone, copy, cursors)


def sync_once(phone: Phone, copy: dict[str, int], cursors: list[str]) -> None:
    """All pages from the last cursor on; counts how often each notice came."""
    found, cursor = phone.sync(cursors[-1], limit=7)
    cursors.append(cursor)
    for change in found:
        if change["type"] == "notice" and change["op"] == "put":
            copy[change["id"]] = copy.get(change["id"], 0) + 1


def test_no_phone_misses_a_notice_while_it_syncs_all_the_time(seed: int, cast: Cast):
    phones = [logged_in(user) for user in (cast.ada, cast.bruno, cast.ada)]
    copies: list[dict[str, int]] = [{} for _ in phones]
    cursors = [[each.sync()[1]] for each in phones]
    told = run_together(
        [partial(tell_out_of_order, cast, random.Random(f"{seed}-{n}")) for n in range(WRITERS)],
        [partial(sync_on, *each) for each in zip(phones, copies, cursors, strict=True)],
        seconds=SECONDS,
    )
    settle()
    for each in zip(phones, copies, cursors, strict=True):
        sync_once(*each)
    everything = {notice for some in told for notice in some}
    assert len(everything) > 50
    assert everything == {str(pk) for pk in Notice.objects.values_list("pk", flat=True)}
    for copy in copies:
        assert copy.keys() == everything
        assert set(copy.values()) == {1}
