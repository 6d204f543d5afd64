"""Activities with their preview, visits, what was filled in on them, and conflicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from server.activities import machine
from server.activities.machine import VISIT
from server.activities.models import Activity, Submission, SubmissionConflict, Visit
from server.activities.queries import (
    activities_managed_by,
    activities_visible_to,
    submissions_visible_to,
    visits_visible_to,
    with_attachments,
)
from server.activities.services.planning import (
    change_draft,
    close_activity,
    create_activity,
    preview_activity,
    publish_activity,
)
from server.activities.services.visits import parts_of, return_visit, review_visit
from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin, Tool, attachment
from server.console.admin.grid import links, page_link
from server.console.admin.media import photo_of, position
from server.console.answers import read_answers
from server.console.filters import (
    DONE_STATES,
    ActivityPeriod,
    InActivity,
    ReceivedPeriod,
    SubmissionActivity,
    Town,
    VisitPeriod,
    VisitProgress,
    visit_progress,
)
from server.console.forms import ConsoleForm, DayInput, PickMany, SchoolsByTown
from server.console.position import place_of, sketch
from server.console.states import badge, finding_shown, visit_shown
from server.core.errors import Text
from server.core.ids import new_id
from server.findings.models import Finding
from server.findings.queries import findings_visible_to
from server.grid.models import Area, School, User
from server.grid.queries import areas_visible_to, schools_in_office_of
from server.instruments.models import Instrument
from server.instruments.queries import instruments_visible_to

# ---- activities ------------------------------------------------------------------------------


class ActivityForm(ConsoleForm):
    """What an office plans."""

    title = forms.CharField(label=gettext_lazy("名称"), max_length=200)
    kind = forms.ChoiceField(label=gettext_lazy("类型"), choices=Activity.Kind.choices)
    starts = forms.DateField(label=gettext_lazy("开始日期"), widget=DayInput)
    ends = forms.DateField(label=gettext_lazy("结束日期"), widget=DayInput)
    announced = forms.BooleanField(
        label=gettext_lazy("提前通知学校"),
        required=False,
        initial=True,
        help_text=gettext_lazy("不选即“四不两直”：签到时学校才知道"),
    )
    instruments = forms.ModelMultipleChoiceField(
        label=gettext_lazy("督导工具"), queryset=Instrument.objects.none(), widget=PickMany
    )
    areas = forms.ModelMultipleChoiceField(
        label=gettext_lazy("整片行政区"),
        queryset=Area.objects.none(),
        required=False,
        widget=PickMany,
        help_text=gettext_lazy("其中所有在办学校"),
    )
    schools = SchoolsByTown(
        label=gettext_lazy("学校"), queryset=School.objects.none(), required=False
    )

    def limit_choices(self) -> None:
        schools = schools_in_office_of(self.by).filter(is_active=True)
        tools = instruments_visible_to(self.by).filter(current__isnull=False)
        areas = areas_visible_to(self.by).filter(level__in=(Area.Level.COUNTY, Area.Level.TOWN))
        self.fields["instruments"].queryset = tools  # type: ignore[attr-defined]
        self.fields["areas"].queryset = areas  # type: ignore[attr-defined]
        self.fields["schools"].queryset = schools  # type: ignore[attr-defined]

    def plan(self) -> dict[str, Any]:
        """The arguments of the planning services."""
        values = dict(self.cleaned_data)
        return {
            **values,
            "instruments": [tool.form_id for tool in values["instruments"]],
            "areas": [area.pk for area in values["areas"]],
            "schools": [school.pk for school in values["schools"]],
        }


@admin.register(Activity)
class ActivityAdmin(ScopedAdmin):
    list_display = ["title", "kind", "standing", "starts", "ends", "progress"]
    list_filter = ["state", "kind", ActivityPeriod]
    search_fields = ["title"]
    ordering = ["-starts", "-created_at"]
    page_template = "console/activity.html"

    def visible_to(self, user: User) -> QuerySet[Activity]:
        return (
            activities_visible_to(user)
            .select_related("area", "created_by")
            .annotate(
                planned=Count("visits"),
                done=Count("visits", filter=Q(visits__state__in=DONE_STATES)),
            )
        )

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: Activity) -> SafeString:
        return badge(Activity.State(row.state))

    @admin.display(description=gettext_lazy("已完成任务"))
    def progress(self, row: Any) -> str:
        return f"{row.done} / {row.planned}" if row.planned else "—"

    def may_add(self, request: HttpRequest) -> bool:
        return True

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            assert isinstance(form, ActivityForm)  # noqa: S101 - the class given below
            activity = create_activity(by=person(request), **form.plan())
            return self.link("preview", activity.pk)

        return self.form_page(
            request, ActivityForm, do, title=_("安排督导活动"), submit=_("保存草稿并预览")
        )

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {
            "edit": ("<uuid:object_id>/edit/", self.edit_view),
            "preview": ("<uuid:object_id>/preview/", self.preview_view),
        }

    def _draft(self, request: HttpRequest, object_id: UUID) -> Activity | None:
        activity: Activity = self.row(request, object_id)
        if not self._manages(request, activity):
            raise Http404
        return activity if activity.state == Activity.State.DRAFT else None

    def _manages(self, request: HttpRequest, activity: Activity) -> bool:
        return activities_managed_by(person(request)).filter(pk=activity.pk).exists()

    def edit_view(self, request: HttpRequest, object_id: UUID) -> HttpResponseBase:
        activity = self._draft(request, object_id)
        if activity is None:
            messages.warning(request, _("活动已发布，不能再修改。"))
            return redirect(self.link("change", object_id))

        def do(form: ConsoleForm) -> str:
            assert isinstance(form, ActivityForm)  # noqa: S101 - the class given below
            change_draft(activity_id=activity.pk, by=person(request), **form.plan())
            return self.link("preview", activity.pk)

        names = ("title", "kind", "starts", "ends", "announced")
        lists = ("instruments", "areas", "schools")
        return self.form_page(
            request,
            ActivityForm,
            do,
            title=_("修改草稿：%(title)s") % {"title": activity.title},
            submit=_("保存草稿并预览"),
            initial={
                **{name: getattr(activity, name) for name in names},
                **{name: getattr(activity, name).all() for name in lists},
            },
            back=self.page_of(activity),
        )

    def preview_view(self, request: HttpRequest, object_id: UUID) -> HttpResponseBase:
        activity = self._draft(request, object_id)
        if activity is None:
            return redirect(self.link("change", object_id))
        preview = preview_activity(activity)
        inspectors = {person.pk for visit in preview.visits for person in visit.team}
        context = {
            "title": _("发布前预览：%(title)s") % {"title": activity.title},
            "row": activity,
            "preview": preview,
            "inspectors": len(inspectors),
            "warned": sum(bool(visit.warnings) for visit in preview.visits),
            "tools": activity.instruments.all(),
            "deeds": self.deeds(request, activity),
            "page_tools": [Tool(_("修改"), self.link("edit", activity.pk), "edit")],
        }
        return self.render(request, "console/preview.html", context)

    def facts(self, request: HttpRequest, row: Activity) -> Sequence[tuple[Text, Any]]:
        return [
            (_("状态"), self.standing(row)),
            (_("类型"), row.get_kind_display()),
            (_("时间"), f"{row.starts} — {row.ends}"),
            (_("通知方式"), _("提前通知学校") if row.announced else _("不提前通知（四不两直）")),
            (_("督导工具"), links(row.instruments.all())),
            (_("组织单位所在行政区"), row.area),
            (_("创建人"), row.created_by),
            (_("发布时间"), row.published_at or "—"),
        ]

    def deeds(self, request: HttpRequest, row: Activity) -> Mapping[str, Deed]:
        if not self._manages(request, row):
            return {}
        if row.state == Activity.State.DRAFT:
            hint = _("发布后生成任务并发出通知，不能再修改。")
            return {"publish": Deed(label=_("发布"), do=self._publish, tone="primary", hint=hint)}
        if row.state == Activity.State.PUBLISHED:
            hint = _("未完成的任务不能再签到。此操作不能撤回。")
            return {
                "close": Deed(
                    label=_("结束活动"),
                    do=self._close,
                    tone="danger",
                    hint=hint,
                    confirm=_("结束“%(title)s”") % {"title": row.title},
                )
            }
        return {}

    def _publish(self, request: HttpRequest, row: Activity) -> Text:
        activity = publish_activity(activity_id=row.pk, by=person(request))
        return _("已发布，生成 %(n)s 个入校任务，通知已发出。") % {"n": activity.visits.count()}

    def _close(self, request: HttpRequest, row: Activity) -> Text:
        close_activity(activity_id=row.pk, by=person(request))
        return _("活动已结束。")

    def page_tools(self, request: HttpRequest, row: Activity) -> Sequence[Tool]:
        key = row.pk
        if row.state == Activity.State.DRAFT:
            return [
                Tool(_("预览将生成的任务"), self.link("preview", key), "visibility"),
                Tool(_("修改"), self.link("edit", key), "edit"),
            ]
        visits, findings = (
            reverse(f"admin:{name}_changelist") for name in ("activities_visit", "findings_finding")
        )
        return [
            Tool(_("全部任务"), f"{visits}?activity={key}", "assignment_turned_in"),
            Tool(_("发现的问题"), f"{findings}?activity={key}", "report"),
            Tool(_("概览"), f"{reverse('admin:index')}?activity={key}", "space_dashboard"),
        ]

    def page_context(self, request: HttpRequest, row: Activity) -> dict[str, Any]:
        visits = visits_visible_to(person(request)).filter(activity=row)
        shown = visits.select_related("school__area", "activity").prefetch_related("team")
        counts = visits.order_by().aggregate(
            planned=Count("pk"),
            done=Count("pk", filter=visit_progress("done")),
            overdue=Count("pk", filter=visit_progress("overdue")),
        )
        rows = list(shown.order_by("school__area__path", "school__name")[:200])
        return {"visits": [(each, visit_shown(each)) for each in rows], "counts": counts}


# ---- visits ----------------------------------------------------------------------------------


@admin.register(Visit)
class VisitAdmin(ScopedAdmin):
    list_display = ["school", "activity", "standing", "inspectors", "checked_in_at", "completed_at"]
    list_filter = [VisitProgress, "state", Town, InActivity, VisitPeriod]
    search_fields = ["school__name", "activity__title", "team__name"]
    ordering = ["-activity__starts", "school__area__path", "school__name"]
    page_template = "console/visit.html"

    def visible_to(self, user: User) -> QuerySet[Visit]:
        rows = visits_visible_to(user).select_related("activity", "school__area")
        return rows.prefetch_related("team")

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
        return {name: deed for name, deed in deeds.items() if name in open_now}

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
        ]

    def page_context(self, request: HttpRequest, row: Visit) -> dict[str, Any]:
        user, base = person(request), request.build_absolute_uri("/")
        findings = list(findings_visible_to(user).filter(visit=row).order_by("due_on"))
        records = self._records(user, row, findings, base)
        places = [
            place
            for record in records
            for photo in record["photos"]
            if (place := position(photo.media)) is not None
        ]
        return {
            "shown": visit_shown(row),
            "records": records,
            "findings": [(finding, finding_shown(finding)) for finding in findings],
            "sketch": sketch(row, places),
            "steps": [
                {"action": action, "words": VISIT.actions.get(action.action, action.action)}
                for action in row.actions.select_related("by")
            ],
        }

    def _records(
        self, user: User, visit: Visit, findings: Sequence[Finding], base: str
    ) -> list[dict[str, Any]]:
        """The current submissions of the visit, read; what an edit replaced is left out."""
        rows = with_attachments(submissions_visible_to(user).filter(visit=visit, replacements=None))
        return [_record(row, findings, base, visit.school) for row in rows]


def _record(
    submission: Submission, findings: Sequence[Finding], base: str, school: School | None
) -> dict[str, Any]:
    """A submission as its page shows it: sections of answers, and its photos as squares."""
    sections = read_answers(submission, findings, get_language() or "")
    captions = {name: line.label for each in sections for line in each.lines for name in line.names}
    at = place_of(school) if school else None
    photos = [
        photo_of(file.media, base_url=base, caption=captions.get(file.name, ""), school=at)
        for file in submission.attachments.all()
        if file.media
    ]
    return {
        "submission": submission,
        "sections": sections,
        "photos": photos,
        "squares": {photo.media.pk: photo for photo in photos},
        "absent": [file.name for file in submission.attachments.all() if file.media is None],
        "found": sum(section.found for section in sections),
    }


# ---- submissions -----------------------------------------------------------------------------


@admin.register(Submission)
class SubmissionAdmin(ScopedAdmin):
    list_display = ["instrument", "school", "sender", "received_at", "files", "conflict_total"]
    list_filter = [SubmissionActivity, ReceivedPeriod, "format"]
    search_fields = ["sender__name", "visit__school__name", "version__instrument__title"]
    ordering = ["-received_at", "id"]
    page_template = "console/submission.html"

    def visible_to(self, user: User) -> QuerySet[Submission]:
        return (
            submissions_visible_to(user)
            .select_related("version__instrument", "sender", "visit__school")
            .defer("raw", "answers", "version__xform", "version__xlsform", "version__form")
            .annotate(
                file_count=Count("attachments", distinct=True),
                arrived=Count(
                    "attachments", filter=Q(attachments__media__isnull=False), distinct=True
                ),
                conflict_count=Count("conflicts", distinct=True),
            )
        )

    def page_rows(self, user: User) -> QuerySet[Submission]:
        rows = with_attachments(submissions_visible_to(user))
        return rows.select_related(
            "version__instrument", "sender", "visit__school", "visit__activity", "device"
        )

    @admin.display(description=gettext_lazy("督导工具"))
    def instrument(self, row: Submission) -> str:
        return row.version.instrument.title

    @admin.display(description=gettext_lazy("学校"))
    def school(self, row: Submission) -> str:
        return str(row.visit.school) if row.visit else "—"

    @admin.display(description=gettext_lazy("文件"))
    def files(self, row: Any) -> str:
        return f"{row.arrived} / {row.file_count}" if row.file_count else "—"

    @admin.display(description=gettext_lazy("冲突"))
    def conflict_total(self, row: Any) -> str:
        return str(row.conflict_count) if row.conflict_count else "—"

    def facts(self, request: HttpRequest, row: Submission) -> Sequence[tuple[Text, Any]]:
        return [
            (_("督导工具"), f"{row.version.instrument.title} {row.version.version}"),
            (_("入校任务"), page_link(row.visit) if row.visit else _("不属于任何任务")),
            (_("填报人"), row.sender),
            (_("开始填写"), row.started_at or "—"),
            (_("填写完毕"), row.ended_at or "—"),
            (_("手机发送时间"), row.device_time or "—"),
            (_("到达时间"), row.received_at),
            (_("修改自"), page_link(row.replaces) if row.replaces else "—"),
            (_("格式"), row.get_format_display()),
            ("SHA-256", row.sha256),
        ]

    def page_tools(self, request: HttpRequest, row: Submission) -> Sequence[Tool]:
        return [Tool(_("下载原始文件"), self.link("raw", row.pk), "download")]

    def page_context(self, request: HttpRequest, row: Submission) -> dict[str, Any]:
        user = person(request)
        findings = findings_visible_to(user).filter(source_key__startswith=f"{row.root_id}:")
        school = row.visit.school if row.visit else None
        record = _record(row, list(findings), request.build_absolute_uri("/"), school)
        return {
            "title": row.version.instrument.title,
            "record": record,
            "conflicts": row.conflicts.select_related("sender"),
            "newer": row.replacements.all(),
        }

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"raw": ("<uuid:object_id>/raw/", self.raw_view)}

    def raw_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        return document(self.row(request, object_id))


def document(row: Submission | SubmissionConflict) -> HttpResponse:
    """The document as the phone sent it."""
    kind = "text/xml; charset=utf-8" if row.format == Submission.Format.XML else "application/json"
    return attachment(bytes(row.raw), f"{row.pk}.{row.format}", kind)


@admin.register(SubmissionConflict)
class ConflictAdmin(ScopedAdmin):
    list_display = ["instrument", "school", "sender", "first_sender", "name", "received_at"]
    list_filter = [ReceivedPeriod]
    search_fields = ["sender__name", "submission__visit__school__name"]
    ordering = ["-received_at"]
    page_template = "console/conflict.html"

    def visible_to(self, user: User) -> QuerySet[SubmissionConflict]:
        rows = SubmissionConflict.objects.filter(
            submission__in=submissions_visible_to(user).values("pk")
        )
        return rows.select_related(
            "submission__version__instrument", "submission__visit__school", "submission__sender"
        ).select_related("sender", "media")

    @admin.display(description=gettext_lazy("督导工具"))
    def instrument(self, row: SubmissionConflict) -> str:
        return row.submission.version.instrument.title

    @admin.display(description=gettext_lazy("学校"))
    def school(self, row: SubmissionConflict) -> str:
        return str(row.submission.visit.school) if row.submission.visit else "—"

    @admin.display(description=gettext_lazy("先到的填报人"))
    def first_sender(self, row: SubmissionConflict) -> str:
        return str(row.submission.sender)

    def facts(self, request: HttpRequest, row: SubmissionConflict) -> Sequence[tuple[Text, Any]]:
        return [
            (_("督导工具"), self.instrument(row)),
            (_("学校"), self.school(row)),
            (_("先到的填报"), page_link(row.submission, _("查看"))),
            (_("先到的填报人"), row.submission.sender),
            (_("先到的时间"), row.submission.received_at),
            (_("后到的填报人"), row.sender),
            (_("后到的时间"), row.received_at),
            (_("文件名"), row.name or "—"),
        ]

    def page_tools(self, request: HttpRequest, row: SubmissionConflict) -> Sequence[Tool]:
        first = reverse("admin:activities_submission_raw", args=[row.submission_id])
        return [
            Tool(_("下载先到的文件"), first, "download"),
            Tool(_("下载后到的文件"), self.link("raw", row.pk), "download"),
        ]

    def page_context(self, request: HttpRequest, row: SubmissionConflict) -> dict[str, Any]:
        return {
            "title": _("填报冲突：%(what)s") % {"what": self.instrument(row)},
            "first": _text(row.submission),
            "second": _text(row),
        }

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"raw": ("<uuid:object_id>/raw/", self.raw_view)}

    def raw_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        return document(self.row(request, object_id))


def _text(row: Submission | SubmissionConflict) -> str:
    return bytes(row.raw).decode(errors="replace")[:20_000]
