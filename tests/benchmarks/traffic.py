"""What a phone sends for one submission, request by request, as ODK Collect or as the phone app.

An operation is a generator: it yields the bytes of a request, is given the reply, and returns the
id of what it stored. It says what it expects and raises Unexpected for anything else.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from tests.benchmarks.form import (
    PHOTO_NAME,
    Documents,
    media_id,
    photo_digest,
    photo_of,
)

BOUNDARY = "duxue-benchmark-7f9c2b"


class Unexpected(Exception):
    """A reply other than the one that a phone needs; the text has its status and body."""


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes


@dataclass
class Phone:
    """A logged-in phone and the visit that it is on. `cursor`: how far it has synced."""

    documents: Documents
    key: str
    token: str
    cursor: str = ""
    declared: deque[tuple[str, Any]] = field(default_factory=deque)
    uploaded: deque[str] = field(default_factory=deque)
    """Photos, by the id of the submission that they could belong to; the first with their parts."""
    bearer: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.bearer = f"Authorization: Bearer {self.token}\r\n".encode()


Request = list[bytes]
Operation = Generator[Request, Reply, str]
Scenario = Callable[[Phone], Operation]


def openrosa(phone: Phone) -> Operation:
    return (yield from _openrosa(phone, photo=False))


def openrosa_photo(phone: Phone) -> Operation:
    return (yield from _openrosa(phone, photo=True))


def _openrosa(phone: Phone, *, photo: bool) -> Operation:
    submission_id = str(uuid4())
    parts = multipart(phone.documents, submission_id, photo=photo)
    document_bytes = sum(map(len, parts)) - (len(photo_of(submission_id)) if photo else 0)
    headers = (
        b"X-OpenRosa-Version: 1.0\r\n"
        b"Content-Type: multipart/form-data; boundary=" + BOUNDARY.encode() + b"\r\n"
    )
    told = _told(document_bytes, photo)
    _expect((yield _request("POST", f"/key/{phone.key}/submission", headers + told, parts)), 201)
    return submission_id


def json_api(phone: Phone) -> Operation:
    return (yield from _put_submission(phone, str(uuid4()), photo=False))


def json_api_photo(phone: Phone) -> Operation:
    """Declare, upload to the store, complete, and name the photo in the submission."""
    submission_id = str(uuid4())
    part = yield from _declare(phone, submission_id)
    yield from _upload(submission_id, part)
    yield from _complete(phone, submission_id)
    told = f"X-Media: {media_id(submission_id)}\r\n".encode()
    return (yield from _put_submission(phone, submission_id, photo=True, told=told))


def declare(phone: Phone) -> Operation:
    """A photo is announced, and that is all for now."""
    submission_id = str(uuid4())
    part = yield from _declare(phone, submission_id)
    phone.declared.append((submission_id, part))
    return ""


def upload(phone: Phone) -> Operation:
    """What was declared is sent."""
    submission_id, part = phone.declared.popleft()
    yield from _upload(submission_id, part)
    phone.uploaded.append(submission_id)
    return ""


def complete(phone: Phone) -> Operation:
    """What was sent is completed."""
    submission_id = phone.uploaded.popleft()
    yield from _complete(phone, submission_id)
    return submission_id


def _declare(phone: Phone, submission_id: str) -> Generator[Request, Reply, Any]:
    """The part that is to be sent; the reference gives the photo an id of its own."""
    declaration = {
        "id": media_id(submission_id),
        "filename": PHOTO_NAME,
        "content_type": "image/jpeg",
        "size": len(photo_of(submission_id)),
        "sha256": photo_digest(submission_id),
        "taken_at": "2026-11-05T09:20:00+08:00",
    }
    declared = _expect((yield _json(phone, "POST", "/api/v1/media", declaration)), 201)
    [part] = json.loads(declared.body)["upload"]["parts"]
    return part


def _upload(submission_id: str, part: Any) -> Generator[Request, Reply, None]:
    sent = "".join(f"{name}: {value}\r\n" for name, value in part["headers"].items()).encode()
    address = urlsplit(part["url"]).path
    _expect((yield _request("PUT", address, sent, [photo_of(submission_id)])), 200)


def _complete(phone: Phone, submission_id: str) -> Generator[Request, Reply, None]:
    path = f"/api/v1/media/{media_id(submission_id)}/complete"
    _expect((yield _json(phone, "POST", path, {})), 200)


def _put_submission(
    phone: Phone, submission_id: str, *, photo: bool, told: bytes = b""
) -> Operation:
    body = phone.documents.json(submission_id, photo=photo)
    headers = phone.bearer + b"Content-Type: application/json\r\n" + told
    headers += _told(len(body), photo)
    path = f"/api/v1/submissions/{submission_id}"
    _expect((yield _request("PUT", path, headers, [body])), 201)
    return submission_id


def form_list(phone: Phone) -> Operation:
    _expect((yield _request("GET", f"/key/{phone.key}/formList")), 200)
    return ""


def unchanged_sync(phone: Phone) -> Operation:
    """From the phone's cursor on: the first may bring what came meanwhile, the others nothing."""
    while True:
        cursor = f"?cursor={quote(phone.cursor)}" if phone.cursor else ""
        reply = yield _request("GET", f"/api/v1/sync{cursor}", phone.bearer)
        page = json.loads(_expect(reply, 200).body)
        phone.cursor = page["cursor"]
        if not page["has_more"]:
            return ""


PHASES: tuple[Scenario, ...] = (declare, upload, complete)
"""Of the scenario `declare`, one after the other: the uploads between are not counted."""

SCENARIOS: dict[str, Scenario] = {
    "openrosa": openrosa,
    "openrosa_photo": openrosa_photo,
    "json": json_api,
    "json_photo": json_api_photo,
    "declare": declare,
    "form_list": form_list,
    "sync": unchanged_sync,
}
SUBMITTING = ("openrosa", "openrosa_photo", "json", "json_photo")
WRITING = (*SUBMITTING, "declare")
"""Those that have a reference."""


def has_more(phone: Phone, scenario: Scenario) -> bool:
    """Whether a phone can begin another one."""
    waiting = {upload: phone.declared, complete: phone.uploaded}
    return scenario not in waiting or bool(waiting[scenario])


def multipart(documents: Documents, submission_id: str, *, photo: bool) -> list[bytes]:
    """The body of OpenRosa's POST, in pieces."""
    parts = [
        _part("xml_submission_file", "submission.xml", "text/xml"),
        documents.xml(submission_id, photo=photo),
    ]
    if photo:
        parts += [
            b"\r\n" + _part(PHOTO_NAME, PHOTO_NAME, "image/jpeg"),
            photo_of(submission_id),
        ]
    return [*parts, f"\r\n--{BOUNDARY}--\r\n".encode()]


def _part(name: str, filename: str, content_type: str) -> bytes:
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    ).encode()


def _told(document_bytes: int, photo: bool) -> bytes:
    """What the reference, which parses nothing, is told; the product does not look at it."""
    return f"X-Document-Bytes: {document_bytes}\r\nX-Photo: {int(photo)}\r\n".encode()


def _json(phone: Phone, method: str, path: str, body: Any) -> Request:
    headers = phone.bearer + b"Content-Type: application/json\r\n"
    return _request(method, path, headers, [json.dumps(body).encode()])


def _request(method: str, path: str, headers: bytes = b"", body: Request | None = None) -> Request:
    length = sum(map(len, body or []))
    line = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
    return [line.encode() + headers + b"\r\n", *(body or [])]


def _expect(reply: Reply, status: int) -> Reply:
    if reply.status != status:
        raise Unexpected(f"{reply.status} instead of {status}: {reply.body[:500].decode()}")
    return reply
