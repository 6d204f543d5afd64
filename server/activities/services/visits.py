"""What a team does with a visit, and what the office says to it. Every action works once per id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.dispatch import Signal
from django.utils.translation import gettext as _

from server.activities.machine import CHECK_IN, COMPLETE, OFFICE, RETURN, REVIEW, TEAM, VISIT
from server.activities.models import Activity, Visit, VisitAction
from server.activities.queries import planners_of, visits_visible_to
from server.activities.services.planning import record_visit_change
from server.core import clock
from server.core.actions import earlier
from server.core.errors import Invalid, NotFound, Problem, WrongState
from server.grid.models import User
from server.grid.queries import contacts_of, schools_in_office_of
from server.messaging.services import notify

visit_moved = Signal()
"""`visit` (Visit) was checked in, completed, returned or reviewed. Sent inside the transaction."""


class ActivityClosed(WrongState):
    code = "activity_closed"


@dataclass(frozen=True)
class Place:
    """A position by the phone: WGS-84 degrees, accuracy in metres."""

    lat: float
    lon: float
    accuracy_m: float | None = None


@transaction.atomic
def check_in(
    *, visit_id: UUID, action_id: UUID, by: User, at: datetime, place: Place | None
) -> Visit:
    """The team is at the school. An unannounced visit becomes known to the school now.

    `at` is the phone's clock, kept beside ours. Raises NotFound, WrongState, NotAllowed,
    ActivityClosed, ContentConflict.
    """
    content = {"place": _place_json(place)}
    visit, repeated = _act(visit_id, action_id, CHECK_IN, by=by, at=at, content=content)
    if repeated:
        return visit
    visit.checked_in_at = visit.checked_in_at or clock.now()
    if place:
        visit.latitude, visit.longitude = place.lat, place.lon
        visit.accuracy_m = place.accuracy_m
    _save(visit)
    announced = visit.activity.announced
    event = "visit.checked_in" if announced else "visit.checked_in_unannounced"
    _tell(visit, event, contacts_of(visit.school), inspector=by.name)
    return visit


@transaction.atomic
def complete_visit(
    *, visit_id: UUID, action_id: UUID, by: User, at: datetime, summary: str
) -> Visit:
    """The team is done. Raises as `check_in` does."""
    content = {"summary": summary}
    visit, repeated = _act(visit_id, action_id, COMPLETE, by=by, at=at, content=content)
    if not repeated:
        visit.completed_at, visit.summary = clock.now(), summary
        _save(visit)
        _tell(visit, "visit.completed", planners_of(visit.activity), inspector=by.name)
    return visit


@transaction.atomic
def return_visit(*, visit_id: UUID, action_id: UUID, by: User, reason: str) -> Visit:
    """The office wants it done again, and says why. Raises Invalid without a reason."""
    if not reason.strip():
        raise Invalid(problems=[Problem("/reason", "required", _("请写明退回原因。"))])
    content = {"reason": reason}
    visit, repeated = _act(visit_id, action_id, RETURN, by=by, at=None, content=content)
    if not repeated:
        visit.return_reason = reason
        _save(visit)
        _tell_team(visit, "visit.returned", reason=reason)
    return visit


@transaction.atomic
def review_visit(*, visit_id: UUID, action_id: UUID, by: User) -> Visit:
    """The office accepts the visit's records: nothing is filled in on it any more."""
    visit, repeated = _act(visit_id, action_id, REVIEW, by=by, at=None, content={})
    if not repeated:
        visit.reviewed_at = clock.now()
        _save(visit)
        _tell_team(visit, "visit.reviewed")
    return visit


def parts_of(user: User, visit: Visit) -> set[str]:
    """What the person is to the visit, in the machine's words."""
    parts = set()
    if visit.team.filter(pk=user.pk).exists():
        parts.add(TEAM)
    if schools_in_office_of(user).filter(pk=visit.school_id).exists():
        parts.add(OFFICE)
    return parts


def _act(
    visit_id: UUID,
    action_id: UUID,
    action: str,
    *,
    by: User,
    at: datetime | None,
    content: dict[str, Any],
) -> tuple[Visit, bool]:
    """Scope, lock, then decide. True: the same action was done before, and nothing is to do."""
    rows = visits_visible_to(by).select_related("activity__area", "school__area")
    visit = rows.select_for_update(of=("self",)).filter(pk=visit_id).first()
    if visit is None:
        raise NotFound
    if earlier(
        VisitAction.objects.filter(visit=visit),
        action_id=action_id,
        action=action,
        by=by,
        content=content,
    ):
        return visit, True
    to_state = VISIT.step(visit.state, action, parts_of(by, visit))
    if visit.activity.state == Activity.State.CLOSED:
        raise ActivityClosed(_("活动“%s”已结束。如需补做，请联系督导办。") % visit.activity)
    VisitAction.objects.create(
        id=action_id,
        visit=visit,
        action=action,
        by=by,
        at=at or clock.now(),
        from_state=visit.state,
        to_state=to_state,
        content=content,
    )
    visit.state = to_state
    return visit, False


def _save(visit: Visit) -> None:
    visit.save()
    record_visit_change(visit, visit.activity)
    visit_moved.send(Visit, visit=visit)


def _tell_team(visit: Visit, event: str, **words: str) -> None:
    _tell(visit, event, visit.team.all(), **words)


def _tell(visit: Visit, event: str, recipients: QuerySet[User], **words: str) -> None:
    notify(
        event,
        recipients=recipients,
        subject=("visit", visit.pk),
        school=visit.school,
        activity=visit.activity.title,
        **words,  # type: ignore[arg-type]  # all of them texts of the event
    )


def _place_json(place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    return {"lat": place.lat, "lon": place.lon, "accuracy_m": place.accuracy_m}
