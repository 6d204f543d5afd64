"""Escalation rules of offices, and what was escalated to whom and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person, standing_of
from server.console.admin.base import Deed, ScopedAdmin, Tool
from server.console.admin.links import page_link
from server.console.filters import Period
from server.console.forms import ConsoleForm
from server.console.states import GREEN, GREY, Shown
from server.core.errors import Text
from server.core.work import retry_dead, wake
from server.grid.models import Area, User
from server.messaging.events import event_kinds
from server.messaging.models import Escalation, EscalationRule, EscalationStep, Notice
from server.messaging.models.escalation import EVERY_EVENT, LONGEST_WAIT, MOST_STEPS
from server.messaging.queries import notices_visible_to
from server.messaging.rules import (
    RuleDraft,
    events_to_escalate,
    may_change,
    rules_visible_to,
    save_rule,
)
from server.messaging.watching import ESCALATIONS
from server.messaging.wording import areas_worded_by

Target = EscalationRule.Target
PLACES = ("first", "second", "third", "fourth")


def event_words(event: str) -> str:
    """An event of a rule as people read it."""
    if event == EVERY_EVENT:
        return _("所有与学校有关的通知")
    if event == "visit.*":
        return _("所有关于任务的通知")
    if event == "finding.*":
        return _("所有关于问题的通知")
    if event == "submission.*":
        return _("所有关于填报的通知")
    whens = {kind.key: kind.when for kind in event_kinds()}
    return f"{event} · {whens.get(event, '')}"


def wait_words(rule: EscalationRule, count: int) -> str:
    """So many hours or days, and how they are counted."""
    unit = _("%(n)s 天") if rule.counts_days else _("%(n)s 小时")
    return f"{unit % {'n': count}}（{rule.get_counting_display()}）"


def line_words(rule: EscalationRule) -> str:
    """Who is told, one after the other."""
    return " → ".join(str(Target(each).label) for each in rule.targets if each in Target)


class RuleForm(ConsoleForm):
    """When somebody else is told, and whom."""

    pointers = {"targets": "first"}

    area = forms.ModelChoiceField(label=gettext_lazy("行政区"), queryset=Area.objects.none())
    name = forms.CharField(label=gettext_lazy("名称"), max_length=80)
    event = forms.ChoiceField(label=gettext_lazy("事件"))
    condition = forms.ChoiceField(
        label=gettext_lazy("条件"), choices=EscalationRule.Condition.choices
    )
    after = forms.IntegerField(
        label=gettext_lazy("等待"),
        min_value=1,
        max_value=LONGEST_WAIT,
        help_text=gettext_lazy("未读、未确认填小时数，逾期填天数"),
    )
    counting = forms.ChoiceField(
        label=gettext_lazy("计时方式"),
        choices=EscalationRule.Counting.choices,
        help_text=gettext_lazy("工作日按节假日表计算：周五下午起 24 小时，到下周一同一时刻"),
    )
    first = forms.ChoiceField(label=gettext_lazy("先通知"), choices=Target.choices)
    second = forms.ChoiceField(label=gettext_lazy("其次"), required=False)
    third = forms.ChoiceField(label=gettext_lazy("再次"), required=False)
    fourth = forms.ChoiceField(
        label=gettext_lazy("最后"),
        required=False,
        help_text=gettext_lazy("没有人可通知的一级跳过；到最后一级后重复通知最后一级"),
    )
    repeat_after = forms.IntegerField(
        label=gettext_lazy("每次之间等待"), min_value=1, max_value=LONGEST_WAIT
    )
    at_most = forms.IntegerField(label=gettext_lazy("最多次数"), min_value=1, max_value=MOST_STEPS)
    everyone = forms.BooleanField(
        label=gettext_lazy("每个收件人都须阅读或确认"),
        required=False,
        help_text=gettext_lazy("不选即有一人阅读或确认就不再催办"),
    )
    enabled = forms.BooleanField(label=gettext_lazy("启用"), required=False, initial=True)

    def limit_choices(self) -> None:
        areas = areas_worded_by(self.by).order_by("path")
        self.fields["area"].queryset = areas  # type: ignore[attr-defined]
        events = [(each, event_words(each)) for each in events_to_escalate()]
        self.fields["event"].choices = events  # type: ignore[attr-defined]
        for name in PLACES[1:]:
            self.fields[name].choices = [("", "—"), *Target.choices]  # type: ignore[attr-defined]

    def draft(self) -> RuleDraft:
        values = {name: self.cleaned_data[name] for name in _PLAIN}
        targets = [self.cleaned_data[name] for name in PLACES if self.cleaned_data[name]]
        return RuleDraft(**values, targets=targets)


_PLAIN = (
    *("name", "event", "condition", "after", "counting"),
    *("repeat_after", "at_most", "everyone", "enabled"),
)


@admin.register(EscalationRule)
class RuleAdmin(ScopedAdmin):
    list_display = ["name", "area", "about", "condition", "waits", "line", "standing"]
    list_filter = ["enabled", "condition"]
    search_fields = ["name", "area__name"]
    ordering = ["area__path", "id"]

    def visible_to(self, user: User) -> QuerySet[EscalationRule]:
        return rules_visible_to(user)

    def may_add(self, request: HttpRequest) -> bool:
        return standing_of(request).is_office  # asked for by the menu of every page

    def list_tools(self, request: HttpRequest) -> Sequence[Tool]:
        steps = reverse("admin:messaging_escalationstep_changelist")
        return [Tool(_("催办记录"), steps, "notification_important")]

    @admin.display(description=gettext_lazy("事件"), ordering="event")
    def about(self, row: EscalationRule) -> str:
        return event_words(row.event)

    @admin.display(description=gettext_lazy("等待"))
    def waits(self, row: EscalationRule) -> str:
        return wait_words(row, row.after)

    @admin.display(description=gettext_lazy("依次通知"))
    def line(self, row: EscalationRule) -> str:
        return line_words(row)

    @admin.display(description=gettext_lazy("状态"), ordering="enabled")
    def standing(self, row: EscalationRule) -> SafeString:
        shown = Shown(GREEN, _("启用")) if row.enabled else Shown(GREY, _("已停用"))
        return shown.badge

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"edit": ("<uuid:object_id>/edit/", self.edit_view)}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.may_add(request):
            raise Http404
        first = areas_worded_by(person(request)).order_by("path").first()
        initial = {
            **{"area": first, "counting": "workdays", "after": 24, "repeat_after": 24},
            **{"at_most": 3, "enabled": True},
        }
        return self._form(request, None, initial)

    def edit_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        row: EscalationRule = self.row(request, object_id)
        if not may_change(row, person(request)):
            raise Http404
        initial = {name: getattr(row, name) for name in ("area", *_PLAIN)}
        initial.update(zip(PLACES, row.targets, strict=False))
        return self._form(request, row, initial)

    def _form(
        self, request: HttpRequest, row: EscalationRule | None, initial: Mapping[str, Any]
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            assert isinstance(form, RuleForm)  # noqa: S101 - the class given below
            saved = save_rule(
                by=person(request),
                draft=form.draft(),
                area_id=form.cleaned_data["area"].pk,
                rule_id=row.pk if row else None,
            )
            messages.success(request, _("已保存“%(name)s”。") % {"name": saved})
            return self.page_of(saved)

        return self.form_page(
            request,
            RuleForm,
            do,
            title=str(row) if row else _("新增催办规则"),
            submit=_("保存"),
            initial=initial,
            intro=_("通知无人办理时，依次告诉下一级：什么事、从何时起、等谁办。办了就停。"),
            back=self.page_of(row) if row else "",
        )

    def facts(self, request: HttpRequest, row: EscalationRule) -> Sequence[tuple[Text, Any]]:
        everyone = _("每个收件人") if row.everyone else _("任一收件人")
        return [
            (_("行政区"), row.area),
            (_("事件"), event_words(row.event)),
            (_("条件"), row.get_condition_display()),
            (_("等待"), wait_words(row, row.after)),
            (_("依次通知"), line_words(row)),
            (_("每次之间等待"), wait_words(row, row.repeat_after)),
            (_("最多次数"), row.at_most),
            (_("谁办了就停"), everyone),
            (_("状态"), self.standing(row)),
            (_("正在等待的通知"), row.watched.filter(work_dead_at=None).count()),
            *self._dead_facts(row),
            (_("修改人"), row.changed_by or _("系统默认")),
            (_("修改时间"), row.changed_at),
        ]

    def page_tools(self, request: HttpRequest, row: EscalationRule) -> Sequence[Tool]:
        return (
            [Tool(_("修改"), self.link("edit", row.pk), "edit")] if self._mine(request, row) else []
        )

    def deeds(self, request: HttpRequest, row: EscalationRule) -> Mapping[str, Deed]:
        if not self._mine(request, row):
            return {}
        deeds = {}
        if _dead(row).exists():
            deeds["again"] = Deed(label=_("重新处理"), do=self._again, tone="primary")
        label = _("停用") if row.enabled else _("启用")
        hint = _("停用后，正在等待的通知不再催办。") if row.enabled else ""
        return {**deeds, "switch": Deed(label=label, do=self._switch, hint=hint)}

    def _dead_facts(self, row: EscalationRule) -> Sequence[tuple[Text, Any]]:
        dead = _dead(row).order_by("-work_dead_at")
        last = dead.first()
        if last is None:
            return []
        return [(_("处理失败的通知"), dead.count()), (_("失败原因"), last.work_error)]

    def _again(self, request: HttpRequest, row: EscalationRule) -> Text:
        count = retry_dead(_dead(row))
        wake(ESCALATIONS)
        return _("已重新排队处理 %(n)s 个通知。") % {"n": count}

    def _mine(self, request: HttpRequest, row: EscalationRule) -> bool:
        return may_change(row, person(request))

    def _switch(self, request: HttpRequest, row: EscalationRule) -> Text:
        values = {name: getattr(row, name) for name in _PLAIN}
        draft = RuleDraft(**{**values, "enabled": not row.enabled}, targets=row.targets)
        save_rule(by=person(request), draft=draft, area_id=row.area_id, rule_id=row.pk)
        return _("已停用。") if row.enabled else _("已启用。")


def _dead(rule: EscalationRule) -> QuerySet[Escalation]:
    """What the rule watches and nobody looks at any more, because looking failed too often."""
    return rule.watched.filter(work_dead_at__isnull=False)


@admin.register(EscalationStep)
class StepAdmin(ScopedAdmin):
    """What was escalated; for one notice a page with what is still to come."""

    list_display = ["at", "matter", "school", "rule", "number", "target", "waiting"]
    list_filter = ["target", Period]
    search_fields = ["notice__school__name", "waiting", "rule__name"]
    ordering = ["-at", "-id"]

    def visible_to(self, user: User) -> QuerySet[EscalationStep]:
        rows = EscalationStep.objects.select_related("notice__school", "rule", "sent")
        return rows.filter(notice__in=notices_visible_to(user).values("pk"))

    @admin.display(description=gettext_lazy("通知"))
    def matter(self, row: EscalationStep) -> str:
        return row.notice.title

    @admin.display(description=gettext_lazy("学校"))
    def school(self, row: EscalationStep) -> str:
        return str(row.notice.school)

    def facts(self, request: HttpRequest, row: EscalationStep) -> Sequence[tuple[Text, Any]]:
        return [
            (_("通知"), page_link(row.notice)),
            (_("学校"), page_link(row.notice.school)),
            (_("催办规则"), page_link(row.rule)),
            (_("第几次"), row.number),
            (_("时间"), row.at),
            (_("待办的人"), row.waiting),
            (_("通知对象"), row.get_target_display() or "—"),
            (_("催办通知"), page_link(row.sent) if row.sent else _("没有人可通知")),
        ]

    def page_tools(self, request: HttpRequest, row: EscalationStep) -> Sequence[Tool]:
        return [Tool(_("这个通知的催办"), self.link("of", row.notice_id), "timeline")]

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"of": ("of/<uuid:notice_id>/", self.notice_view)}

    def notice_view(self, request: HttpRequest, notice_id: UUID) -> HttpResponse:
        """Of one notice: the steps that were taken, whom they told, who read that; what comes next."""
        notices = notices_visible_to(person(request)).select_related("school")
        notice = notices.filter(pk=notice_id).first()
        if notice is None:
            raise Http404
        steps = self.visible_to(person(request)).filter(notice=notice).order_by("at", "number")
        context = {
            "title": _("催办：%(what)s") % {"what": notice.title},
            "notice": notice,
            "notice_link": page_link(notice),
            "steps": steps.prefetch_related("sent__deliveries__recipient"),
            "watched": Escalation.objects.filter(notice=notice).select_related("rule"),
        }
        return self.render(request, "console/escalations.html", context)


def escalation_tool(notice: Notice) -> Tool:
    """The link of a notice's page to what was escalated of it."""
    return Tool(
        _("催办"), reverse("admin:messaging_escalationstep_of", args=[notice.pk]), "timeline"
    )
