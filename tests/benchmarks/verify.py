"""After a run: every answered submission is one row, its document and photo are what was sent."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.benchmarks.form import PHOTO_NAME, Documents, media_id, photo_of

BATCH = 500


class Wrong(Exception):
    """What was answered with 201 is not what is stored."""


def verify(
    *,
    database_url: str,
    media: Path,
    scenario: str,
    version: str,
    stored: Sequence[tuple[str, str]],
) -> None:
    """`stored`: (id, visit) of each 201. Raises Wrong."""
    visits = dict(stored)
    if len(visits) != len(stored):
        raise Wrong("one id was answered twice")
    with psycopg.connect(database_url) as connection:
        ids = list(visits)
        for start in range(0, len(ids), BATCH):
            batch = {each: visits[each] for each in ids[start : start + BATCH]}
            _documents(connection, batch, scenario, version)
            _changes(connection, batch)
            if scenario.endswith("_photo"):
                _photos(connection, batch, media)


def verify_media(*, database_url: str, media: Path, stored: Sequence[tuple[str, str]]) -> None:
    """Each photo that was completed is stored, byte for byte. Raises Wrong."""
    ids = {media_id(submission_id): submission_id for submission_id, _visit in stored}
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT id::text, key FROM media_storage_mediaobject"
            " WHERE state IN ('stored', 'processing', 'ready') AND id = ANY(%s::uuid[])",
            [list(ids)],
        ).fetchall()
    if len(rows) != len(stored):
        raise Wrong(f"{len(stored)} photos were completed, {len(rows)} are stored")
    for id_, key in rows:
        if (media / "objects" / key).read_bytes() != photo_of(ids[id_]):
            raise Wrong(f"the photo {id_} is not stored as it was sent")


def settle(*, database_url: str, media: Path) -> None:
    """Forget the work that a run left and its photos: the next run begins like the first."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table in ("activities_submission", "media_storage_mediaobject"):
            connection.execute(
                f"UPDATE {table} SET work_due_at = NULL WHERE work_due_at IS NOT NULL"  # type: ignore[call-overload]
            )
    for folder in ("objects", "incoming"):
        shutil.rmtree(media / folder, ignore_errors=True)


def _documents(
    connection: psycopg.Connection, visits: dict[str, str], scenario: str, version: str
) -> None:
    rows = connection.execute(
        "SELECT id::text, raw, visit_id::text FROM activities_submission WHERE id = ANY(%s::uuid[])",
        [list(visits)],
    ).fetchall()
    if len(rows) != len(visits):
        raise Wrong(f"{len(visits)} submissions were answered, {len(rows)} are stored")
    photo = scenario.endswith("_photo")
    for submission_id, raw, visit_id in rows:
        documents = Documents(version, visits[submission_id])
        sent = documents.xml if scenario.startswith("openrosa") else documents.json
        if bytes(raw) != sent(submission_id, photo=photo) or visit_id != visits[submission_id]:
            raise Wrong(f"submission {submission_id} is not stored as it was sent")


def _changes(connection: psycopg.Connection, visits: dict[str, str]) -> None:
    row = connection.execute(
        "SELECT count(DISTINCT object_id) FROM core_change"
        " WHERE type = 'submission' AND object_id = ANY(%s::uuid[])",
        [list(visits)],
    ).fetchone()
    if row is None or row[0] != len(visits):
        raise Wrong("a submission is missing from the change log")


def _photos(connection: psycopg.Connection, visits: dict[str, str], media: Path) -> None:
    rows = connection.execute(
        "SELECT a.submission_id::text, m.key FROM activities_submissionattachment a"
        " JOIN media_storage_mediaobject m ON m.id = a.media_id"
        " WHERE a.name = %s AND a.submission_id = ANY(%s::uuid[])",
        [PHOTO_NAME, list(visits)],
    ).fetchall()
    if len(rows) != len(visits):
        raise Wrong(f"{len(visits)} photos were answered, {len(rows)} are stored")
    for submission_id, key in rows:
        if (media / "objects" / key).read_bytes() != photo_of(submission_id):
            raise Wrong(f"the photo of submission {submission_id} is not stored as it was sent")
