"""Reminding of visits that are not done and of files that did not arrive, in the morning of working days."""

from __future__ import annotations

from datetime import date, timedelta

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.timezone import localdate

from server.activities.machine import OPEN_STATES
from server.activities.models import Activity, Submission, SubmissionAttachment, Visit
from server.activities.queries import missing, planners_of
from server.core import clock
from server.grid.workdays import add_workdays, is_reminding_time
from server.messaging.reminding import not_reminded, remind_each
from server.messaging.services import notify

DAYS_BEFORE = 1
"""Working days before an activity's end at which teams are reminded."""
LATE_FOR_DAYS = 30
"""What ended longer ago is history: nobody is reminded of it when this is installed."""
INCOMPLETE_AFTER = timedelta(hours=24)
INCOMPLETE_FOR = timedelta(days=14)


def remind() -> int:
    """Everything below, if it is time for reminders. Returns how many were told."""
    if not is_reminding_time():
        return 0
    return tell_due_soon() + tell_overdue() + tell_planners() + tell_incomplete()


def tell_due_soon() -> int:
    """Teams whose visit is still to be done when its activity is about to end."""
    today = clock.today()
    rows = Visit.objects.filter(
        not_reminded("visit.due_soon", day="activity__ends"),
        state__in=OPEN_STATES,
        activity__state=Activity.State.PUBLISHED,
        activity__ends__gte=today,
        activity__ends__lte=add_workdays(today, DAYS_BEFORE),
        activity__starts__lt=today,  # a short activity has just told its end
    )
    return _remind_teams(rows.select_related("activity", "school__area"), "visit.due_soon")


def tell_overdue() -> int:
    """Teams whose visit is still to be done after its activity's last day."""
    rows = Visit.objects.filter(
        not_reminded("visit.overdue", day="activity__ends"),
        state__in=OPEN_STATES,
        activity__in=_ended().values("pk"),
    )
    return _remind_teams(rows.select_related("activity", "school__area"), "visit.overdue")


def tell_planners() -> int:
    """Offices whose activity ended with visits that are not done: once, with how many."""
    undone = Visit.objects.filter(activity=OuterRef("pk"), state__in=OPEN_STATES)
    rows = _ended().filter(Exists(undone), not_reminded("activity.overdue", day="ends"))
    return remind_each(
        rows.select_related("area"), _tell_planners, event="activity.overdue", day=_ends
    )


def tell_incomplete() -> int:
    """Who filled in what still lacks files a day after it came."""
    moment = clock.now()
    recent = Activity.objects.filter(
        state=Activity.State.PUBLISHED, ends__gte=clock.today() - INCOMPLETE_FOR
    )
    lacking = SubmissionAttachment.objects.filter(missing(), submission=OuterRef("pk"))
    rows = Submission.objects.filter(
        Exists(lacking),
        not_reminded("submission.incomplete", day="received_at__date"),
        visit__activity__in=recent.values("pk"),
        received_at__lte=moment - INCOMPLETE_AFTER,
        received_at__gte=moment - INCOMPLETE_FOR,
    )
    return remind_each(
        rows.select_related("visit__activity", "visit__school__area", "sender").defer("raw"),
        _tell_sender,
        event="submission.incomplete",
        day=lambda row: localdate(row.received_at),
    )


def _ended() -> QuerySet[Activity]:
    today = clock.today()
    return Activity.objects.filter(
        state=Activity.State.PUBLISHED,
        ends__lt=today,
        ends__gte=today - timedelta(days=LATE_FOR_DAYS),
    )


def _ends(activity: Activity) -> date:
    return activity.ends


def _remind_teams(rows: QuerySet[Visit], event: str) -> int:
    def tell(visit: Visit) -> None:
        notify(
            event,
            recipients=visit.team.all(),
            subject=("visit", visit.pk),
            school=visit.school,
            activity=visit.activity.title,
            ends=visit.activity.ends.isoformat(),
        )

    return remind_each(rows, tell, event=event, day=lambda visit: visit.activity.ends)


def _tell_planners(activity: Activity) -> None:
    undone = activity.visits.filter(state__in=OPEN_STATES).count()
    notify(
        "activity.overdue",
        recipients=planners_of(activity),
        subject=("activity", activity.pk),
        area=activity.area,
        activity=activity.title,
        ends=activity.ends.isoformat(),
        count=str(undone),
    )


def _tell_sender(submission: Submission) -> None:
    visit = submission.visit
    assert visit  # noqa: S101 - asked for above
    notify(
        "submission.incomplete",
        recipients=[submission.sender],
        subject=("visit", visit.pk),
        school=visit.school,
        activity=visit.activity.title,
        count=str(submission.attachments.filter(missing()).count()),
    )
