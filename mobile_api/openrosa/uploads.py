"""Reading a posted submission in constant memory: the document is kept, files go to the store.

Under WSGI (granian) the pieces come from the socket as they are read here. Under ASGI (uvicorn, the
embedded product) Django has received the whole body before the view runs, in memory up to
FILE_UPLOAD_MAX_MEMORY_SIZE and in a temporary file beyond it: memory stays bounded there too, but a
body over the limit is refused only after it has arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from media_storage.services import StoredBytes, discard, store_stream
from mobile_api.openrosa.access import UnsupportedBody
from server.activities.models import Submission
from server.activities.services.accepting import check_files_named
from server.activities.services.documents import Document, document_from_xml
from server.activities.services.quarantine import keep_refused
from server.core.errors import (
    ContentConflict,
    DuxueError,
    Malformed,
    NotAuthenticated,
    TooLarge,
    Unavailable,
)
from server.messaging.models import Device
from server.messaging.sessions import device_of_now

CHUNK = 64 * 1024
MAX_PARTS = 500
MAX_FLAG_BYTES = 16

DOCUMENT_PART = "xml_submission_file"
INCOMPLETE_PART = "*isIncomplete*"


@dataclass(frozen=True)
class Upload:
    """What one POST brought. `files` by the name that the document has for them."""

    document: Document
    files: dict[str, StoredBytes]


class BrokenOff(Malformed):
    code = "upload_broken_off"
    title = gettext_lazy("发送的内容不完整或无法读取，请重新发送。")


_NOT_THE_DOCUMENTS_FAULT = (BrokenOff, TooLarge, Unavailable, NotAuthenticated)
"""Refusals that say nothing against the document: the phone sends it again."""


@contextmanager
def received(request: HttpRequest, device: Device, *, lately: bool = False) -> Iterator[Upload]:
    """Read the body; the block is to accept what it brought.

    Where the block or the reading refuses, the stored files are discarded and a document that came
    whole is kept for the office; from a device that was usable `lately` only if it still is. Raises
    UnsupportedBody, BrokenOff, TooLarge, Malformed, and what `document_from_xml` and
    `check_files_named` raise.
    """
    reading = _Reading(request)
    try:
        yield reading.upload()
    except ContentConflict:
        raise  # what contradicts is kept, its files included
    except DuxueError as refusal:
        # Any other failure may have come after the commit: then these bytes are the submission's.
        reading.discard()
        if lately:
            device_of_now(device)  # who may not send at all is told so first
        if reading.raw and not isinstance(refusal, _NOT_THE_DOCUMENTS_FAULT):
            keep_refused(
                device=device, format=Submission.Format.XML, raw=reading.raw, refusal=refusal
            )
        raise


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class _StoredPart:
    """A file that lies in the store already, and the two names that the part gave it."""

    names: tuple[str, ...]
    stored: StoredBytes


class _Body:
    """The request's body in pieces, never more than the limit of it."""

    def __init__(self, request: HttpRequest) -> None:
        self.stream = _stream_of(request)
        self.left = settings.MAX_UPLOAD_BYTES
        length = request.headers.get("Content-Length") or "0"
        if length.isdecimal() and int(length) > self.left:
            raise _too_large(self.left)

    def read(self, size: int) -> bytes:
        try:
            chunk = self.stream.read(size)
        except OSError as error:
            raise BrokenOff from error
        self.left -= len(chunk)
        if self.left < 0:
            raise _too_large(settings.MAX_UPLOAD_BYTES)
        return chunk

    def drain(self) -> None:
        """Read what is still coming: many clients look for the answer only once they have sent all."""
        with suppress(DuxueError):
            while self.read(CHUNK):
                pass


def _stream_of(request: HttpRequest) -> _Stream:
    chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    if chunked and request.META.get("wsgi.input_terminated"):
        # Django takes a body of unknown length for an empty one; this server marks its end.
        stream: _Stream = request.META["wsgi.input"]
        return stream
    return request


@dataclass
class _Reading:
    """The state of reading one body: parts may come in any order."""

    request: HttpRequest
    raw: bytes = b""
    document: Document | None = None
    parts: list[_StoredPart] = field(default_factory=list)

    def upload(self) -> Upload:
        boundary = _boundary(self.request)
        body = _Body(self.request)
        try:
            self._read(boundary, body)
            return self._complete()
        except DuxueError:
            body.drain()
            raise

    def discard(self) -> None:
        """Best effort: the store may be the very thing that refused. What is left is waste, not loss."""
        for part in self.parts:
            with suppress(Unavailable):
                discard(part.stored.key)

    def _read(self, boundary: str, body: _Body) -> None:
        try:
            parser = PushMultipartParser(boundary, max_segment_count=MAX_PARTS)
            events = parser.parse_blocking(body.read, CHUNK)
            for segment in events:
                self._take(segment, _content(events))
        except ParserLimitReached as error:
            raise TooLarge(_("发送的内容分段过多或段头过长，请更新填报软件。")) from error
        except MultipartError as error:
            raise BrokenOff from error

    def _take(self, segment: MultipartSegment, content: Iterator[bytes]) -> None:
        if segment.name == DOCUMENT_PART:
            if self.document:
                raise Malformed(_("一次只能发送一份填报（%s 出现了两次）。") % DOCUMENT_PART)
            self.raw = _collected(content, settings.MAX_DOCUMENT_BYTES)
            self.document = document_from_xml(self.raw)
        elif segment.name == INCOMPLETE_PART:
            # Not needed: the document names its files, so we know what is still to come.
            _collected(content, MAX_FLAG_BYTES)
        else:
            self._store(segment, content)

    def _store(self, segment: MultipartSegment, content: Iterator[bytes]) -> None:
        names = tuple(name for name in (segment.name, segment.filename) if name)
        if not names:
            raise Malformed(_("有一个文件没有名称，请更新填报软件后重试。"))
        if self.document:
            # Refused before its bytes are stored, where the document came first.
            check_files_named(self.document, [_name_in(self.document, names)])
        stored = store_stream(
            filename=names[0], content_type=segment.content_type or "", chunks=content
        )
        self.parts.append(_StoredPart(names, stored))

    def _complete(self) -> Upload:
        if self.document is None:
            raise Malformed(_("发送的内容里没有填报（缺少 %s）。") % DOCUMENT_PART)
        files: dict[str, StoredBytes] = {}
        for part in self.parts:
            name = _name_in(self.document, part.names)
            if name in files:
                raise Malformed(_("文件“%s”发送了两次。") % name)
            files[name] = part.stored
        check_files_named(self.document, list(files))
        return Upload(self.document, files)


def _boundary(request: HttpRequest) -> str:
    kind, options = parse_options_header(request.headers.get("Content-Type", ""))
    if kind != "multipart/form-data":
        raise UnsupportedBody(_("请以 multipart/form-data 发送填报，收到的是“%s”。") % kind)
    if not options.get("boundary"):
        raise Malformed(_("multipart 内容没有写明分隔符（boundary），请更新填报软件。"))
    return str(options["boundary"])


def _content(events: Iterator[MultipartSegment | bytes | None]) -> Iterator[bytes]:
    """The bytes of the segment that has just begun, up to its end."""
    for event in events:
        if event is None:
            return
        yield event


def _collected(content: Iterator[bytes], limit: int) -> bytes:
    collected = bytearray()
    for chunk in content:
        collected += chunk
        if len(collected) > limit:
            raise _too_large(limit)
    return bytes(collected)


def _name_in(document: Document, names: tuple[str, ...]) -> str:
    """A part is named by its file; a client that names it otherwise gives the file's name beside."""
    return next((name for name in names if name in document.files), names[0])


def _too_large(limit: int) -> TooLarge:
    size = f"{limit // (1024 * 1024)} MB" if limit >= 1024 * 1024 else _("%d 字节") % limit
    return TooLarge(_("发送的内容超过 %s，请减少或缩小照片后分次发送。") % size)
