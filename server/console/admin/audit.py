"""The audit log: who did what, to which object, when and from where; as a list and as a table to keep."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.activities.models import Activity
from server.care.actions import LOG_EXPORTED
from server.care.archive import safe_cell
from server.care.queries import audit_visible_to
from server.console.access import person
from server.console.admin.base import CSV, XLSX, ScopedAdmin, Tool, attachment
from server.console.filters import AtSchool, Choices, ConsoleFilter, Period
from server.core.audit import AuditEntry, audit_actions, record_audit
from server.core.errors import Text
from server.grid.models import School, User

MOST = 50_000
"""Rows of one file; what is older is left out, and the file says so."""

OBJECTS: Mapping[str, tuple[Text, str]] = {
    "media": (gettext_lazy("佐证材料"), "admin:media_storage_mediaobject_change"),
    "activity": (gettext_lazy("督导活动"), "admin:activities_activity_change"),
    "visit": (gettext_lazy("入校督导任务"), "admin:activities_visit_change"),
    "school": (gettext_lazy("学校"), "admin:grid_school_change"),
    "user": (gettext_lazy("人员"), "admin:grid_user_change"),
    "export": (gettext_lazy("导出"), "admin:care_export_change"),
    "instrument": (gettext_lazy("督导工具"), "admin:instruments_instrument_change"),
    "rule": (gettext_lazy("催办规则"), "admin:messaging_escalationrule_change"),
    "holiday": (gettext_lazy("节假日"), "admin:grid_holiday_change"),
    "wording": (gettext_lazy("通知模板"), "admin:messaging_eventwording_change"),
    "log": (gettext_lazy("操作日志"), ""),
}
"""Type of object → its word and its page."""

DETAILS: Mapping[str, Text] = {
    "filename": gettext_lazy("文件名"),
    "event": gettext_lazy("事件"),
    "version": gettext_lazy("版本"),
    "title_zh": gettext_lazy("中文标题"),
    "body_zh": gettext_lazy("中文正文"),
    "title_en": gettext_lazy("英文标题"),
    "body_en": gettext_lazy("英文正文"),
    "reason": gettext_lazy("理由"),
    "activity": gettext_lazy("督导活动"),
    "person": gettext_lazy("人员"),
    "place": gettext_lazy("范围"),
    "target": gettext_lazy("对象"),
    "until": gettext_lazy("至"),
    "ends": gettext_lazy("结束日期"),
    "files": gettext_lazy("文件数"),
    "kept": gettext_lazy("停止删除"),
    "rule": gettext_lazy("删除依据"),
    "certificate": gettext_lazy("删除证明"),
    "variant": gettext_lazy("内容"),
    "sha256": "SHA-256",
}


class OfAction(ConsoleFilter):
    title = gettext_lazy("操作")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(action.code, action.words) for action in audit_actions().values()]

    def condition(self, value: str) -> Q:
        return Q(action=value)


class _Named(ConsoleFilter):
    """Something that a link names by its id: too many to choose from a list."""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        value = request.GET.get(str(self.parameter_name), "")
        try:
            return [(str(UUID(value)), self.words_of(UUID(value)))]
        except ValueError:
            return []

    def words_of(self, key: UUID) -> str:
        raise NotImplementedError


class OfObject(_Named):
    title = gettext_lazy("对象")
    parameter_name = "object"

    def words_of(self, key: UUID) -> str:
        return _("所选对象")

    def condition(self, value: str) -> Q:
        # The type is part of the index that finds an object's entries.
        return Q(object_type__in=list(OBJECTS), object_id=value)


class OfPerson(_Named):
    title = gettext_lazy("操作人")
    parameter_name = "person"

    def words_of(self, key: UUID) -> str:
        return str(User.objects.filter(pk=key).first() or _("所选人员"))

    def condition(self, value: str) -> Q:
        return Q(by=value)


class OfActivity(_Named):
    title = gettext_lazy("督导活动")
    parameter_name = "activity"

    def words_of(self, key: UUID) -> str:
        return str(Activity.objects.filter(pk=key).first() or _("所选活动"))

    def condition(self, value: str) -> Q:
        return Q(activity_id=value)


class OfSchool(AtSchool):
    path = "school_id"


class LogPeriod(Period):
    path = "at__date"


@admin.register(AuditEntry)
class AuditAdmin(ScopedAdmin):
    list_display = ["moment", "who", "deed", "thing", "place", "more"]
    list_filter = [OfAction, LogPeriod, OfObject, OfPerson, OfSchool, OfActivity]
    search_fields = ["by_name", "request_id"]
    ordering = ["-at", "-id"]

    def visible_to(self, user: User) -> QuerySet[AuditEntry]:
        schools = School.objects.filter(pk=OuterRef("school_id")).values("name")
        activities = Activity.objects.filter(pk=OuterRef("activity_id")).values("title")
        return audit_visible_to(user).annotate(
            school_name=Subquery(schools[:1]), activity_title=Subquery(activities[:1])
        )

    def row(self, request: HttpRequest, object_id: str | UUID) -> Any:
        """Entries are numbered, not named by UUIDs."""
        rows = self.page_rows(person(request))
        found = rows.filter(pk=int(object_id)).first() if str(object_id).isdecimal() else None
        if found is None:
            raise Http404
        return found

    @admin.display(description=gettext_lazy("时间"), ordering="at")
    def moment(self, row: AuditEntry) -> SafeString:
        address = reverse("admin:core_auditentry_change", args=[row.pk])
        return format_html(
            '<a class="dx-link dx-nowrap" href="{}">{}</a>',
            address,
            f"{localtime(row.at):%Y-%m-%d %H:%M:%S}",
        )

    @admin.display(description=gettext_lazy("操作人"), ordering="by_name")
    def who(self, row: AuditEntry) -> str:
        return row.by_name or _("系统")

    @admin.display(description=gettext_lazy("操作"), ordering="action")
    def deed(self, row: AuditEntry) -> str:
        return str(row.words)

    @admin.display(description=gettext_lazy("对象"))
    def thing(self, row: AuditEntry) -> SafeString | str:
        words, page = OBJECTS.get(row.object_type, (row.object_type, ""))
        named = (row.details.get(each) for each in ("filename", "target", "person", "activity"))
        name = str(next((each for each in named if each), words))
        try:
            address = reverse(page, args=[row.object_id]) if page and row.object_id else ""
        except NoReverseMatch:
            address = ""
        return (
            format_html('<a class="dx-link" href="{}">{}</a>', address, name) if address else name
        )

    @admin.display(description=gettext_lazy("学校或活动"))
    def place(self, row: Any) -> str:
        return row.school_name or row.activity_title or "—"

    @admin.display(description=gettext_lazy("理由"))
    def more(self, row: AuditEntry) -> str:
        return str(row.details.get("reason") or "—")

    def facts(self, request: HttpRequest, row: Any) -> Sequence[tuple[Text, Any]]:
        told = [(DETAILS[name], value) for name, value in row.details.items() if name in DETAILS]
        return [
            (_("时间"), f"{localtime(row.at):%Y-%m-%d %H:%M:%S}"),
            (_("操作人"), self.who(row)),
            (_("操作"), self.deed(row)),
            (_("对象"), self.thing(row)),
            (_("学校"), row.school_name or "—"),
            (_("督导活动"), row.activity_title or "—"),
            *((words, value) for words, value in told if value not in ("", None)),
            (_("设备"), row.device_id or "—"),
            (_("会话"), row.session or "—"),
            (_("请求编号"), row.request_id or "—"),
            *([(_("IP 地址"), row.ip)] if row.ip else []),
        ]

    def page_context(self, request: HttpRequest, row: AuditEntry) -> dict[str, Any]:
        return {"title": f"{self.deed(row)} · {localtime(row.at):%Y-%m-%d %H:%M}"}

    def page_tools(self, request: HttpRequest, row: AuditEntry) -> Sequence[Tool]:
        here = reverse("admin:core_auditentry_changelist")
        tools = []
        if row.object_id:
            tools.append(Tool(_("此对象的全部记录"), f"{here}?object={row.object_id}", "history"))
        if row.by_id:
            tools.append(Tool(_("此人的全部记录"), f"{here}?person={row.by_id}", "person"))
        return tools

    # ---- as a file -----------------------------------------------------------------------------

    def list_tools(self, request: HttpRequest) -> Sequence[Tool]:
        asked = f"?{request.GET.urlencode()}" if request.GET else ""
        return [
            Tool(_("导出 Excel"), self.link("xlsx") + asked, "table_view"),
            Tool(_("导出 CSV"), self.link("csv") + asked, "csv"),
        ]

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"csv": ("log.csv", self.csv_view), "xlsx": ("log.xlsx", self.xlsx_view)}

    COLUMNS: ClassVar[Sequence[Text]] = (
        gettext_lazy("时间"),
        gettext_lazy("操作人"),
        gettext_lazy("操作"),
        gettext_lazy("对象类型"),
        gettext_lazy("对象"),
        gettext_lazy("学校"),
        gettext_lazy("督导活动"),
        gettext_lazy("详情"),
        gettext_lazy("设备"),
        gettext_lazy("会话"),
        gettext_lazy("请求编号"),
        gettext_lazy("IP 地址"),
    )

    def csv_view(self, request: HttpRequest) -> HttpResponse:
        """What the list shows now, filtered as it is, for any program."""
        text = io.StringIO()
        csv.writer(text).writerows(self._table(request))
        content = b"\xef\xbb\xbf" + text.getvalue().encode()
        return attachment(content, "audit-log.csv", CSV)

    def xlsx_view(self, request: HttpRequest) -> HttpResponse:
        """The same for Excel."""
        from openpyxl import Workbook

        book = Workbook(write_only=True)
        sheet = book.create_sheet(_("操作日志"))
        for row in self._table(request):
            sheet.append(row)
        content = io.BytesIO()
        book.save(content)
        return attachment(content.getvalue(), "audit-log.xlsx", XLSX)

    def _table(self, request: HttpRequest) -> Iterator[list[str]]:
        rows = self.get_changelist_instance(request).get_queryset(request)
        record_audit(
            LOG_EXPORTED,
            by=person(request),
            subject=("log", None),
            details={"filter": request.GET.urlencode()[:500]},
        )
        yield [str(each) for each in self.COLUMNS]
        left = MOST
        for row in rows[:MOST].iterator(chunk_size=2000):
            left -= 1
            yield [safe_cell(value) for value in self._line(row)]
        if not left:
            yield [_("只含最近 %(n)s 条，请缩小时间范围后再导出。") % {"n": MOST}]

    def _line(self, row: Any) -> Iterator[str]:
        words, _page = OBJECTS.get(row.object_type, (row.object_type, ""))
        yield f"{localtime(row.at):%Y-%m-%d %H:%M:%S}"
        yield from (self.who(row), self.deed(row), str(words), str(row.object_id or ""))
        yield from (row.school_name or "", row.activity_title or "")
        yield "；".join(f"{DETAILS.get(key, key)}：{value}" for key, value in row.details.items())
        yield from (str(row.device_id or ""), row.session, row.request_id, row.ip or "")
