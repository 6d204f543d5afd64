"""Uploads and downloads of the folder store. The signed address is the permission: there is no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from media_storage.stores import CHUNK, ObjectMissing, disposition, get_store, kept_for
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
        store = get_store()
        if not isinstance(store, FolderStore):
            raise NotFound
        if request.method == "PUT":
            return _receive(request, store, _grant(token, "PUT"))
        return _send(request, store, _grant(token, "GET"))
    except DuxueError as error:
        return _problem(error)


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
    written = store.receive(grant, _body(request, grant.size))
    return HttpResponse(status=200, headers={"ETag": f'"{written.sha256}"'})


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
    response = _streamed(request, file)
    response.headers["Content-Type"] = grant.content_type
    response.headers["Content-Disposition"] = disposition(grant.filename, grant.content_type)
    response.headers["Cache-Control"] = kept_for(grant.expires - int(clock.now().timestamp()))
    # What people upload never runs here as a page of ours.
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _streamed(request: HttpRequest, file: BinaryIO) -> StreamingHttpResponse:
    if not isinstance(request, ASGIRequest):
        return FileResponse(file)
    # Under ASGI Django would gather a synchronous iterator whole before it sends.
    size = file.seek(0, 2)
    file.seek(0)
    return StreamingHttpResponse(_async_chunks(file), headers={"Content-Length": str(size)})


async def _async_chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    read = sync_to_async(file.read, thread_sensitive=False)
    try:
        while chunk := await read(CHUNK * 4):
            yield chunk
    finally:
        file.close()


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
