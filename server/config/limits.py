"""Bodies over their limit, refused before they are read whole: under ASGI Django reads them first.

Over WSGI the views look before they read. The interfaces of phones are loaded when they are needed: the
live process, which serves sockets only, does without them and saves 15 MB.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.translation import gettext as _

from server.core.errors import TooLarge


class BodyLimit:
    """ASGI middleware: 413 by the declared length, or as soon as more arrives than is allowed."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        limit = limit_of(scope.get("path", ""))
        if _declared(scope) > limit:
            await _refuse(scope, send, limit)
            return
        left, answered = limit, False

        async def measured() -> Any:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _OverLimit
            return message

        async def watched(message: Any) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, measured, watched)
        except _OverLimit:
            if not answered:
                await _refuse(scope, send, limit)


class _OverLimit(Exception):
    """More came than was declared, or than may come."""


def limit_of(path: str) -> int:
    """The largest body of an address, in bytes."""
    if path == "/api/v1/instruments":
        from mobile_api.views.instruments import MAX_REQUEST_BYTES

        return MAX_REQUEST_BYTES
    return settings.MAX_DOCUMENT_BYTES if path.startswith("/api/") else settings.MAX_UPLOAD_BYTES


def _declared(scope: Any) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


async def _refuse(scope: Any, send: Any, limit: int) -> None:
    response = _response(scope, limit)
    headers = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in response.items()]
    headers += [(b"content-length", str(len(response.content)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


def _response(scope: Any, limit: int) -> HttpResponse:
    from mobile_api.openrosa.access import xml_response
    from mobile_api.openrosa.xml import message_xml
    from mobile_api.problems import problem_response

    refusal: HttpResponse
    request = HttpRequest()
    request.id = uuid4().hex  # type: ignore[attr-defined]
    headers = dict(scope["headers"])
    request.META["HTTP_ACCEPT_LANGUAGE"] = headers.get(b"accept-language", b"").decode("latin-1")
    with translation.override(translation.get_language_from_request(request)):
        error = TooLarge(_("内容不能超过 %d MB，请减少后重新提交") % (limit // 2**20))
        if scope["path"].startswith(("/key/", "/openrosa/")):
            refusal = xml_response(message_xml(str(error), failed=True))
            refusal["X-OpenRosa-Version"] = "1.0"
        else:
            refusal = problem_response(request, error)
    refusal["X-Request-ID"] = request.id  # type: ignore[attr-defined]
    return refusal
