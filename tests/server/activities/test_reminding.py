"""Teams and offices are reminded of visits that are not done, and phones of files that did not arrive."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from server.activities.models import Activity, Submission, Visit
from server.activities.services.planning import close_activity
from server.activities.services.reminding import remind
from server.messaging.models import Notice
from tests.cast import Cast
from tests.moments import Clock
from tests.server.console.conftest import fill_in


@pytest.fixture
def week(activity: Activity, held_clock: Clock) -> Activity:
    """From Monday to Friday, 16 to 20 November 2026, at all three schools."""
    Activity.objects.update(starts=date(2026, 11, 16), ends=date(2026, 11, 20))
    Notice.objects.all().delete()
    activity.refresh_from_db()
    return activity


def told() -> dict[str, set[str]]:
    """Event → who got it."""
    found: dict[str, set[str]] = {}
    for notice in Notice.objects.all():
        names = notice.deliveries.filter(channel="inbox").values_list("recipient__name", flat=True)
        found.setdefault(notice.event, set()).update(names)
    return found


def test_teams_are_reminded_on_the_last_working_day_before_the_end(
    week: Activity, held_clock: Clock
):
    Visit.objects.filter(school__name__startswith="西山").update(state="reviewed")
    held_clock.set("2026-11-18T09:00")
    assert remind() == 0
    held_clock.set("2026-11-19T09:00")
    assert remind() == 2
    assert remind() == 0
    assert told() == {"visit.due_soon": {"安督学", "卜督学"}}


def test_after_the_end_teams_and_the_office_are_told_once(week: Activity, held_clock: Clock):
    held_clock.set("2026-11-21T09:00")  # a Saturday
    assert remind() == 0
    held_clock.set("2026-11-23T09:00")
    remind()
    remind()
    assert told() == {
        "visit.overdue": {"安督学", "卜督学", "柯督学"},
        "activity.overdue": {"方主任"},
    }
    assert Notice.objects.get(event="activity.overdue").params["count"] == "3"
    held_clock.set("2026-11-24T09:00")
    assert remind() == 0


def test_what_ended_long_ago_is_history(week: Activity, held_clock: Clock):
    held_clock.set("2026-12-28T09:00")
    assert remind() == 0


def test_a_closed_activity_is_reminded_of_no_more(week: Activity, held_clock: Clock, cast: Cast):
    close_activity(activity_id=week.pk, by=cast.office)
    Notice.objects.all().delete()
    held_clock.set("2026-11-23T09:00")
    assert remind() == 0


def test_who_filled_in_is_reminded_of_files_that_did_not_arrive(
    week: Activity, held_clock: Clock, cast: Cast
):
    visit = week.visits.get(school=cast.school)
    submission = fill_in(visit, cast.ada)
    attachment = submission.attachments.get()
    came = datetime(2026, 11, 17, 8, tzinfo=UTC)
    Submission.objects.update(received_at=came)
    held_clock.set("2026-11-18T20:00")
    assert remind() == 0  # the photo is there
    attachment.media = None
    attachment.save()
    Submission.objects.update(received_at=came + timedelta(hours=5))
    assert remind() == 0  # not a day late yet
    Submission.objects.update(received_at=came)
    assert remind() == 1
    assert remind() == 0
    notice = Notice.objects.get()
    assert (notice.event, notice.params["count"]) == ("submission.incomplete", "1")
    assert told()[notice.event] == {"安督学"}
