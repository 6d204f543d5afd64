"""Where a check-in was made, drawn beside the school: a sketch in metres that needs no map tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, floor, log10, radians

from django.conf import settings

from server.activities.models import Visit
from server.grid.coordinates import EARTH_M, Point, distance_m
from server.grid.models import School

SIZE = 320
EDGE = 28


@dataclass(frozen=True)
class Dot:
    """A place on the drawing, in its units."""

    x: float
    y: float


@dataclass(frozen=True)
class Sketch:
    """A square drawing with the school in its middle; lengths in the drawing's units."""

    size: int
    school: Dot
    check_in: Dot
    accuracy: float
    photos: Sequence[Dot]
    distance_m: int
    accuracy_m: int | None
    is_far: bool
    scale_m: int
    scale: float
    rings: Sequence[float]


def offset_m(origin: Point, point: Point) -> Point:
    """Metres east and north of the origin, flat: exact enough for a county."""
    east = radians(point[1] - origin[1]) * EARTH_M * cos(radians(origin[0]))
    return east, radians(point[0] - origin[0]) * EARTH_M


def place_of(item: Visit | School) -> Point | None:
    """The position of a school, or of the check-in of a visit, where there is one."""
    if item.latitude is None or item.longitude is None:
        return None
    return item.latitude, item.longitude


def sketch(visit: Visit, photos: Iterable[Point] = ()) -> Sketch | None:
    """The drawing for a visit; None without the position of the school or of the check-in.

    Photos that lie outside the drawing are left out: the list tells their distance.
    """
    school, check_in = place_of(visit.school), place_of(visit)
    if school is None or check_in is None:
        return None
    away = distance_m(school, check_in)
    accuracy = visit.accuracy_m or 0
    reach = max(away + accuracy / 2, accuracy, 60)
    unit = (SIZE / 2 - EDGE) / reach
    dots = [_dot(offset_m(school, point), unit) for point in photos]
    scale_m = nice_length(SIZE / 4 / unit)
    rings = [scale_m * step * unit for step in range(1, 5) if scale_m * step * unit < SIZE / 2]
    return Sketch(
        size=SIZE,
        school=_dot((0, 0), unit),
        check_in=_dot(offset_m(school, check_in), unit),
        accuracy=accuracy * unit,
        photos=[dot for dot in dots if 0 <= dot.x <= SIZE and 0 <= dot.y <= SIZE],
        distance_m=round(away),
        accuracy_m=round(visit.accuracy_m) if visit.accuracy_m is not None else None,
        is_far=away - accuracy > settings.EVIDENCE_PLACE_METRES,
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


def _dot(offset: Point, unit: float) -> Dot:
    east, north = offset
    return Dot(SIZE / 2 + east * unit, SIZE / 2 - north * unit)
