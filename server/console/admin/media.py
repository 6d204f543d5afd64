"""Photos and other evidence, with what is known about each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.models import MediaObject
from media_storage.services import readable_url
from server.console.admin.base import Deed, ScopedAdmin
from server.console.admin.dead import DeadWork, facts_of_work, retry_deed
from server.console.filters import Period
from server.console.position import FAR_M, Point, distance_m
from server.console.states import AMBER, RED, Shown, badge
from server.core.errors import Text
from server.findings.queries import media_visible_to
from server.grid.models import User

State = MediaObject.State


@dataclass(frozen=True)
class Photo:
    """A file as a square of the grid: its pictures, time, place and what is to be noted."""

    media: MediaObject
    caption: str
    small: str
    large: str
    original: str
    is_picture: bool
    taken_at: datetime | None
    place: str
    flags: Sequence[Shown]


def photo_of(
    media: MediaObject, *, base_url: str, caption: str = "", school: Point | None = None
) -> Photo:
    """The square of one file. Wants its renditions prefetched; asks the database nothing."""
    renditions = {each.name: each for each in media.renditions.all()}
    small, large = renditions.get("small"), renditions.get("large")
    original = ""
    if media.state in (State.STORED, State.PROCESSING, State.READY):
        original = readable_url(media, base_url=base_url)
    return Photo(
        media=media,
        caption=caption or media.filename,
        small=readable_url(small, base_url=base_url) if small else "",
        large=readable_url(large, base_url=base_url) if large else original,
        original=original,
        is_picture=small is not None,
        taken_at=media.taken_at,
        place=_place(media, school),
        flags=list(_flags(media, school)),
    )


def position(media: MediaObject) -> Point | None:
    """Where the phone says that it was taken."""
    if media.latitude is None or media.longitude is None:
        return None
    return media.latitude, media.longitude


def _place(media: MediaObject, school: Point | None) -> str:
    place = position(media)
    if place is None:
        return _("没有位置")
    if school is None:
        return f"{place[0]:.5f}, {place[1]:.5f}"
    return _("距学校 %(metres)s 米") % {"metres": round(distance_m(school, place))}


def _flags(media: MediaObject, school: Point | None) -> list[Shown]:
    flags = []
    place = position(media)
    if media.state == State.REJECTED:
        flags.append(Shown(RED, media.reject_reason))
    elif not media.is_uploaded:
        flags.append(Shown(AMBER, _("尚未上传")))
    if media.lost_at:
        flags.append(Shown(RED, _("文件缺失")))
    if place and school and distance_m(school, place) - (media.accuracy_m or 0) > FAR_M:
        flags.append(Shown(AMBER, _("拍摄地点离学校较远")))
    if media.note:
        flags.append(Shown("grey", media.note))
    return flags


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
class MediaAdmin(ScopedAdmin):
    list_display = ["filename", "standing", "content_type", "bytes", "owner", "taken_at"]
    list_filter = ["state", LostFile, DeadWork, Period]
    search_fields = ["filename", "owner__name"]
    ordering = ["-created_at"]
    page_template = "console/media.html"

    def visible_to(self, user: User) -> QuerySet[MediaObject]:
        return media_visible_to(user).select_related("owner")

    def page_rows(self, user: User) -> QuerySet[MediaObject]:
        return self.visible_to(user).prefetch_related("renditions")

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: MediaObject) -> SafeString:
        return badge(State(row.state))

    @admin.display(description=gettext_lazy("大小"), ordering="size")
    def bytes(self, row: MediaObject) -> str:
        return filesizeformat(row.size)

    def facts(self, request: HttpRequest, row: MediaObject) -> Sequence[tuple[Text, Any]]:
        return [
            (_("状态"), self.standing(row)),
            (_("拒绝原因"), row.reject_reason or "—"),
            (_("上传人"), row.owner or "—"),
            (_("类型"), row.content_type),
            (_("大小"), self.bytes(row)),
            (_("像素"), f"{row.width} × {row.height}" if row.width else "—"),
            (_("拍摄时间（手机）"), row.taken_at or "—"),
            (_("登记时间"), row.created_at),
            *([(_("发现文件缺失"), row.lost_at)] if row.lost_at else []),
            ("SHA-256", row.sha256),
            *facts_of_work(row),
        ]

    def deeds(self, request: HttpRequest, row: MediaObject) -> Mapping[str, Deed]:
        return retry_deed(row, "media")

    def page_context(self, request: HttpRequest, row: MediaObject) -> dict[str, Any]:
        return {"photo": photo_of(row, base_url=request.build_absolute_uri("/"))}
