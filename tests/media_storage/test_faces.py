"""Finding faces, of which none is a person's, and hiding them for good."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from media_storage.faces import Box, find_faces, hide
from server.console.pictures import draw
from tests.media_storage.faces import crowd, ground, head


def covers(box: Box, image: Image.Image, x: float, y: float, side: float) -> bool:
    """Whether the inner part of the face at (x, y) is in the box, and the box is about its size."""
    left, upper, right, lower = box.pixels(image.size)
    inner = side * 0.35
    return (
        left < x - inner
        and right > x + inner
        and upper < y - inner
        and lower > y + inner
        and right - left < side * 4
    )


def found(image: Image.Image, middles: list[tuple[float, float]], side: float) -> int:
    boxes = find_faces(image)
    return sum(any(covers(box, image, x, y, side) for box in boxes) for x, y in middles)


def placed(side: int, x: int, y: int, size: tuple[int, int] = (1600, 1200), **how: float):
    """A picture with one face, and its middle."""
    image, drawn = ground(*size, seed=1), head(int(side / 0.58), **how)  # type: ignore[arg-type]
    image.paste(drawn, (x, y), drawn)
    return image, (x + drawn.width / 2, y + drawn.height / 2)


@pytest.mark.parametrize("side", [30, 60, 120, 300, 500])
def test_a_face_from_the_front_is_found_at_any_size(side: int) -> None:
    image, middle = placed(side, 300, 150)
    assert found(image, [middle], side) == 1


@pytest.mark.parametrize(
    "how",
    [
        {"yaw": 60},
        {"yaw": -60},
        {"roll": 25},
        {"roll": -25},
        {"glasses": True},
        {"light": 0.9},
        {"light": -0.9},
        {"skin": (150, 105, 80)},
    ],
)
def test_a_face_that_is_turned_leans_or_is_lit_from_a_side_is_found(how: dict[str, float]) -> None:
    image, middle = placed(90, 700, 500, **how)
    assert found(image, [middle], 90) == 1


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1500, 1090), (505, 505), (545, 40), (1040, 560)])
def test_a_small_face_is_found_at_an_edge_and_where_pieces_meet(x: int, y: int) -> None:
    image, middle = placed(40, x, y)
    assert found(image, [middle], 40) == 1


def test_a_small_picture_is_searched_too() -> None:
    image, middle = placed(60, 60, 40, size=(300, 200))
    assert found(image, [middle], 60) == 1


@pytest.mark.parametrize(("face", "least"), [(30, 0.8), (60, 0.85), (120, 0.9)])
def test_most_faces_of_a_crowd_are_found(face: int, least: float) -> None:
    image, middles = crowd(1, face=face)
    hits = found(image, middles, face)
    assert hits / len(middles) >= least, f"{hits} of {len(middles)}"


def test_pictures_without_faces_are_left_alone() -> None:
    kitchens = [
        Image.open(io.BytesIO(draw("kitchen", number, taken_at=datetime(2026, 11, 23, tzinfo=UTC))))
        for number in range(4)
    ]
    grounds = [ground(1600, 1200, seed=seed) for seed in range(2)]
    assert [find_faces(image.convert("RGB")) for image in [*kitchens, *grounds]] == [[]] * 6


@pytest.mark.parametrize("size", [(1, 1), (1600, 1), (1, 1600), (19, 19), (21, 640)])
def test_a_picture_of_any_size_can_be_searched(size: tuple[int, int]) -> None:
    assert find_faces(Image.new("RGB", size, (90, 90, 90))) == []


def test_what_is_hidden_has_few_colours_left_and_the_rest_is_untouched() -> None:
    image, _middle = placed(200, 400, 300)
    before = np.asarray(image.copy(), np.int16)
    [box] = find_faces(image)
    hide(image, [box])
    after = np.asarray(image, np.int16)
    left, upper, right, lower = box.pixels(image.size)
    outside = np.ones(after.shape[:2], bool)
    outside[upper:lower, left:right] = False
    assert (after[outside] == before[outside]).all()
    inside = after[upper:lower, left:right]
    assert np.abs(inside - before[upper:lower, left:right]).mean() > 10
    # Nothing finer than a cell is left: from one pixel to the next there is hardly a step.
    assert np.abs(np.diff(inside, axis=1)).max() <= 8
    assert find_faces(image) == []


def test_another_face_with_the_same_few_colours_looks_the_same_when_hidden() -> None:
    """What is left is a function of 36 means: nothing else of the face can be got back from it."""
    image = ground(300, 300, seed=1)
    box = Box(0.1, 0.1, 0.8, 0.8)
    left, upper, right, lower = box.pixels(image.size)
    means = image.crop((left, upper, right, lower)).resize((6, 6), Image.Resampling.BOX)
    other = image.copy()
    other.paste(
        means.resize((right - left, lower - upper), Image.Resampling.NEAREST), (left, upper)
    )
    assert image.tobytes() != other.tobytes()
    hide(image, [box])
    hide(other, [box])
    difference = np.abs(np.asarray(image, np.int16) - np.asarray(other, np.int16))
    assert difference.max() <= 1


def test_a_small_box_within_a_large_one_shows_no_more() -> None:
    large = Box(0.1, 0.1, 0.8, 0.8)
    one, both = ground(600, 600, seed=2), ground(600, 600, seed=2)
    hide(one, [large])
    hide(both, [large, Box(0.3, 0.3, 0.1, 0.1)])
    assert one.tobytes() == both.tobytes()


@pytest.mark.parametrize(
    "box",
    [Box(0, 0, 1, 1), Box(0.99, 0.99, 0.01, 0.01), Box(0, 0, 0.0001, 0.0001), Box(0.5, 0, 0.5, 1)],
)
def test_any_box_can_be_hidden_in_any_picture(box: Box) -> None:
    for size in ((1, 1), (3, 800), (640, 480)):
        image = ground(*size, seed=3)
        hide(image, [box])
        assert image.size == size
