"""Where Django itself refuses: a problem document for the API's addresses, a page for the others."""

from __future__ import annotations

from types import ModuleType

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from mobile_api import problems
from server.console import pages


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _answering(request).bad_request(request, exception)  # type: ignore[no-any-return]


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _answering(request).forbidden(request, exception)  # type: ignore[no-any-return]


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _answering(request).not_found(request, exception)  # type: ignore[no-any-return]


def server_error(request: HttpRequest) -> HttpResponseBase:
    return _answering(request).server_error(request)  # type: ignore[no-any-return]


def _answering(request: HttpRequest) -> ModuleType:
    return problems if request.path.startswith("/api/") else pages
