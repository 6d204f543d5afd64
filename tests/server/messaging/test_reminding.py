"""Reminders: each deadline and stage once, whoever looks at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import DateField, Value

from server.grid.models import School
from server.messaging.models import Reminder
from server.messaging.reminding import claim_reminder, not_reminded, remind_each

DAY = date(2026, 11, 27)


def test_a_reminder_is_claimed_once_for_each_day_and_stage(db):
    key = uuid4()
    assert claim_reminder("finding.due_soon", key, day=DAY, stage=3)
    assert not claim_reminder("finding.due_soon", key, day=DAY, stage=3)
    assert claim_reminder("finding.due_soon", key, day=DAY, stage=1)
    assert claim_reminder("finding.due_soon", key, day=date(2026, 11, 28), stage=3)
    assert claim_reminder("finding.overdue", key, day=DAY, stage=3)


def test_what_was_not_told_after_all_is_told_by_the_next(cast):
    """The failure of one leaves no mark, and those before it theirs."""
    rows, told = School.objects.order_by("pk"), []

    def tell(school: School) -> None:
        if len(told) == 1:
            raise RuntimeError("the worker dies")
        told.append(school.pk)

    with pytest.raises(RuntimeError):
        remind_each(rows, tell, event="x", day=lambda school: DAY)
    assert Reminder.objects.count() == 1
    again: list[School] = []
    assert remind_each(rows, again.append, event="x", day=lambda school: DAY) == 2
    assert told[0] not in [school.pk for school in again]


def test_a_row_that_fits_no_more_when_its_turn_comes_is_passed_over(cast):
    def tell(school: School) -> None:
        School.objects.exclude(pk=school.pk).update(is_active=False)

    rows = School.objects.filter(is_active=True)
    assert remind_each(rows, tell, event="x", day=lambda school: DAY) == 1


def test_rows_that_were_told_are_not_found(cast):
    rows = School.objects.annotate(day=Value(DAY, output_field=DateField())).filter(
        not_reminded("x", day="day")
    )
    assert rows.count() == 3
    claim_reminder("x", cast.school.pk, day=DAY)
    assert cast.school not in rows
    assert rows.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_claim_a_reminder_once():
    key, together = uuid4(), Barrier(4)

    def claim() -> bool:
        try:
            together.wait(10)
            with transaction.atomic():
                return claim_reminder("finding.due_soon", key, day=DAY)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        claims = [future.result() for future in [pool.submit(claim) for _worker in range(4)]]
    assert sorted(claims) == [False, False, False, True]
