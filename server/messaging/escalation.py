"""Escalation: what waits too long is told to the next in line, step by step, until it waits no more.

The row that a rule watches is the queue (ADR 1): the pump claims rows whose moment has come, so that the
cost follows what is due and not what was ever sent. Each look decides anew, by the rule as it is now: the
notice is read, acknowledged or withdrawn, the matter is settled, the rule switched off: then the row goes.
Else the next step is taken, in one transaction with its unique row and its notice (ADR 27).

Layers above say what a notice's subject is (`register_subject`): whether it still waits, who may see it,
who its inspectors are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from server.core import clock, work
from server.core.work import Pump
from server.grid.models import Appointment, Area, Membership, School, User, in_term
from server.grid.queries import contacts_of, schools_visible_to
from server.messaging.models import Delivery, Notice
from server.messaging.models.escalation import Escalation, EscalationRule, EscalationStep
from server.messaging.services import notify
from server.messaging.watching import ESCALATIONS, deadline_of, moment_of
from server.messaging.wording import paths_above

Condition = EscalationRule.Condition
Target = EscalationRule.Target
Role = Membership.Role

NAMED = 10
"""So many of those with whom a matter waits are named."""
TOLD_AT_MOST = 50
"""People of one step: an office of more than this has somebody who reads its inbox."""


@dataclass(frozen=True)
class Subject:
    """What a layer above knows about the subject of a notice.

    `waits(notice)`: whether what the notice asked for is still to be done.
    `may_see(user, id)`: whether the person sees the subject.
    `inspectors(id)`: the inspectors concerned.
    """

    waits: Callable[[Notice], bool]
    may_see: Callable[[User, UUID], bool]
    inspectors: Callable[[UUID], QuerySet[User]]


_subjects: dict[str, Subject] = {}


def register_subject(name: str, subject: Subject) -> None:
    """Call it when the app is ready."""
    _subjects[name] = subject


def register() -> None:
    """Make the pump known."""
    work.register(Pump(name=ESCALATIONS, rows=rows, handle=escalate, lease_seconds=120, batch=50))


def rows() -> QuerySet[Escalation]:
    return Escalation.objects.select_related("notice__school__area", "rule")


def escalate(row: Escalation) -> None:
    """Look at a watched notice and take the next step, if it is time. Repeating it does nothing twice."""
    with transaction.atomic():
        ours = Escalation.objects.select_for_update(of=("self",)).filter(
            pk=row.pk, work_due_at=row.work_due_at
        )
        if not ours.exists():
            return  # another worker's by now
        moment = _next_moment(row)
        if moment is None:
            ours.delete()
        elif moment > clock.now():
            _look_again(row, moment)
        else:
            _take_step(row)


def _next_moment(row: Escalation) -> datetime | None:
    """When the next step is due by the rule of today; None where nothing is to follow."""
    notice, rule = row.notice, row.rule
    if not rule.enabled or row.taken >= rule.at_most or not still_waits(notice, rule):
        return None
    steps = EscalationStep.objects.filter(notice=notice, rule=rule)
    last = steps.order_by("-number").values_list("at", flat=True).first()
    return moment_of(rule, notice, row.taken, last)


def _look_again(row: Escalation, moment: datetime) -> None:
    Escalation.objects.filter(pk=row.pk).update(
        work_due_at=moment, work_attempts=0, work_lost=0, taken=row.taken
    )


def _take_step(row: Escalation) -> None:
    notice, rule, number = row.notice, row.rule, row.taken + 1
    waiting = waiting_for(notice, rule)
    target, people = next_in_line(notice, rule, row.taken, waiting)
    step, created = EscalationStep.objects.get_or_create(
        notice=notice,
        rule=rule,
        number=number,
        defaults={"target": target, "waiting": _named(waiting), "at": clock.now()},
    )
    if created and people:
        step.sent = _tell(notice, rule, people, step.waiting)
        step.save(update_fields=["sent"])
    row.taken = number
    if not people or number >= rule.at_most:
        Escalation.objects.filter(pk=row.pk).delete()
        return
    _look_again(row, moment_of(rule, notice, number, step.at))


def _tell(notice: Notice, rule: EscalationRule, people: Sequence[User], waiting: str) -> Notice:
    subject = (notice.subject_type, notice.subject_id) if notice.subject_id else None
    return notify(
        f"escalation.{rule.condition}",
        recipients=people,
        subject=subject,
        school=notice.school,
        what=what_of(notice),
        since=_since(notice, rule),
        waiting=waiting,
    )


def what_of(notice: Notice) -> str:
    """What waits, in short: as it was entered, so that it reads the same in every language."""
    for name in ("finding", "activity"):
        if name in notice.params:
            return str(notice.params[name])
    with override("zh-hans"):
        return notice.title


def _since(notice: Notice, rule: EscalationRule) -> str:
    if rule.condition == Condition.OVERDUE:
        missed = deadline_of(notice)
        return missed.isoformat() if missed else "—"
    return f"{timezone.localtime(notice.created_at):%Y-%m-%d %H:%M}"


def _named(waiting: Sequence[User]) -> str:
    if not waiting:
        return _("学校没有联系人")
    names = "、".join(str(each) for each in waiting[:NAMED])
    rest = len(waiting) - NAMED
    return names + (_("等 %(n)d 人") % {"n": len(waiting)} if rest > 0 else "")


# ---- whether it waits, and with whom ------------------------------------------------------------


def still_waits(notice: Notice, rule: EscalationRule) -> bool:
    """Whether the rule still has a reason to tell anybody."""
    if notice.state == Notice.State.RECALLED:
        return False
    subject = _subjects.get(notice.subject_type)
    if subject and not subject.waits(notice):
        return False
    if rule.condition == Condition.OVERDUE:
        return subject is not None
    total, done = _reached(notice, rule)
    return not total or done < (total if rule.everyone else 1)


def waiting_for(notice: Notice, rule: EscalationRule) -> list[User]:
    """With whom the matter waits: who did not read or confirm; who must act on what is overdue."""
    if rule.condition == Condition.OVERDUE and notice.event.startswith("finding."):
        return list(contacts_of(_school(notice)).order_by("username"))
    rows = _inbox(notice).select_related("recipient").order_by("recipient__username")
    if rule.condition != Condition.OVERDUE:
        rows = rows.filter(**{f"{_FIELDS[rule.condition]}": None})
    return [row.person for row in rows]


_FIELDS: dict[str, str] = {
    Condition.UNREAD: "read_at",
    Condition.UNACKNOWLEDGED: "acknowledged_at",
}


def _inbox(notice: Notice) -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        notice=notice, channel=Delivery.Channel.INBOX, recipient__is_active=True
    )


def _reached(notice: Notice, rule: EscalationRule) -> tuple[int, int]:
    """How many have the notice in their inbox, and how many of them did what is asked."""
    done = list(_inbox(notice).values_list(_FIELDS[rule.condition], flat=True))
    return len(done), sum(moment is not None for moment in done)


# ---- who is next ------------------------------------------------------------------------------


def next_in_line(
    notice: Notice, rule: EscalationRule, taken: int, waiting: Sequence[User]
) -> tuple[str, list[User]]:
    """Whom the next step tells: nobody with whom it waits, nobody who may not see what it is about.

    Who has nobody to be told is passed over; after the last in line, the last again.
    """
    line = []
    for target in rule.targets:
        people = _may_know(notice, _people(notice, target), waiting)
        if people:
            line.append((target, people))
    return line[min(taken, len(line) - 1)] if line else ("", [])


def _people(notice: Notice, target: str) -> QuerySet[User]:
    school = _school(notice)
    if target == Target.DEPUTIES:
        return contacts_of(school)
    if target == Target.INSPECTOR:
        subject = _subjects.get(notice.subject_type)
        if subject and notice.subject_id:
            return subject.inspectors(notice.subject_id)
        appointed = Appointment.objects.filter(in_term(), school=school).values("inspector")
        return User.objects.filter(pk__in=appointed, is_active=True)
    return _nearest(school.area, Role.OFFICE if target == Target.OFFICE else Role.TOWN_GROUP)


def _nearest(area: Area, role: str) -> QuerySet[User]:
    """Who holds the role in the area, or else in the first area above it where somebody does."""
    rows = Membership.objects.filter(
        in_term(), role=role, area__path__in=paths_above(area.path), user__is_active=True
    )
    places = set(rows.values_list("area__path", flat=True))
    nearest = max(places, key=len, default="")
    return User.objects.filter(
        pk__in=rows.filter(area__path=nearest).values("user"), is_active=True
    )


def _may_know(notice: Notice, people: QuerySet[User], waiting: Sequence[User]) -> list[User]:
    subject, school = _subjects.get(notice.subject_type), _school(notice)
    known = []
    for person in people.exclude(pk__in=[each.pk for each in waiting])[:TOLD_AT_MOST]:
        if subject and notice.subject_id:
            sees = subject.may_see(person, notice.subject_id)
        else:
            sees = schools_visible_to(person).filter(pk=school.pk).exists()
        if sees:
            known.append(person)
    return known


def _school(notice: Notice) -> School:
    assert notice.school  # noqa: S101 - only what is about a school is watched
    return notice.school
