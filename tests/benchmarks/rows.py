"""Many submissions in the tables, so that one sees whether they make the next one slower.

They are copies of one that the product took, with ids of their own, at visits of schools with which the
phones of the benchmark have nothing to do: other counties' work in the same tables. Rows of submissions,
attachments and the change feed, written with COPY, as old as the last year.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import uuid_utils
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

AT_ONCE = 100_000

Row = dict[str, Any]


def fill(*, database_url: str, sample: str, phones: Sequence[str], count: int) -> int:
    """Add `count` submissions. `phones`: the visits of those who measure. Returns how many there are."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        template = _template(connection, sample)
        visits = _visits(connection, phones)
        for start in range(0, count, AT_ONCE):
            number = min(AT_ONCE, count - start)
            ids = [(UUID(bytes=uuid_utils.uuid7().bytes), start + each) for each in range(number)]
            with connection.transaction():
                _copy(
                    connection, "activities_submission", _submissions(template, visits, ids, count)
                )
                _copy(connection, "activities_submissionattachment", _attachments(template, ids))
                _copy(connection, "core_change", _changes(template, visits, ids))
        for table in ("activities_submission", "activities_submissionattachment", "core_change"):
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(table)))
        found = connection.execute("SELECT count(*) FROM activities_submission").fetchone()
        assert found
        total: int = found[0]
        return total


def _template(connection: psycopg.Connection[Any], sample: str) -> dict[str, Row]:
    queries = {
        "submission": "SELECT * FROM activities_submission WHERE id = %s",
        "attachment": "SELECT * FROM activities_submissionattachment WHERE submission_id = %s",
        "change": "SELECT * FROM core_change WHERE object_id = %s ORDER BY id LIMIT 1",
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = {}
        for name, query in queries.items():
            row = cursor.execute(query, [sample]).fetchone()
            assert row
            rows[name] = {
                column: Jsonb(value) if isinstance(value, dict) else value
                for column, value in row.items()
            }
        return rows


def _visits(connection: psycopg.Connection[Any], phones: Sequence[str]) -> list[tuple[UUID, UUID]]:
    """Those of schools that none of the phones' inspectors visits or is appointed to."""
    found = connection.execute(
        """
        WITH theirs AS (SELECT user_id FROM activities_visit_team WHERE visit_id = ANY(%s::uuid[]))
        SELECT id, school_id FROM activities_visit WHERE school_id NOT IN (
            SELECT school_id FROM activities_visit v JOIN activities_visit_team t ON t.visit_id = v.id
            WHERE t.user_id IN (SELECT user_id FROM theirs)
            UNION SELECT school_id FROM grid_appointment
            WHERE inspector_id IN (SELECT user_id FROM theirs)
        ) ORDER BY id
        """,
        [list(phones)],
    ).fetchall()
    if not found:
        raise RuntimeError("every school has a phone of the benchmark")
    return found


def _submissions(
    template: dict[str, Row],
    visits: list[tuple[UUID, UUID]],
    ids: list[tuple[UUID, int]],
    count: int,
) -> Iterator[Row]:
    begin, year = datetime.now(UTC) - timedelta(days=365), timedelta(days=365)
    for id_, number in ids:
        yield {
            **template["submission"],
            "id": id_,
            "root_id": id_,
            "visit_id": visits[number % len(visits)][0],
            "received_at": begin + year * (number / count),
            "work_due_at": None,
        }


def _attachments(template: dict[str, Row], ids: list[tuple[UUID, int]]) -> Iterator[Row]:
    row = {name: value for name, value in template["attachment"].items() if name != "id"}
    for id_, _number in ids:
        yield {**row, "submission_id": id_, "media_id": None}


def _changes(
    template: dict[str, Row], visits: list[tuple[UUID, UUID]], ids: list[tuple[UUID, int]]
) -> Iterator[Row]:
    row = {name: value for name, value in template["change"].items() if name not in ("id", "txid")}
    for id_, number in ids:
        yield {**row, "object_id": id_, "school_id": visits[number % len(visits)][1]}


def _copy(connection: psycopg.Connection[Any], table: str, rows: Iterator[Row]) -> None:
    first = next(rows)
    columns = sql.SQL(", ").join(map(sql.Identifier, first))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write_row(list(first.values()))
        for row in rows:
            copy.write_row(list(row.values()))
