"""Distances, and the sketch of a check-in."""

from __future__ import annotations

import pytest

from server.activities.models import Activity, Visit
from server.console.position import nice_length, sketch
from server.grid.coordinates import distance_m
from server.grid.models import School


def visit(lat: float | None, lon: float | None, accuracy: float | None = 10) -> Visit:
    school = School(name="小学", latitude=36.0, longitude=96.0)
    return Visit(
        school=school, activity=Activity(), latitude=lat, longitude=lon, accuracy_m=accuracy
    )


def test_a_degree_of_latitude_is_111_kilometres():
    assert distance_m((36.0, 96.0), (37.0, 96.0)) == pytest.approx(111_195, rel=1e-3)


@pytest.mark.parametrize(("most", "length"), [(0.2, 1), (1, 1), (4.9, 2), (60, 50), (999, 500)])
def test_a_scale_bar_is_a_round_number(most, length):
    assert nice_length(most) == length


def test_north_is_up_and_east_is_right():
    drawn = sketch(visit(36.001, 96.001))
    assert drawn
    assert drawn.check_in.x > drawn.school.x
    assert drawn.check_in.y < drawn.school.y


@pytest.mark.parametrize("away", [0.0, 1e-5, 0.01, 1.0])
def test_everything_stays_inside_the_drawing(away):
    drawn = sketch(visit(36.0 + away, 96.0), [(36.0, 96.0), (50.0, 96.0)])
    assert drawn
    assert 0 <= drawn.check_in.y <= drawn.size
    assert drawn.scale <= drawn.size / 4
    assert len(drawn.photos) == 1


def test_far_means_farther_than_the_accuracy_explains():
    near, far = sketch(visit(36.005, 96.0, 200)), sketch(visit(36.01, 96.0, 20))
    assert near
    assert far
    assert not near.is_far
    assert far.is_far


def test_without_a_position_there_is_no_sketch():
    assert sketch(visit(None, None)) is None
