"""The reference: granian receives, hashes, writes and commits the same bytes and rows, and no more.

It knows nobody, reads no form and checks nothing. Its rows are copies of rows that the product
wrote (under SAMPLE, a submission with a photo, in the database at BARE_DATABASE_URL), so that tables,
columns, indexes and keys are the product's. Where a document ends and a photo begins is told by a
header, because finding out would be parsing.

    granian --interface wsgi tests.benchmarks.bare:application
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

CHUNK = 64 * 1024
FOLDER = Path(os.environ["BARE_FOLDER"])
DATABASE_URL = os.environ["BARE_DATABASE_URL"]
SAMPLE = UUID(os.environ["BARE_SAMPLE"])

Environ = dict[str, Any]
Row = dict[str, Any]
_local = threading.local()

_QUERIES = {
    "activities_submission": "SELECT * FROM activities_submission WHERE id = %s",
    "activities_submissionattachment": (
        "SELECT * FROM activities_submissionattachment WHERE submission_id = %s"
    ),
    "media_storage_mediaobject": (
        "SELECT m.* FROM media_storage_mediaobject m"
        " JOIN activities_submissionattachment a ON a.media_id = m.id WHERE a.submission_id = %s"
    ),
    "core_change": "SELECT * FROM core_change WHERE object_id = %s ORDER BY id LIMIT 1",
}
_BY_THE_DATABASE = {
    "activities_submissionattachment": {"id"},
    "core_change": {"id", "txid", "at"},
    "media_storage_mediaobject": {"created_at"},
}


def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    answer = b"{}"
    if path.endswith("/media"):
        answer = _declare(environ)
    elif path.startswith("/store/"):
        _write(environ["wsgi.input"], b"")
    elif path.endswith("/complete"):
        _read(environ["wsgi.input"])
        _commit("UPDATE media_storage_mediaobject SET state = 'stored' WHERE id = %s", [_id(path)])
    else:
        _submit(environ)
    stored = environ["REQUEST_METHOD"] != "PUT" or not path.startswith("/store/")
    status = "201 Created" if stored and not path.endswith("/complete") else "200 OK"
    start_response(
        status, [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    )
    return [answer]


def _declare(environ: Environ) -> bytes:
    media = UUID(json.loads(environ["wsgi.input"].read())["id"])
    _commit(*_insert(("media_storage_mediaobject",), _media(media, size=0, digest="0" * 64)))
    part = {"number": 1, "url": f"http://localhost/store/{media}", "headers": {}}
    return json.dumps({"id": str(media), "upload": {"parts": [part]}}).encode()


def _submit(environ: Environ) -> None:
    """The document alone, the document and its photo, or the document of an uploaded photo."""
    length = int(environ["HTTP_X_DOCUMENT_BYTES"])
    photo = int(environ["CONTENT_LENGTH"]) - length
    with_file = environ["HTTP_X_PHOTO"] == "1"
    submission, media = uuid4(), uuid4()
    raw, rest = _head(environ["wsgi.input"], length)
    values = _submission(submission, raw)
    tables: tuple[str, ...] = ("activities_submission", "core_change")
    values |= {"core_change": {**_sample()["core_change"], "object_id": submission}}
    if photo:
        digest = _write(environ["wsgi.input"], rest)
        values |= _media(media, size=photo, digest=digest)
        tables = ("media_storage_mediaobject", *tables)
    if with_file or photo:
        attachment = {**_sample()["activities_submissionattachment"], "submission_id": submission}
        attachment["media_id"] = media if photo else UUID(environ["HTTP_X_MEDIA"])
        values |= {"activities_submissionattachment": attachment}
        tables = (*tables, "activities_submissionattachment")
    _commit(*_insert(tables, values))


def _head(stream: Any, length: int) -> tuple[bytes, bytes]:
    """The document, and what of the photo came with it."""
    head = b""
    while len(head) < length and (chunk := stream.read(CHUNK)):
        head += chunk
    return head[:length], head[length:]


def _read(stream: Any) -> None:
    while stream.read(CHUNK):
        pass


def _write(stream: Any, head: bytes) -> str:
    """Hash and write what comes, on the disk when this returns."""
    digest = hashlib.sha256(head)
    with (FOLDER / uuid4().hex).open("xb", buffering=0) as file:
        file.write(head)
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
        os.fsync(file.fileno())
    return digest.hexdigest()


def _id(path: str) -> UUID:
    return UUID(path.split("/")[-2])


# ---- rows -------------------------------------------------------------------------------------


def _submission(submission: UUID, raw: bytes) -> dict[str, Row]:
    moment = datetime.now(UTC)
    row = {
        **_sample()["activities_submission"],
        "id": submission,
        "root_id": submission,
        "raw": raw,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "received_at": moment,
        "work_due_at": moment,
    }
    return {"activities_submission": row}


def _media(media: UUID, *, size: int, digest: str) -> dict[str, Row]:
    moment = datetime.now(UTC)
    row = {
        **_sample()["media_storage_mediaobject"],
        "id": media,
        "key": media.hex,
        "size": size,
        "sha256": digest,
        "state": "stored",
        "stored_at": moment,
        "work_due_at": moment,
    }
    return {"media_storage_mediaobject": row}


def _commit(statement: Any, parameters: Iterable[Any]) -> None:
    """One statement, prepared, which commits by itself."""
    if not hasattr(_local, "connection"):
        _local.connection = psycopg.connect(DATABASE_URL, autocommit=True)
    _local.connection.execute(statement, list(parameters), prepare=True)


def _insert(tables: tuple[str, ...], values: dict[str, Row]) -> tuple[bytes, list[Any]]:
    """One statement that inserts a row into each table."""
    return _statement(tables), [value for table in tables for value in values[table].values()]


@cache
def _statement(tables: tuple[str, ...]) -> bytes:
    inserts = [
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, _sample()[table])),
            sql.SQL(", ").join([sql.Placeholder()] * len(_sample()[table])),
        )
        for table in tables
    ]
    *before, last = inserts
    named = [
        sql.SQL("t{} AS ({})").format(sql.SQL(str(number)), insert)
        for number, insert in enumerate(before)
    ]
    statement = sql.SQL("WITH {} {}").format(sql.SQL(", ").join(named), last) if named else last
    return statement.as_bytes(None)


@cache
def _sample() -> dict[str, Row]:
    """A row of each table, without the columns that the database fills in."""
    with psycopg.connect(DATABASE_URL, row_factory=dict_row) as connection:
        rows = {
            table: connection.execute(query, [SAMPLE]).fetchone()
            for table, query in _QUERIES.items()
        }
    return {
        table: {
            name: Jsonb(value) if isinstance(value, dict) else value
            for name, value in (row or {}).items()
            if name not in _BY_THE_DATABASE.get(table, ())
        }
        for table, row in rows.items()
    }
