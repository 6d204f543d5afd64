"""Findings: what is wrong at schools, whose turn it is, and the buttons of the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.activities.queries import schools_known_to
from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin, Tool
from server.console.admin.flags import FlaggedFinding
from server.console.admin.links import page_link
from server.console.filters import FindingAge, FindingStanding, InActivity, Period, Town
from server.console.forms import ConsoleForm, DayInput
from server.console.gallery.scope import problem_of
from server.console.gallery.selection import gallery_address
from server.console.photos import photo_of, shown_to
from server.console.position import place_of
from server.console.states import badge, finding_shown
from server.console.talk.tools import talk_tool
from server.core import clock
from server.core.errors import Text
from server.core.ids import new_id
from server.evidence.queries import flags_at
from server.findings import machine
from server.findings.machine import FINDING
from server.findings.models import Finding
from server.findings.queries import findings_visible_to
from server.findings.services import Step, act_on_finding, parts_of, raise_finding
from server.grid.models import School, User

TONES = {machine.VERIFY: "primary", machine.WITHDRAW: "danger"}


class FindingForm(ConsoleForm):
    """A finding that is entered by hand."""

    pointers = {"school_id": "school", "due": "due_on"}

    school = forms.ModelChoiceField(label=gettext_lazy("学校"), queryset=School.objects.none())
    title = forms.CharField(label=gettext_lazy("问题"), max_length=300)
    detail = forms.CharField(
        label=gettext_lazy("说明"), required=False, widget=forms.Textarea(attrs={"rows": 4})
    )
    severity = forms.ChoiceField(label=gettext_lazy("严重程度"), choices=Finding.Severity.choices)
    due_on = forms.DateField(
        label=gettext_lazy("整改期限"),
        widget=DayInput,
        initial=lambda: clock.today() + timedelta(days=15),
    )

    def limit_choices(self) -> None:
        schools = schools_known_to(self.by).order_by("name")
        self.fields["school"].queryset = schools  # type: ignore[attr-defined]


@admin.register(Finding)
class FindingAdmin(ScopedAdmin):
    list_display = ["title", "school", "severity_shown", "standing", "due_on", "activity"]
    list_filter = [
        FindingStanding,
        "state",
        "severity",
        FindingAge,
        FlaggedFinding,
        Town,
        InActivity,
        Period,
    ]
    search_fields = ["title", "detail", "school__name"]
    ordering = ["due_on", "id"]
    page_template = "console/finding.html"

    def visible_to(self, user: User) -> QuerySet[Finding]:
        return findings_visible_to(user).select_related("school__area", "activity", "raised_by")

    def page_rows(self, user: User) -> QuerySet[Finding]:
        rows = self.visible_to(user).select_related(
            "visit__activity", "visit__school", "submission"
        )
        rows = rows.defer("submission__raw", "submission__answers")
        return rows.prefetch_related("actions__by", Prefetch("actions__media", shown_to(user)))

    @admin.display(description=gettext_lazy("严重程度"), ordering="severity")
    def severity_shown(self, row: Finding) -> SafeString:
        return badge(Finding.Severity(row.severity))

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: Finding) -> SafeString:
        return finding_shown(row).badge

    def may_add(self, request: HttpRequest) -> bool:
        return True

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            values = dict(form.cleaned_data)
            school: School = values.pop("school")
            finding, _new = raise_finding(
                finding_id=new_id(), by=person(request), school_id=school.pk, **values
            )
            messages.success(request, _("问题已登记，并已通知学校。"))
            return self.page_of(finding)

        return self.form_page(
            request, FindingForm, do, title=_("登记问题"), submit=_("登记并通知学校")
        )

    def facts(self, request: HttpRequest, row: Finding) -> Sequence[tuple[Text, Any]]:
        return [
            (_("学校"), page_link(row.school)),
            (_("整改期限"), row.due_on.isoformat()),
            (_("督导活动"), page_link(row.activity) if row.activity else "—"),
            (_("入校任务"), page_link(row.visit, _("查看")) if row.visit else "—"),
            (_("提出人"), row.raised_by),
            (_("提出时间"), row.created_at),
        ]

    def deeds(self, request: HttpRequest, row: Finding) -> Mapping[str, Deed]:
        parts = parts_of(person(request), row)
        return {
            action: self._deed(action)
            for action in FINDING.open_actions(row.state, parts)
            if action != machine.ANSWER  # the school's own words belong on the school's page
        }

    def _deed(self, action: str) -> Deed:
        needs_reason = action in (machine.RETURN, machine.WITHDRAW, machine.REOPEN)
        new_day = action in (machine.RETURN, machine.POSTPONE, machine.REOPEN)
        return Deed(
            label=FINDING.actions[action],
            do=self._act(action),
            tone=TONES.get(action, "plain"),
            note=_("原因") if needs_reason else _("说明（可不填）"),
            note_required=needs_reason,
            day=_("新的整改期限") if new_day else "",
        )

    def _act(self, action: str) -> Callable[[HttpRequest, Finding], Text]:
        def do(request: HttpRequest, row: Finding) -> Text:
            due = request.POST.get("day", "")
            step = Step(
                action=action,
                note=request.POST.get("note", "").strip(),
                due_on=_day(due),
            )
            act_on_finding(finding_id=row.pk, action_id=new_id(), by=person(request), step=step)
            return _("已%(action)s，并已通知有关人员。") % {"action": FINDING.actions[action]}

        return do

    def page_tools(self, request: HttpRequest, row: Finding) -> Sequence[Tool]:
        return [
            Tool(_("照片"), gallery_address(finding=row.pk), "photo_library"),
            *talk_tool(request, "finding", row.pk),
        ]

    def page_context(self, request: HttpRequest, row: Finding) -> dict[str, Any]:
        school = place_of(row.school)
        steps = [
            {
                "action": action,
                "words": FINDING.actions.get(action.action, action.action),
                "photos": [
                    photo_of(media, school=school, flags=flags_at(media, finding_id=row.pk))
                    for media in action.media.all()
                ],
            }
            for action in row.actions.all()
        ]
        problem = [
            photo_of(media, caption=row.title, school=school)
            for media in problem_of(person(request), row)
        ]
        return {"steps": steps, "problem": problem, "shown": finding_shown(row)}


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
