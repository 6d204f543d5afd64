"""Where things were done, drawn around the school: a sketch in metres that needs no map tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import atan2, cos, degrees, floor, hypot, log10, radians

from django.conf import settings

from server.activities.models import Visit
from server.grid.coordinates import EARTH_M, Point, distance_m
from server.grid.models import School

SIZE = 320
EDGE = 28
NEAREST_M = 60
"""The drawing never shows less around the school."""
FARTHEST = 4
"""What lies so many times farther than the check-in would make dots of all else: it stands at the edge."""
TOGETHER = 14
"""Dots nearer than that, in the drawing's units, are one."""


@dataclass(frozen=True)
class Spot:
    """A place to be drawn. `photo` is the id of the file that was made there, for the links."""

    point: Point
    accuracy_m: float | None = None
    photo: str = ""


@dataclass(frozen=True)
class Dot:
    """A place on the drawing, in its units."""

    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Mark(Dot):
    """One or more spots on the drawing. `beyond`: outside of it, in the direction of `turn` degrees."""

    accuracy: float = 0
    distance_m: int | None = None
    photos: tuple[str, ...] = ()
    beyond: bool = False
    turn: float = 0

    @property
    def lights(self) -> str:
        """The photos, for an attribute."""
        return " ".join(self.photos)


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """A square drawing around the school, else around the check-in; lengths in the drawing's units."""

    size: int
    school: Dot | None
    check_ins: Sequence[Mark]
    photos: Sequence[Mark]
    distance_m: int | None
    accuracy_m: int | None
    is_far: bool
    scale_m: int
    scale: float
    rings: Sequence[float]

    @property
    def centre(self) -> Dot:
        return Dot(self.size / 2, self.size / 2)


def offset_m(origin: Point, point: Point) -> Point:
    """Metres east and north of the origin, flat: exact enough for a county."""
    east = radians(point[1] - origin[1]) * EARTH_M * cos(radians(origin[0]))
    return east, radians(point[0] - origin[0]) * EARTH_M


def place_of(item: Visit | School) -> Point | None:
    """The position of a school, or of the check-in of a visit, where there is one."""
    if item.latitude is None or item.longitude is None:
        return None
    return item.latitude, item.longitude


def check_in_of(visit: Visit) -> list[Spot]:
    """Where the team checked in, as what `sketch` takes."""
    place = place_of(visit)
    return [] if place is None else [Spot(place, visit.accuracy_m)]


def sketch(
    school: Point | None, check_ins: Sequence[Spot], photos: Sequence[Spot] = ()
) -> Sketch | None:
    """The drawing; None where there is nothing to be drawn, or nothing to draw it around."""
    spots = [*check_ins, *photos]
    origin = school or (check_ins[0].point if check_ins else None)
    if origin is None or not spots:
        return None
    unit = (SIZE / 2 - EDGE) / _reach(origin, check_ins, photos)
    scale_m = nice_length(SIZE / 4 / unit)
    rings = [scale_m * step * unit for step in range(1, 5) if scale_m * step * unit < SIZE / 2]
    first = check_ins[0] if check_ins and school else None
    away = distance_m(origin, first.point) if first else None
    accuracy = first.accuracy_m if first else None
    limit = settings.EVIDENCE_PLACE_METRES + (accuracy or 0)
    return Sketch(
        size=SIZE,
        school=Dot(SIZE / 2, SIZE / 2) if school else None,
        check_ins=[_mark(origin, spot, unit, school) for spot in check_ins],
        photos=_together([_mark(origin, spot, unit, school) for spot in photos]),
        distance_m=None if away is None else round(away),
        accuracy_m=None if accuracy is None else round(accuracy),
        is_far=away is not None and away > limit,
        scale_m=scale_m,
        scale=scale_m * unit,
        rings=rings,
    )


def nice_length(most: float) -> int:
    """The longest of 1, 2, 5, 10, 20, 50 … metres that is at most `most`."""
    if most < 1:
        return 1
    power = 10 ** floor(log10(most))
    return int(max(step * power for step in (1, 2, 5) if step * power <= most))


def _reach(origin: Point, check_ins: Sequence[Spot], photos: Sequence[Spot]) -> float:
    """How many metres there are from the middle of the drawing to its margin."""
    shown = [
        max(distance_m(origin, spot.point) + (spot.accuracy_m or 0) / 2, spot.accuracy_m or 0)
        for spot in check_ins
    ]
    reach = max([*shown, NEAREST_M])
    near = [distance_m(origin, spot.point) for spot in photos]
    return max([reach, *(away for away in near if away <= FARTHEST * reach)])


def _mark(origin: Point, spot: Spot, unit: float, school: Point | None) -> Mark:
    east, north = offset_m(origin, spot.point)
    length, most = hypot(east, north) * unit, SIZE / 2 - EDGE / 2
    beyond = length > most
    unit_here = unit * most / length if beyond else unit
    return Mark(
        x=SIZE / 2 + east * unit_here,
        y=SIZE / 2 - north * unit_here,
        accuracy=0 if beyond else (spot.accuracy_m or 0) * unit,
        distance_m=round(distance_m(school, spot.point)) if school else None,
        photos=(spot.photo,) if spot.photo else (),
        beyond=beyond,
        turn=degrees(atan2(east, north)),
    )


def _together(marks: Iterable[Mark]) -> list[Mark]:
    """Marks that would cover each other, as one of them with the photos of all."""
    kept: list[Mark] = []
    for mark in marks:
        for index, other in enumerate(kept):
            near = hypot(mark.x - other.x, mark.y - other.y) < TOGETHER
            if near and mark.beyond == other.beyond:
                kept[index] = _joined(other, mark)
                break
        else:
            kept.append(mark)
    return kept


def _joined(one: Mark, other: Mark) -> Mark:
    return Mark(
        x=one.x,
        y=one.y,
        accuracy=max(one.accuracy, other.accuracy),
        distance_m=one.distance_m,
        photos=one.photos + other.photos,
        beyond=one.beyond,
        turn=one.turn,
    )
