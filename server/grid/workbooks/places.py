"""Finding the town or the school that a cell names, among those of the importing office."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Generic, TypeVar

from django.db.models import Count
from django.utils.translation import gettext as _

from server.grid.models import Area, School
from server.grid.queries import under
from server.grid.services import Scope
from server.grid.workbooks.cells import CellError, key, plain

PlaceT = TypeVar("PlaceT", Area, School)


class Directory(Generic[PlaceT]):
    """Places by code and by name, however they are typed."""

    def __init__(self, places: Iterable[PlaceT], *, unknown: str) -> None:
        self._unknown = unknown
        self._by_code: dict[str, PlaceT] = {}
        self._by_name: defaultdict[str, list[PlaceT]] = defaultdict(list)
        for place in places:
            self._by_code[place.code] = place
            self._by_name[key(place.name)].append(place)

    def find(self, word: str) -> PlaceT:
        """The place of this code or name. Raises CellError."""
        named = self._by_name.get(key(word), [])
        if len(named) > 1:
            detail = _("“{word}”有 {count} 个，请改填代码")
            raise CellError("ambiguous", detail.format(word=plain(word), count=len(named)))
        place = self._by_code.get(key(word)) or (named[0] if named else None)
        if place is None:
            raise CellError("unknown_place", self._unknown.format(word=plain(word)[:40]))
        return place


def areas_of(scope: Scope) -> Directory[Area]:
    """The areas in which the office acts, its own included."""
    areas = Area.objects.all()
    if not scope.everywhere:
        areas = areas.filter(under([*scope.office_paths, *scope.group_paths], "path"))
    unknown = _("本单位范围内没有“{word}”，请填写行政区全称或行政区划代码")
    return Directory(areas, unknown=unknown)


def schools_of(scope: Scope) -> Directory[School]:
    """The schools of the office."""
    schools = School.objects.select_related("area")
    if not scope.everywhere:
        schools = schools.filter(under([*scope.office_paths, *scope.group_paths], "area__path"))
    unknown = _("本单位范围内没有学校“{word}”，请填写学校全称或 10 位标识码，或先导入学校")
    return Directory(schools, unknown=unknown)


def shared_names(model: type[Area] | type[School]) -> set[str]:
    """Names that more than one place bears: an export writes their codes instead."""
    names = model.objects.order_by().values("name").annotate(n=Count("pk")).filter(n__gt=1)
    return set(names.values_list("name", flat=True))


def written(place: Area | School, shared: set[str]) -> str:
    """How an export names the place, so that an import finds it again."""
    return place.code if place.name in shared else place.name
