"""Late joiners: whoever gets a role or an appointment also gets the notices that are still open.

The change feed tells whose roles and schools changed, by a person, by an import or by the calendar.
Who is in it is queued once, however often, and the worker looks which open notices they lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from server.core import clock
from server.core.changes import Change
from server.core.work import wake
from server.grid.models import User
from server.messaging.composing import admit, open_notices
from server.messaging.models import Newcomer

NEWCOMERS = "newcomers"
TYPES = ("me", "school")
"""What the grid records of a person when their roles or appointments change."""


def tell(changes: Sequence[Change]) -> None:
    """Queue those whose roles changed."""
    people = {
        change.user_id for change in changes if change.type in TYPES and change.user_id is not None
    }
    if people and open_notices().exists():
        _queue(people)


def _queue(people: set[UUID]) -> None:
    known = User.objects.filter(pk__in=people, is_active=True).order_by("pk")
    rows = [Newcomer(user=user, work_due_at=clock.now()) for user in known]
    Newcomer.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["user"],
        update_fields=["work_due_at", "work_attempts", "work_lost", "work_dead_at"],
        batch_size=200,
    )
    wake(NEWCOMERS)


def admit_newcomer(newcomer: Newcomer) -> None:
    """Give one person what is open and for them. Repeating it adds nothing."""
    admit(newcomer.user_id)
