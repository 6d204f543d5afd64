"""Every refusal as RFC 9457 `application/problem+json`: what broke, where, and what to do.

    {"type", "title", "status", "detail", "code", "errors": [{"pointer", "code", "detail"}], "request_id"}

`pointer` is a JSON pointer (RFC 6901) into the request's body; `?name` for a parameter of the address.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.response import Response

from mobile_api.authentication import CHALLENGE
from server.core.errors import (
    Conflict,
    DuxueError,
    Gone,
    Invalid,
    Malformed,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Problem,
    TooLarge,
    TooManyRequests,
    Unavailable,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5

STATUS: tuple[tuple[type[DuxueError], int], ...] = (
    (Malformed, 400),
    (Invalid, 422),
    (NotAuthenticated, 401),
    (NotAllowed, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Gone, 410),
    (TooLarge, 413),
    (TooManyRequests, 429),
    (Unavailable, 503),
)
"""The first kind that fits."""


class MethodNotAllowed(DuxueError):
    code = "method_not_allowed"
    title = _("此地址不支持这种请求方法")


class NotAcceptable(DuxueError):
    code = "not_acceptable"
    title = _("只能以 JSON 回答，请调整 Accept")


class UnsupportedType(DuxueError):
    code = "unsupported_media_type"
    title = _("不支持这种内容类型，请检查 Content-Type")


class ServerFault(DuxueError):
    code = "internal_error"
    title = _("服务器出错了。内容没有保存，请稍后重试；若仍出错，请把 request_id 告诉管理员")


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's exception handler: whatever a view raises becomes a problem, never a page."""
    request: HttpRequest = context["request"]
    headers: dict[str, str] = {}
    if isinstance(error, exceptions.APIException):
        status, ours = _from_framework(error)
        headers = _headers_of(error)
        if allowed := getattr(context.get("view"), "allowed_methods", None):
            headers |= {"Allow": ", ".join(allowed)} if status == 405 else {}
    else:
        ours = _from_python(error)
        status = status_of(ours)
        if isinstance(ours, TooManyRequests):
            headers["Retry-After"] = str(ours.retry_after)
    if status >= 500:
        logger.error("%s %s", request.method, request.path, exc_info=error)
    return Response(
        problem(request, status, ours),
        status,
        headers=headers | usual_headers(status),
        content_type=MEDIA_TYPE,
    )


def status_of(error: DuxueError) -> int:
    """The HTTP status of a kind of error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def problem(request: HttpRequest, status: int, error: DuxueError) -> dict[str, Any]:
    """The document, in the language that is active now."""
    return {
        "type": "about:blank",
        "title": str(error.title),
        "status": status,
        "detail": str(error.detail),
        "code": error.code,
        "errors": [
            {"pointer": each.pointer, "code": each.code, "detail": str(each.detail)}
            for each in error.problems
        ],
        "request_id": getattr(request, "id", ""),
    }


def problem_response(request: HttpRequest, error: DuxueError, status: int = 0) -> JsonResponse:
    """The same outside DRF's views."""
    status = status or status_of(error)
    return JsonResponse(
        problem(request, status, error),
        status=status,
        headers=usual_headers(status),
        content_type=MEDIA_TYPE,
        json_dumps_params={"ensure_ascii": False},
    )


# ---- where Django itself refuses --------------------------------------------------------------


def unknown_address(request: HttpRequest) -> HttpResponseBase:
    """No such address below /api/."""
    return problem_response(request, NotFound(_("没有这个地址，请检查链接")))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return problem_response(request, _from_python(exception))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return problem_response(request, _from_python(exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return unknown_address(request)


def server_error(request: HttpRequest) -> HttpResponseBase:
    return problem_response(request, ServerFault())


# ---- from others' errors to ours --------------------------------------------------------------


def usual_headers(status: int) -> dict[str, str]:
    """What every refusal with this status carries."""
    if status == 401:
        return {"WWW-Authenticate": CHALLENGE}
    return {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}


def _headers_of(error: exceptions.APIException) -> dict[str, str]:
    wait = getattr(error, "wait", None)
    return {"Retry-After": str(int(wait) + 1)} if wait else {}


_FRAMEWORK: tuple[tuple[type[exceptions.APIException], type[DuxueError]], ...] = (
    (exceptions.ParseError, Malformed),
    (exceptions.NotAuthenticated, NotAuthenticated),
    (exceptions.AuthenticationFailed, NotAuthenticated),
    (exceptions.PermissionDenied, NotAllowed),
    (exceptions.NotFound, NotFound),
    (exceptions.MethodNotAllowed, MethodNotAllowed),
    (exceptions.NotAcceptable, NotAcceptable),
    (exceptions.UnsupportedMediaType, UnsupportedType),
    (exceptions.Throttled, TooManyRequests),
)


def _from_framework(error: exceptions.APIException) -> tuple[int, DuxueError]:
    if isinstance(error, exceptions.ValidationError):
        return 422, Invalid(problems=list(_pointed(error.detail, "")))
    ours = next(
        (kind for framework, kind in _FRAMEWORK if isinstance(error, framework)), ServerFault
    )
    return error.status_code, ours()


_PYTHON: tuple[tuple[tuple[type[Exception], ...], type[DuxueError]], ...] = (
    ((Http404,), NotFound),
    ((PermissionDenied,), NotAllowed),
    ((RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent), TooLarge),
    ((SuspiciousOperation, UnreadablePostError), Malformed),
    ((OperationalError, InterfaceError), Unavailable),
)


def _from_python(error: Exception) -> DuxueError:
    if isinstance(error, DuxueError):
        return error
    return next((ours for theirs, ours in _PYTHON if isinstance(error, theirs)), ServerFault)()


def _pointed(detail: Any, pointer: str) -> Iterator[Problem]:
    """DRF's nested errors as pointers: {"device": {"id": ["…"]}} → /device/id."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _pointed(
                inner, pointer if name == "non_field_errors" else f"{pointer}/{name}"
            )
    elif isinstance(detail, Iterable) and not isinstance(detail, str):
        yield from _pointed_items(list(detail), pointer)
    else:
        yield Problem(pointer, getattr(detail, "code", "invalid"), str(detail))


def _pointed_items(items: list[Any], pointer: str) -> Iterator[Problem]:
    for index, item in enumerate(items):
        if isinstance(item, str):
            yield from _pointed(item, pointer)
        elif item:  # one entry per element of a list, empty where it is in order
            yield from _pointed(item, f"{pointer}/{index}")
