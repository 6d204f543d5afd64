"""Late joiners: whoever gets a role or an appointment also gets the notices that are still open.

The change feed tells whose roles and schools changed, by a person, by an import or by the calendar.
Who is in it is queued once, however often, and the worker looks which open notices they lack.
"""

from __future__ import annotations

from uuid import UUID

from server.core import clock
from server.core.changes import latest_cursor, settled_after
from server.core.work import wake
from server.grid.models import User
from server.messaging.composing import admit, open_notices
from server.messaging.models import Newcomer, NewcomerFeed

NEWCOMERS = "newcomers"
TYPES = ("me", "school")
"""What the grid records of a person when their roles or appointments change."""
LIMIT = 1000


def follow_feed() -> int:
    """Queue those whose roles changed since the last time. Returns how many changes were read."""
    newest = latest_cursor()
    feed, created = NewcomerFeed.objects.get_or_create(
        id=1, defaults={"txid": newest[0], "sequence": newest[1]}
    )
    position = (feed.txid, feed.sequence)
    if created or position >= newest:
        return 0  # an idle system writes nothing
    changes = settled_after(position, limit=LIMIT, types=TYPES)
    people = {change.user_id for change in changes if change.user_id is not None}
    if people and open_notices().exists():
        _queue(people)
    last = (changes[-1].txid, changes[-1].pk) if len(changes) == LIMIT else max(newest, position)
    NewcomerFeed.objects.filter(txid=position[0], sequence=position[1]).update(
        txid=last[0], sequence=last[1]
    )
    return len(changes)


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
