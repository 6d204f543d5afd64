"""Request ids, and the page middleware that steps aside for the interfaces of phones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

from server.core.audit import Origin, coming_from, session_digest

INTERFACES = ("/api/v1/", "/key/", "/openrosa/", "/store/")
"""Paths that carry their own credentials: no session, no CSRF, no page headers."""

Handler = Callable[[HttpRequest], HttpResponse]


def request_id(get_response: Handler) -> Handler:
    """Give every request an id, the proxy's X-Request-ID or a new one, and answer with it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request.id = given if 0 < len(given) <= 64 and given.isascii() else uuid4().hex  # type: ignore[attr-defined]
        with coming_from(partial(_origin_of, request)):
            response = get_response(request)
        response["X-Request-ID"] = request.id  # type: ignore[attr-defined]
        return response

    return middleware


def _origin_of(request: HttpRequest) -> Origin:
    """What the audit log says of a request: asked when an entry is written, after the log-in."""
    device = getattr(request, "auth", None)
    session = getattr(request, "session", None)
    return Origin(
        request_id=request.id,  # type: ignore[attr-defined]
        device_id=getattr(device, "pk", None),
        session=session_digest(session.session_key) if session else "",
        ip=_address_of(request) if settings.AUDIT_IP_ADDRESSES else None,
    )


def _address_of(request: HttpRequest) -> str | None:
    """The client's address: the proxy's word where there is a proxy, which overwrites the client's."""
    told = request.headers.get("X-Forwarded-For", "") if settings.PRODUCTION else ""
    address = told.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")
    try:
        return str(ip_address(address))
    except ValueError:  # a socket of this machine has none
        return None


def is_interface(request: HttpRequest) -> bool:
    return request.path.startswith(INTERFACES)


class PagesOnly:
    """Mixed into Django's middleware: the interfaces pass it by."""

    async_capable = False
    get_response: Callable[[HttpRequest], Any]

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Any:
        if is_interface(request):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class StaticFiles(PagesOnly, WhiteNoiseMiddleware):  # type: ignore[misc] # untyped library
    pass


class Sessions(PagesOnly, SessionMiddleware):
    pass


class Common(PagesOnly, CommonMiddleware):
    """Of what it does for pages, interfaces need the length: without it answers go out in chunks."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Any:
        response = super().__call__(request)
        if isinstance(response, HttpResponse) and "Content-Length" not in response.headers:
            response.headers["Content-Length"] = str(len(response.content))
        return response


class Csrf(PagesOnly, CsrfViewMiddleware):
    def process_view(
        self, request: HttpRequest, callback: Any, callback_args: Any, callback_kwargs: Any
    ) -> HttpResponseForbidden | None:
        if is_interface(request):
            return None
        return super().process_view(request, callback, callback_args, callback_kwargs)


class Authentication(PagesOnly, AuthenticationMiddleware):
    pass


class Messages(PagesOnly, MessageMiddleware):
    pass


class Clickjacking(PagesOnly, XFrameOptionsMiddleware):
    pass
