"""The short way for what phones send most: past Django's resolver, page middleware and signals.

Django's handler, the eleven middlewares and the resolver take a quarter of a submission's time in
Python, and most of them have nothing to say to a phone. The few addresses of `SHORT` are found by one
look at the path, pass the middlewares that do concern them (`KEPT`) and reach the very views that the
long way reaches; tests/server/config/test_short_way.py holds both ways to the same answers. Whatever
is not exactly one of these addresses goes the long way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.db import DEFAULT_DB_ALIAS, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.middleware.security import SecurityMiddleware
from django.template.response import SimpleTemplateResponse
from django.urls import ResolverMatch, resolve

from server.config.middleware import Common, request_id
from server.config.requests import WsgiRequest

Environ = dict[str, Any]

KEPT: tuple[Callable[..., Any], ...] = (request_id, SecurityMiddleware, LocaleMiddleware, Common)
"""Of settings.MIDDLEWARE, in its order, those that do not step aside for phones' interfaces."""

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
SHORT = re.compile(
    "POST /key/(?P<key>[A-Za-z0-9_-]{1,80})/submission"
    "|GET /key/(?P<list>[A-Za-z0-9_-]{1,80})/formList"
    f"|PUT /api/v1/submissions/(?P<submission>{_UUID})"
    "|GET /api/v1/sync"
    "|POST /api/v1/media"
    f"|POST /api/v1/media/(?P<media>{_UUID})/complete"
)


class ShortWay:
    """A WSGI application in front of Django's."""

    request_class = WsgiRequest

    def __init__(self, django: WSGIHandler) -> None:
        self.django = django
        self._matches: dict[str, ResolverMatch] = {}
        handler: Callable[[Any], Any] = convert_exception_to_response(_view)
        for middleware in reversed(KEPT):
            handler = convert_exception_to_response(middleware(handler))
        self._handler = handler

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        found = SHORT.fullmatch(f"{environ['REQUEST_METHOD']} {path}")
        if found is None or environ.get("SCRIPT_NAME"):
            return self.django(environ, start_response)
        connection = connections[DEFAULT_DB_ALIAS]
        connection.close_if_unusable_or_obsolete()
        try:
            request = self.request_class(environ)
            request.resolver_match = self._match(path, found)
            response = self._handler(request)
            content = response.content
        finally:
            connection.close_if_unusable_or_obsolete()
        start_response(f"{response.status_code} {response.reason_phrase}", [*response.items()])
        return [content]

    def _match(self, path: str, found: re.Match[str]) -> ResolverMatch:
        """What Django's resolver says, asked once for each kind of address."""
        kind, value = found.lastgroup or path, found[found.lastgroup] if found.lastgroup else ""
        known = self._matches.get(kind)
        if known is None:
            known = self._matches[kind] = resolve(path)
        if not value:
            return known
        [(name, converted)] = known.kwargs.items()
        return ResolverMatch(
            known.func,
            (),
            {name: type(converted)(value)},
            url_name=known.url_name,
            app_names=[*known.app_names],
            namespaces=[*known.namespaces],
            route=known.route,
        )


def _view(request: HttpRequest) -> HttpResponseBase:
    match = request.resolver_match
    assert match  # noqa: S101 - ShortWay has just set it
    response: HttpResponseBase = match.func(request, **match.kwargs)
    return response.render() if isinstance(response, SimpleTemplateResponse) else response
