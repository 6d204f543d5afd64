"""Rows of the outbox in bulk: writing the deliveries of many people, recording what became of a batch.

The one seam of the two databases for it. PostgreSQL takes a column of ids as one parameter (`unnest`),
and what became of a batch as one JSON document: the driver's own lists cost more than the statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models.expressions import RawSQL

from server.core.ids import array_of, array_of_new
from server.messaging.models import Delivery

AT_ONCE = 1000


def many(ids: Sequence[UUID]) -> RawSQL | Sequence[UUID]:
    """For `…__in` of a long list: one parameter where the database has arrays."""
    if connection.vendor == "postgresql":
        return RawSQL("SELECT unnest(%s::uuid[])", [array_of(ids)])
    return ids


def commit_later() -> None:
    """Let this transaction's commit not wait for the disk; later ones keep their order behind it."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")


# ---- writing --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A delivery to a person that is to be written."""

    recipient_id: UUID
    channel: str
    address: str = ""
    due_at: datetime | None
    expires_at: datetime | None = None


def write_inbox(notice_id: UUID, user_ids: Sequence[UUID], moment: datetime) -> None:
    """Put the notice into these inboxes, where it is delivered by being there. Repeating adds nothing."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            columns = [array_of_new(len(user_ids)), array_of(user_ids)]
            cursor.execute(_INBOX, [notice_id, moment, *columns])
        return
    Delivery.objects.bulk_create(
        [
            Delivery(
                notice_id=notice_id,
                recipient_id=user_id,
                channel=Delivery.Channel.INBOX,
                state=Delivery.State.DELIVERED,
                sent_at=moment,
                delivered_at=moment,
            )
            for user_id in user_ids
        ],
        ignore_conflicts=True,
        batch_size=AT_ONCE,
    )


def write_pending(notice_id: UUID, rows: Sequence[Planned], moment: datetime) -> None:
    """Write what is to be sent. Repeating adds nothing."""
    if not rows:
        return
    if connection.vendor == "postgresql":
        columns: list[Any] = [
            array_of_new(len(rows)),
            array_of([row.recipient_id for row in rows]),
            [row.channel for row in rows],
            [row.address for row in rows],
            [row.due_at for row in rows],
            [row.expires_at for row in rows],
        ]
        with connection.cursor() as cursor:
            cursor.execute(_PENDING, [notice_id, moment, *columns])
        return
    Delivery.objects.bulk_create(
        [
            Delivery(
                notice_id=notice_id,
                recipient_id=row.recipient_id,
                channel=row.channel,
                address=row.address,
                work_due_at=row.due_at,
                expires_at=row.expires_at,
            )
            for row in rows
        ],
        ignore_conflicts=True,
        batch_size=AT_ONCE,
    )


def write_groups(
    notice_id: UUID, group_ids: Sequence[UUID], moment: datetime, *, expires_at: datetime
) -> None:
    """Write what robots are to say, once in each group. Repeating adds nothing."""
    rows = [
        Delivery(
            notice_id=notice_id,
            group_id=group_id,
            channel=Delivery.Channel.ROBOT,
            work_due_at=moment,
            expires_at=expires_at,
        )
        for group_id in group_ids
    ]
    Delivery.objects.bulk_create(rows, ignore_conflicts=True, batch_size=AT_ONCE)


_COLUMNS = """INSERT INTO messaging_delivery (
        id, notice_id, recipient_id, channel, address, state, reason, created_at, expires_at,
        provider_id, sent_at, delivered_at, work_due_at, work_attempts, work_lost, work_error
    )"""

_INBOX = f"""
    {_COLUMNS}
    SELECT v.id, told.notice, v.recipient, 'inbox', '', 'delivered', '', told.at, NULL,
        '', told.at, told.at, NULL, 0, 0, ''
    FROM (SELECT %s::uuid AS notice, %s::timestamptz AS at) told,
        unnest(%s::uuid[], %s::uuid[]) AS v (id, recipient)
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - names of ours

_PENDING = f"""
    {_COLUMNS}
    SELECT v.id, told.notice, v.recipient, v.channel, v.address, 'pending', '', told.at, v.expires,
        '', NULL, NULL, v.due, 0, 0, ''
    FROM (SELECT %s::uuid AS notice, %s::timestamptz AS at) told,
        unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
            AS v (id, recipient, channel, address, due, expires)
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - names of ours


# ---- recording ------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Result:
    """What became of a claimed delivery. `lease` names the claim: whose ended is not recorded."""

    id: UUID
    lease: datetime | None
    state: str
    attempts: int
    reason: str = ""
    provider_id: str = ""
    merged_into: UUID | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    due_at: datetime | None = None
    error: str = ""
    dead_at: datetime | None = None


def record(results: Iterable[Result]) -> int:
    """Write what became of a batch, in one statement on PostgreSQL. Returns how many were still ours."""
    results = sorted(results, key=lambda result: result.id)
    if not results:
        return 0
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            rows = [{name: _stored(result, name) for name in _RESULT} for result in results]
            cursor.execute(_RECORD, [json.dumps(rows, default=str)])
            return int(cursor.rowcount)
        adapt = _adapters()
        given = [
            [adapt[name](_stored(result, name)) for name in (*_SET, "id", "lease")]
            for result in results
        ]
        # One transaction: each row by itself would be a turn of the disk.
        with transaction.atomic():
            cursor.executemany(_RECORD_ONE, given)
        return int(cursor.rowcount)


_RESULT = {
    "id": ("id", "uuid"),
    "lease": ("", "timestamptz"),
    "state": ("state", "text"),
    "reason": ("reason", "text"),
    "provider_id": ("provider_id", "text"),
    "merged_into": ("merged_into_id", "uuid"),
    "sent_at": ("sent_at", "timestamptz"),
    "delivered_at": ("delivered_at", "timestamptz"),
    "due_at": ("work_due_at", "timestamptz"),
    "attempts": ("work_attempts", "int"),
    "error": ("work_error", "text"),
    "dead_at": ("work_dead_at", "timestamptz"),
}
"""Of each field of a result its column and PostgreSQL's type."""
_LIMITS = {"reason": 500, "provider_id": 200, "error": 2000}
_SET = {name: column for name, (column, _type) in _RESULT.items() if column not in ("id", "")}

_RECORD = f"""
    UPDATE messaging_delivery AS d
    SET {", ".join(f"{column} = v.{name}" for name, column in _SET.items())}, work_lost = 0
    FROM json_to_recordset(%s::json)
        AS v ({", ".join(f"{name} {kind}" for name, (_column, kind) in _RESULT.items())})
    WHERE d.id = v.id AND d.work_due_at = v.lease
"""  # noqa: S608 - names of ours
_RECORD_ONE = f"""
    UPDATE messaging_delivery
    SET {", ".join(f"{column} = %s" for column in _SET.values())}, work_lost = 0
    WHERE id = %s AND work_due_at = %s
"""  # noqa: S608 - as above


def _stored(result: Result, name: str) -> Any:
    value = getattr(result, name)
    if name not in _LIMITS:
        return value
    # What a provider answers may be anything; text of a database cannot hold a NUL.
    return str(value).replace("\0", "\N{REPLACEMENT CHARACTER}")[: _LIMITS[name]]


def _adapters() -> dict[str, Any]:
    """SQLite keeps ids and moments as text, in Django's spelling."""

    def moment(value: datetime | None) -> Any:
        return connection.ops.adapt_datetimefield_value(value)

    def key(value: UUID | None) -> str | None:
        return value.hex if value else None

    convert = {"timestamptz": moment, "uuid": key}
    return {
        name: convert.get(kind, lambda value: value) for name, (_column, kind) in _RESULT.items()
    }
