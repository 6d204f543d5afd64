"""What escalation asks about a visit: whether it still waits, who sees it, who inspects."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db.models import QuerySet

from server.activities.machine import OPEN_STATES
from server.activities.models import Activity, Visit
from server.activities.queries import visits_visible_to
from server.grid.models import User
from server.messaging.escalation import Subject, register_subject
from server.messaging.models import Notice

State = Visit.State

_WAITS: Mapping[str, tuple[str, ...]] = {
    "visit.assigned": (State.ASSIGNED,),
    "visit.announced": (State.ASSIGNED,),
    "visit.moved": (State.ASSIGNED,),
    "visit.due_soon": OPEN_STATES,
    "visit.overdue": OPEN_STATES,
    "visit.returned": (State.RETURNED,),
    "visit.completed": (State.COMPLETED,),
}
"""The states in which what an event asks for is still to be done; other events only tell something."""


def start() -> None:
    """Tell escalation about visits."""
    register_subject("visit", Subject(waits=_waits, may_see=_may_see, inspectors=_team))


def _waits(notice: Notice) -> bool:
    if notice.subject_id is None:
        return False
    visit = Visit.objects.filter(pk=notice.subject_id).select_related("activity").first()
    if visit is None:
        return False
    if notice.event == "visit.overdue" and notice.params["ends"] != visit.activity.ends.isoformat():
        return False  # it was given more time
    if notice.event not in _WAITS:
        return True
    running = visit.activity.state == Activity.State.PUBLISHED
    return running and visit.state in _WAITS[notice.event]


def _may_see(user: User, visit_id: UUID) -> bool:
    return visits_visible_to(user).filter(pk=visit_id).exists()


def _team(visit_id: UUID) -> QuerySet[User]:
    return User.objects.filter(visits=visit_id, is_active=True)
