"""Deliveries, what could not be delivered, and the devices of people. Notices: admin/notices.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.admin.base import Deed, ScopedAdmin
from server.console.admin.links import page_link
from server.console.filters import DeviceOpen, Period
from server.console.states import GREEN, GREY, Shown, delivery_shown
from server.core import clock
from server.core.errors import Text
from server.grid.models import User
from server.grid.queries import (
    areas_visible_to,
    people_managed_by,
    people_visible_to,
    schools_in_office_of,
)
from server.messaging.delivering import retry_deliveries
from server.messaging.models import Delivery, Device
from server.messaging.queries import notices_visible_to
from server.messaging.sessions import close_session

State = Delivery.State


# ---- deliveries ------------------------------------------------------------------------------


def deliveries_seen_by(user: User) -> QuerySet[Delivery]:
    """The deliveries of visible notices, to people whom the office sees."""
    rows = Delivery.objects.select_related("notice__school", "recipient", "group")
    if user.is_superuser:
        return rows
    return rows.filter(
        Q(recipient__in=people_visible_to(user).values("pk"))
        | Q(group__school__in=schools_in_office_of(user).values("pk"))
        | Q(group__area__in=areas_visible_to(user).values("pk")),
        notice__in=notices_visible_to(user).values("pk"),
    )


@admin.register(Delivery)
class DeliveryAdmin(ScopedAdmin):
    list_display = ["notice", "receiver", "channel", "standing", "why", "created_at"]
    list_filter = ["state", "channel", Period]
    search_fields = ["recipient__name", "recipient__username", "group__name", "reason"]
    ordering = ["-id"]
    actions = ["retry_selected"]

    def visible_to(self, user: User) -> QuerySet[Delivery]:
        return deliveries_seen_by(user)

    @admin.display(description=gettext_lazy("接收人"), ordering="recipient")
    def receiver(self, row: Delivery) -> str:
        return str(row.recipient or row.group)

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: Delivery) -> SafeString:
        return delivery_shown(row).badge

    @admin.display(description=gettext_lazy("说明"))
    def why(self, row: Delivery) -> str:
        return row.reason or row.work_error or "—"

    @admin.action(description=gettext_lazy("重新发送未能送达的"))
    def retry_selected(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        count = retry_deliveries(rows)
        messages.success(request, _("%(n)s 条已重新排队发送。") % {"n": count})

    def facts(self, request: HttpRequest, row: Delivery) -> Sequence[tuple[Text, Any]]:
        return [
            (_("通知"), page_link(row.notice)),
            (_("接收人"), _receiver_link(row)),
            (_("渠道"), row.get_channel_display()),
            (_("状态"), self.standing(row)),
            (_("说明"), self.why(row)),
            (_("尝试次数"), row.work_attempts),
            (_("创建时间"), row.created_at),
            (_("发送时间"), row.sent_at or "—"),
            (_("送达时间"), row.delivered_at or "—"),
            (_("阅读时间"), row.read_at or "—"),
            (_("确认时间"), row.acknowledged_at or "—"),
        ]

    def deeds(self, request: HttpRequest, row: Delivery) -> Mapping[str, Deed]:
        if row.state != State.DEAD or row.work_dead_at is None:
            return {}
        return {"retry": Deed(label=_("重新发送"), do=self._retry, tone="primary")}

    def _retry(self, request: HttpRequest, row: Delivery) -> Text:
        retry_deliveries(Delivery.objects.filter(pk=row.pk))
        return _("已重新排队发送。")


def _receiver_link(row: Delivery) -> Any:
    """A deleted group has no page any more."""
    if row.group is not None:
        return row.group if row.group.deleted_at else page_link(row.group)
    return page_link(row.recipient)


# ---- devices ---------------------------------------------------------------------------------


@admin.register(Device)
class DeviceAdmin(ScopedAdmin):
    list_display = ["user", "name", "platform", "last_seen_at", "standing", "push"]
    list_filter = [DeviceOpen, "platform", "push_provider"]
    search_fields = ["user__name", "user__username", "name"]
    ordering = ["-last_seen_at"]

    def visible_to(self, user: User) -> QuerySet[Device]:
        rows = Device.objects.select_related("user")
        return rows.filter(Q(user=user) | Q(user__in=people_managed_by(user).values("pk")))

    @admin.display(description=gettext_lazy("登录"))
    def standing(self, row: Device) -> SafeString:
        return self._shown(row).badge

    def _shown(self, row: Device) -> Shown:
        if row.revoked_at:
            return Shown(GREY, _("已停用"))
        if row.token_expires_at <= clock.now():
            return Shown(GREY, _("已过期"))
        return Shown(GREEN, _("有效"))

    @admin.display(description=gettext_lazy("推送"))
    def push(self, row: Device) -> str:
        if row.push_disabled_at:
            return _("已停用：%(why)s") % {"why": row.push_disabled_reason}
        return row.get_push_provider_display()

    def facts(self, request: HttpRequest, row: Device) -> Sequence[tuple[Text, Any]]:
        return [
            (_("人员"), page_link(row.user)),
            (_("平台"), row.platform or "—"),
            (_("登录"), self.standing(row)),
            (_("首次登录"), row.created_at),
            (_("最近使用"), row.last_seen_at),
            (_("登录有效期至"), row.token_expires_at),
            (_("停用时间"), row.revoked_at or "—"),
            (_("推送"), self.push(row)),
        ]

    def deeds(self, request: HttpRequest, row: Device) -> Mapping[str, Deed]:
        if row.revoked_at:
            return {}
        hint = _("手机立即退出登录；尚未上传的内容留在手机上，重新登录后继续上传。")
        return {
            "revoke": Deed(
                label=_("停用此设备"),
                do=self._revoke,
                tone="danger",
                hint=hint,
                confirm=_("停用 %(user)s 的设备") % {"user": row.user},
            )
        }

    def _revoke(self, request: HttpRequest, row: Device) -> Text:
        close_session(row)
        return _("设备已停用。")
