"""Coordinates: the published points, there and back, the edges of the rectangle, distances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.grid.coordinates import (
    CoordinateSystem,
    bd09_to_gcj02,
    distance_m,
    gcj02_to_bd09,
    gcj02_to_wgs84,
    is_shifted,
    to_wgs84,
    wgs84_to_gcj02,
)

# (WGS-84, GCJ-02): Shanghai, Shenzhen, Beijing, from the tests of eviltransform.
PUBLISHED_GCJ = [
    ((31.1774276, 121.5272106), (31.17530398364597, 121.531541859215)),
    ((22.543847, 113.912316), (22.540796131694766, 113.9171764808363)),
    ((39.911954, 116.377817), (39.91334545536069, 116.38404722455657)),
]
# (GCJ-02, BD-09): a square in Beijing, from the tests of coordtransform.
PUBLISHED_BD = ((39.915, 116.404), (39.92133699351021, 116.41036949371029))
ABROAD = [(48.8566, 2.3522), (-33.87, 151.21), (64.15, -21.94), (35.68, 139.77)]

inland = st.tuples(st.floats(18.5, 53), st.floats(74, 134.5))


@pytest.mark.parametrize(("wgs", "gcj"), PUBLISHED_GCJ)
def test_published_points_are_shifted_as_published(wgs, gcj) -> None:
    assert distance_m(wgs84_to_gcj02(wgs), gcj) < 0.02
    assert distance_m(gcj02_to_wgs84(gcj), wgs) < 0.02


def test_a_published_point_is_shifted_once_more_by_baidu() -> None:
    gcj, bd = PUBLISHED_BD
    assert distance_m(gcj02_to_bd09(gcj), bd) < 0.001
    assert distance_m(bd09_to_gcj02(bd), gcj) < 0.001


@given(inland)
def test_there_and_back_is_the_same_centimetre(point) -> None:
    assert distance_m(gcj02_to_wgs84(wgs84_to_gcj02(point)), point) < 0.001
    assert distance_m(bd09_to_gcj02(gcj02_to_bd09(point)), point) < 0.001
    whole_way = gcj02_to_bd09(wgs84_to_gcj02(point))
    assert distance_m(to_wgs84(whole_way, CoordinateSystem.BD09), point) < 0.02


@given(inland)
def test_the_shift_is_that_of_maps_and_not_nothing(point) -> None:
    assert 20 < distance_m(wgs84_to_gcj02(point), point) < 1500
    assert 500 < distance_m(gcj02_to_bd09(point), point) < 1500


@pytest.mark.parametrize("point", ABROAD)
def test_abroad_the_coordinates_of_maps_are_those_of_the_earth(point) -> None:
    assert not is_shifted(point)
    assert wgs84_to_gcj02(point) == point
    assert gcj02_to_wgs84(point) == point
    assert to_wgs84(point, CoordinateSystem.GCJ02) == point
    baidu = gcj02_to_bd09(point)
    assert distance_m(to_wgs84(baidu, CoordinateSystem.BD09), point) < 0.02


def test_at_the_rectangle_s_edge_which_is_abroad_a_point_is_off_by_its_shift_at_most() -> None:
    for point in [(55.827, 100.0), (30.0, 137.8346), (0.83, 110.0), (30.0, 72.0041)]:
        assert is_shifted(point)
        back = gcj02_to_wgs84(wgs84_to_gcj02(point))
        assert distance_m(back, point) < 1500


def test_wgs84_stays_as_it_was_typed() -> None:
    typed = (33.123456789012, 108.000000001)
    assert to_wgs84(typed, CoordinateSystem.WGS84) == typed


def test_distances_are_those_of_the_earth() -> None:
    shanghai, beijing = PUBLISHED_GCJ[0][0], PUBLISHED_GCJ[2][0]
    assert distance_m(shanghai, shanghai) == 0
    assert distance_m(shanghai, beijing) == pytest.approx(1_078_000, rel=0.005)
    assert distance_m((33.0, 108.0), (33.01, 108.0)) == pytest.approx(1112, abs=1)
    assert distance_m((33.0, 179.9999), (33.0, -179.9999)) == pytest.approx(18.7, abs=0.2)
    assert distance_m((0, 0), (0, 180)) == pytest.approx(20_015_087, rel=1e-3)
