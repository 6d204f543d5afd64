"""The shared copy of a picture: faces hidden where wanted, a plate that says where it comes from.

The job "shared" (media_storage.bounded). It is made from the large rendition: what people get is
searched for faces at the size at which they get it, and HEIC, pages of PDF and frames of videos need no
decoder a second time.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from media_storage.lettering import Line, Plate, lay_out
from media_storage.refusals import Reason, Refused

VERSION = 1
"""Of the drawing: copies that were made with another one are out of date."""

SMALL_SIDE = 320
MAX_PIXELS = 12_000_000
"""A large rendition has at most 2.56 million."""
QUALITY = 85
"""JPEG rather than WebP: copies end up in documents, chats and printers, and not all take WebP."""

_LETTERS = 0.024
"""Their size, of the picture's shorter side; then of the smallest and the largest legible, in pixels."""
_SMALLEST, _LARGEST = 15, 40
_PLATE_EMS = 32
_PLATE_SHARE = 0.6
_NARROWEST_EMS = 20
_MOST_OF_HEIGHT = 0.42
"""A plate that would cover more of the picture than this stands below it instead."""
_GROUND = (232, 234, 238)


def make_shared_copy(
    file: BinaryIO,
    *,
    lines: Sequence[Sequence[str]],
    blur: bool,
    boxes: Sequence[Sequence[float]],
) -> dict[str, Any]:
    """The pictures `shared` and `shared_small`, JPEG, and the faces that were found.

    `lines`: pairs of label and text, the heading first, with an empty label. `blur`: look for faces and
    hide them. `boxes`: x, y, width, height to be hidden as well, by shares of the picture. Raises
    Refused.
    """
    image = _read(file)
    found = []
    if blur or boxes:
        # Late: only this needs OpenCV and numpy, which take 60 MB.
        from media_storage.faces import Box, find_faces, hide

        found = find_faces(image) if blur else []
        hide(image, [*found, *(Box(*box) for box in boxes)])
    small = image.copy()
    small.thumbnail((SMALL_SIDE, SMALL_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    marked = with_plate(image, [Line(label, text) for label, text in lines])
    return {
        "faces": [[face.x, face.y, face.width, face.height] for face in found],
        "pictures": [_encoded("shared_small", small), _encoded("shared", marked)],
    }


def _read(file: BinaryIO) -> Image.Image:
    try:
        with Image.open(file, formats=["JPEG", "WEBP"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Refused(Reason.TOO_MANY_PIXELS, f"{image.width} x {image.height}")
            return image.convert("RGB")
    except (Refused, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise Refused(Reason.BROKEN, "no such picture") from error
    except Exception as error:  # a decoder fed with broken bytes may raise anything
        raise Refused(Reason.BROKEN, f"{type(error).__name__}: {error}") from error


def with_plate(image: Image.Image, lines: Sequence[Line]) -> Image.Image:
    """The picture with the plate in its lower left corner, or below it where it is too small."""
    if not lines:
        return image
    size = min(max(round(min(image.size) * _LETTERS), _SMALLEST), _LARGEST)
    margin = round(size * 0.7)
    width = max(image.width, _NARROWEST_EMS * size)
    most = max(round(width * _PLATE_SHARE), _PLATE_EMS * size)
    plate = lay_out(lines, size=size, width=min(most, width - 2 * margin))
    if plate.height + 2 * margin <= image.height * _MOST_OF_HEIGHT:
        ground = _on_ground(image, (width, image.height))
        plate.draw(ground, margin, image.height - margin - plate.height)
        return ground
    return _above(image, plate, width, margin)


def _above(image: Image.Image, plate: Plate, width: int, margin: int) -> Image.Image:
    ground = _on_ground(image, (width, image.height + plate.height + 2 * margin))
    plate.draw(ground, margin, image.height + margin)
    return ground


def _on_ground(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """At the top of a ground that may be wider: small pictures are not enlarged."""
    if size == image.size:
        return image
    ground = Image.new("RGB", size, _GROUND)
    ground.paste(image, ((size[0] - image.width) // 2, 0))
    return ground


def _encoded(name: str, image: Image.Image) -> dict[str, Any]:
    buffer = io.BytesIO()
    image.info = {}  # saving would write the comment and EXIF that it carries
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True, progressive=True)
    return {
        "name": name,
        "width": image.width,
        "height": image.height,
        "data": buffer.getvalue(),
    }
