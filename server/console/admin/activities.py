"""Activities: planning, the preview of their visits, publishing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.activities.models import Activity
from server.activities.queries import (
    activities_managed_by,
    activities_visible_to,
    visits_visible_to,
)
from server.activities.services.moving import move_activity
from server.activities.services.planning import (
    MAX_KEEP_DAYS,
    change_draft,
    close_activity,
    create_activity,
    preview_activity,
    publish_activity,
)
from server.care.models import Deletion
from server.care.queries import activities_exportable_by, deletions_visible_to
from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin, Tool
from server.console.admin.links import links
from server.console.care import held_fact, hold_deed, log_tool
from server.console.filters import (
    DONE_STATES,
    ActivityPeriod,
    visit_progress,
)
from server.console.forms import ConsoleForm, DayInput, PickMany, SchoolsByTown
from server.console.gallery.selection import gallery_address
from server.console.states import badge, visit_shown
from server.core.errors import Text
from server.grid.models import Area, School, User
from server.grid.queries import areas_visible_to, schools_in_office_of
from server.instruments.models import Instrument
from server.instruments.queries import instruments_visible_to
from server.sharing.services import remake_copies


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
    keep_media_days = forms.IntegerField(
        label=gettext_lazy("佐证材料保存天数"),
        required=False,
        min_value=1,
        max_value=MAX_KEEP_DAYS,
        initial=lambda: settings.KEEP_MEDIA_DAYS,
        help_text=gettext_lazy("自活动结束之日起计算；不填即长期保存"),
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


class MoveForm(ConsoleForm):
    """Other days, and why."""

    starts = forms.DateField(label=gettext_lazy("开始日期"), widget=DayInput)
    ends = forms.DateField(label=gettext_lazy("结束日期"), widget=DayInput)
    reason = forms.CharField(
        label=gettext_lazy("原因"), max_length=200, help_text=gettext_lazy("写进通知")
    )


@admin.register(Activity)
class ActivityAdmin(ScopedAdmin):
    empty_hint = gettext_lazy("先制定一项督导活动，再发布给学校和督学。")
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
            "move": ("<uuid:object_id>/move/", self.move_view),
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

        names = ("title", "kind", "starts", "ends", "announced", "keep_media_days")
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

    def move_view(self, request: HttpRequest, object_id: UUID) -> HttpResponseBase:
        """Other days for a published activity."""
        activity: Activity = self.row(request, object_id)
        if not self._manages(request, activity):
            raise Http404

        def do(form: ConsoleForm) -> str:
            move_activity(activity_id=activity.pk, by=person(request), **form.cleaned_data)
            messages.success(request, _("日期已调整，并已通知有关人员。"))
            return self.page_of(activity)

        return self.form_page(
            request,
            MoveForm,
            do,
            title=_("调整日期：%(title)s") % {"title": activity.title},
            submit=_("调整并通知"),
            initial={"starts": activity.starts, "ends": activity.ends},
            intro=_("未完成任务的督学会收到通知；提前通知的活动，学校也会收到。"),
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
            (_("佐证材料保存至"), row.media_kept_until or _("长期保存")),
            *held_fact(request, "activity", row),
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
                **self._sharing(),
                "close": Deed(
                    label=_("结束活动"),
                    do=self._close,
                    tone="danger",
                    hint=hint,
                    confirm=_("结束“%(title)s”") % {"title": row.title},
                ),
                **hold_deed(request, "activity"),
                **self._sharing(),
            }
        return {**hold_deed(request, "activity"), **self._sharing()}

    def _sharing(self) -> Mapping[str, Deed]:
        hint = _("督导工具的遮挡设置、学校名称等改过之后，按现在的内容重做。")
        return {"share": Deed(label=_("重做共享图"), do=self._remake, hint=hint)}

    def _remake(self, request: HttpRequest, row: Activity) -> Text:
        count = remake_copies(activity_id=row.pk, by=person(request))
        return _("正在检查 %(n)s 张图片的共享图，有变化的会重做。") % {"n": count}

    def _publish(self, request: HttpRequest, row: Activity) -> Text:
        activity = publish_activity(activity_id=row.pk, by=person(request))
        return _("已发布，生成 %(n)s 个入校任务，通知已发出。") % {"n": activity.visits.count()}

    def _close(self, request: HttpRequest, row: Activity) -> Text:
        close_activity(activity_id=row.pk, by=person(request))
        return _("活动已结束。")

    def _care_tools(self, request: HttpRequest, row: Activity) -> Sequence[Tool]:
        user, key, tools = person(request), row.pk, []
        if activities_exportable_by(user).filter(pk=key).exists():
            tools.append(
                Tool(_("导出佐证材料"), reverse("admin:care_export_request", args=[key]), "archive")
            )
        if self._manages(request, row):
            retention = reverse("admin:care_deletion_retention", args=[key])
            tools.append(Tool(_("保存期限"), retention, "schedule"))
        storage = f"{reverse('admin:care_deletion_storage')}?activity={key}"
        tools.append(Tool(_("存储用量"), storage, "database"))
        gone = deletions_visible_to(user).filter(activity=row, state=Deletion.State.DELETED)
        if gone.exists():
            certificates = reverse("admin:care_deletion_certificates", args=[key])
            tools.append(Tool(_("删除证明"), certificates, "verified"))
        return tools

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
        movable = row.state == Activity.State.PUBLISHED and self._manages(request, row)
        move = [Tool(_("调整日期"), self.link("move", key), "edit_calendar")] if movable else []
        return [
            *move,
            Tool(_("全部任务"), f"{visits}?activity={key}", "assignment_turned_in"),
            Tool(_("发现的问题"), f"{findings}?activity={key}", "report"),
            Tool(_("照片"), gallery_address(activity=key), "photo_library"),
            Tool(_("概览"), f"{reverse('admin:index')}?activity={key}", "space_dashboard"),
            *self._care_tools(request, row),
            log_tool(key),
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
