"""Visits: what was filled in on them, where and when, what was found; review and return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.activities import machine
from server.activities.machine import OPEN_STATES, VISIT
from server.activities.models import Activity, Visit
from server.activities.queries import (
    activities_managed_by,
    submissions_visible_to,
    visits_visible_to,
)
from server.activities.services.moving import assignable_by, change_team
from server.activities.services.visits import parts_of, return_visit, review_visit
from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin, Tool
from server.console.admin.flags import FlaggedVisit, apart, explain_deeds
from server.console.admin.links import links, page_link
from server.console.admin.submissions import read_by, record_of
from server.console.care import held_fact, hold_deed
from server.console.filters import (
    InActivity,
    Town,
    VisitPeriod,
    VisitProgress,
)
from server.console.forms import ConsoleForm, PickMany
from server.console.gallery.page import spots_of
from server.console.gallery.selection import gallery_address
from server.console.position import check_in_of, place_of, sketch
from server.console.states import finding_shown, visit_shown
from server.console.talk.tools import talk_tool
from server.core.errors import Text
from server.core.ids import new_id
from server.evidence.queries import SHOWN, with_check_in_flags
from server.findings.models import Finding
from server.findings.queries import findings_visible_to
from server.grid.models import User


class TeamForm(ConsoleForm):
    """Who makes a visit."""

    choices_of_team: QuerySet[User] = User.objects.none()

    team = forms.ModelMultipleChoiceField(
        label=gettext_lazy("督学"), queryset=User.objects.none(), widget=PickMany
    )

    def limit_choices(self) -> None:
        self.fields["team"].queryset = self.choices_of_team  # type: ignore[attr-defined]


@admin.register(Visit)
class VisitAdmin(ScopedAdmin):
    list_display = ["school", "activity", "standing", "inspectors", "checked_in_at", "completed_at"]
    list_filter = [VisitProgress, "state", FlaggedVisit, Town, InActivity, VisitPeriod]
    search_fields = ["school__name", "activity__title", "team__name"]
    ordering = ["-activity__starts", "school__area__path", "school__name"]
    page_template = "console/visit.html"

    def visible_to(self, user: User) -> QuerySet[Visit]:
        rows = visits_visible_to(user).select_related("activity", "school__area")
        return rows.prefetch_related("team")

    def page_rows(self, user: User) -> QuerySet[Visit]:
        return self.visible_to(user).prefetch_related(with_check_in_flags(user))

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: Visit) -> SafeString:
        return visit_shown(row).badge

    @admin.display(description=gettext_lazy("督学"))
    def inspectors(self, row: Visit) -> str:
        return "、".join(str(each) for each in row.team.all())

    def deeds(self, request: HttpRequest, row: Visit) -> Mapping[str, Deed]:
        open_now = VISIT.open_actions(row.state, parts_of(person(request), row))
        deeds = {
            machine.REVIEW: Deed(
                label=VISIT.actions[machine.REVIEW],
                do=self._review,
                tone="primary",
                hint=_("审核后不再接收此任务的填报。"),
            ),
            machine.RETURN: Deed(
                label=VISIT.actions[machine.RETURN],
                do=self._return,
                note=_("退回原因"),
                note_required=True,
            ),
        }
        steps = {name: deed for name, deed in deeds.items() if name in open_now}
        explains = explain_deeds(getattr(row, SHOWN), person(request))
        return {**steps, **hold_deed(request, "visit"), **explains}

    def _review(self, request: HttpRequest, row: Visit) -> Text:
        review_visit(visit_id=row.pk, action_id=new_id(), by=person(request))
        return _("已审核通过。")

    def _return(self, request: HttpRequest, row: Visit) -> Text:
        return_visit(
            visit_id=row.pk,
            action_id=new_id(),
            by=person(request),
            reason=request.POST.get("note", ""),
        )
        return _("已退回，并已通知督学。")

    def facts(self, request: HttpRequest, row: Visit) -> Sequence[tuple[Text, Any]]:
        return [
            (_("学校"), page_link(row.school)),
            (_("镇街"), row.school.area),
            (_("督导活动"), page_link(row.activity)),
            (_("时间"), f"{row.activity.starts} — {row.activity.ends}"),
            (_("督学"), links(row.team.all())),
            (_("签到时间"), row.checked_in_at or "—"),
            (_("完成时间"), row.completed_at or "—"),
            (_("审核时间"), row.reviewed_at or "—"),
            *held_fact(request, "visit", row),
        ]

    def page_context(self, request: HttpRequest, row: Visit) -> dict[str, Any]:
        user = person(request)
        findings = list(findings_visible_to(user).filter(visit=row).order_by("due_on"))
        records = self._records(user, row, findings)
        media = [photo.media for record in records for photo in record["photos"]]
        return {
            "shown": visit_shown(row),
            "check_in_flags": getattr(row, SHOWN),
            **apart(self.deeds(request, row)),
            "records": records,
            "findings": [(finding, finding_shown(finding)) for finding in findings],
            "sketch": sketch(place_of(row.school), check_in_of(row), spots_of(media)),
            "steps": [
                {"action": action, "words": VISIT.actions.get(action.action, action.action)}
                for action in row.actions.select_related("by")
            ],
        }

    def page_tools(self, request: HttpRequest, row: Visit) -> Sequence[Tool]:
        tools = [
            Tool(_("照片"), gallery_address(visit=row.pk), "photo_library"),
            *talk_tool(request, "visit", row.pk),
        ]
        if self._may_reassign(request, row):
            tools.append(Tool(_("改派"), self.link("team", row.pk), "swap_horiz"))
        return tools

    def _may_reassign(self, request: HttpRequest, row: Visit) -> bool:
        running = row.activity.state == Activity.State.PUBLISHED and row.state in OPEN_STATES
        mine = activities_managed_by(person(request)).filter(pk=row.activity_id)
        return running and mine.exists()

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"team": ("<uuid:object_id>/team/", self.team_view)}

    def team_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Another team for a visit that is not done."""
        row: Visit = self.row(request, object_id)
        if not self._may_reassign(request, row):
            raise Http404
        inspectors = assignable_by(person(request), row).order_by("name")

        class Form(TeamForm):
            choices_of_team = inspectors

        def do(form: ConsoleForm) -> str:
            team = [each.pk for each in form.cleaned_data["team"]]
            change_team(visit_id=row.pk, by=person(request), team=team)
            messages.success(request, _("已改派，并已通知有关人员。"))
            return self.page_of(row)

        return self.form_page(
            request,
            Form,
            do,
            title=_("改派：%(visit)s") % {"visit": row},
            submit=_("改派并通知"),
            initial={"team": row.team.all()},
            intro=_("新加入和不再参加的督学会收到通知；已知此任务的学校也会收到。"),
            back=self.page_of(row),
        )

    def _records(
        self, user: User, visit: Visit, findings: Sequence[Finding]
    ) -> list[dict[str, Any]]:
        """The current submissions of the visit, read; what an edit replaced is left out."""
        rows = submissions_visible_to(user).filter(visit=visit, replacements=None)
        return [record_of(row, findings, visit.school) for row in read_by(user, rows)]
