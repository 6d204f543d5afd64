"""Outgoing webhooks: an office's endpoints, their secrets shown once, and the log of what was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person, standing_of
from server.console.admin.base import Deed, ScopedAdmin, Tool
from server.console.admin.dead import facts_of_work
from server.console.admin.links import page_link
from server.console.care import day_of, log_tool
from server.console.forms import ConsoleForm, PickMany
from server.console.states import badge
from server.core.errors import Text
from server.core.ids import new_id
from server.grid.models import Area, User
from server.webhooks.catalogue import event_types
from server.webhooks.models import WebhookDelivery, WebhookEndpoint
from server.webhooks.queries import (
    areas_with_webhooks_of,
    deliveries_visible_to,
    endpoints_visible_to,
)
from server.webhooks.services import (
    Made,
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    redeliver,
    redeliver_since,
    rotate_secret,
    send_test,
    take_over,
)

State = WebhookEndpoint.State


def _choices() -> list[tuple[str, Text]]:
    return [(name, f"{event.words}　{name}") for name, event in event_types().items()]


class WebhookForm(ConsoleForm):
    """Where to, and what."""

    url = forms.CharField(
        label=gettext_lazy("接收地址"),
        max_length=500,
        widget=forms.URLInput(attrs={"placeholder": "https://"}),
        help_text=gettext_lazy("以 https:// 开头，不能指向内部网络"),
    )
    description = forms.CharField(label=gettext_lazy("说明"), max_length=100, required=False)
    events = forms.MultipleChoiceField(
        label=gettext_lazy("事件"), choices=_choices, widget=PickMany
    )


class NewWebhookForm(WebhookForm):
    area = forms.ModelChoiceField(
        label=gettext_lazy("行政区"),
        queryset=Area.objects.none(),
        help_text=gettext_lazy("推送该行政区及其下级所有学校的事件"),
    )
    endpoint_id = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)
    field_order = ["area", "url", "description", "events"]

    def limit_choices(self) -> None:
        areas = areas_with_webhooks_of(self.by).order_by("path")
        self.fields["area"].queryset = areas  # type: ignore[attr-defined]


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ScopedAdmin):
    list_display = ["name", "area", "standing", "waiting", "last_success_at", "responsible"]
    list_filter = ["state"]
    search_fields = ["url", "description"]
    ordering = ["created_at"]
    page_template = "console/webhook.html"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return standing_of(request).is_office

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing_of(request).is_office

    def may_add(self, request: HttpRequest) -> bool:
        return standing_of(request).is_office

    def visible_to(self, user: User) -> QuerySet[WebhookEndpoint]:
        waiting = WebhookDelivery.objects.filter(
            endpoint=OuterRef("pk"), state=WebhookDelivery.State.PENDING
        )
        counted = waiting.order_by().values("endpoint").annotate(n=Count("pk")).values("n")
        return endpoints_visible_to(user).annotate(pending=Coalesce(Subquery(counted), 0))

    @admin.display(description=gettext_lazy("名称"), ordering="url")
    def name(self, row: WebhookEndpoint) -> str:
        return str(row)

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: WebhookEndpoint) -> SafeString:
        return badge(State(row.state))

    @admin.display(description=gettext_lazy("待发送"))
    def waiting(self, row: Any) -> int:
        count: int = row.pending
        return count

    # ---- making and changing ----------------------------------------------------------------

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"edit": ("<uuid:object_id>/edit/", self.edit_view)}

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        made: list[Made] = []

        def do(form: ConsoleForm) -> str:
            values = dict(form.cleaned_data)
            area = values.pop("area")
            made.append(create_endpoint(by=person(request), area_id=area.pk, **values))
            return self.page_of(made[0].endpoint)

        if not self.has_add_permission(request):
            raise PermissionDenied
        response = self.form_page(
            request,
            NewWebhookForm,
            do,
            title=_("新建外发推送"),
            submit=_("创建"),
            intro=_("每当所选事件发生，系统向接收地址发送一个带签名的 JSON 请求。"),
        )
        # Shown instead of the page behind the form: the secret must not stand in an address or cookie.
        return self._show_secret(request, made[0]) if made and made[0].secret else response

    def edit_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        row = self.row(request, object_id)

        def do(form: ConsoleForm) -> str:
            change_endpoint(endpoint_id=row.pk, by=person(request), **form.cleaned_data)
            messages.success(request, _("已保存。"))
            return self.page_of(row)

        initial = {"url": row.url, "description": row.description, "events": row.events}
        return self.form_page(
            request,
            WebhookForm,
            do,
            title=_("更改外发推送"),
            submit=_("保存"),
            initial=initial,
            back=self.page_of(row),
        )

    def _show_secret(self, request: HttpRequest, made: Made) -> HttpResponse:
        context = {
            "title": _("外发推送的密钥"),
            "secret": made.secret,
            "old_until": made.endpoint.old_secret_until,
            "back": self.page_of(made.endpoint),
        }
        response = self.render(request, "console/webhook_secret.html", context)
        response.headers["Cache-Control"] = "no-store"
        return response

    # ---- one endpoint ------------------------------------------------------------------------

    def facts(self, request: HttpRequest, row: WebhookEndpoint) -> Sequence[tuple[Text, Any]]:
        words = [event.words for name, event in event_types().items() if name in row.events]
        failing: Text = "—"
        if row.failures:
            failing = _("%(n)s 次，自 %(since)s 起") % {
                "n": row.failures,
                "since": f"{row.failing_since:%Y-%m-%d %H:%M}" if row.failing_since else "—",
            }
        return [
            (_("状态"), self.standing(row)),
            (_("原因"), row.state_reason or "—"),
            (_("行政区"), row.area),
            (_("接收地址"), row.url),
            (_("说明"), row.description or "—"),
            (_("事件"), "、".join(map(str, words))),
            (_("格式版本"), row.api_version),
            (_("负责人"), page_link(row.responsible)),
            (_("创建人"), page_link(row.created_by)),
            (_("创建时间"), row.created_at),
            (_("待发送"), self.waiting(row)),
            (_("上次成功"), row.last_success_at or "—"),
            (_("连续失败"), failing),
            (_("旧密钥有效至"), row.old_secret_until or "—"),
            *facts_of_work(row),
        ]

    def deeds(self, request: HttpRequest, row: WebhookEndpoint) -> Mapping[str, Deed]:
        deeds: dict[str, Deed] = {}
        if row.state == State.OWNERLESS:
            hint = _("由您负责此推送，继续发送等待中的事件。")
            deeds["take_over"] = Deed(
                label=_("接管"), do=self._take_over, tone="primary", hint=hint
            )
        elif row.state == State.ON:
            deeds["test"] = Deed(label=_("发送测试事件"), do=self._test, tone="primary")
            deeds["again"] = Deed(
                label=_("重新推送某日以来的事件"),
                do=self._again,
                day=_("自何日起"),
                hint=_("接收方按事件编号识别重复的事件。"),
            )
            deeds["off"] = Deed(
                label=_("停用"), do=self._off, confirm=_("停用期间的事件不再推送。")
            )
        else:
            deeds["on"] = Deed(label=_("启用"), do=self._on, tone="primary")
        deeds["secret"] = Deed(
            label=_("更换密钥"),
            do=self._rotate,
            confirm=_("新密钥只显示一次；此后一天内，新旧两个密钥都有效。"),
        )
        deeds["delete"] = Deed(
            label=_("删除"),
            do=self._delete,
            tone="danger",
            confirm=_("删除“%(name)s”及其推送记录，不能恢复。") % {"name": row},
        )
        return deeds

    def _test(self, request: HttpRequest, row: WebhookEndpoint) -> Text:
        send_test(endpoint_id=row.pk, by=person(request))
        return _("测试事件已排队，几秒后刷新此页查看结果。")

    def _take_over(self, request: HttpRequest, row: WebhookEndpoint) -> Text:
        take_over(endpoint_id=row.pk, by=person(request))
        return _("已由您负责。")

    def _on(self, request: HttpRequest, row: WebhookEndpoint) -> Text:
        change_endpoint(endpoint_id=row.pk, by=person(request), enabled=True)
        return _("已启用。")

    def _off(self, request: HttpRequest, row: WebhookEndpoint) -> Text:
        change_endpoint(endpoint_id=row.pk, by=person(request), enabled=False)
        return _("已停用。")

    def _again(self, request: HttpRequest, row: WebhookEndpoint) -> Text:
        day = day_of(request)
        if day is None:
            return _("请选择日期。没有重新推送任何事件。")
        since = datetime.combine(day, time.min, ZoneInfo(settings.TIME_ZONE))
        count = redeliver_since(endpoint_id=row.pk, by=person(request), since=since)
        return _("%(n)s 个事件已重新排队。") % {"n": count}

    def _rotate(self, request: HttpRequest, row: WebhookEndpoint) -> HttpResponse:
        return self._show_secret(request, rotate_secret(endpoint_id=row.pk, by=person(request)))

    def _delete(self, request: HttpRequest, row: WebhookEndpoint) -> HttpResponseBase:
        delete_endpoint(endpoint_id=row.pk, by=person(request))
        messages.success(request, _("已删除。"))
        return redirect(reverse("admin:webhooks_webhookendpoint_changelist"))

    def page_tools(self, request: HttpRequest, row: WebhookEndpoint) -> Sequence[Tool]:
        log = reverse("admin:webhooks_webhookdelivery_changelist")
        return [
            Tool(_("更改"), self.link("edit", row.pk), "edit"),
            Tool(_("推送记录"), f"{log}?endpoint__id__exact={row.pk}", "list"),
            log_tool(row.pk),
        ]

    def page_context(self, request: HttpRequest, row: WebhookEndpoint) -> dict[str, Any]:
        rows = deliveries_visible_to(person(request)).filter(endpoint=row)
        return {"deliveries": [(each, badge(_of(each))) for each in rows.order_by("-id")[:10]]}


def _of(row: WebhookDelivery) -> WebhookDelivery.State:
    return WebhookDelivery.State(row.state)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ScopedAdmin):
    list_display = ["kind", "endpoint", "standing", "status", "attempts", "occurred", "why"]
    list_filter = ["state"]
    search_fields = ["event__type", "error"]
    ordering = ["-id"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return standing_of(request).is_office

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return standing_of(request).is_office

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "endpoint__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def visible_to(self, user: User) -> QuerySet[WebhookDelivery]:
        return deliveries_visible_to(user)

    @admin.display(description=gettext_lazy("事件"), ordering="event__type")
    def kind(self, row: WebhookDelivery) -> str:
        return row.event.type

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: WebhookDelivery) -> SafeString:
        return badge(_of(row))

    @admin.display(description=gettext_lazy("发生时间"), ordering="event__occurred_at")
    def occurred(self, row: WebhookDelivery) -> datetime:
        return row.event.occurred_at

    @admin.display(description=gettext_lazy("说明"))
    def why(self, row: WebhookDelivery) -> str:
        return row.error or "—"

    def facts(self, request: HttpRequest, row: WebhookDelivery) -> Sequence[tuple[Text, Any]]:
        payload = json.dumps(row.event.payload, ensure_ascii=False, indent=2)
        return [
            (_("外发推送"), page_link(row.endpoint)),
            (_("事件"), row.event.type),
            (_("事件编号"), row.event_id),
            (_("发生时间"), row.event.occurred_at),
            (_("状态"), self.standing(row)),
            (_("次数"), row.attempts),
            (_("最近尝试"), row.last_tried_at or "—"),
            (_("下次尝试"), row.next_at or "—"),
            (_("送达时间"), row.delivered_at or "—"),
            (_("HTTP 状态"), row.status or "—"),
            (_("说明"), row.error or "—"),
            (_("对方的回答"), format_html("<pre>{}</pre>", row.answer) if row.answer else "—"),
            (_("内容"), format_html("<pre>{}</pre>", payload)),
        ]

    def deeds(self, request: HttpRequest, row: WebhookDelivery) -> Mapping[str, Deed]:
        if row.state == WebhookDelivery.State.PENDING or row.endpoint.state != State.ON:
            return {}
        return {"again": Deed(label=_("重新推送"), do=self._again, tone="primary")}

    def _again(self, request: HttpRequest, row: WebhookDelivery) -> Text:
        redeliver(delivery_id=row.pk, by=person(request))
        return _("已重新排队。")
