"""The first page of the product, and the pages that say what went wrong and how to go on."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.csrf import requires_csrf_token
from django.views.decorators.http import require_safe

from server.core.errors import Text


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """Where to go, by who one is."""
    return render(request, "console/landing.html")


@requires_csrf_token
def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(
        HTTPStatus.BAD_REQUEST,
        _("请求无法处理"),
        _("地址或提交的内容不完整。没有任何内容被改动。请返回上一页重试。"),
    )


@requires_csrf_token
def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(
        HTTPStatus.FORBIDDEN,
        _("您无权进行此操作"),
        _("没有任何内容被改动。如确需办理，请联系本单位的教育督导办。"),
    )


@requires_csrf_token
def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(
        HTTPStatus.NOT_FOUND,
        _("找不到这个页面"),
        _("它可能已被移走，或不在您的查看范围内。请从首页或左侧菜单进入。"),
    )


@requires_csrf_token
def server_error(request: HttpRequest) -> HttpResponse:
    return _page(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        _("系统出了问题"),
        _("已保存的内容都是安全的，刚才的操作没有完成。请稍后再试；若仍不行，请联系系统管理员。"),
        getattr(request, "id", ""),
    )


def _page(status: HTTPStatus, title: Text, detail: Text, request_id: str = "") -> HttpResponse:
    # Without a request: no context processor asks a database that may be what failed.
    context = {
        "status": status.value,
        "title": title,
        "detail": detail,
        "request_id": request_id,
    }
    return HttpResponse(render_to_string("console/error.html", context), status=status)
