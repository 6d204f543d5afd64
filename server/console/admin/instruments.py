"""Instruments: upload an XLSForm, read what it asks, publish it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from server.console.access import person, standing_of
from server.console.admin.base import XLSX, Deed, ScopedAdmin, Tool, attachment
from server.console.admin.links import page_link
from server.console.forms import ConsoleForm, ManyFilesField, UploadForm
from server.console.states import AMBER, BLUE, GREEN, GREY, Shown
from server.core.errors import Text
from server.grid.models import User
from server.instruments.compiled import SECTIONS, Field, form_from_json, text_in
from server.instruments.models import Instrument, InstrumentVersion
from server.instruments.queries import instruments_managed_by, instruments_visible_to
from server.instruments.services import publish_instrument, set_blur_faces, upload_xlsform
from server.instruments.xlsform import MAX_BYTES

TYPES: dict[str, Text] = {
    "group": gettext_lazy("分组"),
    "repeat": gettext_lazy("可重复"),
    "note": gettext_lazy("说明"),
    "text": gettext_lazy("文字"),
    "integer": gettext_lazy("整数"),
    "decimal": gettext_lazy("小数"),
    "select_one": gettext_lazy("单选"),
    "select_multiple": gettext_lazy("多选"),
    "rank": gettext_lazy("排序"),
    "date": gettext_lazy("日期"),
    "time": gettext_lazy("时间"),
    "datetime": gettext_lazy("日期时间"),
    "dateTime": gettext_lazy("日期时间"),
    "image": gettext_lazy("照片"),
    "audio": gettext_lazy("录音"),
    "video": gettext_lazy("视频"),
    "file": gettext_lazy("文件"),
    "geopoint": gettext_lazy("位置"),
    "calculate": gettext_lazy("计算"),
    "acknowledge": gettext_lazy("确认"),
    "barcode": gettext_lazy("条码"),
    "range": gettext_lazy("范围"),
}


@dataclass(frozen=True)
class Question:
    """A line of the form as the office reads it."""

    level: int
    label: str
    type: Text
    is_section: bool
    required: bool
    conditional: bool
    finding: Shown | None
    days: int
    choices: Sequence[str]


SEVERITY_TONES = {"minor": GREY, "major": AMBER, "severe": "red"}


def questions(fields: Sequence[Field], language: str, level: int = 0) -> Iterator[Question]:
    """Every field that people see, in order."""
    for each in fields:
        label = text_in(each.label, language)
        if label:
            yield _question(each, label, language, level)
        yield from questions(each.children, language, level + 1)


def _question(each: Field, label: str, language: str, level: int) -> Question:
    words = {"minor": _("一般"), "major": _("较重"), "severe": _("严重")}
    rule = each.finding
    return Question(
        level=level,
        label=label,
        type=TYPES.get(each.type, each.type),
        is_section=each.type in SECTIONS,
        required=bool(each.required),
        conditional=bool(each.relevance),
        finding=Shown(SEVERITY_TONES[rule.severity], words[rule.severity]) if rule else None,
        days=rule.days if rule else 0,
        choices=[text_in(choice.label, language) for choice in each.choices or ()][:12],
    )


class XLSFormUpload(UploadForm):
    """The workbook, its own media, and whether it may be filled in at any time."""

    attachments = ManyFilesField(
        label=gettext_lazy("表单用到的图片和清单"),
        required=False,
        help_text=gettext_lazy("表单中没有引用文件时不填"),
    )
    open = forms.BooleanField(
        label=gettext_lazy("可随时填报"),
        required=False,
        help_text=gettext_lazy("不属于任何督导任务时也可填报"),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MAX_BYTES:
            limit = MAX_BYTES // 2**20
            raise forms.ValidationError(_("表格文件不能超过 %(limit)s MB") % {"limit": limit})
        return file


@admin.register(Instrument)
class InstrumentAdmin(ScopedAdmin):
    list_display = ["title", "form_id", "standing", "area", "open"]
    list_filter = ["open"]
    search_fields = ["title", "form_id"]
    ordering = ["title"]
    page_template = "console/instrument.html"

    def visible_to(self, user: User) -> QuerySet[Instrument]:
        versions = InstrumentVersion.objects.select_related("created_by").defer("xform", "xlsform")
        return (
            instruments_visible_to(user)
            .select_related("area", "current")
            .prefetch_related(Prefetch("versions", versions.annotate(filled=Count("submissions"))))
        )

    @admin.display(description=gettext_lazy("当前版本"))
    def standing(self, row: Instrument) -> SafeString:
        return self._shown(row).badge

    def _shown(self, row: Instrument) -> Shown:
        draft = any(version.published_at is None for version in row.versions.all())
        if row.current is None:
            return Shown(GREY, _("草稿，未发布"))
        if draft:
            return Shown(BLUE, _("%(version)s，另有草稿") % {"version": row.current.version})
        return Shown(GREEN, row.current.version)

    def may_add(self, request: HttpRequest) -> bool:
        return standing_of(request).is_office

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
            draft = upload_xlsform(
                by=person(request),
                content=values["file"].read(),
                attachments={file.name: file.read() for file in values["attachments"]},
                open=values["open"],
            )
            messages.success(request, _("草稿已保存。请核对题目后发布。"))
            return self.page_of(draft.instrument)

        return self.form_page(
            request,
            XLSFormUpload,
            do,
            title=_("上传督导工具（XLSForm）"),
            submit=_("检查并保存为草稿"),
            intro=_("同一表单编号再次上传即替换草稿；已发布的版本不会改变。"),
        )

    def facts(self, request: HttpRequest, row: Instrument) -> Sequence[tuple[Text, Any]]:
        return [
            (_("表单编号"), row.form_id),
            (_("当前版本"), self.standing(row)),
            (_("所属行政区"), page_link(row.area)),
            (_("可随时填报"), _("是") if row.open else _("否")),
            (_("共享图遮挡人脸"), _("是") if row.blur_faces else _("否")),
        ]

    def deeds(self, request: HttpRequest, row: Instrument) -> Mapping[str, Deed]:
        if not instruments_managed_by(person(request)).filter(pk=row.pk).exists():
            return {}
        deeds = {}
        if any(version.published_at is None for version in row.versions.all()):
            hint = _("发布后此版本不再改变，手机更新表单后即使用新版本。")
            deeds["publish"] = Deed(
                label=_("发布草稿"), do=self._publish, tone="primary", hint=hint
            )
        label = _("不再遮挡人脸") if row.blur_faces else _("共享图遮挡人脸")
        hint = _("只影响以后生成的共享图；原图不变。")
        deeds["blur"] = Deed(label=label, do=self._blur, hint=hint)
        return deeds

    def _publish(self, request: HttpRequest, row: Instrument) -> Text:
        version = publish_instrument(by=person(request), form_id=row.form_id)
        return _("已发布版本 %(version)s。") % {"version": version.version}

    def _blur(self, request: HttpRequest, row: Instrument) -> Text:
        blur = not row.blur_faces
        set_blur_faces(by=person(request), form_id=row.form_id, blur=blur)
        return _("以后的共享图将遮挡人脸。") if blur else _("以后的共享图不再遮挡人脸。")

    def page_tools(self, request: HttpRequest, row: Instrument) -> Sequence[Tool]:
        if not self.may_add(request):
            return ()
        return [Tool(_("上传新草稿"), self.link("add"), "upload")]

    def page_context(self, request: HttpRequest, row: Instrument) -> dict[str, Any]:
        versions = list(row.versions.all())
        wanted = request.GET.get("version", "")
        read = next((each for each in versions if str(each.pk) == wanted), None)
        read = read or next(iter(versions), None)
        language = "en" if (get_language() or "").startswith("en") else "zh"
        form = form_from_json(read.form) if read else None
        return {
            "versions": versions,
            "read": read,
            "questions": list(questions(form.fields, language)) if form else [],
        }

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {
            "xlsform": ("versions/<uuid:version_id>/form.xlsx", self.xlsform_view),
            "xform": ("versions/<uuid:version_id>/form.xml", self.xform_view),
        }

    def xlsform_view(self, request: HttpRequest, version_id: UUID) -> HttpResponse:
        version = self._version(request, version_id)
        name = f"{version.instrument.form_id}-{version.version or 'draft'}"
        return attachment(bytes(version.xlsform), f"{name}.xlsx", XLSX)

    def xform_view(self, request: HttpRequest, version_id: UUID) -> HttpResponse:
        version = self._version(request, version_id)
        name = f"{version.instrument.form_id}-{version.version or 'draft'}"
        return attachment(version.xform.encode(), f"{name}.xml", "text/xml; charset=utf-8")

    def _version(self, request: HttpRequest, version_id: UUID) -> InstrumentVersion:
        rows = InstrumentVersion.objects.select_related("instrument").filter(
            instrument__in=instruments_visible_to(person(request)).values("pk")
        )
        version = rows.filter(pk=version_id).first()
        if version is None:
            raise Http404
        return version
