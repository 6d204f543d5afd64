"""A file as a square of a grid: its pictures, what it is called, when and where it was made, its flags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, FilteredRelation, Prefetch, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from media_storage.models import Facts, MediaObject, Rendition
from media_storage.services import readable_url
from server.console.states import GREY, RED, Shown, shown
from server.core.errors import Text
from server.evidence.models import Flag, PhotoCheck
from server.evidence.queries import SHOWN, flags_shown_to
from server.evidence.sentences import metres
from server.grid.coordinates import Point, distance_m
from server.grid.models import User
from server.sharing.showing import may_open_original, original_open_to

State = MediaObject.State

KINDS: dict[str, Text] = {
    "picture": gettext_lazy("照片"),
    "video": gettext_lazy("视频"),
    "audio": gettext_lazy("录音"),
    "pdf": gettext_lazy("PDF 文件"),
    "file": gettext_lazy("其他文件"),
}
ICONS = {
    "picture": "image",
    "video": "movie",
    "audio": "mic",
    "pdf": "picture_as_pdf",
    "file": "draft",
}
STATE_ICONS = {
    State.DECLARED.value: "cloud_upload",
    State.ARRIVED.value: "hourglass_top",
    State.STORED.value: "hourglass_top",
    State.PROCESSING.value: "hourglass_top",
    State.REJECTED.value: "broken_image",
    State.DELETED.value: "delete_forever",
}
_OF_KIND = {
    "picture": Q(content_type__startswith="image/"),
    "video": Q(content_type__startswith="video/"),
    "audio": Q(content_type__startswith="audio/"),
    "pdf": Q(content_type="application/pdf"),
}

_WITH_THE_RIGHT = Rendition.Name.SMALL, Rendition.Name.LARGE
_WITHOUT = Rendition.Name.SHARED_SMALL, Rendition.Name.SHARED
"""Whoever may not open the original never sees what was made without hiding faces."""

MOMENT = Coalesce("photo_check__moment", "taken_at", "facts__exif_at", "created_at")
"""When it was most likely made: as checked, as the phone says, as the file says, else its arrival."""


@dataclass(frozen=True)
class Picture:
    """A rendition where a browser finds it, for some minutes; pixels."""

    url: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A file of any kind as a square. `about` is what the caption says more, such as the school."""

    media: MediaObject
    caption: str
    kind: str
    small: Picture | None
    large: Picture | None
    place: str
    about: str = ""
    notes: Sequence[Shown] = ()
    flags: Sequence[Flag] = ()

    @property
    def icon(self) -> str:
        """What stands in place of a picture."""
        return STATE_ICONS.get(self.media.state) or ICONS[self.kind]

    @property
    def kind_words(self) -> Text:
        return KINDS[self.kind]

    @property
    def at(self) -> datetime | None:
        """When it was made, as far as anybody says so."""
        return moment_of(self.media)

    @property
    def extent(self) -> str:
        """How long or how thick it is: 1:05, 12 pages; empty where that is not known."""
        facts = facts_of(self.media)
        if facts and facts.duration_ms is not None:
            minutes, seconds = divmod(round(facts.duration_ms / 1000), 60)
            return f"{minutes}:{seconds:02}"
        if facts and facts.pages is not None:
            return ngettext("%(n)d 页", "%(n)d 页", facts.pages) % {"n": facts.pages}
        return ""


def shown_to(
    user: User,
    rows: QuerySet[MediaObject] | None = None,
    *,
    flags: QuerySet[Flag] | None = None,
) -> QuerySet[MediaObject]:
    """Rows with all that a square shows; two queries for any number of them.

    No door: give rows that the person may see, or use it to prefetch from those. `flags`: others than
    those that stand.
    """
    rows = MediaObject.objects.all() if rows is None else rows
    # A square has no room for what people said to a flag.
    flags = flags_shown_to(user).prefetch_related(None) if flags is None else flags
    pictures: dict[str, Any] = {
        name: FilteredRelation("renditions", condition=Q(renditions__name=name))
        for name in Rendition.Name.values
    }
    columns = {
        f"{name}_{column}": F(f"{name}__{column}")
        for name in pictures
        for column in ("key", "width", "height")
    }
    return (
        rows.select_related("owner", "facts", "photo_check")
        .defer("facts__exif")
        .annotate(**pictures)
        .annotate(
            **columns,
            original_open=original_open_to(user),
            shared_failed=F("shared_copy__failed_code"),
        )
        .prefetch_related(Prefetch("flags", flags, to_attr=SHOWN))
    )


def photo_of(
    media: MediaObject,
    *,
    caption: str = "",
    school: Point | None = None,
    about: str = "",
    flags: Sequence[Flag] | None = None,
) -> Photo:
    """The square of one file of `shown_to`. Asks the database nothing.

    `flags`: those of the place that is shown (see `flags_at`); without it those of all places.
    """
    flags = getattr(media, SHOWN) if flags is None else flags
    small, large = _WITH_THE_RIGHT if may_open_original(media) else _WITHOUT
    return Photo(
        media=media,
        caption=caption or media.filename,
        kind=kind_of(media.content_type),
        small=_picture(media, small),
        large=_picture(media, large),
        place=_place(media, school),
        about=about,
        notes=list(_notes(media)),
        flags=_once_each(flags or ()),
    )


def _once_each(flags: Sequence[Flag]) -> list[Flag]:
    """Those that stand, each code once: the same photo may be flagged in several places."""
    standing = (flag for flag in flags if flag.cleared_at is None)
    return list({flag.code: flag for flag in standing}.values())


def kind_of(content_type: str) -> str:
    """One of KINDS."""
    if content_type == "application/pdf":
        return "pdf"
    families = {"image": "picture", "video": "video", "audio": "audio"}
    return families.get(content_type.partition("/")[0], "file")


def of_kind(kind: str) -> Q:
    """The rows of one of KINDS."""
    if kind in _OF_KIND:
        return _OF_KIND[kind]
    others = Q()
    for condition in _OF_KIND.values():
        others &= ~condition
    return others


def facts_of(media: MediaObject) -> Facts | None:
    """What the file says of itself, if it has been read."""
    return getattr(media, "facts", None)


def moment_of(media: MediaObject) -> datetime | None:
    """As MOMENT, without the arrival: None where nobody says when it was made."""
    check: PhotoCheck | None = getattr(media, "photo_check", None)
    facts = facts_of(media)
    told = [check.moment if check else None, media.taken_at, facts.exif_at if facts else None]
    return next((moment for moment in told if moment), None)


def position_of(media: MediaObject) -> tuple[Point, float | None] | None:
    """Where it was made and how exactly, as the phone says, else the file itself."""
    for row in (media, facts_of(media)):
        if row and row.latitude is not None and row.longitude is not None:
            return (row.latitude, row.longitude), row.accuracy_m
    return None


def _picture(media: MediaObject, name: Rendition.Name) -> Picture | None:
    key, width, height = (getattr(media, f"{name}_{each}") for each in ("key", "width", "height"))
    if key is None:
        return None
    rendition = Rendition(media=media, name=name, key=key)
    return Picture(readable_url(rendition, base_url=""), width, height)


def _place(media: MediaObject, school: Point | None) -> str:
    place = position_of(media)
    if place is None:
        return _("没有位置")
    if school is None:
        return f"{place[0][0]:.5f}, {place[0][1]:.5f}"
    return _("距学校 %(distance)s") % {"distance": metres(distance_m(school, place[0]))}


def _notes(media: MediaObject) -> Iterator[Shown]:
    """Why there is no picture to see."""
    if media.state == State.REJECTED:
        yield Shown(RED, media.reject_reason)
    elif media.state == State.DELETED:
        yield Shown(GREY, _("已按规定删除"))
    elif media.state != State.READY:
        yield shown(State(media.state))
    elif not may_open_original(media) and _copy_is_to_come(media):
        yield Shown(GREY, _("共享图正在生成"))
    if media.lost_at:
        yield Shown(RED, _("文件缺失"))
    if media.note:
        yield Shown(GREY, media.note)


def _copy_is_to_come(media: MediaObject) -> bool:
    names = ("large_key", "shared_key", "shared_failed")
    plain, made, failed = (getattr(media, name) for name in names)
    return plain is not None and made is None and not failed
