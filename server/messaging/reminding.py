"""Reminding of deadlines: each deadline and stage once, whoever looks and however often.

A finder asks for rows whose moment has come and that have no `Reminder` yet; each row is then told in a
transaction of its own that begins with the reminder's unique row. A worker that dies leaves the rest to
the next turn; two workers at once tell each row once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from server.messaging.models.reminders import Reminder

BATCH = 500
"""Rows of one turn; the next turn goes on."""

R = TypeVar("R", bound=Model)


def not_reminded(event: str, *, day: str, stage: int = 0) -> Q:
    """Rows that were not reminded of; `day` names the field with their deadline."""
    sent = Reminder.objects.filter(
        subject_id=OuterRef("pk"), event=event, day=OuterRef(day), stage=stage
    )
    return ~Q(Exists(sent))


def claim_reminder(event: str, subject_id: UUID, *, day: date, stage: int = 0) -> bool:
    """True for one caller alone, if its transaction commits."""
    _row, created = Reminder.objects.get_or_create(
        event=event, subject_id=subject_id, day=day, stage=stage
    )
    return created


def remind_each(
    rows: QuerySet[R],
    tell: Callable[[R], object],
    *,
    event: str,
    day: Callable[[R], date],
    stage: int = 0,
) -> int:
    """Tell of each of the rows that still fits, once. Returns how many were told."""
    told = 0
    for key in list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            row: Any = rows.select_for_update(of=("self",)).filter(pk=key).first()
            if row is None or not claim_reminder(event, row.pk, day=day(row), stage=stage):
                continue
            tell(row)
            told += 1
    return told
