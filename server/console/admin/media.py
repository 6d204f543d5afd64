"""Photos and other evidence, with what is known about each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.models import Facts, MediaObject
from media_storage.services import readable_url
from server.console.access import person
from server.console.admin.base import Deed, Tool
from server.console.admin.dead import DeadWork, facts_of_work, retry_deed
from server.console.admin.flags import Flagged, apart, explain_deeds, recheck_deed
from server.console.admin.sharing import SharingPages
from server.console.filters import Period
from server.console.states import AMBER, RED, Shown, badge
from server.core.errors import Text
from server.evidence.models import Flag, PhotoCheck
from server.evidence.queries import SHOWN, every_flag_shown_to
from server.evidence.sentences import metres, span
from server.findings.queries import media_visible_to
from server.grid.coordinates import Point, distance_m
from server.grid.models import User
from server.sharing.showing import (
    may_open_original,
    pictures_for_reader,
    state_for_reader,
    with_rights,
)

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
    notes: Sequence[Shown]
    flags: Sequence[Flag]


def photo_of(
    media: MediaObject,
    *,
    base_url: str,
    caption: str = "",
    school: Point | None = None,
    flags: Sequence[Flag] = (),
) -> Photo:
    """The square of one file. Wants its renditions and the reader's right (`with_rights`, `note_rights`);
    asks the database nothing.

    `flags`: those of the place that is shown, see `flags_at`.
    """
    pictures = {each.name: each.rendition for each in pictures_for_reader(media)}
    small, large = pictures.get("small"), pictures.get("large") or pictures.get("shared")
    original = ""
    readable = media.state in (State.STORED, State.PROCESSING, State.READY)
    if readable and may_open_original(media):
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
        notes=list(_notes(media)),
        flags=flags,
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


def _notes(media: MediaObject) -> Iterator[Shown]:
    if media.state == State.REJECTED:
        yield Shown(RED, media.reject_reason)
    elif media.state == State.DECLARED:
        yield Shown(AMBER, _("尚未上传"))
    elif state_for_reader(media) != media.state:
        yield Shown("grey", _("共享图正在生成"))
    if media.note:
        yield Shown("grey", media.note)


class DeadPhoto(DeadWork):
    """Files whose processing or whose check was given up."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        dead = Q(work_dead_at__isnull=False) | Q(photo_check__work_dead_at__isnull=False)
        return queryset.filter(dead) if self.value() else queryset


@admin.register(MediaObject)
class MediaAdmin(SharingPages):
    list_display = ["filename", "standing", "content_type", "bytes", "owner", "taken_at"]
    list_filter = ["state", Flagged, DeadPhoto, Period]
    search_fields = ["filename", "owner__name", "sha256"]
    ordering = ["-created_at"]
    page_template = "console/media.html"

    def visible_to(self, user: User) -> QuerySet[MediaObject]:
        return media_visible_to(user).select_related("owner")

    def page_rows(self, user: User) -> QuerySet[MediaObject]:
        rows = with_rights(self.visible_to(user), user)
        rows = rows.select_related("facts", "photo_check").defer("facts__exif")
        flags = Prefetch("flags", every_flag_shown_to(user), to_attr=SHOWN)
        return rows.prefetch_related(flags)

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
            *facts_of_time(row),
            *facts_of_place(row),
            (_("来源"), row.get_origin_display()),
            ("SHA-256", row.sha256),
            *facts_of_work(row),
        ]

    def deeds(self, request: HttpRequest, row: MediaObject) -> Mapping[str, Deed]:
        flags: list[Flag] = getattr(row, SHOWN)
        check: PhotoCheck | None = getattr(row, "photo_check", None)
        explains = explain_deeds(flags, person(request))
        deeds = {**retry_deed(row, "media"), **recheck_deed(check), **self.sharing_deeds(row)}
        return {**deeds, **explains}

    def page_tools(self, request: HttpRequest, row: MediaObject) -> Sequence[Tool]:
        return self.sharing_tools(row)

    def page_context(self, request: HttpRequest, row: MediaObject) -> dict[str, Any]:
        flags: list[Flag] = getattr(row, SHOWN)
        return {
            "photo": photo_of(row, base_url=request.build_absolute_uri("/")),
            "flags": sorted(flags, key=lambda flag: flag.cleared_at is not None),
            **apart(self.deeds(request, row)),
        }

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return self.sharing_pages()


def facts_of_time(media: MediaObject) -> list[tuple[Text, Any]]:
    """All the times of a file, beside each other."""
    facts: Facts | None = getattr(media, "facts", None)
    check: PhotoCheck | None = getattr(media, "photo_check", None)
    told: list[tuple[Text, Any]] = [(_("拍摄时间（手机）"), media.taken_at or "—")]
    if check and check.clock_offset_ms is not None:
        ahead = check.clock_offset_ms >= 0
        words = _("快 %(span)s") if ahead else _("慢 %(span)s")
        told.append((_("手机时钟比服务器"), words % {"span": span(check.clock_offset_ms / 1000)}))
    told.append((_("拍摄时间（EXIF）"), (facts.exif_at if facts else None) or "—"))
    if check and check.moment:
        told.append((_("最可能的拍摄时间"), check.moment))
    return [*told, (_("登记时间"), media.created_at), (_("收到时间"), media.stored_at or "—")]


def facts_of_place(media: MediaObject) -> list[tuple[Text, Any]]:
    """Where the phone and EXIF say that a photo was taken."""
    facts: Facts | None = getattr(media, "facts", None)
    return [
        (_("位置（手机）"), _position_words(media)),
        (_("位置（EXIF）"), _position_words(facts) if facts else "—"),
    ]


def _position_words(row: MediaObject | Facts) -> str:
    if row.latitude is None or row.longitude is None:
        return "—"
    exact = "" if row.accuracy_m is None else f" ±{metres(row.accuracy_m)}"
    return f"{row.latitude:.5f}, {row.longitude:.5f}{exact}"
