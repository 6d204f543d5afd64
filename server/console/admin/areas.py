"""Areas, read only: the grid's own shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.admin.base import ScopedAdmin, Tool
from server.console.admin.links import page_link
from server.core.errors import Text
from server.grid.models import Area, User
from server.grid.queries import (
    areas_visible_to,
)


@admin.register(Area)
class AreaAdmin(ScopedAdmin):
    list_display = ["name", "level", "code", "parent", "school_count"]
    list_filter = ["level"]
    search_fields = ["name", "code"]

    def visible_to(self, user: User) -> QuerySet[Area]:
        active = Count("schools", filter=Q(schools__is_active=True))
        return areas_visible_to(user).select_related("parent").annotate(school_total=active)

    @admin.display(description=gettext_lazy("直属学校"))
    def school_count(self, row: Area) -> int:
        return int(row.school_total)  # type: ignore[attr-defined]

    def facts(self, request: HttpRequest, row: Area) -> Sequence[tuple[Text, Any]]:
        return [
            (_("级别"), row.get_level_display()),
            (_("行政区划代码"), row.code),
            (_("上级行政区"), page_link(row.parent) if row.parent else "—"),
            (_("直属学校"), self.school_count(row)),
        ]

    def page_tools(self, request: HttpRequest, row: Area) -> Sequence[Tool]:
        schools = reverse("admin:grid_school_changelist")
        return [Tool(_("查看这里的学校"), f"{schools}?town={row.pk}", "school")]
