"""Putting notices under the watch of escalation rules, and when each rule looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Max, QuerySet
from django.utils import timezone

from server.core import clock
from server.grid.workdays import (
    WHOLE_DAYS,
    add_workdays,
    after_working_time,
    office_hours,
)
from server.messaging.models import Notice
from server.messaging.models.escalation import (
    EVERY_EVENT,
    Escalation,
    EscalationRule,
    EscalationStep,
)
from server.messaging.wording import paths_above

Condition = EscalationRule.Condition
Counting = EscalationRule.Counting

ESCALATIONS = "escalations"
DEADLINES = {"finding.overdue": "due", "visit.overdue": "ends"}
"""Events of what is overdue, and the parameter that holds the day."""
LOOK_BACK = timedelta(days=30)
LOOK_BACK_AT_MOST = 5000


def events_of(event: str) -> list[str]:
    """What a rule may call the event: its key, its group, every event."""
    return [event, f"{event.partition('.')[0]}.*", EVERY_EVENT]


def watch(notice: Notice) -> None:
    """Let the rules of the school's areas watch a new notice. In the transaction that wrote it.

    Only what is about a school is watched: it has people next in line. What tells of an escalation is
    not escalated itself.
    """
    if notice.school is None or notice.event.startswith("escalation."):
        return
    rules = EscalationRule.objects.filter(
        enabled=True,
        event__in=events_of(notice.event),
        area__path__in=paths_above(notice.school.area.path),
    )
    watched = [(notice, rule, 0) for rule in rules if applies(rule, notice)]
    if watched:
        _watch(watched)


def watch_what_is_open(rule: EscalationRule) -> None:
    """Let a rule that was made or changed watch the notices of the last weeks too."""
    notices = _recent(rule)
    steps = EscalationStep.objects.filter(rule=rule, notice__in=[row.pk for row in notices])
    taken = dict(steps.order_by().values_list("notice").annotate(last=Max("number")))
    _watch([(row, rule, taken.get(row.pk, 0)) for row in notices if applies(rule, row)])


def applies(rule: EscalationRule, notice: Notice) -> bool:
    """Whether the rule has anything to watch in such a notice."""
    if rule.condition == Condition.OVERDUE:
        return deadline_of(notice) is not None
    return rule.condition == Condition.UNREAD or notice.requires_ack


def moment_of(rule: EscalationRule, notice: Notice, taken: int, last: datetime | None) -> datetime:
    """When the rule's next step is due, after `taken` steps of which the latest was at `last`."""
    if taken and last:
        return _later(rule, last, rule.repeat_after)
    if rule.condition == Condition.OVERDUE and (missed := deadline_of(notice)):
        return _morning(_days_after(rule, missed, rule.after))
    return _later(rule, notice.created_at, rule.after)


def deadline_of(notice: Notice) -> date | None:
    """The day that was missed; None where the notice names none."""
    try:
        return date.fromisoformat(notice.params.get(DEADLINES.get(notice.event, ""), ""))
    except ValueError:
        return None


def _watch(watched: Sequence[tuple[Notice, EscalationRule, int]]) -> None:
    rows = [
        Escalation(
            notice=notice,
            rule=rule,
            taken=taken,
            # The row looks up its last step's time itself when its turn comes.
            work_due_at=moment_of(rule, notice, 0, None),
        )
        for notice, rule, taken in watched
    ]
    Escalation.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)


def _recent(rule: EscalationRule) -> list[Notice]:
    rows: QuerySet[Notice] = Notice.objects.filter(
        pk__gte=first_id_of(clock.now() - LOOK_BACK),
        school__area__path__startswith=rule.area.path,
    ).exclude(event__startswith="escalation.")
    if rule.event.endswith(".*"):
        rows = rows.filter(event__startswith=rule.event.removesuffix("*"))
    elif rule.event != EVERY_EVENT:
        rows = rows.filter(event=rule.event)
    return list(rows.order_by("-pk")[:LOOK_BACK_AT_MOST])


def first_id_of(moment: datetime) -> UUID:
    """The lowest id (UUIDv7) that a row made at that moment can have: ids are in order of time."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _later(rule: EscalationRule, moment: datetime, count: int) -> datetime:
    if rule.counts_days:
        day = _days_after(rule, timezone.localdate(moment), count)
        return _morning(day)
    span = timedelta(hours=count)
    if rule.counting == Counting.CALENDAR:
        return moment + span
    hours = office_hours() if rule.counting == Counting.OFFICE_HOURS else WHOLE_DAYS
    return after_working_time(moment, span, hours)


def _days_after(rule: EscalationRule, day: date, count: int) -> date:
    if rule.counting == Counting.CALENDAR:
        return day + timedelta(days=count)
    return add_workdays(day, count)


def _morning(day: date) -> datetime:
    begins = time.fromisoformat(settings.REMIND_AT)
    return datetime.combine(day, begins, tzinfo=timezone.get_default_timezone())
