"""Notices with their deliveries, what could not be delivered, and the devices of people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin
from server.console.admin.dead import DeadWork, facts_of_work, retry_deed
from server.console.admin.links import page_link
from server.console.filters import DeviceOpen, Period
from server.console.forms import ConsoleForm, PickMany, SchoolsByTown
from server.console.states import GREEN, GREY, Shown, delivery_shown
from server.core import clock
from server.core.errors import Text
from server.core.ids import new_id
from server.core.work import retry_dead, wake
from server.grid.models import Area, Membership, School, User
from server.grid.queries import (
    areas_visible_to,
    people_managed_by,
    people_visible_to,
    schools_in_office_of,
)
from server.messaging.models import Delivery, Device, Notice
from server.messaging.queries import Audience, notices_visible_to
from server.messaging.services import DELIVERIES, NOTICES, announce
from server.messaging.sessions import close_session

INBOX = Delivery.Channel.INBOX
State = Delivery.State


# ---- notices ---------------------------------------------------------------------------------


class AnnouncementForm(ConsoleForm):
    """A notice written by hand, and whom it is for."""

    pointers = {"audience": "areas"}

    title = forms.CharField(label=gettext_lazy("标题"), max_length=120)
    body = forms.CharField(label=gettext_lazy("正文"), widget=forms.Textarea(attrs={"rows": 6}))
    areas = forms.ModelMultipleChoiceField(
        label=gettext_lazy("发给整片行政区"),
        queryset=Area.objects.none(),
        required=False,
        widget=PickMany,
    )
    schools = SchoolsByTown(
        label=gettext_lazy("发给学校"), queryset=School.objects.none(), required=False
    )
    roles = forms.MultipleChoiceField(
        label=gettext_lazy("只发给这些角色"),
        choices=Membership.Role.choices,
        required=False,
        widget=PickMany,
        help_text=gettext_lazy("不选即发给所选范围内的所有人；只选角色即发给全辖区"),
    )
    requires_ack = forms.BooleanField(label=gettext_lazy("需要确认收到"), required=False)
    notice_id = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)

    def limit_choices(self) -> None:
        schools = schools_in_office_of(self.by)
        areas = areas_visible_to(self.by).filter(schools__in=schools.values("pk")).distinct()
        self.fields["areas"].queryset = areas  # type: ignore[attr-defined]
        self.fields["schools"].queryset = schools  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not any(values.get(name) for name in ("areas", "schools", "roles")):
            self.add_error("areas", _("请选择行政区、学校或角色。"))
        return values


@admin.register(Notice)
class NoticeAdmin(ScopedAdmin):
    list_display = ["title", "created_by", "created_at", "reached", "acknowledged"]
    list_filter = ["requires_ack", DeadWork, Period]
    search_fields = ["school__name", "created_by__name"]
    ordering = ["-id"]
    page_template = "console/notice.html"

    def visible_to(self, user: User) -> QuerySet[Notice]:
        inbox = Q(deliveries__channel=INBOX)
        return (
            notices_visible_to(user)
            .select_related("school", "created_by")
            .annotate(
                told=Count("deliveries", filter=inbox),
                read=Count("deliveries", filter=inbox & Q(deliveries__read_at__isnull=False)),
                acked=Count(
                    "deliveries", filter=inbox & Q(deliveries__acknowledged_at__isnull=False)
                ),
            )
        )

    @admin.display(description=gettext_lazy("标题"))
    def title(self, row: Notice) -> str:
        return row.title

    @admin.display(description=gettext_lazy("已读"))
    def reached(self, row: Any) -> str:
        return f"{row.read} / {row.told}"

    @admin.display(description=gettext_lazy("已确认"))
    def acknowledged(self, row: Any) -> str:
        return f"{row.acked} / {row.told}" if row.requires_ack else "—"

    def may_add(self, request: HttpRequest) -> bool:
        return True

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            values = form.cleaned_data
            notice = announce(
                notice_id=values["notice_id"],
                by=person(request),
                title=values["title"],
                body=values["body"],
                audience=Audience(
                    areas=[area.pk for area in values["areas"]],
                    schools=[school.pk for school in values["schools"]],
                    roles=values["roles"],
                ),
                requires_ack=values["requires_ack"],
            )
            messages.success(request, _("通知已发出。"))
            return self.page_of(notice)

        return self.form_page(
            request, AnnouncementForm, do, title=_("写通知"), submit=_("发出通知")
        )

    def deeds(self, request: HttpRequest, row: Notice) -> Mapping[str, Deed]:
        return retry_deed(row, NOTICES)

    def facts(self, request: HttpRequest, row: Any) -> Sequence[tuple[Text, Any]]:
        return [
            (_("发出人"), row.created_by or _("系统")),
            (_("发出时间"), row.created_at),
            (_("学校"), page_link(row.school) if row.school else "—"),
            (_("已读"), self.reached(row)),
            (_("已确认"), self.acknowledged(row)),
            *facts_of_work(row),
        ]

    def page_context(self, request: HttpRequest, row: Notice) -> dict[str, Any]:
        rows = deliveries_seen_by(person(request)).filter(notice=row).order_by("recipient", "id")
        page = Paginator(rows, 100).get_page(request.GET.get("page"))
        return {"deliveries": page}


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
        count = retry(rows)
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
        retry(Delivery.objects.filter(pk=row.pk))
        return _("已重新排队发送。")


def _receiver_link(row: Delivery) -> Any:
    """A deleted group has no page any more."""
    if row.group is not None:
        return row.group if row.group.deleted_at else page_link(row.group)
    return page_link(row.recipient)


def retry(rows: QuerySet[Delivery]) -> int:
    """Give dead deliveries a new life, and wake the worker."""
    keys = list(rows.filter(work_dead_at__isnull=False).values_list("pk", flat=True))
    dead = Delivery.objects.filter(pk__in=keys)
    dead.update(state=State.PENDING, reason="")
    count = retry_dead(dead)
    wake(DELIVERIES)
    return count


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
