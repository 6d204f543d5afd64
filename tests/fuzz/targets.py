"""What is fuzzed: each target reads bytes as the product does, and may refuse only by name.

A target returns when the bytes were read or refused with a DuxueError; anything else that it raises
is a finding. What was read must also keep the promises that later parts of the product build on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from io import BytesIO
from unittest import mock
from uuid import UUID

import msgspec

from media_storage.services import StoredBytes
from mobile_api.openrosa.uploads import received
from mobile_api.views.submissions import submission_in
from server.activities.models import SubmissionAttachment
from server.activities.services.documents import Document, document_from_json, document_from_xml
from server.config.requests import WsgiRequest
from server.core.errors import DuxueError, Invalid
from server.findings.derive import remark_on
from server.messaging.models import Device
from tests.fuzz.forms import CHECKER, published

NAME_LENGTH = SubmissionAttachment._meta.get_field("name").max_length


def xml(content: bytes) -> None:
    """A submission's XML, from its bytes to a checked document."""
    with _without_services():
        try:
            document = document_from_xml(content)
        except DuxueError as refusal:
            _check_refusal(refusal)
        else:
            _check_document(document)


def json(content: bytes) -> None:
    """A submission's JSON body, the same way."""
    with _without_services():
        try:
            body = submission_in(content)
            document = document_from_json(
                submission_id=UUID(int=3),
                form_id=body.form_id,
                version=body.version,
                answers=body.answers,
                raw=content,
                visit_id=body.visit_id,
                started_at=body.started_at,
                ended_at=body.ended_at,
                device_time=body.device_time,
            )
        except DuxueError as refusal:
            _check_refusal(refusal)
        else:
            _check_document(document)


def multipart(content: bytes) -> None:
    """A posted body: the first line is the Content-Type header, the rest the bytes of the stream."""
    kind, _newline, body = content.partition(b"\n")
    if any(byte < 32 or byte == 127 for byte in kind):
        return  # no server lets such a header in
    with _without_services():
        try:
            with received(_request(kind, body), Device(user_id=UUID(int=4))) as upload:
                _check_document(upload.document)
                assert upload.files.keys() <= upload.document.files
                assert sum(file.size for file in upload.files.values()) <= len(body)
        except DuxueError as refusal:
            _check_refusal(refusal)


TARGETS: dict[str, Callable[[bytes], None]] = {"xml": xml, "multipart": multipart, "json": json}


def _check_document(document: Document) -> None:
    """What was let in fits its columns, is the same when it is checked again, and can be derived."""
    at = document.ended_at or document.device_time
    assert document.form.checker.check(document.answers, at=at).answers == document.answers
    encoded = msgspec.json.encode(document.answers)
    assert b"\\u0000" not in encoded
    assert all(0 < len(name) <= NAME_LENGTH for name in document.files), document.files
    for moment in (document.started_at, document.ended_at, document.device_time):
        assert moment is None or 1 < moment.year < 9999
    for finding in CHECKER.findings(document.answers):
        remark_on(document.answers, finding.key)


def _check_refusal(refusal: DuxueError) -> None:
    assert str(refusal)
    if isinstance(refusal, Invalid):
        assert all(problem.code for problem in refusal.problems)


def _request(kind: bytes, body: bytes) -> WsgiRequest:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/key/k/submission",
        "CONTENT_TYPE": kind.decode("latin-1"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
    }
    return WsgiRequest(environ)


def _stored(*, filename: str, content_type: str, chunks: Iterable[bytes]) -> StoredBytes:
    """In the place of `store_stream`, whose store writes to a disk."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return StoredBytes(filename, size, digest.hexdigest(), content_type)


def _without_services() -> ExitStack:
    """No database and no store: what they are asked for is answered here."""
    uploads = "mobile_api.openrosa.uploads"
    stack = ExitStack()
    stack.enter_context(
        mock.patch("server.activities.services.documents.published_form", published)
    )
    stack.enter_context(mock.patch(f"{uploads}.store_stream", _stored))
    stack.enter_context(mock.patch(f"{uploads}.discard"))
    stack.enter_context(mock.patch(f"{uploads}.keep_refused"))
    return stack
