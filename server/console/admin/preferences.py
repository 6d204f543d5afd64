"""One's own choice of channels and quiet hours, and how the providers of messages fare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin
from server.console.forms import ConsoleForm
from server.console.states import AMBER, GREEN, GREY, RED, Shown
from server.core import clock
from server.core.errors import Text
from server.core.work import wake
from server.grid.models import User
from server.messaging.models import Preference, Provider
from server.messaging.preferences import (
    CHOSEN,
    Preferences,
    channels_shown,
    preferences_of,
    set_preferences,
)
from server.messaging.providers import OPENS_AFTER, pause, resume, waiting_for
from server.messaging.services import DELIVERIES

PLACES = [
    gettext_lazy("首先使用"),
    gettext_lazy("未读时再用"),
    gettext_lazy("然后"),
    gettext_lazy("然后"),
    gettext_lazy("最后"),
]


class ClockInput(forms.TimeInput):
    """The browser's own."""

    input_type = "time"

    def __init__(self) -> None:
        super().__init__(format="%H:%M")


class PreferenceForm(ConsoleForm):
    """The channels in the order of the fields; what stands in none of them is off."""

    pointers = {"channels": "place_0", "quiet_hours": "quiet_from"}

    quiet = forms.BooleanField(label=gettext_lazy("设置免打扰时段"), required=False)
    quiet_from = forms.TimeField(
        label=gettext_lazy("免打扰开始"), widget=ClockInput, required=False
    )
    quiet_until = forms.TimeField(
        label=gettext_lazy("免打扰结束"),
        widget=ClockInput,
        required=False,
        help_text=gettext_lazy("此时段内只有紧急消息会响铃，其余等到结束后再发"),
    )
    time_zone = forms.ChoiceField(
        label=gettext_lazy("时区"), choices=[(name, name) for name in sorted(available_timezones())]
    )

    def limit_choices(self) -> None:
        choices = [("", gettext_lazy("不使用")), *((each.value, each.label) for each in CHOSEN)]
        places = {
            f"place_{number}": forms.ChoiceField(label=label, choices=choices, required=False)
            for number, label in enumerate(PLACES)
        }
        self.fields = {**places, **self.fields}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        order = self.order(values)
        if len(order) != len(set(order)):
            self.add_error("place_0", _("每个渠道只能选一次。"))
        if values.get("quiet") and not (values.get("quiet_from") and values.get("quiet_until")):
            self.add_error("quiet_from", _("请填写免打扰的开始和结束时间。"))
        return values

    @staticmethod
    def order(values: Mapping[str, Any]) -> list[str]:
        places = [values.get(f"place_{number}") for number in range(len(PLACES))]
        return [name for name in places if name]


def _initial(chosen: Preferences) -> dict[str, Any]:
    used = [name for name, on in channels_shown(chosen) if on]
    quiet = chosen.quiet
    return {
        **{f"place_{number}": name for number, name in enumerate(used)},
        "quiet": quiet is not None,
        "quiet_from": quiet.begin if quiet else None,
        "quiet_until": quiet.end if quiet else None,
        "time_zone": chosen.time_zone,
    }


@admin.register(Preference)
class PreferenceAdmin(ScopedAdmin):
    """No list: everybody has one page, their own."""

    def visible_to(self, user: User) -> QuerySet[Preference]:
        return Preference.objects.filter(user=user)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise Http404
        me, here = person(request), reverse("admin:messaging_preference_changelist")

        def do(form: ConsoleForm) -> str:
            values = form.cleaned_data
            order = PreferenceForm.order(values)
            off = [name.value for name in CHOSEN if name.value not in order]
            set_preferences(
                user=me,
                channels=[*((name, True) for name in order), *((name, False) for name in off)],
                quiet=(values["quiet_from"], values["quiet_until"]) if values["quiet"] else None,
                time_zone=values["time_zone"],
            )
            messages.success(request, _("消息偏好已保存。"))
            return here

        return self.form_page(
            request,
            PreferenceForm,
            do,
            title=_("我的消息偏好"),
            submit=_("保存"),
            initial=_initial(preferences_of([me.pk])[me.pk]),
            intro=_("收件箱始终保留全部通知。这里选择另外用哪些渠道提醒您。"),
            back=reverse("admin:index"),
        )


# ---- providers -------------------------------------------------------------------------------


@admin.register(Provider)
class ProviderAdmin(ScopedAdmin):
    """For who runs the server: who answers, who does not, what waits, and a hand on the tap."""

    list_display = [
        *("called", "standing", "waiting", "failures", "last_success_at", "last_failure_at"),
        "last_error",
    ]
    ordering = ["name"]

    def visible_to(self, user: User) -> QuerySet[Provider]:
        return Provider.objects.all() if user.is_superuser else Provider.objects.none()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request) and person(request).is_superuser

    has_module_permission = has_view_permission

    def row(self, request: HttpRequest, object_id: Any) -> Provider:
        found = self.visible_to(person(request)).filter(pk=str(object_id)).first()
        if found is None:
            raise Http404
        return found

    @admin.display(description=gettext_lazy("服务商"), ordering="name")
    def called(self, row: Provider) -> str:
        return str(row)

    @admin.display(description=gettext_lazy("状态"))
    def standing(self, row: Provider) -> SafeString:
        return _shown(row).badge

    @admin.display(description=gettext_lazy("等待发送"))
    def waiting(self, row: Provider) -> int:
        return waiting_for(row.name)

    def facts(self, request: HttpRequest, row: Provider) -> Sequence[tuple[Text, Any]]:
        return [
            (_("状态"), self.standing(row)),
            (_("等待发送"), self.waiting(row)),
            (_("连续失败次数"), row.failures),
            (_("暂停发送至"), row.open_until or "—"),
            (_("最近成功"), row.last_success_at or "—"),
            (_("最近失败"), row.last_failure_at or "—"),
            (_("最近的错误"), row.last_error or "—"),
        ]

    def deeds(self, request: HttpRequest, row: Provider) -> Mapping[str, Deed]:
        if row.paused_at or row.failures >= OPENS_AFTER:
            hint = _("等待的消息立即开始发送。")
            return {"resume": Deed(label=_("恢复发送"), do=self._resume, tone="primary", hint=hint)}
        hint = _("消息留在队列里，直到恢复；过期的不再发送。")
        return {"pause": Deed(label=_("暂停发送"), do=self._pause, tone="danger", hint=hint)}

    def _resume(self, request: HttpRequest, row: Provider) -> Text:
        resume(row.name)
        wake(DELIVERIES)
        return _("已恢复发送。")

    def _pause(self, request: HttpRequest, row: Provider) -> Text:
        pause(row.name)
        return _("已暂停发送。")

    def get_urls(self) -> list[Any]:
        """A provider's key is its name, with a dot for robots; the house's deeds go by UUID."""
        from django.urls import path

        view = self.admin_site.admin_view(self.deed_view)
        route = path("<str:object_id>/do/<slug:name>/", view, name=f"{self._name}_do")
        return [route, *super().get_urls()]


def _shown(row: Provider) -> Shown:
    if row.paused_at:
        return Shown(GREY, _("人工暂停"))
    if row.failures >= OPENS_AFTER:
        if row.open_until and row.open_until > clock.now():
            return Shown(RED, _("无法连通，暂停发送"))
        return Shown(AMBER, _("等待试发"))
    return Shown(GREEN, _("正常"))
