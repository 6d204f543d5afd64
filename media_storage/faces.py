"""Find faces in a picture, and make what lies in a box unrecognisable.

The detector is OpenCV's, with the cascades that come in its wheel. It looks for faces from the front,
upright and leaning, and for profiles of both sides. It misses some and finds some that are none:
docs/shared-copies.md says how many. Nobody may be promised that no face is left.

Imported only where shared copies are made: OpenCV takes memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFilter

VERSION = 1
"""Of what is found and how it is hidden: what was made with another one is out of date."""

MAX_SIDE = 1600
COARSE_SIDE = 640
"""Large faces are looked for in the picture at this size, small ones piece by piece at full size:
the detector's tables take 40 bytes a pixel, and a whole picture would need 200 MB."""
_PIECE, _OVERLAP = 600, 72
_SMALL_FACE = 64
"""In pixels of the full size: what is larger is found in the coarse picture."""
LEANING = (25.0, -25.0)
"""Degrees. The cascade for upright faces allows for about 15 to both sides."""
_SCALE = 1.2
_NEIGHBOURS = 1
"""Two findings at the same place are believed: a wrong blur costs less than a missed face."""
_LARGE_FACE, _LARGE_NEIGHBOURS = 0.25, 4
"""From this share of the picture's shorter side on, a face is found many times over, or is none."""
_MIN_SIDE = 20
_MARGIN = 0.35
"""Of a face's side, added on each side of it: hair, chin and ears tell too."""
_CELLS = 6
"""A box is left with so many colours along its longer side: fewer than four across the face itself."""

# Pictures come one at a time, and the limits of memory count each thread's stack.
cv2.setNumThreads(1)

Grey = Any  # np.typing.NDArray[np.uint8]; OpenCV's own stubs want less than they say


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle by shares of the picture's width and height, from the upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, upper, right, lower, cut to the picture; at least one pixel of it."""
        width, height = size
        left = min(max(int(self.x * width), 0), width - 1)
        upper = min(max(int(self.y * height), 0), height - 1)
        right = min(max(round((self.x + self.width) * width), left + 1), width)
        lower = min(max(round((self.y + self.height) * height), upper + 1), height)
        return left, upper, right, lower


def find_faces(image: Image.Image) -> list[Box]:
    """Boxes around what may be faces, wide enough for hair and chin. Overlapping ones are joined."""
    grey: Grey = np.asarray(image.convert("L"))
    share = min(1.0, MAX_SIDE / max(grey.shape))
    if share < 1:
        grey = cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    if min(grey.shape) < _MIN_SIDE:
        return []
    height, width = grey.shape
    return [_around(place, width, height) for place in _joined(_places(grey))]


@dataclass(frozen=True, slots=True)
class _Place:
    """A square of a picture: its middle and side in pixels."""

    x: float
    y: float
    side: float

    def moved(self, x: float, y: float, share: float = 1.0) -> _Place:
        """Where it is in the picture from which a piece was cut at (x, y), and then scaled."""
        return _Place(self.x / share + x, self.y / share + y, self.side / share)


def _places(grey: Grey) -> Iterator[_Place]:
    share = COARSE_SIDE / max(grey.shape)
    if share >= 1:
        yield from _anywhere(grey, _MIN_SIDE, 0)
        return
    coarse = cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    for place in _anywhere(coarse, _MIN_SIDE, 0):
        yield place.moved(0, 0, share)
    for x, y in _pieces(grey.shape):
        for place in _anywhere(grey[y : y + _PIECE, x : x + _PIECE], _MIN_SIDE, _SMALL_FACE):
            yield place.moved(x, y)


def _pieces(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Where the pieces begin: they overlap by more than a small face."""
    height, width = shape
    step = _PIECE - _OVERLAP
    for y in range(0, max(height - _OVERLAP, 1), step):
        for x in range(0, max(width - _OVERLAP, 1), step):
            yield x, y


def _anywhere(grey: Grey, least: int, most: int) -> Iterator[_Place]:
    """Faces with sides of `least` to `most` pixels, 0 for any, however they are turned."""
    yield from _found("frontalface_alt2", grey, least, most)
    yield from _found("profileface", grey, least, most)
    for place in _found("profileface", cv2.flip(grey, 1), least, most):
        yield _Place(grey.shape[1] - place.x, place.y, place.side)
    for degrees in LEANING:
        yield from _found_leaning(grey, degrees, least, most)


def _found(cascade: str, grey: Grey, least: int, most: int) -> Iterator[_Place]:
    squares, witnesses = _cascade(cascade).detectMultiScale2(
        grey, _SCALE, _NEIGHBOURS, minSize=(least, least), maxSize=(most, most)
    )
    large = min(grey.shape) * _LARGE_FACE
    for (x, y, w, h), seen in zip(squares, witnesses, strict=True):
        if w < large or seen >= _LARGE_NEIGHBOURS:
            yield _Place(float(x) + float(w) / 2, float(y) + float(h) / 2, float(max(w, h)))


def _found_leaning(grey: Grey, degrees: float, least: int, most: int) -> Iterator[_Place]:
    height, width = grey.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    cosine, sine = abs(turn[0, 0]), abs(turn[0, 1])
    turned = round(height * sine + width * cosine), round(height * cosine + width * sine)
    turn[0, 2] += (turned[0] - width) / 2
    turn[1, 2] += (turned[1] - height) / 2
    back = cv2.invertAffineTransform(turn)
    leaning = cv2.warpAffine(grey, turn, turned, borderMode=cv2.BORDER_REPLICATE)
    for place in _found("frontalface_alt2", leaning, least, most):
        x, y = back @ np.array([place.x, place.y, 1.0])
        if 0 <= x < width and 0 <= y < height:  # not in what the turning made up at the edges
            yield _Place(float(x), float(y), place.side)


@cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    path = Path(cv2.__file__).parent / "data" / f"haarcascade_{name}.xml"
    found = cv2.CascadeClassifier(str(path))
    if found.empty():  # a wheel without its cascades must not look like pictures without faces
        raise RuntimeError(f"no cascade at {path}")
    return found


def _joined(places: Iterable[_Place]) -> list[_Place]:
    """Each face once: several ways find the same. Of those that share a middle, the largest."""
    kept: list[_Place] = []
    for place in sorted(places, key=lambda each: -each.side):
        if not any(_same(place, other) for other in kept):
            kept.append(place)
    return kept


def _same(small: _Place, large: _Place) -> bool:
    near = max(abs(small.x - large.x), abs(small.y - large.y)) < large.side * 0.2
    return near and small.side > large.side * 0.5


def _around(place: _Place, width: int, height: int) -> Box:
    half = place.side * (0.5 + _MARGIN)
    left, upper = max(place.x - half, 0.0), max(place.y - half, 0.0)
    right, lower = min(place.x + half, width), min(place.y + half, height)
    return Box(left / width, upper / height, (right - left) / width, (lower - upper) / height)


def hide(image: Image.Image, boxes: Iterable[Box]) -> None:
    """Replace what lies in the boxes by a few blurred colours, for good.

    Each from the picture as it was and the largest last, so that boxes that overlap hide no less.
    """
    before = image.copy()
    for box in sorted(boxes, key=lambda each: each.width * each.height):
        place = box.pixels(image.size)
        image.paste(_few_colours(before.crop(place)), place[:2])


def _few_colours(piece: Image.Image) -> Image.Image:
    width, height = piece.size
    longer = max(width, height)
    # Of a few pixels a cell keeps too much: only their mean is left.
    cells = _CELLS if longer >= 4 * _CELLS else 1
    grid = max(1, round(cells * width / longer)), max(1, round(cells * height / longer))
    blocks = piece.resize(grid, Image.Resampling.BOX).resize(piece.size, Image.Resampling.NEAREST)
    return blocks.filter(ImageFilter.GaussianBlur(longer / _CELLS / 3))
