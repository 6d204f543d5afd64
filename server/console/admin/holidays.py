"""Holidays and the weekend days that are worked for them: the table behind working days."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person, standing_of
from server.console.admin.base import Deed, Tool, sentence
from server.console.admin.workbooks import WorkbookAdmin
from server.console.forms import ConsoleForm, DayInput
from server.console.states import BLUE, GREY, Shown
from server.core.errors import DuxueError, Text
from server.grid.holidays import add_shipped, remove_holiday, save_holiday
from server.grid.models import Holiday, User
from server.grid.workbooks.holidays import export_holidays, holidays_template, import_holidays
from server.grid.workdays import years_without_holidays


class HolidayForm(ConsoleForm):
    """One day that is no ordinary one."""

    day = forms.DateField(label=gettext_lazy("日期"), widget=DayInput)
    name = forms.CharField(label=gettext_lazy("名称"), max_length=40)
    is_workday = forms.BooleanField(
        label=gettext_lazy("调休上班"),
        required=False,
        help_text=gettext_lazy("不选即放假"),
    )


@admin.register(Holiday)
class HolidayAdmin(WorkbookAdmin):
    list_display = ["day", "name", "kind"]
    list_filter = ["is_workday"]
    search_fields = ["name"]
    ordering = ["-day"]
    date_hierarchy = "day"
    filename = "holidays"
    importer = staticmethod(import_holidays)
    exporter = staticmethod(export_holidays)
    template = staticmethod(holidays_template)

    def visible_to(self, user: User) -> QuerySet[Holiday]:
        return Holiday.objects.all()

    @admin.display(description=gettext_lazy("放假或上班"), ordering="is_workday")
    def kind(self, row: Holiday) -> SafeString:
        return Shown(BLUE, _("上班")).badge if row.is_workday else Shown(GREY, _("放假")).badge

    def may_add(self, request: HttpRequest) -> bool:
        return standing_of(request).is_office

    def list_tools(self, request: HttpRequest) -> Sequence[Tool]:
        if not self.may_add(request):
            return []
        shipped = Tool(_("补入系统自带的安排"), self.link("shipped"), "library_add")
        return [*super().list_tools(request), shipped]

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {
            **super().pages(),
            "shipped": ("shipped/", self.shipped_view),
            "edit": ("<uuid:object_id>/edit/", self.edit_view),
        }

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        for year in years_without_holidays() if request.method == "GET" else ():
            text = _(
                "%(year)s 年还没有节假日安排，期限和催办只按周末计算。请在国务院办公厅公布后录入或导入。"
            )
            messages.warning(request, text % {"year": year})
        return super().changelist_view(request, extra_context)

    def shipped_view(self, request: HttpRequest) -> HttpResponse:
        """Ask, then add what this release knows."""

        def do(form: ConsoleForm) -> str:
            count = add_shipped(by=person(request))
            messages.success(request, _("已补入 %(n)s 天。") % {"n": count})
            return reverse(f"admin:{self._name}_changelist")

        return self.form_page(
            request,
            ConsoleForm,
            do,
            title=_("补入系统自带的安排"),
            submit=_("补入"),
            intro=_("补入本版本自带的国务院办公厅节假日安排中还没有的日子；已有的不改动。"),
        )

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self._form(request, None)

    def edit_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        return self._form(request, self.row(request, object_id))

    def _form(self, request: HttpRequest, row: Holiday | None) -> HttpResponse:
        if not self.may_add(request):
            raise Http404

        def do(form: ConsoleForm) -> str:
            saved = save_holiday(
                by=person(request), holiday_id=row.pk if row else None, **form.cleaned_data
            )
            messages.success(request, _("已保存“%(name)s”。") % {"name": saved})
            return reverse(f"admin:{self._name}_changelist")

        names = ("day", "name", "is_workday")
        return self.form_page(
            request,
            HolidayForm,
            do,
            title=str(row) if row else _("新增节假日"),
            submit=_("保存"),
            initial={name: getattr(row, name) for name in names} if row else {},
        )

    def facts(self, request: HttpRequest, row: Holiday) -> Sequence[tuple[Text, Any]]:
        return [
            (_("日期"), row.day),
            (_("名称"), row.name),
            (_("放假或上班"), self.kind(row)),
        ]

    def page_tools(self, request: HttpRequest, row: Holiday) -> Sequence[Tool]:
        return [Tool(_("修改"), self.link("edit", row.pk), "edit")] if self.may_add(request) else []

    def deeds(self, request: HttpRequest, row: Holiday) -> Mapping[str, Deed]:
        if not self.may_add(request):
            return {}
        ask = _("删除 %(day)s：这一天恢复为平常的日子") % {"day": row}
        return {
            "remove": Deed(label=_("删除"), do=self._remove, tone="danger", confirm=ask),
        }

    def _remove(self, request: HttpRequest, row: Holiday) -> HttpResponseBase:
        try:
            remove_holiday(by=person(request), holiday_id=row.pk)
            messages.success(request, _("已删除。"))
        except DuxueError as error:
            messages.error(request, sentence(error))
        return redirect(f"admin:{self._name}_changelist")
