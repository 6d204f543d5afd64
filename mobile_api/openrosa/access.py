"""The frame of every OpenRosa answer: who asks, in which language, and what a refusal looks like."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from mobile_api.openrosa.digest import CredentialsNeeded, challenge, device_for_authorization
from mobile_api.openrosa.xml import message_xml
from mobile_api.problems import RETRY_SECONDS
from server.core.errors import (
    Conflict,
    DuxueError,
    Invalid,
    Malformed,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    TooLarge,
    Unavailable,
)
from server.instruments.services import form_hash
from server.messaging.models import Device
from server.messaging.sessions import (
    TokenUnknown,
    device_for_key,
    device_known_lately,
    remember_device,
)

logger = logging.getLogger(__name__)

SHOWN_PROBLEMS = 5
"""How many of a document's mistakes a phone's small message box gets."""


class UnsupportedBody(Malformed):
    code = "unsupported_body"


class MethodNotAllowed(NotAllowed):
    code = "method_not_allowed"


_STATUS: tuple[tuple[type[DuxueError], int], ...] = (
    (MethodNotAllowed, 405),
    (UnsupportedBody, 415),
    (NotAuthenticated, 401),
    (NotFound, 404),
    (TooLarge, 413),
    (Conflict, 409),
    (NotAllowed, 403),
    (Unavailable, 503),
    (Invalid, 400),
)
"""Only 201 and 202 tell a phone to forget: whatever is refused stays on it."""


@dataclass(frozen=True)
class Caller:
    """The device that asks, and how to write addresses that it can follow.

    `lately`: the device was usable a moment ago; whatever it asks for has to make sure.
    """

    device: Device
    request: HttpRequest
    lately: bool = False

    def address(self, name: str, **values: str) -> str:
        """An absolute address of the interface by which the device came in."""
        match = self.request.resolver_match
        assert match  # noqa: S101 - the view was found by it
        if "key" in match.kwargs:
            values["key"] = match.kwargs["key"]
        origin = settings.PUBLIC_URL or self.request.build_absolute_uri("/")
        return origin.rstrip("/") + _path(f"{match.namespace}:{name}", **values)


@lru_cache(maxsize=4096)
def _path(name: str, **values: str) -> str:
    """A form list has two addresses a form, the same for a phone every time."""
    return reverse(name, kwargs=values)


View = Callable[..., HttpResponse]


def openrosa(*methods: str, lately: bool = False) -> Callable[[View], View]:
    """Answer these methods for a device that may come in; turn every refusal into OpenRosa's XML.

    The view is called with the Caller and the address's other parts. `lately`: the view itself makes
    sure that a device which was usable a moment ago still is.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *, key: str | None = None, **parts: Any) -> HttpResponse:
            try:
                if request.method not in methods:
                    raise MethodNotAllowed(_("此地址不支持 %s 请求。") % request.method)
                response = view(_caller(request, key, lately=lately), **parts)
            except DuxueError as error:
                response = _refusal(error, request, methods)
            except (OperationalError, InterfaceError) as error:
                # The database restarts, or is away for a while: no fault of the document's.
                logger.error("openrosa: %s found no database: %s", view.__name__, error)
                response = _refusal(Unavailable(), request, methods)
            except SuspiciousOperation:
                response = xml_response(
                    message_xml(_("请求的地址不正确。"), failed=True), status=400
                )
            except Exception:  # whatever it is, the phone must get an answer that it can show
                logger.exception("openrosa: %s failed", view.__name__)
                sentence = _("服务器出错了，记录仍在手机里，请稍后重试。")
                response = xml_response(message_xml(sentence, failed=True), status=500)
            return _with_headers(response)

        # No cookie lets anybody in here, so there is no request to forge.
        return csrf_exempt(answer)

    return decorate


def xml_response(content: bytes, *, status: int = 200) -> HttpResponse:
    return HttpResponse(content, status=status, content_type="text/xml; charset=utf-8")


def unless_known(caller: Caller, response: HttpResponse) -> HttpResponse:
    """304 instead, where the client says that it has this content already."""
    tag = f'"{form_hash(response.content).removeprefix("md5:")}"'
    response["ETag"] = tag
    known = get_conditional_response(caller.request, etag=tag, response=response)
    assert isinstance(known, HttpResponse)  # noqa: S101 - it was given one
    return known


def _caller(request: HttpRequest, key: str | None, *, lately: bool) -> Caller:
    if key is None:
        return Caller(device_for_authorization(request), request)
    if lately and (known := device_known_lately(key)):
        return Caller(known, request, lately=True)
    try:
        device = device_for_key(key)
    except TokenUnknown:
        raise NotFound(_("地址中的密钥不正确，请重新扫描设置二维码。")) from None
    remember_device(key, device)
    return Caller(device, request)


def _refusal(error: DuxueError, request: HttpRequest, methods: tuple[str, ...]) -> HttpResponse:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 400)
    response = xml_response(message_xml(_sentence(error), failed=True), status=status)
    if isinstance(error, NotAuthenticated):
        stale = isinstance(error, CredentialsNeeded) and error.stale
        response["WWW-Authenticate"] = challenge(stale=stale, secure=request.is_secure())
    if status == 503:
        response["Retry-After"] = str(RETRY_SECONDS)
    if isinstance(error, MethodNotAllowed):
        response["Allow"] = ", ".join(methods)
    return response


def _sentence(error: DuxueError) -> str:
    lines = [str(error)]
    lines += [f"{each.pointer}: {each.detail}" for each in error.problems[:SHOWN_PROBLEMS]]
    if (more := len(error.problems) - SHOWN_PROBLEMS) > 0:
        lines.append(_("另有 %d 处。") % more)
    return "\n".join(lines)


def _with_headers(response: HttpResponse) -> HttpResponse:
    # Date is the server's own header: granian, uvicorn and Django's own all set it.
    if response.content:
        response["Content-Length"] = str(len(response.content))
    response["X-OpenRosa-Version"] = "1.0"
    response["X-OpenRosa-Accept-Content-Length"] = str(settings.MAX_UPLOAD_BYTES)
    response["Content-Language"] = get_language() or settings.LANGUAGE_CODE
    response["Cache-Control"] = "private, no-cache"
    # Django would write the address of a refused request to its log, and the key with it.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
