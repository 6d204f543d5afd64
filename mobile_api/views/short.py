"""The short way: what is ordinary is answered by columns alone, all else by the view of DRF.

Of a day's requests most declare or complete a photo. For these, DRF and two models of a device took a
third of the time. Ordinary is a token that is in order, a JSON body of the usual shape, no language or
format asked for; both ways call the same service, and give the same bytes
(tests/mobile_api/test_short.py). Whatever the short way does not want, it leaves untouched.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils import translation

from mobile_api.bodies import JSONParser, parse_json
from mobile_api.polling import finish
from mobile_api.problems import MEDIA_TYPE, problem, status_of, usual_headers
from mobile_api.views.base import PhoneView
from server.core.errors import DuxueError, Malformed

logger = logging.getLogger(__name__)

ANY = ("", "*/*", JSONParser.media_type)
SHORT_BYTES = 8 * 1024


class NotOrdinary(Exception):
    """The other view has to look at this."""


class ShortWay(PhoneView):
    """`short(request, token, …)` answers a POST (body, status), or raises NotOrdinary before it acts."""

    short: ClassVar[Callable[..., tuple[Any, int, dict[str, str]]]]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        whole = super().as_view(**initkwargs)

        def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                return _answered(request, *cls.short(request, _token(request), **kwargs))
            except (NotOrdinary, OperationalError, InterfaceError):
                return whole(request, *args, **kwargs)
            except DuxueError as error:
                return _refused(request, error)

        update_wrapper(view, whole)
        return view


def _token(request: HttpRequest) -> str:
    """Raises NotOrdinary for a request that is anything but a plain POST with a bearer token."""
    meta = request.META
    scheme, _space, token = str(meta.get("HTTP_AUTHORIZATION", "")).partition(" ")
    if (
        request.method != "POST"
        or scheme != "Bearer"
        or meta.get("HTTP_ACCEPT", "") not in ANY
        or meta.get("QUERY_STRING")
        or not token
    ):
        raise NotOrdinary
    return token


def short_body(request: HttpRequest) -> Any:
    """The parsed body. Raises NotOrdinary."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if request.content_type != JSONParser.media_type or not 0 < int(length) <= SHORT_BYTES:
        raise NotOrdinary
    try:
        return parse_json(request.body)
    except (Malformed, UnreadablePostError):
        raise NotOrdinary from None


def short_base_url(request: HttpRequest) -> str:
    """See PhoneView.base_url. Raises NotOrdinary."""
    if settings.PUBLIC_URL:
        return str(settings.PUBLIC_URL).rstrip("/")
    try:
        return request.build_absolute_uri("/").rstrip("/")
    except SuspiciousOperation:
        raise NotOrdinary from None


def speak(request: HttpRequest, language: str) -> None:
    """As DeviceTokenAuthentication does for a device that asks for no language."""
    if "HTTP_ACCEPT_LANGUAGE" not in request.META:
        translation.activate(language)


def _answered(
    request: HttpRequest,
    content: Any,
    status: int,
    headers: dict[str, str],
    content_type: str = JSONParser.media_type,
) -> HttpResponse:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return finish(request, HttpResponse(text, content_type, status, headers=headers))


def _refused(request: HttpRequest, error: DuxueError) -> HttpResponse:
    """As DRF's exception handler does; the service has acted and must not be asked again."""
    status = status_of(error)
    if status >= 500:
        logger.error("%s %s", request.method, request.path, exc_info=error)
    content = problem(request, status, error)
    return _answered(request, content, status, usual_headers(status), MEDIA_TYPE)
