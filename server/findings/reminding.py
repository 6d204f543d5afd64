"""Reminding schools of deadlines of rectification, in the morning of working days."""

from __future__ import annotations

from datetime import timedelta

from server.core import clock
from server.findings.models import AT_SCHOOL, Finding
from server.findings.services import tell_due_soon, tell_overdue
from server.grid.workdays import add_workdays, is_reminding_time
from server.messaging.reminding import not_reminded, remind_each

STAGES = (1, 3)
"""Working days before the deadline at which a school is reminded, the nearest first."""

EVENT = "finding.due_soon"


def remind() -> int:
    """What is due soon and what is overdue, if it is time for reminders. Returns how many were told."""
    return tell_all_due_soon() + tell_overdue() if is_reminding_time() else 0


def tell_all_due_soon() -> int:
    """Remind of findings whose deadline is near; each deadline and stage once.

    What is nearer than the next stage belongs to that alone: nobody gets two reminders in one morning.
    """
    today = clock.today()
    first, told = today, 0
    for stage in STAGES:
        last = add_workdays(today, stage)
        rows = Finding.objects.filter(
            not_reminded(EVENT, day="due_on", stage=stage),
            state__in=AT_SCHOOL,
            due_on__gte=first,
            due_on__lte=last,
            created_at__date__lt=today,  # a new finding has just told its deadline
        )
        told += remind_each(
            rows.select_related("school__area"),
            tell_due_soon,
            event=EVENT,
            day=lambda row: row.due_on,
            stage=stage,
        )
        first = last + timedelta(days=1)
    return told
