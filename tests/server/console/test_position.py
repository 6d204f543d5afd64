"""Distances, and the sketch of a check-in."""

from __future__ import annotations

import pytest

from server.console.position import Spot, nice_length, sketch
from server.grid.coordinates import distance_m

SCHOOL = (36.0, 96.0)


def check_in(lat: float, lon: float = 96.0, accuracy: float | None = 10) -> list[Spot]:
    return [Spot((lat, lon), accuracy)]


def test_a_degree_of_latitude_is_111_kilometres():
    assert distance_m((36.0, 96.0), (37.0, 96.0)) == pytest.approx(111_195, rel=1e-3)


@pytest.mark.parametrize(("most", "length"), [(0.2, 1), (1, 1), (4.9, 2), (60, 50), (999, 500)])
def test_a_scale_bar_is_a_round_number(most, length):
    assert nice_length(most) == length


def test_north_is_up_and_east_is_right():
    drawn = sketch(SCHOOL, check_in(36.001, 96.001))
    assert drawn
    assert drawn.school
    assert drawn.check_ins[0].x > drawn.school.x
    assert drawn.check_ins[0].y < drawn.school.y


@pytest.mark.parametrize("away", [0.0, 1e-5, 0.01, 1.0])
def test_everything_stays_inside_the_drawing(away):
    photos = [Spot(SCHOOL, 5, "a"), Spot((50.0, 96.0), 5, "b")]
    drawn = sketch(SCHOOL, check_in(36.0 + away), photos)
    assert drawn
    for mark in (*drawn.check_ins, *drawn.photos):
        assert 0 <= mark.x <= drawn.size
        assert 0 <= mark.y <= drawn.size
    assert drawn.scale <= drawn.size / 4


def test_what_lies_far_away_stands_at_the_edge_in_its_direction():
    drawn = sketch(SCHOOL, check_in(36.0005), [Spot((36.0, 97.0), 5, "a"), Spot((36.0004, 96.0))])
    assert drawn
    far, near = drawn.photos
    assert (far.beyond, round(far.turn)) == (True, 90)
    assert (far.x, round(far.y)) == (306, 160)
    assert not near.beyond
    assert far.distance_m == pytest.approx(89_960, rel=0.01)


def test_photos_at_one_place_are_one_mark():
    here = [Spot((36.0003, 96.0003), accuracy, name) for accuracy, name in ((5, "a"), (9, "b"))]
    drawn = sketch(SCHOOL, check_in(36.0005), [*here, Spot((35.9995, 95.9995), 5, "c")])
    assert drawn
    assert [mark.photos for mark in drawn.photos] == [("a", "b"), ("c",)]
    assert drawn.photos[0].lights == "a b"


def test_far_means_farther_than_the_accuracy_explains():
    near, far = sketch(SCHOOL, check_in(36.005, accuracy=200)), sketch(SCHOOL, check_in(36.01))
    assert near
    assert far
    assert not near.is_far
    assert far.is_far


def test_without_a_school_s_position_the_check_in_is_the_middle():
    drawn = sketch(None, check_in(36.0), [Spot((36.001, 96.0), 5, "a")])
    assert drawn
    assert drawn.school is None
    assert (drawn.check_ins[0].x, drawn.check_ins[0].y) == (160, 160)
    assert drawn.photos[0].y < 160
    assert drawn.photos[0].distance_m is None


def test_without_any_place_there_is_no_sketch():
    assert sketch(SCHOOL, []) is None
    assert sketch(None, [], [Spot(SCHOOL)]) is None
