"""Request ids, and the page middleware that steps aside for the interfaces of phones."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

INTERFACES = ("/api/v1/", "/key/", "/openrosa/", "/store/")
"""Paths that carry their own credentials: no session, no CSRF, no page headers."""

Handler = Callable[[HttpRequest], HttpResponse]


def request_id(get_response: Handler) -> Handler:
    """Give every request an id, the proxy's X-Request-ID or a new one, and answer with it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request.id = given if 0 < len(given) <= 64 and given.isascii() else uuid4().hex  # type: ignore[attr-defined]
        response = get_response(request)
        response["X-Request-ID"] = request.id  # type: ignore[attr-defined]
        return response

    return middleware


def _pages_only(path: str) -> Callable[[Handler], Handler]:
    def factory(get_response: Handler) -> Handler:
        with_pages: Handler = import_string(path)(get_response)

        def middleware(request: HttpRequest) -> HttpResponse:
            handler = get_response if request.path.startswith(INTERFACES) else with_pages
            return handler(request)

        return middleware

    return factory


static_files = _pages_only("whitenoise.middleware.WhiteNoiseMiddleware")
sessions = _pages_only("django.contrib.sessions.middleware.SessionMiddleware")
common = _pages_only("django.middleware.common.CommonMiddleware")
csrf = _pages_only("django.middleware.csrf.CsrfViewMiddleware")
authentication = _pages_only("django.contrib.auth.middleware.AuthenticationMiddleware")
messages = _pages_only("django.contrib.messages.middleware.MessageMiddleware")
clickjacking = _pages_only("django.middleware.clickjacking.XFrameOptionsMiddleware")
lockout = _pages_only("axes.middleware.AxesMiddleware")
