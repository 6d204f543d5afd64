"""Lists that come from Excel and go back to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from server.console.access import person
from server.console.admin.base import XLSX, ScopedAdmin, Tool, attachment
from server.console.forms import ConsoleForm, UploadForm
from server.grid.workbooks import (
    ImportResult,
)

MAX_WORKBOOK_BYTES = 10 * 2**20


class WorkbookAdmin(ScopedAdmin):
    """A list that is filled from Excel and written to it."""

    filename = ""
    importer: Callable[..., ImportResult]
    exporter: Callable[[Any], bytes]
    template: Callable[..., bytes]

    @property
    def import_form(self) -> type[ConsoleForm]:
        """Its fields are the importer's arguments."""
        return WorkbookForm

    def list_tools(self, request: HttpRequest) -> Sequence[Tool]:
        shown = request.GET.urlencode()
        return [
            Tool(_("从 Excel 导入"), self.link("import"), "upload"),
            Tool(_("导出所列"), self.link("export") + (f"?{shown}" if shown else ""), "download"),
            Tool(_("下载模板"), self.link("template"), "draft"),
        ]

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {
            "import": ("import/", self.import_view),
            "export": ("export/", self.export_view),
            "template": ("template/", self.template_view),
        }

    def import_view(self, request: HttpRequest) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            result = type(self).importer(by=person(request), **form.cleaned_data)
            words = {
                "created": result.created,
                "updated": result.updated,
                "unchanged": result.unchanged,
            }
            text = _("新增 %(created)s 条，更新 %(updated)s 条，%(unchanged)s 条没有变化。")
            messages.success(request, text % words)
            return reverse(f"admin:{self._name}_changelist")

        return self.form_page(
            request,
            self.import_form,
            do,
            title=_("从 Excel 导入%(what)s") % {"what": self.opts.verbose_name},
            submit=_("检查并导入"),
            intro=_("先下载模板填写。只要有一处错误，整个文件都不会导入，错误会逐行逐列列出。"),
        )

    def export_view(self, request: HttpRequest) -> HttpResponse:
        shown = self.get_changelist_instance(request).get_queryset(request)
        rows = self.visible_to(person(request)).filter(pk__in=shown.values("pk")).order_by()
        return attachment(type(self).exporter(rows), f"{self.filename}.xlsx", XLSX)

    def template_view(self, request: HttpRequest) -> HttpResponse:
        content = type(self).template(by=person(request))
        return attachment(content, f"{self.filename}-template.xlsx", XLSX)


class WorkbookForm(UploadForm):
    """A workbook of a bounded size."""

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MAX_WORKBOOK_BYTES:
            limit = MAX_WORKBOOK_BYTES // 2**20
            raise forms.ValidationError(
                _("文件不能超过 %(limit)s MB，请分成几个文件导入。") % {"limit": limit}
            )
        return file
