"""The sweeper of checks: goes round all photos and visits, and has checked what no longer fits.

Marks are written with the facts that they follow, so nothing should be left for it but rows from
before there were checks, restored ones, and those that a path of the code forgot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.evidence.checking import seen_of_photo, seen_of_visit
from server.evidence.marking import mark_photos, mark_visits
from server.evidence.models import Round
from server.evidence.uses import uses_of

PHOTOS_A_TURN = 1000
VISITS_A_TURN = 200


def sweep() -> int:
    """One turn: some photos and some visits, on from where the last turn ended. Returns how many of
    them are to be checked."""
    return sum(_turn(table)[0] for table in _tables())


def sweep_whole() -> int:
    """One whole round from the beginning. Returns how many are to be checked."""
    Round.objects.all().delete()
    count = 0
    for table in _tables():
        more = True
        while more:
            found, more = _turn(table)
            count += found
    return count


@dataclass(frozen=True)
class _Table:
    name: str
    rows: QuerySet[Any]
    a_turn: int
    left: Callable[[Sequence[Any]], list[UUID]]
    mark: Callable[[list[UUID]], None]


def _tables() -> tuple[_Table, _Table]:
    ready = MediaObject.objects.filter(state=MediaObject.State.READY)
    photos = ready.select_related("facts", "photo_check").defer("facts__exif")
    visited = Visit.objects.exclude(state=Visit.State.ASSIGNED)
    visits = visited.select_related("school", "visit_check").prefetch_related("actions")
    return (
        _Table("photos", photos, PHOTOS_A_TURN, _left_photos, mark_photos),
        _Table("visits", visits, VISITS_A_TURN, _left_visits, mark_visits),
    )


def _turn(table: _Table) -> tuple[int, bool]:
    """How many were left unchecked, and whether the table goes on."""
    round_, _new = Round.objects.get_or_create(name=table.name)
    rows = table.rows.order_by("pk")
    page = list((rows.filter(pk__gt=round_.after) if round_.after else rows)[: table.a_turn])
    found = table.left(page)
    table.mark(found)
    more = len(page) == table.a_turn
    Round.objects.filter(name=table.name).update(after=page[-1].pk if more else None)
    return len(found), more


def _left_photos(page: Sequence[MediaObject]) -> list[UUID]:
    uses = uses_of([media.pk for media in page])
    return [
        media.pk
        for media in page
        if _is_left(
            getattr(media, "photo_check", None), seen_of_photo(media, uses.get(media.pk, []))
        )
    ]


def _left_visits(page: Sequence[Visit]) -> list[UUID]:
    return [
        visit.pk
        for visit in page
        if _is_left(
            getattr(visit, "visit_check", None), seen_of_visit(visit, list(visit.actions.all()))
        )
    ]


def _is_left(check: Any, seen: str) -> bool:
    """Not what the last check saw, and nobody is at it; dead ones wait for a person."""
    if check is None:
        return True
    return bool(check.work_due_at is None and check.work_dead_at is None and check.seen != seen)
