"""Positions: distances in metres, and the map coordinates of China brought to WGS-84.

Maps in China show points that are shifted by law. GCJ-02 (高德, 腾讯) moves a point of WGS-84 by 20 to
700 metres; BD-09 (百度) moves GCJ-02 once more. GCJ-02's formula was never published: this is the one
that became known and that everybody uses, described on Wikipedia ("Restrictions on
geographic data in China") and in the libraries eviltransform and coordtransform, by whose published
points the tests go. The way back has no formula; it is found by repeating the way there.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from math import asin, atan2, cos, hypot, pi, radians, sin, sqrt

EARTH_M = 6_371_000.0

# The ellipsoid of Krasovsky (1940), on which GCJ-02 reckons its shift.
_AXIS_M = 6_378_245.0
_ECCENTRICITY_SQUARED = 0.006_693_421_622_965_943
_BAIDU_TURN = pi * 3000 / 180

_SOUTH, _NORTH, _WEST, _EAST = 0.8293, 55.8271, 72.004, 137.8347
"""The rectangle in which maps apply the shift. It holds parts of the neighbouring countries, too."""

_ROUNDS = 10
_SETTLED = 1e-10
"""Degrees: a hundredth of a millimetre."""
_DIGITS = 7
"""Of a stored position: a centimetre."""

Point = tuple[float, float]
"""Latitude, longitude in degrees."""


class CoordinateSystem(StrEnum):
    """Whose coordinates a position is given in."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"
    BD09 = "bd09"


def distance_m(one: Point, other: Point) -> float:
    """The great-circle distance in metres (haversine), within 0.6 % of the ellipsoid's."""
    lat1, lat2 = radians(one[0]), radians(other[0])
    half_lat, half_lon = (lat2 - lat1) / 2, radians(other[1] - one[1]) / 2
    chord = sin(half_lat) ** 2 + cos(lat1) * cos(lat2) * sin(half_lon) ** 2
    return 2 * EARTH_M * asin(min(1.0, sqrt(chord)))


def to_wgs84(point: Point, system: CoordinateSystem) -> Point:
    """The point in WGS-84, to the centimetre; as it stands where it is WGS-84 already.

    Outside of the rectangle around China GCJ-02 is WGS-84, and BD-09 only has its own shift.
    """
    if system is CoordinateSystem.WGS84:
        return point
    gcj = point if system is CoordinateSystem.GCJ02 else bd09_to_gcj02(point)
    lat, lon = gcj02_to_wgs84(gcj)
    return round(lat, _DIGITS), round(lon, _DIGITS)


def is_shifted(point: Point) -> bool:
    """Whether maps of China show the point elsewhere than it is."""
    return _SOUTH <= point[0] <= _NORTH and _WEST <= point[1] <= _EAST


def wgs84_to_gcj02(point: Point) -> Point:
    """Where maps of China show a point."""
    if not is_shifted(point):
        return point
    lat, lon = point
    north_m, east_m = _shift_m(lon - 105.0, lat - 35.0)
    flattening = 1 - _ECCENTRICITY_SQUARED * sin(radians(lat)) ** 2
    meridian_m = _AXIS_M * (1 - _ECCENTRICITY_SQUARED) / (flattening * sqrt(flattening))
    parallel_m = _AXIS_M / sqrt(flattening) * cos(radians(lat))
    return lat + north_m * 180 / (meridian_m * pi), lon + east_m * 180 / (parallel_m * pi)


def gcj02_to_wgs84(point: Point) -> Point:
    """The point that maps of China show here."""
    return _undone(wgs84_to_gcj02, point)


def gcj02_to_bd09(point: Point) -> Point:
    """Where Baidu shows what other maps of China show here."""
    lat, lon = point
    radius = hypot(lon, lat) + 0.000_02 * sin(lat * _BAIDU_TURN)
    angle = atan2(lat, lon) + 0.000_003 * cos(lon * _BAIDU_TURN)
    return radius * sin(angle) + 0.006, radius * cos(angle) + 0.0065


def bd09_to_gcj02(point: Point) -> Point:
    """Where other maps of China show what Baidu shows here."""
    return _undone(gcj02_to_bd09, point)


def _undone(shift: Callable[[Point], Point], shown: Point) -> Point:
    """The point that `shift` moves to `shown`: the shift hardly differs between the two."""
    lat, lon = shown
    for _round in range(_ROUNDS):
        there = shift((lat, lon))
        off = there[0] - shown[0], there[1] - shown[1]
        lat, lon = lat - off[0], lon - off[1]
        if max(abs(off[0]), abs(off[1])) < _SETTLED:
            break
    return lat, lon


def _shift_m(x: float, y: float) -> Point:
    """Metres to the north and to the east, for degrees east of 105° and north of 35°."""
    both = 20 * sin(6 * x * pi) + 20 * sin(2 * x * pi)
    north = both + _waves(y, 20, 40, 160, 320)
    east = both + _waves(x, 20, 40, 150, 300)
    root = sqrt(abs(x))
    return (
        -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + north * 2 / 3,
        300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + east * 2 / 3,
    )


def _waves(at: float, first: float, second: float, third: float, fourth: float) -> float:
    turn = at * pi
    return (
        first * sin(turn)
        + second * sin(turn / 3)
        + third * sin(turn / 12)
        + fourth * sin(turn / 30)
    )
