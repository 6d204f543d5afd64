"""Links of messages: log in, then the thing that the message is about.

Who enters the console lands on its page there; a school contact or an inspector, who does not, reads it
here. What one may not see does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, redirect_to_login
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from server.activities.models import Activity, Visit
from server.activities.queries import activities_visible_to, schools_known_to, visits_visible_to
from server.console.access import person, standing_of
from server.core.errors import NotFound, Text
from server.findings.models import Finding
from server.findings.queries import findings_visible_to
from server.grid.models import School, User
from server.messaging.models import Notice
from server.messaging.queries import inbox_of, notices_visible_to
from server.messaging.services import acknowledge, mark_read

Facts = list[tuple[Text, Any]]

VISIBLE: Mapping[str, Callable[[User], QuerySet[Any]]] = {
    "activity": activities_visible_to,
    "finding": lambda user: findings_visible_to(user).select_related("school", "activity"),
    "notice": lambda user: notices_visible_to(user).select_related("school"),
    "school": schools_known_to,
    "visit": lambda user: visits_visible_to(user).select_related("school", "activity"),
}
"""What a link may lead to, by the kind that notices call it, and who may see it."""


class Login(LoginView):
    """For everybody who has a log-in, on the desk or inside a chat program on the phone."""

    template_name = "console/login.html"
    authentication_form = AuthenticationForm
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        return reverse("channels")


@never_cache
@require_http_methods(["GET", "POST"])
def go(request: HttpRequest, kind: str, id: UUID) -> HttpResponse:
    """The thing itself. POST confirms a notice."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), reverse("login"))
    user = person(request)
    visible = VISIBLE.get(kind)
    row = visible(user).filter(pk=id).first() if visible else None
    if row is None:
        raise Http404
    if isinstance(row, Notice):
        return _notice(request, row, user)
    if page := _console_page(request, row):
        return redirect(page)
    return render(request, "console/subject.html", {"title": str(row), **_shown(row)})


def _console_page(request: HttpRequest, row: Model) -> str:
    """The row's page in the console, where this person enters and finds it there."""
    listed = admin.site._registry.get(type(row))
    if not standing_of(request).enters or listed is None:
        return ""
    if not listed.get_queryset(request).filter(pk=row.pk).exists():
        return ""
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def _notice(request: HttpRequest, notice: Notice, user: User) -> HttpResponse:
    """Who received it reads it by opening it, and confirms it by a button."""
    delivery = inbox_of(user).filter(notice=notice).first()
    if delivery is None:  # its author, or an office over its school
        page = _console_page(request, notice)
        if not page:
            raise Http404
        return redirect(page)
    try:
        if request.method == "POST":
            delivery = acknowledge(notice_id=notice.pk, by=user)
        elif delivery.read_at is None:
            delivery = mark_read(notice_id=notice.pk, by=user)
    except NotFound:
        raise Http404 from None
    subject = (
        reverse("go", args=[notice.subject_type, notice.subject_id])
        if notice.subject_id and notice.subject_type in VISIBLE
        else ""
    )
    context = {"title": notice.title, "notice": notice, "delivery": delivery, "subject": subject}
    return render(request, "console/notice_read.html", context)


def _shown(row: Model) -> dict[str, Any]:
    """What somebody without the console reads of it."""
    if isinstance(row, Finding):
        return {
            "badged": row,
            "facts": _finding_facts(row),
            "hint": _("请在手机端填写整改措施并提交材料。"),
        }
    if isinstance(row, Visit):
        return {"badged": row, "facts": _visit_facts(row), "hint": _("填报和签到请在手机端进行。")}
    if isinstance(row, Activity):
        return {"facts": _period(row)}
    if isinstance(row, School):
        return {"facts": [(_("学段"), row.get_stage_display()), (_("地址"), row.address or "—")]}
    raise Http404


def _finding_facts(row: Finding) -> Facts:
    return [
        (_("学校"), row.school),
        (_("说明"), row.detail or "—"),
        (_("整改期限"), row.due_on or "—"),
        (_("督导活动"), row.activity or "—"),
    ]


def _visit_facts(row: Visit) -> Facts:
    return [(_("学校"), row.school), (_("督导活动"), row.activity), *_period(row.activity)]


def _period(row: Activity) -> Facts:
    return [(_("开始日期"), row.starts), (_("结束日期"), row.ends)]
