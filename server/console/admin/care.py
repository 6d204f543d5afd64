"""Care for what photos show: what is due and deleted, holds, grants, exports, storage use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.models import MediaObject
from server.activities.models import Activity
from server.activities.queries import activities_managed_by, activities_visible_to
from server.activities.services.planning import MAX_KEEP_DAYS
from server.care import deleting, exporting
from server.care.certificates import Certificate, certificate_of
from server.care.counting import Line, Use, storage_figures
from server.care.deleting import delete_now, keep_file
from server.care.exporting import open_export, request_export
from server.care.holds import lift_hold
from server.care.models import Deletion, Export, Hold, OriginalsGrant
from server.care.originals import end_grant, grant_originals
from server.care.queries import (
    activities_exportable_by,
    deletions_visible_to,
    exportable,
    exports_of,
    grants_visible_to,
    holds_visible_to,
    is_custodian,
    media_in_custody_of,
    originals_open_to,
    schools_in_custody_of,
)
from server.care.retention import set_retention
from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin, Tool, attachment
from server.console.admin.dead import DeadWork, facts_of_work, retry_deed
from server.console.admin.links import page_link
from server.console.care import day_of, log_tool
from server.console.filters import AtSchool, ConsoleFilter, InActivity, InTerm
from server.console.forms import ConsoleForm, DayInput
from server.console.states import AMBER, GREEN, GREY, Shown, badge
from server.core.clock import today
from server.core.errors import Text
from server.core.ids import new_id
from server.grid.models import Area, School, User
from server.grid.queries import areas_visible_to, people_visible_to

PRINTED = 500
"""Certificates on one page to print; the JSON has all of them."""

# ---- what is due and what is gone ------------------------------------------------------------


class RetentionForm(ConsoleForm):
    """For how long, and why."""

    choice = forms.ChoiceField(
        label=gettext_lazy("保存期限"),
        choices=[
            ("days", gettext_lazy("活动结束后保存若干天")),
            ("until", gettext_lazy("保存至某一天")),
            ("ever", gettext_lazy("长期保存")),
        ],
        widget=forms.RadioSelect,
    )
    keep_media_days = forms.IntegerField(
        label=gettext_lazy("天数"), required=False, min_value=1, max_value=MAX_KEEP_DAYS
    )
    until = forms.DateField(label=gettext_lazy("保存至"), required=False, widget=DayInput)
    reason = forms.CharField(
        label=gettext_lazy("理由"), max_length=500, widget=forms.Textarea(attrs={"rows": 3})
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        wanted = {"days": "keep_media_days", "until": "until"}.get(values.get("choice", ""))
        if wanted and values.get(wanted) is None and wanted not in self.errors:
            self.add_error(wanted, _("请填写。"))
        return values

    def period(self) -> dict[str, Any]:
        """The arguments of the service."""
        values = self.cleaned_data
        return {
            "keep_days": values["keep_media_days"] if values["choice"] == "days" else None,
            "until": values["until"] if values["choice"] == "until" else None,
            "reason": values["reason"],
        }


@admin.register(Deletion)
class DeletionAdmin(ScopedAdmin):
    empty_hint = gettext_lazy("保存期满的材料删除前会先在此列出；每份材料的页面上也可以申请删除。")
    list_display = ["filename", "standing", "rule", "school", "activity", "delete_after", "done"]
    list_filter = ["state", "rule", InActivity, AtSchool, DeadWork]
    search_fields = ["media__filename", "school__name", "activity__title"]
    ordering = ["-found_at", "id"]
    page_template = "console/deletion.html"

    def visible_to(self, user: User) -> QuerySet[Deletion]:
        rows = deletions_visible_to(user).select_related("media", "school", "activity")
        return rows.select_related("decided_by", "kept_by")

    @admin.display(description=gettext_lazy("文件"), ordering="media__filename")
    def filename(self, row: Deletion) -> str:
        return row.media.filename

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: Deletion) -> SafeString:
        return badge(Deletion.State(row.state))

    @admin.display(description=gettext_lazy("删除时间"), ordering="deleted_at")
    def done(self, row: Deletion) -> Any:
        return row.deleted_at or "—"

    def list_tools(self, request: HttpRequest) -> Sequence[Tool]:
        return [
            Tool(_("待删除"), "?state__exact=due", "schedule"),
            Tool(_("已删除"), "?state__exact=deleted", "verified"),
            Tool(_("存储用量"), self.link("storage"), "database"),
        ]

    def facts(self, request: HttpRequest, row: Deletion) -> Sequence[tuple[Text, Any]]:
        kept = [
            (_("保留原因"), row.get_kept_code_display()),
            (_("保留人"), row.kept_by or "—"),
            (_("保留理由"), row.kept_reason or "—"),
            (_("保留至"), row.kept_until or "—"),
        ]
        return [
            (_("状态"), self.standing(row)),
            (_("文件"), page_link(row.media)),
            (_("学校"), page_link(row.school) if row.school else "—"),
            (_("督导活动"), page_link(row.activity) if row.activity else "—"),
            (_("删除依据"), row.get_rule_display()),
            (_("理由"), row.reason or "—"),
            (_("决定人"), row.decided_by or "—"),
            (_("列入时间"), row.found_at),
            (_("最早删除时间"), row.delete_after),
            *(kept if row.state == Deletion.State.KEPT else []),
            (_("开始删除"), row.started_at or "—"),
            *self._look_again(row),
            (_("删除时间"), row.deleted_at or "—"),
            (_("证明编号"), row.number if row.certificate else "—"),
            *facts_of_work(row),
        ]

    def _look_again(self, row: Deletion) -> list[tuple[Text, Any]]:
        waits = row.state == Deletion.State.DELETING and row.look_again_at
        return [(_("上传地址失效后复查"), row.look_again_at)] if waits else []

    def deeds(self, request: HttpRequest, row: Deletion) -> Mapping[str, Deed]:
        deeds = dict(retry_deed(row, deleting.PUMP.name))
        decides = media_in_custody_of(person(request)).filter(pk=row.media_id).exists()
        if row.state == Deletion.State.DUE and decides:
            deeds["keep"] = Deed(
                label=_("保留，不删除"),
                do=self._keep,
                tone="primary",
                note=_("理由"),
                note_required=True,
                day=_("保留至（不填为一年）"),
            )
            deeds["now"] = Deed(
                label=_("立即删除"),
                do=self._now,
                tone="danger",
                confirm=_("现在删除“%(name)s”") % {"name": row.media.filename},
                hint=_("不再等待宽限期；从存储中彻底删除，不能恢复。"),
            )
        return deeds

    def _keep(self, request: HttpRequest, row: Deletion) -> Text:
        kept = keep_file(
            deletion_id=row.pk,
            by=person(request),
            reason=request.POST.get("note", ""),
            until=day_of(request),
        )
        return _("已保留至 %(day)s。") % {"day": kept.kept_until}

    def _now(self, request: HttpRequest, row: Deletion) -> Text:
        delete_now(deletion_id=row.pk, by=person(request))
        return _("将立即删除，完成后这里会有删除证明。")

    def page_tools(self, request: HttpRequest, row: Deletion) -> Sequence[Tool]:
        tools = [log_tool(row.media_id)]
        if row.certificate:
            tools = [
                Tool(_("删除证明（打印）"), self.link("certificate", row.pk), "print"),
                Tool(_("删除证明（JSON）"), self.link("certificate_json", row.pk), "data_object"),
                *tools,
            ]
        return tools

    def page_context(self, request: HttpRequest, row: Deletion) -> dict[str, Any]:
        return {"title": row.media.filename, "certificate": row.certificate}

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        one, all_of = "<uuid:object_id>/certificate", "activity/<uuid:activity_id>/certificates"
        return {
            "certificate": (f"{one}/", self.certificate_view),
            "certificate_json": (f"{one}.json", self.certificate_json_view),
            "certificates": (f"{all_of}/", self.certificates_view),
            "certificates_json": (f"{all_of}.json", self.certificates_json_view),
            "retention": ("activity/<uuid:activity_id>/retention/", self.retention_view),
            "storage": ("storage/", self.storage_view),
        }

    # ---- certificates --------------------------------------------------------------------------

    def certificate_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        row = self._certified(request, object_id)
        return self._printed(request, [certificate_of(row)], _("删除证明"), 1)

    def certificate_json_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        row = self._certified(request, object_id)
        return _json_file(row.certificate, f"{row.number}.json")

    def certificates_view(self, request: HttpRequest, activity_id: UUID) -> HttpResponse:
        activity, rows = self._certified_in(request, activity_id)
        title = _("删除证明：%(activity)s") % {"activity": activity}
        shown = [certificate_of(row) for row in rows[:PRINTED]]
        return self._printed(request, shown, title, rows.count())

    def certificates_json_view(self, request: HttpRequest, activity_id: UUID) -> HttpResponse:
        activity, rows = self._certified_in(request, activity_id)
        documents = [row.certificate for row in rows.iterator(chunk_size=500)]
        return _json_file(documents, f"certificates-{activity.pk}.json")

    def _certified(self, request: HttpRequest, object_id: UUID) -> Deletion:
        row: Deletion = self.row(request, object_id)
        if not row.certificate:
            raise Http404
        return row

    def _certified_in(
        self, request: HttpRequest, activity_id: UUID
    ) -> tuple[Activity, QuerySet[Deletion]]:
        user = person(request)
        activity = activities_visible_to(user).filter(pk=activity_id).first()
        rows = deletions_visible_to(user).filter(activity=activity_id, state=Deletion.State.DELETED)
        if activity is None or not rows.exists():
            raise Http404
        return activity, rows.order_by("deleted_at", "id")

    def _printed(
        self, request: HttpRequest, certificates: Sequence[Certificate], title: str, total: int
    ) -> HttpResponse:
        context = {"title": title, "certificates": certificates, "total": total}
        return self.render(request, "console/certificates.html", context)

    # ---- how long ------------------------------------------------------------------------------

    def retention_view(self, request: HttpRequest, activity_id: UUID) -> HttpResponse:
        activity = activities_managed_by(person(request)).filter(pk=activity_id).first()
        if activity is None:
            raise Http404
        back = reverse("admin:activities_activity_change", args=[activity.pk])

        def do(form: ConsoleForm) -> str:
            assert isinstance(form, RetentionForm)  # noqa: S101 - the class given below
            changed, kept = set_retention(
                activity_id=activity_id, by=person(request), **form.period()
            )
            until = changed.media_kept_until
            messages.success(
                request,
                _("佐证材料保存至 %(day)s。") % {"day": until}
                if until
                else _("佐证材料长期保存。"),
            )
            if kept:
                messages.info(request, _("%(n)s 份待删除的材料不再删除。") % {"n": kept})
            return back

        return self.form_page(
            request,
            RetentionForm,
            do,
            title=_("佐证材料保存期限：%(title)s") % {"title": activity.title},
            submit=_("保存"),
            intro=_(
                "活动于 %(ends)s 结束。期满的材料先列入待删除并通知本单位，%(days)s 天后才删除；"
                "未销号的问题、保全中的材料和仍有其他用途的材料不会删除。"
            )
            % {"ends": activity.ends, "days": settings.DELETION_GRACE_DAYS},
            initial={
                "choice": "days" if activity.keep_media_days else "ever",
                "keep_media_days": activity.keep_media_days,
                "until": activity.media_kept_until,
            },
            back=back,
        )

    # ---- storage use ---------------------------------------------------------------------------

    def storage_view(self, request: HttpRequest) -> HttpResponse:
        user = person(request)
        activity = _named(activities_visible_to(user), request.GET.get("activity"))
        area = _named(areas_visible_to(user), request.GET.get("area"))
        use = storage_figures(user, area=area, activity=activity)
        towns = areas_visible_to(user).filter(level__in=(Area.Level.COUNTY, Area.Level.TOWN))
        tables = _storage_tables(use, activity, sort=request.GET.get("sort", "size"))
        context = {
            "title": _("存储用量"),
            "use": use,
            "tables": tables,
            "areas": towns.order_by("path"),
            "area": area,
            "activity": activity,
            "activities": activities_visible_to(user).order_by("-starts")[:200],
            "sort": request.GET.get("sort", "size"),
            "is_fullwidth": "1",
        }
        return self.render(request, "console/storage.html", context)


def _named(rows: QuerySet[Any], key: str | None) -> Any:
    """The row that an address names; None where it names none. What one may not see is 404."""
    if not key:
        return None
    try:
        found = rows.filter(pk=UUID(key)).first()
    except ValueError:
        found = None
    if found is None:
        raise Http404
    return found


def _json_file(content: Any, filename: str) -> HttpResponse:
    text = json.dumps(content, ensure_ascii=False, indent=2).encode()
    return attachment(text, filename, "application/json; charset=utf-8")


SORTS: Mapping[str, tuple[Text, Callable[[Line], Any]]] = {
    "name": (gettext_lazy("名称"), lambda line: line.name),
    "files": (gettext_lazy("文件"), lambda line: -line.figures.files),
    "size": (gettext_lazy("合计"), lambda line: -line.figures.total_size),
    "originals": (gettext_lazy("原件"), lambda line: -line.figures.size),
    "renditions": (gettext_lazy("缩略图等"), lambda line: -line.figures.rendition_size),
}


def _storage_tables(use: Use, activity: Activity | None, *, sort: str) -> list[dict[str, Any]]:
    """The three tables: title, and lines with the link to the list behind each."""
    media = reverse("admin:media_storage_mediaobject_changelist")
    within = f"&activity={activity.pk}" if activity else ""
    _words, order = SORTS.get(sort, SORTS["size"])

    def table(title: Text, lines: Sequence[Line], parameter: str) -> dict[str, Any]:
        rows = []
        for line in sorted(lines, key=order):
            name = line.name or _("不属于任何活动")
            if parameter == "state__exact":
                name = badge(MediaObject.State(str(line.id)))
            link = f"{media}?{parameter}={line.id}{within}" if line.id else ""
            rows.append({"name": name, "link": link, "figures": line.figures})
        return {"title": title, "rows": rows}

    return [
        table(_("按状态"), use.states, "state__exact"),
        *([] if activity else [table(_("按督导活动"), use.activities, "activity")]),
        table(_("按学校"), use.schools, "school"),
    ]


# ---- holds -----------------------------------------------------------------------------------


class HoldLasts(ConsoleFilter):
    title = gettext_lazy("状态")
    parameter_name = "hold"
    words = {"active": gettext_lazy("保全中"), "lifted": gettext_lazy("已解除")}

    def condition(self, value: str) -> Q:
        return Q(lifted_at=None) if value == "active" else Q(lifted_at__isnull=False)


@admin.register(Hold)
class HoldAdmin(ScopedAdmin):
    empty_hint = gettext_lazy("需要长期保留的材料在此登记保全，保全期间不会被删除。")
    list_display = ["what", "standing", "reason", "set_by", "set_at", "lifted_at"]
    list_filter = [HoldLasts]
    search_fields = ["reason", "school__name", "activity__title", "media__filename"]
    ordering = ["-set_at"]

    def visible_to(self, user: User) -> QuerySet[Hold]:
        rows = holds_visible_to(user).select_related("activity", "school", "media", "set_by")
        return rows.select_related("visit__school", "visit__activity", "lifted_by")

    @admin.display(description=gettext_lazy("对象"))
    def what(self, row: Hold) -> str:
        return f"{type(row.target)._meta.verbose_name}：{row.target}"

    @admin.display(description=gettext_lazy("状态"))
    def standing(self, row: Hold) -> SafeString:
        held = Shown(AMBER, _("保全中")) if row.is_active else Shown(GREY, _("已解除"))
        return held.badge

    def facts(self, request: HttpRequest, row: Hold) -> Sequence[tuple[Text, Any]]:
        return [
            (_("状态"), self.standing(row)),
            (_("对象"), page_link(row.target, self.what(row))),
            (_("理由"), row.reason),
            (_("设置人"), row.set_by),
            (_("设置时间"), row.set_at),
            (_("解除人"), row.lifted_by or "—"),
            (_("解除时间"), row.lifted_at or "—"),
            (_("解除理由"), row.lift_reason or "—"),
        ]

    def deeds(self, request: HttpRequest, row: Hold) -> Mapping[str, Deed]:
        if not row.is_active or not is_custodian(person(request)):
            return {}
        return {
            "lift": Deed(
                label=_("解除保全"),
                do=self._lift,
                note=_("理由"),
                note_required=True,
                hint=_("期满的材料会重新列入待删除，并重新计算宽限期。"),
            )
        }

    def _lift(self, request: HttpRequest, row: Hold) -> Text:
        lift_hold(hold_id=row.pk, by=person(request), reason=request.POST.get("note", ""))
        return _("保全已解除。")

    def page_tools(self, request: HttpRequest, row: Hold) -> Sequence[Tool]:
        return [log_tool(row.target.pk)]


# ---- grants ----------------------------------------------------------------------------------


class GrantForm(ConsoleForm):
    """Who may open originals, where, until when and why."""

    pointers = {"user_id": "user", "area_id": "area", "school_id": "school"}

    user = forms.ModelChoiceField(label=gettext_lazy("人员"), queryset=User.objects.none())
    area = forms.ModelChoiceField(
        label=gettext_lazy("行政区"),
        queryset=Area.objects.none(),
        required=False,
        help_text=gettext_lazy("其中所有学校；与学校二选一"),
    )
    school = forms.ModelChoiceField(
        label=gettext_lazy("学校"), queryset=School.objects.none(), required=False
    )
    ends = forms.DateField(
        label=gettext_lazy("最后一天"),
        widget=DayInput,
        required=False,
        help_text=gettext_lazy("留空即直到收回"),
    )
    reason = forms.CharField(
        label=gettext_lazy("理由"), max_length=500, widget=forms.Textarea(attrs={"rows": 3})
    )

    def limit_choices(self) -> None:
        people = people_visible_to(self.by).filter(is_active=True).order_by("name")
        areas = areas_visible_to(self.by).filter(level__in=(Area.Level.COUNTY, Area.Level.TOWN))
        schools = schools_in_custody_of(self.by).filter(is_active=True).order_by("name")
        self.fields["user"].queryset = people  # type: ignore[attr-defined]
        self.fields["area"].queryset = areas.order_by("path")  # type: ignore[attr-defined]
        self.fields["school"].queryset = schools  # type: ignore[attr-defined]


@admin.register(OriginalsGrant)
class GrantAdmin(ScopedAdmin):
    empty_hint = gettext_lazy(
        "上传人、任务组、责任督学和县级督导办不经授权也可以打开原图；其他人需要时在此授权。"
    )
    list_display = ["user", "place", "term", "standing", "reason", "granted_by"]
    list_filter = [InTerm]
    search_fields = ["user__name", "user__username", "school__name", "area__name"]
    ordering = ["-granted_at"]

    def visible_to(self, user: User) -> QuerySet[OriginalsGrant]:
        rows = grants_visible_to(user).select_related("user", "area", "school__area")
        return rows.select_related("granted_by")

    @admin.display(description=gettext_lazy("范围"))
    def place(self, row: OriginalsGrant) -> str:
        return str(row.area or row.school)

    @admin.display(description=gettext_lazy("期限"))
    def term(self, row: OriginalsGrant) -> str:
        return f"{row.starts:%Y-%m-%d} — {row.ends:%Y-%m-%d}" if row.ends else f"{row.starts} —"

    @admin.display(description=gettext_lazy("状态"))
    def standing(self, row: OriginalsGrant) -> SafeString:
        over = row.ends is not None and row.ends < today()
        return (Shown(GREY, _("已结束")) if over else Shown(GREEN, _("有效"))).badge

    def may_add(self, request: HttpRequest) -> bool:
        return is_custodian(person(request))

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404

        def do(form: ConsoleForm) -> str:
            values = form.cleaned_data
            grant = grant_originals(
                by=person(request),
                user_id=values["user"].pk,
                area_id=values["area"].pk if values["area"] else None,
                school_id=values["school"].pk if values["school"] else None,
                ends=values["ends"],
                reason=values["reason"],
            )
            messages.success(request, _("已授权 %(who)s。") % {"who": grant.user})
            return self.page_of(grant)

        return self.form_page(
            request,
            GrantForm,
            do,
            title=_("授权查看原图"),
            submit=_("授权"),
            intro=_(
                "县级教育督导办、拍摄人和本任务的督学不需要授权。授权不会让人看到原来看不到的材料。"
            ),
        )

    def facts(self, request: HttpRequest, row: OriginalsGrant) -> Sequence[tuple[Text, Any]]:
        return [
            (_("人员"), page_link(row.user)),
            (_("范围"), page_link(row.area or row.school)),
            (_("期限"), self.term(row)),
            (_("状态"), self.standing(row)),
            (_("理由"), row.reason),
            (_("授权人"), row.granted_by),
            (_("授权时间"), row.granted_at),
        ]

    def deeds(self, request: HttpRequest, row: OriginalsGrant) -> Mapping[str, Deed]:
        if row.ends is not None and row.ends < today():
            return {}
        return {"end": Deed(label=_("收回授权"), do=self._end, tone="danger")}

    def _end(self, request: HttpRequest, row: OriginalsGrant) -> Text:
        end_grant(grant_id=row.pk, by=person(request))
        return _("授权已收回。")

    def page_tools(self, request: HttpRequest, row: OriginalsGrant) -> Sequence[Tool]:
        return [log_tool(row.user_id)]


# ---- exports ---------------------------------------------------------------------------------


class ExportForm(ConsoleForm):
    """What is packed, and what for."""

    variant = forms.ChoiceField(
        label=gettext_lazy("内容"),
        choices=Export.Variant.choices,
        initial=Export.Variant.SHARED,
        widget=forms.RadioSelect,
        help_text=gettext_lazy("原图只含您有权查看的，每一份都记入操作日志"),
    )
    reason = forms.CharField(
        label=gettext_lazy("用途"),
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("导出原图时必填"),
    )


@admin.register(Export)
class ExportAdmin(ScopedAdmin):
    empty_hint = gettext_lazy(
        "在督导活动页面可以把该活动的佐证材料连同清单打包导出，导出后在此下载。"
    )
    list_display = ["activity", "variant", "standing", "progress", "bytes", "requested_at", "left"]
    list_filter = ["state", "variant", InActivity]
    ordering = ["-requested_at"]
    page_template = "console/export.html"

    def visible_to(self, user: User) -> QuerySet[Export]:
        return exports_of(user)

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: Export) -> SafeString:
        return badge(Export.State(row.state))

    @admin.display(description=gettext_lazy("进度"))
    def progress(self, row: Export) -> str:
        return f"{row.done} / {row.total}" if row.total else "—"

    @admin.display(description=gettext_lazy("大小"), ordering="size")
    def bytes(self, row: Export) -> str:
        return filesizeformat(row.size) if row.size else "—"

    @admin.display(description=gettext_lazy("保留至"), ordering="expires_at")
    def left(self, row: Export) -> Any:
        return row.expires_at if row.is_there else "—"

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"request": ("activity/<uuid:activity_id>/", self.request_view)}

    def request_view(self, request: HttpRequest, activity_id: UUID) -> HttpResponse:
        user = person(request)
        activity = activities_exportable_by(user).filter(pk=activity_id).first()
        if activity is None:
            raise Http404

        def do(form: ConsoleForm) -> str:
            export, _new = request_export(
                export_id=new_id(), activity_id=activity_id, by=user, **form.cleaned_data
            )
            messages.success(request, _("已开始打包。可以离开此页，完成后会通知您。"))
            return self.page_of(export)

        media = exportable(user, activity).filter(state__in=exporting.READABLE)
        opened = media.filter(pk__in=originals_open_to(user).values("pk"))
        return self.form_page(
            request,
            ExportForm,
            do,
            title=_("导出佐证材料：%(title)s") % {"title": activity.title},
            submit=_("开始打包"),
            intro=_(
                "共 %(n)s 份材料，其中 %(m)s 份您有权导出原图。打包为一个 ZIP，"
                "按学校、任务、检查项分文件夹，附带校验值的清单；%(days)s 天后自动删除。"
            )
            % {"n": media.count(), "m": opened.count(), "days": settings.EXPORT_DAYS},
            back=reverse("admin:activities_activity_change", args=[activity.pk]),
        )

    def facts(self, request: HttpRequest, row: Export) -> Sequence[tuple[Text, Any]]:
        return [
            (_("状态"), self.standing(row)),
            (_("督导活动"), page_link(row.activity)),
            (_("内容"), row.get_variant_display()),
            (_("用途"), row.reason or "—"),
            (_("文件总数"), row.total),
            (_("已打包"), row.done),
            (_("未能放入"), row.skipped),
            (_("大小"), self.bytes(row)),
            (_("提出时间"), row.requested_at),
            (_("完成时间"), row.ready_at or "—"),
            (_("保留至"), row.expires_at or "—"),
            ("SHA-256", row.sha256 or "—"),
            *facts_of_work(row),
        ]

    def deeds(self, request: HttpRequest, row: Export) -> Mapping[str, Deed]:
        if row.is_there:
            hint = _("每次下载都会记入操作日志。")
            return {"open": Deed(label=_("下载 ZIP"), do=self._open, tone="primary", hint=hint)}
        return {}

    def _open(self, request: HttpRequest, row: Export) -> HttpResponseBase:
        opened = open_export(
            export_id=row.pk, by=person(request), base_url=request.build_absolute_uri("/")
        )
        return redirect(opened.url)

    def page_context(self, request: HttpRequest, row: Export) -> dict[str, Any]:
        running = row.state in exporting.UNFINISHED
        percent = round(100 * (row.done + row.skipped) / row.total) if row.total else 0
        return {"running": running, "percent": percent}

    def page_tools(self, request: HttpRequest, row: Export) -> Sequence[Tool]:
        again = self.link("request", row.activity_id)
        return [Tool(_("重新导出"), again, "refresh"), log_tool(row.pk)]
