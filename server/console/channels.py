"""Where a person's and a school's notices arrive: this browser, and the group chats of one's school.

For everybody with a log-in; the office finds the groups of all its schools in the console.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from server.console.access import person, standing_of
from server.console.admin.base import sentence
from server.console.admin.chat_groups import RobotForm, group_shown
from server.core.errors import DuxueError
from server.grid.models import User
from server.grid.queries import schools_of_contact
from server.messaging.browsers import SESSION_KEY, subscribe_browser, unsubscribe_browser
from server.messaging.chat_groups import (
    add_chat_group,
    chat_groups_managed_by,
    delete_chat_group,
    set_chat_group,
    try_chat_group,
)
from server.messaging.routes import web_push_key

LOGIN = reverse_lazy("login")
LARGEST = 8192

Deed = Callable[[UUID, User], str]


@never_cache
@login_required(login_url=LOGIN)
@require_http_methods(["GET", "POST"])
def channels_page(request: HttpRequest) -> HttpResponse:
    """This browser, and the groups of the schools whose contact one is."""
    user = person(request)
    schools = list(schools_of_contact(user).order_by("name"))
    school = next((each for each in schools if str(each.pk) == request.GET.get("school")), None)
    school = school or next(iter(schools), None)
    form = RobotForm(by=user)
    if request.method == "POST" and school is not None:
        form = RobotForm(request.POST, by=user)
        if form.is_valid():
            try:
                add_chat_group(school_id=school.pk, **form.given())
                messages.success(request, _("已添加。请发送一条测试消息。"))
                return redirect(f"{request.path}?school={school.pk}")
            except DuxueError as error:
                form.refuse(error)
    groups = chat_groups_managed_by(user).filter(school=school) if school else ()
    context = {
        "webpush_key": web_push_key(),
        "schools": schools,
        "school": school,
        "groups": [(group, group_shown(group)) for group in groups],
        "form": form,
        "enters": standing_of(request).enters,
    }
    return render(request, "console/channels.html", context)


@login_required(login_url=LOGIN)
@require_POST
def group_deed(request: HttpRequest, group_id: UUID, deed: str) -> HttpResponse:
    """Do what a button of a group says and come back to the page."""
    user = person(request)
    do = DEEDS.get(deed)
    group = chat_groups_managed_by(user).filter(pk=group_id).first()
    if do is None or group is None:
        return HttpResponse(status=404)
    try:
        messages.success(request, do(group_id, user))
    except DuxueError as error:
        messages.error(request, sentence(error))
    return redirect(f"{reverse_lazy('channels')}?school={group.school_id or ''}")


def _test(group_id: UUID, by: User) -> str:
    try_chat_group(group_id=group_id, by=by)
    return _("已测试，结果如下。")


def _enable(group_id: UUID, by: User) -> str:
    set_chat_group(group_id=group_id, by=by, enabled=True)
    return _("已启用。")


def _disable(group_id: UUID, by: User) -> str:
    set_chat_group(group_id=group_id, by=by, enabled=False)
    return _("已停用，不再向此群发送。")


def _delete(group_id: UUID, by: User) -> str:
    delete_chat_group(group_id=group_id, by=by)
    return _("已删除。群里的机器人请在群设置中移除。")


DEEDS: Mapping[str, Deed] = {
    "test": _test,
    "enable": _enable,
    "disable": _disable,
    "delete": _delete,
}


# ---- this browser ----------------------------------------------------------------------------


@require_safe
def push_script(request: HttpRequest) -> HttpResponse:
    """The service worker, under an address whose scope holds no page of anybody else."""
    found = finders.find("console/push-worker.js")
    with open(str(found), "rb") as file:  # noqa: PTH123
        script = file.read()
    response = HttpResponse(script, content_type="text/javascript; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    return response


@never_cache
@login_required(login_url=LOGIN)
@require_http_methods(["POST", "DELETE"])
def subscription(request: HttpRequest) -> HttpResponse:
    """Begin or end pushing to this browser: {browser, name, subscription}."""
    user = person(request)
    given = _document(request)
    try:
        browser_id = UUID(str(given.get("browser")))
    except ValueError:
        return JsonResponse({"detail": _("请求不完整，请刷新页面重试。")}, status=400)
    if request.method == "DELETE":
        unsubscribe_browser(user=user, browser_id=browser_id)
        request.session.pop(SESSION_KEY, None)
        return HttpResponse(status=204)
    try:
        device = subscribe_browser(
            user=user,
            browser_id=browser_id,
            name=str(given.get("name") or _("浏览器")),
            subscription=given.get("subscription") or {},
            until=request.session.get_expiry_date(),
        )
    except DuxueError as error:
        return JsonResponse({"detail": sentence(error)}, status=422)
    request.session[SESSION_KEY] = str(device.pk)
    return HttpResponse(status=204)


def _document(request: HttpRequest) -> dict[str, Any]:
    raw = request.body if len(request.body) <= LARGEST else b""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
