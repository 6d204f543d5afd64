"""Raising findings, moving them through rectification, and telling who must know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.dispatch import Signal
from django.utils.translation import gettext_lazy as _

from media_storage.models import MediaObject
from server.activities.queries import schools_known_to, visits_visible_to
from server.core import clock
from server.core.actions import earlier
from server.core.changes import record_change
from server.core.errors import ContentConflict, Invalid, NotAllowed, NotFound, Problem
from server.findings import machine
from server.findings.machine import FINDING, INSPECTOR, OFFICE, SCHOOL
from server.findings.models import AT_SCHOOL, Finding, FindingAction
from server.findings.queries import findings_visible_to, inspectors_of_finding
from server.grid.models import Appointment, Membership, School, User, in_term
from server.grid.queries import contacts_of, schools_in_office_of
from server.grid.workdays import workdays_between
from server.messaging.services import notify

step_taken = Signal()
"""`action` (FindingAction) was recorded, with its photos. Sent inside the transaction."""


class EvidenceMissing(Invalid):
    code = "evidence_missing"


@dataclass(frozen=True, kw_only=True)
class Step:
    """What somebody does to a finding: which of these an action needs, `_NEEDS` says."""

    action: str
    note: str = ""
    measures: str = ""
    media: Sequence[UUID] = ()
    due_on: date | None = None

    def content(self) -> dict[str, Any]:
        return {
            "note": self.note,
            "measures": self.measures,
            "media": sorted(str(media_id) for media_id in self.media),
            "due": self.due_on.isoformat() if self.due_on else None,
        }


@transaction.atomic
def raise_finding(
    *,
    finding_id: UUID,
    by: User,
    school_id: UUID,
    title: str,
    due_on: date,
    detail: str = "",
    severity: str = Finding.Severity.MINOR,
    visit_id: UUID | None = None,
) -> tuple[Finding, bool]:
    """Enter a finding by hand. True: it is new; the same again answers with the stored one.

    Raises NotFound (a school or visit that one may not see), NotAllowed, Invalid, ContentConflict.
    """
    school = schools_known_to(by).filter(pk=school_id).first()
    if school is None:
        raise NotFound(_("找不到这所学校，或您无权查看。"))
    visit = visits_visible_to(by).filter(pk=visit_id, school=school).first() if visit_id else None
    if visit_id and visit is None:
        raise NotFound(_("找不到这个任务，或它不属于这所学校。"))
    if not _parts_at(by, school, visit_id) & {INSPECTOR, OFFICE}:
        raise NotAllowed(_("只有责任督学和督导办可以提出问题。"))
    values = {
        "school": school,
        "visit": visit,
        "activity": visit.activity if visit else None,
        "title": title,
        "detail": detail,
        "severity": severity,
        "due_on": due_on,
        "raised_by": by,
    }
    finding, created = Finding.objects.get_or_create(pk=finding_id, defaults=values)
    if created:
        announce_finding(finding)
    elif any(getattr(finding, name) != value for name, value in _original(values).items()):
        raise ContentConflict(_("此编号已用于另一个问题。"))
    return finding, created


@transaction.atomic
def act_on_finding(
    *, finding_id: UUID, action_id: UUID, by: User, step: Step, at: datetime | None = None
) -> Finding:
    """Take a step of the machine FINDING once per action id; tell the other side.

    Raises NotFound, WrongState, NotAllowed, Invalid, EvidenceMissing, ContentConflict.
    Source: order 624, art. 21-22.
    """
    rows = findings_visible_to(by).select_related("school", "activity", "visit")
    finding = rows.select_for_update(of=("self",)).filter(pk=finding_id).first()
    if finding is None:
        raise NotFound
    done = earlier(
        FindingAction.objects.filter(finding=finding),
        action_id=action_id,
        action=step.action,
        by=by,
        content=step.content(),
    )
    if done:
        return finding
    to_state = FINDING.step(finding.state, step.action, parts_of(by, finding))
    _check_step(step)
    _record(finding, step, to_state, action_id=action_id, by=by, at=at)
    _apply(finding, step, to_state)
    _tell(finding, step)
    return finding


def announce_finding(finding: Finding) -> None:
    """Tell the school of a new finding. In the transaction that wrote it."""
    record_change("finding", finding.pk, school_id=finding.school_id)
    _notify(finding, "finding.opened", contacts_of(finding.school), due=_due(finding))


def parts_of(user: User, finding: Finding) -> set[str]:
    """What the person is to the finding, in the machine's words."""
    return _parts_at(user, finding.school, finding.visit_id)


@transaction.atomic
def tell_overdue() -> int:
    """Tell school and inspector of what became overdue. Once per deadline. Returns how many."""
    day = clock.today()
    rows = Finding.objects.filter(state__in=AT_SCHOOL, due_on__lt=day).exclude(
        overdue_told_on__isnull=False
    )
    locked = list(rows.select_related("school__area").select_for_update(of=("self",))[:500])
    for finding in locked:
        _notify(finding, "finding.overdue", _both_sides(finding), due=_due(finding))
    Finding.objects.filter(pk__in=[row.pk for row in locked]).update(overdue_told_on=day)
    return len(locked)


def tell_due_soon(finding: Finding) -> None:
    """Remind the school of a deadline that is near. In a transaction."""
    days = max(workdays_between(clock.today(), finding.due_on), 0)
    school = contacts_of(finding.school)
    _notify(finding, "finding.due_soon", school, due=_due(finding), days=str(days))


def _parts_at(user: User, school: School, visit_id: UUID | None) -> set[str]:
    parts = set()
    memberships = Membership.objects.filter(in_term(), user=user, school=school)
    if memberships.filter(role=Membership.Role.SCHOOL_CONTACT).exists():
        parts.add(SCHOOL)
    appointed = Appointment.objects.filter(in_term(), inspector=user, school=school)
    if appointed.exists() or (visit_id and user.visits.filter(pk=visit_id).exists()):
        parts.add(INSPECTOR)
    if schools_in_office_of(user).filter(pk=school.pk).exists():
        parts.add(OFFICE)
    return parts


_NEEDS = {
    machine.ANSWER: "measures",
    machine.RETURN: "note",
    machine.WITHDRAW: "note",
    machine.REOPEN: "note",
    machine.POSTPONE: "due_on",
}
_MISSING = {
    "measures": ("/measures", _("请填写整改措施。")),
    "note": ("/note", _("请写明原因。")),
    "due_on": ("/due", _("请填写新的整改期限。")),
}


def _check_step(step: Step) -> None:
    need = _NEEDS.get(step.action)
    value = getattr(step, need) if need else True
    if not value or (isinstance(value, str) and not value.strip()):
        pointer, detail = _MISSING[str(need)]
        raise Invalid(problems=[Problem(pointer, "required", detail)])
    if step.due_on and step.due_on < clock.today():
        raise Invalid(problems=[Problem("/due", "in_the_past", _("期限不能早于今天。"))])


def _record(
    finding: Finding, step: Step, to_state: str, *, action_id: UUID, by: User, at: datetime | None
) -> None:
    action = FindingAction.objects.create(
        id=action_id,
        finding=finding,
        action=step.action,
        by=by,
        at=at or clock.now(),
        from_state=finding.state,
        to_state=to_state,
        content=step.content(),
        note=step.note,
        measures=step.measures,
        due_on=step.due_on,
    )
    action.media.set(_evidence(step.media, by))
    step_taken.send(FindingAction, action=action)


def _evidence(media: Sequence[UUID], by: User) -> list[MediaObject]:
    # Locked, so that a deletion of the file that is decided on now sees this use, or comes first.
    rows = MediaObject.objects.select_for_update(of=("self",), no_key=True).order_by("pk")
    there = rows.filter(owner=by).exclude(state=MediaObject.State.DELETED)
    found = there.in_bulk(list(media))
    problems = [
        Problem(f"/media/{index}", "unknown", _("找不到这份材料，请先登记并上传。"))
        for index, media_id in enumerate(media)
        if media_id not in found
    ]
    if problems:
        raise EvidenceMissing(problems=problems)
    return list(found.values())


def _apply(finding: Finding, step: Step, to_state: str) -> None:
    finding.state = to_state
    finding.closed_at = clock.now() if to_state == Finding.State.CLOSED else None
    if step.due_on and step.action in (machine.RETURN, machine.POSTPONE, machine.REOPEN):
        finding.due_on, finding.overdue_told_on = step.due_on, None
    finding.save()
    record_change("finding", finding.pk, school_id=finding.school_id)


def _tell(finding: Finding, step: Step) -> None:
    school, due = contacts_of(finding.school), _due(finding)
    if step.action == machine.ANSWER:
        _notify(finding, "finding.answered", inspectors_of_finding(finding))
    elif step.action in (machine.RETURN, machine.REOPEN):
        _notify(finding, "finding.returned", school, reason=step.note, due=due)
    elif step.action == machine.VERIFY:
        _notify(finding, "finding.closed", _both_sides(finding))
    elif step.action == machine.POSTPONE:
        _notify(finding, "finding.postponed", _both_sides(finding), due=due)
    elif step.action == machine.WITHDRAW:
        _notify(finding, "finding.withdrawn", _both_sides(finding), reason=step.note)


def _both_sides(finding: Finding) -> QuerySet[User]:
    return User.objects.filter(
        Q(pk__in=contacts_of(finding.school).values("pk"))
        | Q(pk__in=inspectors_of_finding(finding).values("pk"))
    )


def _notify(finding: Finding, event: str, recipients: QuerySet[User], **words: str) -> None:
    notify(
        event,
        recipients=recipients,
        subject=("finding", finding.pk),
        school=finding.school,
        finding=finding.title,
        **words,  # type: ignore[arg-type]  # all of them texts of the event
    )


def _due(finding: Finding) -> str:
    return finding.due_on.isoformat()


def _original(values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in ("school", "visit", "title", "detail", "raised_by")}
