"""Uploads and downloads of the folder store. The signed address is the permission: there is no other."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import BinaryIO

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from media_storage.ranges import OutOfRange, Span, unchanged, wanted
from media_storage.stores import CHUNK, ObjectMissing, disposition, get_store, kept_for
from media_storage.stores.both import BothStores
from media_storage.stores.folder import FolderStore, Grant
from server.core import clock
from server.core.errors import (
    DuxueError,
    Malformed,
    NotAllowed,
    NotFound,
    TooLarge,
    Unavailable,
)

RETRY_SECONDS = 5

STATUS: tuple[tuple[type[DuxueError], int], ...] = (
    (Malformed, 400),
    (NotAllowed, 403),
    (NotFound, 404),
    (TooLarge, 413),
    (Unavailable, 503),
)


@csrf_exempt
@require_http_methods(["GET", "HEAD", "PUT"])
def stored_file(request: HttpRequest, token: str) -> HttpResponseBase:
    """PUT or GET one file of the folder store, as the token allows. Errors are problem+json."""
    try:
        folders = _folders()
        grant = _grant(token, "PUT" if request.method == "PUT" else "GET")
        store = _named(folders, grant.store)
        return (_receive if grant.method == "PUT" else _send)(request, store, grant)
    except DuxueError as error:
        return _problem(error)


def _folders() -> list[FolderStore]:
    """The installation's, new and old. Raises NotFound where there is none."""
    store = get_store()
    both = (store.new, store.old) if isinstance(store, BothStores) else (store,)
    folders = [each for each in both if isinstance(each, FolderStore)]
    if not folders:
        raise NotFound
    return folders


def _named(folders: Sequence[FolderStore], name: str) -> FolderStore:
    """The one that gave the address. Raises NotFound."""
    for each in folders:
        if name in ("", each.name):
            return each
    raise NotFound


def _grant(token: str, method: str) -> Grant:
    grant = Grant.read(token, method=method)
    if grant is None:
        raise NotAllowed(_("链接无效或已过期，请重新获取"))
    return grant


def _receive(request: HttpRequest, store: FolderStore, grant: Grant) -> HttpResponse:
    # Before a byte of the body is read.
    length = _content_length(request)
    if length > grant.size:
        raise TooLarge(_("内容比登记的大，请核对文件"))
    if length != grant.size:
        raise Malformed(_("内容的长度与登记的不符，请重新上传"))
    body = _checked(_body(request, grant.size), request.headers.get("Content-MD5", ""))
    written = store.receive(grant, body)
    return HttpResponse(status=200, headers={"ETag": f'"{written.sha256}"'})


def _checked(chunks: Iterator[bytes], content_md5: str) -> Iterator[bytes]:
    """The same; at its end raises Malformed where the sender's MD5 (RFC 1864) is not the body's."""
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if content_md5 and content_md5.strip() != base64.b64encode(digest.digest()).decode():
        raise Malformed(_("内容在途中损坏，请重新上传"))


def _content_length(request: HttpRequest) -> int:
    try:
        return int(request.headers.get("Content-Length", ""))
    except ValueError:
        raise Malformed(_("请求缺少 Content-Length")) from None


def _body(request: HttpRequest, size: int) -> Iterator[bytes]:
    """The body in pieces. Raises Malformed when it ends early, so that nothing is left of it."""
    try:
        while chunk := request.read(CHUNK):
            size -= len(chunk)
            yield chunk
    except UnreadablePostError as error:
        raise Malformed(_("上传中断，请重试")) from error
    if size:
        raise Malformed(_("上传中断，请重试"))


def _send(request: HttpRequest, store: FolderStore, grant: Grant) -> HttpResponseBase:
    try:
        file = store.open(grant.place)
    except ObjectMissing:
        raise NotFound from None
    facts = os.fstat(file.fileno())
    etag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
    response = _answer(request, file, facts.st_size, etag)
    if response.status_code in (200, 206):
        response.headers["Content-Type"] = grant.content_type
        response.headers["Content-Disposition"] = disposition(grant.filename, grant.content_type)
    response.headers["ETag"] = etag
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = kept_for(grant.expires - int(clock.now().timestamp()))
    # What people upload never runs here as a page of ours.
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _answer(request: HttpRequest, file: BinaryIO, size: int, etag: str) -> HttpResponseBase:
    """The whole, a part of it, or why not."""
    if unchanged(request.headers, etag=etag):
        file.close()
        return HttpResponse(status=304)
    try:
        span = wanted(request.headers, etag=etag, size=size)
    except OutOfRange:
        file.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    if span is None:
        return _streamed(request, file, Span(0, size))
    response = _streamed(request, file, span)
    response.status_code = 206
    response.headers["Content-Range"] = span.content_range(size)
    return response


def _streamed(request: HttpRequest, file: BinaryIO, span: Span) -> StreamingHttpResponse:
    file.seek(span.start)
    # Under ASGI Django would gather a synchronous iterator whole before it sends.
    under_asgi = isinstance(request, ASGIRequest)
    chunks = _async_chunks(file, span.size) if under_asgi else _chunks(file, span.size)
    response = StreamingHttpResponse(chunks, headers={"Content-Length": str(span.size)})
    # A client that leaves before the first chunk would leave the file open.
    response._resource_closers.append(file.close)  # type: ignore[attr-defined]
    return response


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (chunk := file.read(min(CHUNK * 4, size))):
        size -= len(chunk)
        yield chunk


async def _async_chunks(file: BinaryIO, size: int) -> AsyncIterator[bytes]:
    read = sync_to_async(file.read, thread_sensitive=False)
    while size and (chunk := await read(min(CHUNK * 4, size))):
        size -= len(chunk)
        yield chunk


def _problem(error: DuxueError) -> JsonResponse:
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    content = {
        "type": "about:blank",
        "title": str(error.title),
        "status": status,
        "detail": str(error),
        "code": error.code,
        "errors": [],
    }
    response = JsonResponse(content, status=status, content_type="application/problem+json")
    if status == 503:
        response["Retry-After"] = str(RETRY_SECONDS)
    return response
