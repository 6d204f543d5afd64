"""Which pictures of a file somebody gets: with the right to the original all, without it shared copies.

Whoever may not open the original is never given anything that was made without hiding faces: neither
the small nor the large rendition, and nothing while the shared copy is still to be made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from media_storage.models import MediaObject, Rendition
from server.care.queries import originals_open_to
from server.grid.models import User

State, Name = MediaObject.State, Rendition.Name

_WITH_THE_RIGHT = {Name.SMALL: "small", Name.LARGE: "large", Name.SHARED: "shared"}
_WITHOUT = {Name.SHARED_SMALL: "small", Name.SHARED: "shared"}


@dataclass(frozen=True)
class Shown:
    """A picture as it is named to the reader."""

    name: str
    rendition: Rendition

    @property
    def width(self) -> int:
        return self.rendition.width

    @property
    def height(self) -> int:
        return self.rendition.height

    @property
    def content_type(self) -> str:
        return self.rendition.content_type


def with_rights(rows: QuerySet[MediaObject], user: User) -> QuerySet[MediaObject]:
    """Files with what the functions below ask for: their renditions, and whether the person may open
    the original (`original_open`)."""
    return (
        rows.select_related("shared_copy")
        .prefetch_related("renditions__media")
        .annotate(original_open=original_open_to(user))
    )


def original_open_to(user: User) -> Exists:
    """For rows of files: whether the person may open the original."""
    return Exists(originals_open_to(user).filter(pk=OuterRef("pk")))


def note_rights(files: Iterable[MediaObject], user: User) -> None:
    """The same right for files that were read otherwise, with their renditions: one query."""
    files = list(files)
    if files:
        ids = {media.pk for media in files}
        allowed = originals_open_to(user).filter(pk__in=ids)
        known = set(allowed.values_list("pk", flat=True))
        for media in files:
            media.original_open = media.pk in known  # type: ignore[attr-defined]


def may_open_original(media: MediaObject) -> bool:
    """For a file of `with_rights`."""
    return bool(getattr(media, "original_open", False))


def pictures_for_reader(media: MediaObject) -> Sequence[Shown]:
    """The pictures that the reader gets, the smallest first. For a file of `with_rights`."""
    names = _WITH_THE_RIGHT if may_open_original(media) else _WITHOUT
    by_name = {each.name: each for each in media.renditions.all()}
    return [Shown(shown, by_name[name]) for name, shown in names.items() if name in by_name]


def state_for_reader(media: MediaObject) -> str:
    """The file's state; `processing` while the reader's copy is to be made. For a file of
    `with_rights`."""
    waits = media.state == State.READY and not may_open_original(media)
    return State.PROCESSING.value if waits and _copy_is_to_come(media) else media.state


def _copy_is_to_come(media: MediaObject) -> bool:
    names = {each.name for each in media.renditions.all()}
    if Name.LARGE not in names or Name.SHARED in names:
        return False
    copy: Any = getattr(media, "shared_copy", None)
    return copy is None or not copy.failed_code
