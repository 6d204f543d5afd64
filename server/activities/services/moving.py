"""Changing what was published: an activity's days, a visit's team. Who counted on it is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.activities.machine import OPEN_STATES
from server.activities.models import Activity, Visit
from server.activities.queries import activities_managed_by, visits_visible_to
from server.activities.services.planning import record_visit_change
from server.core.audit import audit_action, record_audit
from server.core.changes import record_change
from server.core.errors import Invalid, NotFound, Problem, WrongState
from server.grid.models import Membership, User, in_term
from server.grid.queries import contacts_of, people_visible_to
from server.messaging.services import notify

ACTIVITY_MOVED = audit_action("activity.moved", gettext_lazy("调整活动日期"))
TEAM_CHANGED = audit_action("visit.team_changed", gettext_lazy("改派任务"))


@transaction.atomic
def move_activity(
    *, activity_id: UUID, by: User, starts: date, ends: date, reason: str
) -> Activity:
    """Give a published activity other days, and tell teams (and schools that know) of open visits.

    The same days again change nothing. Raises NotFound, WrongState, Invalid.
    """
    rows = activities_managed_by(by).select_for_update(of=("self",))
    activity = rows.filter(pk=activity_id).first()
    if activity is None:
        raise NotFound
    if activity.state != Activity.State.PUBLISHED:
        raise WrongState(_("只能调整已发布、未结束的活动。"))
    if ends < starts:
        raise _invalid("/ends", "before_start", _("结束日期不能早于开始日期。"))
    if not reason.strip():
        raise _invalid("/reason", "required", _("请写明原因。"))
    before = (activity.starts, activity.ends)
    if before == (starts, ends):
        return activity
    activity.starts, activity.ends = starts, ends
    activity.keep_media_for(activity.keep_media_days)
    activity.save(update_fields=["starts", "ends", "keep_media_days", "media_kept_until"])
    for visit in activity.visits.select_related("school__area", "activity").order_by("pk"):
        record_visit_change(visit, activity)
        if visit.state in OPEN_STATES:
            _tell_moved(visit, activity, reason)
    record_audit(
        ACTIVITY_MOVED,
        by=by,
        subject=("activity", activity.pk),
        activity_id=activity.pk,
        details={
            "activity": activity.title,
            "before": " — ".join(day.isoformat() for day in before),
            "until": f"{starts.isoformat()} — {ends.isoformat()}",
            "reason": reason,
        },
    )
    return activity


@transaction.atomic
def change_team(*, visit_id: UUID, by: User, team: Sequence[UUID]) -> Visit:
    """Give an open visit another team. Who joins, who leaves, and a school that knows are told.

    The same team again changes nothing. Raises NotFound (a visit of others), WrongState, Invalid.
    """
    mine = Visit.objects.filter(
        pk__in=visits_visible_to(by).values("pk"),
        activity__in=activities_managed_by(by).values("pk"),
    ).select_related("activity", "school__area")
    visit = mine.select_for_update(of=("self",)).filter(pk=visit_id).first()
    if visit is None:
        raise NotFound
    running = visit.activity.state == Activity.State.PUBLISHED
    if not running or visit.state not in OPEN_STATES:
        raise WrongState(_("任务已完成，或活动已结束，不能改派。"))
    chosen = {person.pk: person for person in assignable_by(by, visit).filter(pk__in=team)}
    if not team or len(chosen) != len(set(team)):
        raise _invalid("/team", "unknown", _("请选择本单位可以安排的督学。"))
    before = {person.pk: person for person in visit.team.all()}
    joining = [person for key, person in chosen.items() if key not in before]
    leaving = [person for key, person in before.items() if key not in chosen]
    if not joining and not leaving:
        return visit
    visit.team.set(chosen.values())
    record_visit_change(visit, visit.activity)
    record_change("visit", visit.pk, user_ids=[person.pk for person in leaving])
    _tell_team(visit, list(chosen.values()), joining, leaving)
    record_audit(
        TEAM_CHANGED,
        by=by,
        subject=("visit", visit.pk),
        school_id=visit.school_id,
        activity_id=visit.activity_id,
        details={"before": _names(before.values()), "target": _names(chosen.values())},
    )
    return visit


def assignable_by(by: User, visit: Visit) -> QuerySet[User]:
    """Inspectors whom the person sees as an office, and those who are on the team already."""
    inspectors = Membership.objects.filter(
        in_term(), user=OuterRef("pk"), role=Membership.Role.INSPECTOR
    )
    people = people_visible_to(by).filter(Exists(inspectors), is_active=True)
    on_team = visit.team.values("pk")
    return User.objects.filter(pk__in=people.values("pk")) | User.objects.filter(pk__in=on_team)


def _tell_moved(visit: Visit, activity: Activity, reason: str) -> None:
    recipients = set(visit.team.all())
    if activity.announced:
        recipients |= set(contacts_of(visit.school))
    _tell(visit, "visit.moved", recipients, **_period(activity), reason=reason)


def _tell_team(
    visit: Visit, team: Sequence[User], joining: Sequence[User], leaving: Sequence[User]
) -> None:
    if joining:
        _tell(visit, "visit.assigned", joining, **_period(visit.activity))
    if leaving:  # without a subject: what they may not see any more cannot be opened
        _tell(visit, "visit.unassigned", leaving, subject=None)
    if visit.activity.announced or visit.checked_in_at:
        _tell(visit, "visit.team_changed", contacts_of(visit.school), inspector=_names(team))


def _tell(visit: Visit, event: str, recipients: Iterable[User], **words: Any) -> None:
    notify(
        event,
        recipients=recipients,
        **{"subject": ("visit", visit.pk), **words},
        school=visit.school,
        activity=visit.activity.title,
    )


def _period(activity: Activity) -> dict[str, str]:
    return {"starts": activity.starts.isoformat(), "ends": activity.ends.isoformat()}


def _names(people: Iterable[User]) -> str:
    return "、".join(sorted(str(person) for person in people))


def _invalid(pointer: str, code: str, detail: str) -> Invalid:
    return Invalid(problems=[Problem(pointer, code, detail)])
