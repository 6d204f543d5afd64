"""Schools are reminded of deadlines in the morning of working days, each deadline and stage once."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import uuid4

import pytest

from server.core.ids import new_id
from server.findings.models import Finding
from server.findings.reminding import remind
from server.findings.services import Step, act_on_finding, raise_finding
from server.messaging.models import Notice, Reminder
from tests.cast import Cast
from tests.moments import Clock


@pytest.fixture
def finding(cast: Cast, held_clock: Clock) -> Finding:
    """Raised on Monday, 16 November 2026; due on Friday, the 27th."""
    held_clock.set("2026-11-16T10:00")
    finding, _new = raise_finding(
        finding_id=uuid4(),
        by=cast.office,
        school_id=cast.school.pk,
        title="留样不足",
        due_on=date(2026, 11, 27),
    )
    Finding.objects.update(created_at=datetime(2026, 11, 16, 2, tzinfo=UTC))
    Notice.objects.all().delete()
    return finding


def told() -> list[tuple[str, str]]:
    rows = Notice.objects.order_by("id")
    return [(row.event, row.params.get("days", "")) for row in rows]


def test_a_deadline_is_told_three_days_and_one_day_before_and_when_it_is_over(
    finding: Finding, held_clock: Clock
):
    days = {}
    for day in range(17, 31):
        held_clock.set(f"2026-11-{day:02}T08:40")
        before = len(told())
        remind()
        remind()
        if len(told()) > before:
            days[day] = told()[before:]
    assert days == {
        24: [("finding.due_soon", "3")],
        26: [("finding.due_soon", "1")],
        30: [("finding.overdue", "")],  # Monday: nobody is reminded at the weekend
    }


def test_the_school_is_told_and_nobody_else(finding: Finding, held_clock: Clock, cast: Cast):
    held_clock.set("2026-11-26T08:40")
    remind()
    inboxes = Notice.objects.get().deliveries.filter(channel="inbox")
    assert [row.recipient for row in inboxes] == [cast.principal]


@pytest.mark.parametrize("moment", ["2026-11-26T00:00", "2026-11-26T08:29", "2026-11-26T21:30"])
def test_nobody_is_reminded_at_night(finding: Finding, held_clock: Clock, moment):
    held_clock.set(moment)
    assert remind() == 0


def test_a_worker_that_was_away_for_a_day_catches_up(finding: Finding, held_clock: Clock):
    held_clock.set("2026-11-25T15:00")
    remind()
    assert told() == [("finding.due_soon", "2")]


def test_over_a_holiday_the_days_are_working_days(finding: Finding, held_clock: Clock):
    Finding.objects.update(due_on=date(2026, 10, 9))
    Finding.objects.update(created_at=datetime(2026, 9, 1, tzinfo=UTC))
    days = []
    for moment in ("2026-09-28", "2026-09-29", "2026-09-30", "2026-10-01", "2026-10-08"):
        held_clock.set(f"{moment}T09:00")
        if remind():
            days.append(moment)
    assert days == ["2026-09-29", "2026-10-08"]


def test_what_the_school_has_answered_is_reminded_of_no_more(
    finding: Finding, held_clock: Clock, cast: Cast
):
    Finding.objects.update(state="answered")
    held_clock.set("2026-11-26T09:00")
    assert remind() == 0
    held_clock.set("2026-11-30T09:00")
    assert remind() == 0


def test_a_new_deadline_is_reminded_of_anew(finding: Finding, held_clock: Clock, cast: Cast):
    held_clock.set("2026-11-26T09:00")
    assert remind() == 1
    act_on_finding(
        finding_id=finding.pk,
        action_id=new_id(),
        by=cast.office,
        step=Step(action="postpone", due_on=date(2026, 12, 4)),
    )
    assert remind() == 0
    held_clock.set("2026-12-03T09:00")
    assert remind() == 1
    assert Reminder.objects.count() == 2


def test_a_finding_with_a_short_deadline_is_not_reminded_of_on_its_first_day(
    finding: Finding, held_clock: Clock
):
    Finding.objects.update(created_at=datetime(2026, 11, 26, 1, tzinfo=UTC))
    held_clock.set("2026-11-26T10:00")
    assert remind() == 0


def test_a_turn_without_anything_due_costs_the_same_whatever_there_is(
    finding: Finding, held_clock: Clock, django_assert_num_queries
):
    held_clock.set("2026-11-26T09:00")
    remind()
    Finding.objects.bulk_create(
        Finding(
            school=finding.school,
            title="x",
            due_on=date(2027, 3, 1),
            raised_by=finding.raised_by,
        )
        for _row in range(50)
    )
    with django_assert_num_queries(
        8
    ):  # is today worked; 2 × (calendar, rows); overdue in a transaction
        remind()
