"""The change feed: one append-only log, read by a cursor that misses nothing.

A row says that something changed, for whom it may matter (a school, or one person), and nothing of
its content: the reader queries what is visible to the asking person at reading time, so that a
change of rights needs no rewriting of history.

On PostgreSQL transactions commit out of order, so a sequence alone would let a reader step over a
row that commits later with a smaller number. Every row therefore carries its transaction's id, and
a reader takes only rows of transactions older than every one still running
(`pg_snapshot_xmin(pg_current_snapshot())`), in the order (transaction, sequence). SQLite has one
writer at a time, so its transaction id is always 0 and the sequence alone is safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models import Q, QuerySet
from django.db.models.expressions import Func

from server.core.ids import array_of


class TransactionId(Func):
    """The id of the writing transaction; 0 where the database has one writer at a time."""

    template = "0"
    output_field = models.BigIntegerField()

    def as_postgresql(self, compiler: Any, db: Any, **extra: Any) -> tuple[str, list[Any]]:
        return "(pg_current_xact_id()::text::bigint)", []


class OldestRunning(Func):
    """Transactions below this id have all ended. PostgreSQL only."""

    template = "(pg_snapshot_xmin(pg_current_snapshot())::text::bigint)"
    output_field = models.BigIntegerField()


class Change(models.Model):
    """Something of `type` with `object_id` changed, and readers of `school_id` or `user_id` may care."""

    id = models.BigAutoField(primary_key=True)
    txid = models.BigIntegerField(db_default=TransactionId(), editable=False)
    type = models.CharField(max_length=24)
    object_id = models.UUIDField()
    school_id = models.UUIDField(null=True)
    user_id = models.UUIDField(null=True)
    at = models.DateTimeField(db_default=models.functions.Now())

    class Meta:
        indexes = [
            models.Index(fields=["txid", "id"], name="change_order"),
            models.Index(
                fields=["school_id", "txid", "id"],
                name="change_school_order",
                condition=Q(school_id__isnull=False),
            ),
            models.Index(
                fields=["user_id", "txid", "id"],
                name="change_user_order",
                condition=Q(user_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.object_id}"


Cursor = tuple[int, int]
"""(transaction id, sequence) of the last row that was read."""

START: Cursor = (0, 0)


def record_change(
    type: str,
    object_id: UUID,
    *,
    school_id: UUID | None = None,
    user_ids: Iterable[UUID] = (),
) -> None:
    """Append to the log, in the caller's transaction.

    `school_id`: everybody who may see the school; `user_ids`: these persons. With neither, everybody.
    """
    user_ids = list(user_ids)
    if connection.vendor == "postgresql" and school_id is None and len(user_ids) > 1:
        with connection.cursor() as cursor:  # a column at a time: a crowd costs one parameter
            cursor.execute(_CROWD, [type, object_id, array_of(user_ids)])
        return
    rows = [Change(type=type, object_id=object_id, user_id=user_id) for user_id in user_ids]
    if school_id is not None or not rows:
        rows.append(Change(type=type, object_id=object_id, school_id=school_id))
    Change.objects.bulk_create(rows)


_CROWD = """
    INSERT INTO core_change (type, object_id, user_id)
    SELECT %s, %s::uuid, unnest(%s::uuid[])
"""


def latest_cursor() -> Cursor:
    """The cursor after everything that is settled now: where a fresh, complete copy starts."""
    last = newest_settled().values_list("txid", "id").first()
    return last or START


def newest_settled() -> QuerySet[Change]:
    """The settled rows, the last in reading order first."""
    return _settled(Change.objects.all()).order_by("-txid", "-id")


def changes_after(
    cursor: Cursor, *, schools: Sequence[UUID] | QuerySet[Any], user_id: UUID, limit: int
) -> list[Change]:
    """At most `limit` settled changes after `cursor` that concern these schools, this person or all."""
    txid, sequence = cursor
    rows = Change.objects.filter(Q(txid=txid, id__gt=sequence) | Q(txid__gt=txid), txid__gte=txid)
    rows = rows.filter(
        Q(school_id__in=schools) | Q(user_id=user_id) | Q(school_id=None, user_id=None)
    )
    return list(_settled(rows).order_by("txid", "id")[:limit])


def settled_after(cursor: Cursor, *, limit: int) -> list[Change]:
    """At most `limit` settled changes after `cursor`, whomever they concern: for readers of our own."""
    txid, sequence = cursor
    rows = Change.objects.filter(Q(txid=txid, id__gt=sequence) | Q(txid__gt=txid), txid__gte=txid)
    return list(_settled(rows).order_by("txid", "id")[:limit])


def _settled(rows: QuerySet[Change]) -> QuerySet[Change]:
    """Rows of transactions older than every one still running in this statement's own snapshot."""
    return rows.filter(txid__lt=OldestRunning()) if connection.vendor == "postgresql" else rows
