"""What escalation asks about a finding: whether it still waits, who sees it, who inspects."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db.models import QuerySet

from server.findings.models import AT_SCHOOL, Finding
from server.findings.queries import findings_visible_to, inspectors_of_finding
from server.grid.models import User
from server.messaging.escalation import Subject, register_subject
from server.messaging.models import Notice

_WAITS: Mapping[str, tuple[str, ...]] = {
    "finding.opened": AT_SCHOOL,
    "finding.due_soon": AT_SCHOOL,
    "finding.overdue": AT_SCHOOL,
    "finding.returned": (Finding.State.RETURNED,),
    "finding.postponed": AT_SCHOOL,
    "finding.answered": (Finding.State.ANSWERED,),
}
"""The states in which what an event asks for is still to be done; other events only tell something."""


def start() -> None:
    """Tell escalation about findings."""
    register_subject("finding", Subject(waits=_waits, may_see=_may_see, inspectors=_inspectors))


def _waits(notice: Notice) -> bool:
    if notice.subject_id is None:
        return False
    finding = Finding.objects.filter(pk=notice.subject_id).only("state", "due_on").first()
    if finding is None:
        return False
    if notice.event == "finding.overdue" and notice.params["due"] != finding.due_on.isoformat():
        return False  # it got a later deadline, which is told by a notice of its own
    return notice.event not in _WAITS or finding.state in _WAITS[notice.event]


def _may_see(user: User, finding_id: UUID) -> bool:
    return findings_visible_to(user).filter(pk=finding_id).exists()


def _inspectors(finding_id: UUID) -> QuerySet[User]:
    finding = Finding.objects.filter(pk=finding_id).first()
    return inspectors_of_finding(finding) if finding else User.objects.none()
