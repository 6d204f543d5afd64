"""Work that died: its reason on the row's page, a filter for lists, and a button that tries again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.admin.base import Deed
from server.core.errors import Text
from server.core.work import Work, retry_dead, wake


class DeadWork(SimpleListFilter):
    """Rows whose work in the background was given up."""

    title = gettext_lazy("后台处理")
    parameter_name = "work"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[Any]
    ) -> Iterable[tuple[str, Any]]:
        return [("dead", gettext_lazy("处理失败"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(work_dead_at__isnull=False) if self.value() else queryset


def facts_of_work(row: Work) -> list[tuple[Text, Any]]:
    """Why the row's work died; nothing for a row whose work did not."""
    if row.work_dead_at is None:
        return []
    return [(_("处理失败"), row.work_dead_at), (_("失败原因"), row.work_error)]


def retry_deed(row: Work, pump_name: str) -> Mapping[str, Deed]:
    """The button that gives a dead row a new life."""
    if row.work_dead_at is None:
        return {}

    def again(_request: HttpRequest, row: Any) -> Text:
        retry_dead(type(row)._default_manager.filter(pk=row.pk))
        wake(pump_name)
        return _("已重新排队处理。")

    return {"again": Deed(label=_("重新处理"), do=again, tone="primary")}
