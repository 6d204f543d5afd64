"""Photos and other evidence: the gallery, the list, and a page for each file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.models import MediaObject
from server.console.access import person
from server.console.admin.base import Deed, Tool
from server.console.admin.dead import DeadWork, facts_of_work, retry_deed
from server.console.admin.flags import Flagged, apart, explain_deeds, recheck_deed
from server.console.admin.sharing import SharingPages
from server.console.care import (
    delete_deed,
    deletion_facts,
    held_fact,
    hold_deed,
    log_tool,
    original_deed,
)
from server.console.filters import AtSchool, InActivity, Period
from server.console.gallery.page import gallery_of
from server.console.gallery.selection import Selection
from server.console.gallery.side import side_of
from server.console.photos import shown_to
from server.console.states import badge
from server.conversations.queries import media_visible_to
from server.core.errors import Text
from server.evidence.models import Flag, PhotoCheck
from server.evidence.queries import SHOWN, every_flag_shown_to
from server.grid.models import User

State = MediaObject.State


class DeadPhoto(DeadWork):
    """Files whose processing or whose check was given up."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        dead = Q(work_dead_at__isnull=False) | Q(photo_check__work_dead_at__isnull=False)
        return queryset.filter(dead) if self.value() else queryset


class CountedIn(InActivity):
    """As the figures of storage use count it: by the use that came first."""

    path = "counted__activity"


class CountedAt(AtSchool):
    path = "counted__school"


class LostFile(admin.SimpleListFilter):
    """Records whose file the store has no more."""

    title = gettext_lazy("文件")
    parameter_name = "lost"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> Iterable[tuple[str, Any]]:
        return [("yes", gettext_lazy("文件缺失"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(lost_at__isnull=False) if self.value() else queryset


@admin.register(MediaObject)
class MediaAdmin(SharingPages):
    list_display = ["filename", "standing", "content_type", "bytes", "owner", "taken_at"]
    list_filter = ["state", CountedIn, CountedAt, Flagged, LostFile, DeadPhoto, Period]
    search_fields = ["filename", "owner__name", "sha256"]
    ordering = ["-created_at"]
    page_template = "console/media.html"

    def visible_to(self, user: User) -> QuerySet[MediaObject]:
        return media_visible_to(user).select_related("owner")

    def page_rows(self, user: User) -> QuerySet[MediaObject]:
        return shown_to(user, media_visible_to(user), flags=every_flag_shown_to(user))

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: MediaObject) -> SafeString:
        return badge(State(row.state))

    @admin.display(description=gettext_lazy("大小"), ordering="size")
    def bytes(self, row: MediaObject) -> str:
        return filesizeformat(row.size)

    def list_tools(self, request: HttpRequest) -> Sequence[Tool]:
        return [Tool(_("看照片"), self.link("gallery"), "photo_library")]

    def facts(self, request: HttpRequest, row: MediaObject) -> Sequence[tuple[Text, Any]]:
        return [
            (_("状态"), self.standing(row)),
            *([(_("发现文件缺失"), row.lost_at)] if row.lost_at else []),
            *held_fact(request, "media", row),
            *deletion_facts(request, row),
            *facts_of_work(row),
        ]

    def deeds(self, request: HttpRequest, row: MediaObject) -> Mapping[str, Deed]:
        flags: list[Flag] = getattr(row, SHOWN)
        explains = explain_deeds(flags, person(request))
        if row.state == State.DELETED:
            return explains
        check: PhotoCheck | None = getattr(row, "photo_check", None)
        return {
            **retry_deed(row, "media"),
            **recheck_deed(check),
            **original_deed(request, row),
            **hold_deed(request, "media"),
            **delete_deed(request, row),
            **self.sharing_deeds(row),
            **explains,
        }

    def page_tools(self, request: HttpRequest, row: MediaObject) -> Sequence[Tool]:
        gallery = Tool(_("全部照片"), self.link("gallery"), "photo_library")
        return [gallery, *self.sharing_tools(row), log_tool(row.pk)]

    def page_context(self, request: HttpRequest, row: MediaObject) -> dict[str, Any]:
        side = side_of(person(request), row)
        return {
            "title": side.photo.caption,
            "side": side,
            "photo": side.photo,
            **apart(self.deeds(request, row)),
        }

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {
            "gallery": ("gallery/", self.gallery_view),
            "side": ("<uuid:object_id>/side/", self.side_view),
            **self.sharing_pages(),
        }

    def gallery_view(self, request: HttpRequest) -> HttpResponse:
        """The files that the address selects, as squares."""
        gallery = gallery_of(person(request), Selection.of(request.GET))
        context = {"title": _("佐证材料"), "gallery": gallery, "is_fullwidth": "1"}
        return self.render(request, "console/gallery.html", context)

    def side_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """What the viewer shows beside a file, to be put into its page."""
        side = side_of(person(request), self.row(request, object_id))
        return render(request, "console/parts/side.html", {"side": side, "photo": side.photo})
