"""Pictures that nobody took: for the demo county and `make phone`, drawn from a number."""

from __future__ import annotations

import random
from datetime import datetime
from io import BytesIO

from PIL import Image, ImageDraw

SIZE = (1280, 960)
TILE = 96

_EXIF_IFD, _TAKEN_AT, _ORIENTATION, _MAKE = 0x8769, 0x9003, 0x0112, 0x010F


def draw_kitchen(number: int, *, taken_at: datetime) -> bytes:
    """A JPEG of a tiled kitchen wall with shelves and pots, with EXIF time; the same for the same number."""
    chance = random.Random(number)  # noqa: S311 - a drawing, no secret
    image = Image.new("RGB", SIZE, (226, 230, 228))
    pen = ImageDraw.Draw(image)
    _draw_wall(pen, chance)
    for shelf in (430, 690):
        _draw_shelf(pen, shelf, chance)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=85, exif=_exif(taken_at))
    return buffer.getvalue()


def _draw_wall(pen: ImageDraw.ImageDraw, chance: random.Random) -> None:
    for left in range(0, SIZE[0], TILE):
        for top in range(0, SIZE[1], TILE):
            shade = chance.randint(214, 240)
            box = (left + 2, top + 2, left + TILE - 2, top + TILE - 2)
            pen.rectangle(box, fill=(shade, shade + 4, shade + 2))


def _draw_shelf(pen: ImageDraw.ImageDraw, top: int, chance: random.Random) -> None:
    pen.rectangle((60, top, SIZE[0] - 60, top + 18), fill=(120, 124, 130))
    left = 90
    while left < SIZE[0] - 220:
        width, height = chance.randint(70, 150), chance.randint(70, 190)
        colour = chance.choice([(178, 84, 66), (88, 122, 150), (196, 168, 92), (110, 138, 96)])
        pen.rounded_rectangle((left, top - height, left + width, top), 14, fill=colour)
        pen.rectangle((left - 8, top - height, left + width + 8, top - height + 12), fill="#555")
        left += width + chance.randint(24, 60)


def _exif(taken_at: datetime) -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION] = 1
    exif[_MAKE] = "Duxue demo"
    exif.get_ifd(_EXIF_IFD)[_TAKEN_AT] = taken_at.strftime("%Y:%m:%d %H:%M:%S")
    return exif
