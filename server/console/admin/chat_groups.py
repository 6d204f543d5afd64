"""Chat groups: the robots that carry notices into the groups of schools and offices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin
from server.console.admin.links import page_link
from server.console.forms import ConsoleForm
from server.console.states import AMBER, GREEN, GREY, RED, Shown
from server.core.errors import Text
from server.core.ids import new_id
from server.grid.models import Area, School, User
from server.messaging.chat_groups import (
    RobotGiven,
    add_chat_group,
    areas_managed_by,
    chat_groups_managed_by,
    delete_chat_group,
    schools_managed_by,
    set_chat_group,
    try_chat_group,
)
from server.messaging.models import ChatGroup

SECRET = forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"})


class RobotForm(ConsoleForm):
    """What a platform shows for a robot of a group."""

    name = forms.CharField(
        label=gettext_lazy("群名称"),
        max_length=80,
        help_text=gettext_lazy("只用于在这里辨认，例如“教师工作群”"),
    )
    webhook = forms.CharField(
        label=gettext_lazy("Webhook 地址"),
        max_length=1000,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "在群设置中添加“自定义机器人”后复制。支持企业微信、钉钉、飞书。保存后加密存放，不再显示"
        ),
    )
    sign_secret = forms.CharField(
        label=gettext_lazy("加签密钥（钉钉、飞书）"),
        max_length=200,
        required=False,
        widget=SECRET,
        help_text=gettext_lazy("机器人的安全设置选“加签”或“签名校验”时填写，钉钉以 SEC 开头"),
    )
    keyword = forms.CharField(
        label=gettext_lazy("关键词（钉钉、飞书）"),
        max_length=40,
        required=False,
        help_text=gettext_lazy("机器人的安全设置选“自定义关键词”时填写，每条消息都会带上"),
    )
    language = forms.ChoiceField(
        label=gettext_lazy("消息语言"), choices=[("zh-hans", "简体中文"), ("en", "English")]
    )
    takes_announcements = forms.BooleanField(
        label=gettext_lazy("督导办群发的通知也转发到此群"),
        required=False,
        help_text=gettext_lazy("不选时，只转发与本校（本单位）有关的任务、问题和期限"),
    )
    group_id = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)

    def given(self) -> dict[str, Any]:
        """What `add_chat_group` takes, but for the place."""
        values = self.cleaned_data
        names = ("group_id", "name", "language", "takes_announcements")
        robot = RobotGiven(
            webhook=values["webhook"],
            sign_secret=values["sign_secret"],
            keyword=values["keyword"],
        )
        return {"by": self.by, "robot": robot, **{name: values[name] for name in names}}


class PlacedRobotForm(RobotForm):
    """The same for an office, which says whose group it is."""

    field_order = ["school", "area"]

    school = forms.ModelChoiceField(
        label=gettext_lazy("学校的群"), queryset=School.objects.none(), required=False
    )
    area = forms.ModelChoiceField(
        label=gettext_lazy("或督导办、督导组的群"), queryset=Area.objects.none(), required=False
    )

    def limit_choices(self) -> None:
        schools = schools_managed_by(self.by).order_by("name")
        areas = areas_managed_by(self.by).order_by("path")
        self.fields["school"].queryset = schools  # type: ignore[attr-defined]
        self.fields["area"].queryset = areas  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if bool(values.get("school")) == bool(values.get("area")):
            self.add_error("school", _("请选择学校或行政区其中之一。"))
        return values


def group_shown(row: ChatGroup) -> Shown:
    """Whether a group hears us."""
    if not row.enabled:
        return Shown(GREY, _("已停用"))
    if row.last_failed_at and (row.last_sent_at is None or row.last_sent_at < row.last_failed_at):
        return Shown(RED, _("最近一次失败"))
    if row.test_passed is False:
        return Shown(RED, _("测试未成功"))
    if row.last_sent_at or row.test_passed:
        return Shown(GREEN, _("正常"))
    return Shown(AMBER, _("未测试"))


@admin.register(ChatGroup)
class ChatGroupAdmin(ScopedAdmin):
    list_display = ["name", "kind", "place", "standing", "last_sent_at", "trouble"]
    list_filter = ["kind", "enabled"]
    search_fields = ["name", "school__name", "area__name"]
    ordering = ["school__name", "name"]
    page_template = "console/chat_group.html"

    def visible_to(self, user: User) -> QuerySet[ChatGroup]:
        return chat_groups_managed_by(user)

    @admin.display(description=gettext_lazy("学校或行政区"))
    def place(self, row: ChatGroup) -> str:
        return str(row.school or row.area)

    @admin.display(description=gettext_lazy("状态"))
    def standing(self, row: ChatGroup) -> SafeString:
        return group_shown(row).badge

    @admin.display(description=gettext_lazy("失败原因"))
    def trouble(self, row: ChatGroup) -> str:
        return row.disabled_reason or row.last_failure or "—"

    def may_add(self, request: HttpRequest) -> bool:
        return True

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            assert isinstance(form, PlacedRobotForm)  # noqa: S101 - form_page made it
            school, area = form.cleaned_data["school"], form.cleaned_data["area"]
            group = add_chat_group(
                school_id=school.pk if school else None,
                area_id=area.pk if area else None,
                **form.given(),
            )
            messages.success(request, _("已添加。请发送一条测试消息。"))
            return self.page_of(group)

        return self.form_page(
            request,
            PlacedRobotForm,
            do,
            title=_("添加群机器人"),
            submit=_("添加"),
            initial={"school": request.GET.get("school")},
        )

    def facts(self, request: HttpRequest, row: ChatGroup) -> Sequence[tuple[Text, Any]]:
        return [
            (_("学校或行政区"), page_link(row.school or row.area)),
            (_("平台"), row.get_kind_display()),
            (_("状态"), self.standing(row)),
            (_("停用原因"), row.disabled_reason or "—"),
            (_("消息语言"), row.get_language_display()),
            (_("转发群发通知"), _("是") if row.takes_announcements else _("否")),
            (_("最近发送"), row.last_sent_at or "—"),
            (_("最近失败"), row.last_failed_at or "—"),
            (_("失败原因"), row.last_failure or "—"),
            (_("添加人"), row.created_by or "—"),
        ]

    def deeds(self, request: HttpRequest, row: ChatGroup) -> Mapping[str, Deed]:
        return group_deeds(row)


def group_deeds(row: ChatGroup) -> Mapping[str, Deed]:
    """The buttons of a group, for the office's page and the school's."""
    turn = (
        {"disable": Deed(label=_("停用"), do=_disable)}
        if row.enabled
        else {"enable": Deed(label=_("启用"), do=_enable)}
    )
    more = (
        Deed(label=_("不再转发群发通知"), do=_without_announcements)
        if row.takes_announcements
        else Deed(label=_("转发群发通知"), do=_with_announcements)
    )
    return {
        "test": Deed(label=_("发送测试消息"), do=_test, tone="primary"),
        **turn,
        "announcements": more,
        "delete": Deed(
            label=_("删除"),
            do=_delete,
            tone="danger",
            confirm=_("删除“%(name)s”的机器人地址") % {"name": row.name},
            hint=_("已送达的记录保留。群里的机器人请在群设置中移除。"),
        ),
    }


def _test(request: HttpRequest, row: ChatGroup) -> Text:
    try_chat_group(group_id=row.pk, by=person(request))
    return _("已测试，结果如下。")


def _enable(request: HttpRequest, row: ChatGroup) -> Text:
    set_chat_group(group_id=row.pk, by=person(request), enabled=True)
    return _("已启用。")


def _disable(request: HttpRequest, row: ChatGroup) -> Text:
    set_chat_group(group_id=row.pk, by=person(request), enabled=False)
    return _("已停用，不再向此群发送。")


def _with_announcements(request: HttpRequest, row: ChatGroup) -> Text:
    set_chat_group(group_id=row.pk, by=person(request), takes_announcements=True)
    return _("督导办群发的通知也会转发到此群。")


def _without_announcements(request: HttpRequest, row: ChatGroup) -> Text:
    set_chat_group(group_id=row.pk, by=person(request), takes_announcements=False)
    return _("不再转发群发的通知。")


def _delete(request: HttpRequest, row: ChatGroup) -> Any:
    from django.shortcuts import redirect

    delete_chat_group(group_id=row.pk, by=person(request))
    messages.success(request, _("已删除“%(name)s”。") % {"name": row.name})
    return redirect("admin:messaging_chatgroup_changelist")
