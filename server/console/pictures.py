"""Pictures that nobody took: for the demo county and `make phone`, drawn from a number.

Each scene has its own hues, sizes and places for each number, so that no two look the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from io import BytesIO

from PIL import Image, ImageDraw

from server.grid.coordinates import Point

WIDTH, HEIGHT = 960, 720
Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
Pen = ImageDraw.ImageDraw

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKE, _MODEL, _ORIENTATION, _TAKEN_AT, _OFFSET = 0x010F, 0x0110, 0x0112, 0x9003, 0x9011
_MODELS = ("Field Phone 5", "Field Phone 7 Lite", "Note 12")

INK: Colour = (70, 74, 80)
WHITE: Colour = (248, 249, 248)
STEEL: Colour = (168, 176, 184)
WOOD: Colour = (176, 132, 88)
GREEN: Colour = (96, 142, 92)
RED: Colour = (190, 78, 64)
BLUE: Colour = (84, 124, 168)
YELLOW: Colour = (214, 178, 92)
BRIGHT = (GREEN, RED, BLUE, YELLOW)


def draw(scene: str, number: int, *, taken_at: datetime, place: Point | None = None) -> bytes:
    """A JPEG of one of SCENES with a camera's EXIF; the same for the same number."""
    chance = random.Random(number)  # noqa: S311 - a drawing, no secret
    image = Image.new("RGB", (WIDTH, HEIGHT), _soft(chance))
    SCENES[scene](ImageDraw.Draw(image), chance)
    if chance.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    buffer = BytesIO()
    exif = _exif(taken_at, place, model=_MODELS[number % len(_MODELS)])
    image.save(buffer, "JPEG", quality=80, exif=exif)
    return buffer.getvalue()


def draw_plan(number: int) -> bytes:
    """A PDF of two pages that look like a written plan."""
    pages = [_page(number, nth) for nth in (1, 2)]
    buffer = BytesIO()
    pages[0].save(buffer, "PDF", resolution=72.0, save_all=True, append_images=pages[1:])
    return buffer.getvalue()


# ---- scenes ------------------------------------------------------------------------------------


def _kitchen(pen: Pen, chance: random.Random) -> None:
    tile, grout = chance.randint(52, 96), _soft(chance)
    for left in range(0, WIDTH, tile):
        for top in range(0, HEIGHT, tile):
            pen.rectangle(
                (left + 2, top + 2, left + tile - 2, top + tile - 2), _near(grout, chance)
            )
    for top in sorted(chance.sample(range(250, 660, 40), chance.choice((1, 2, 2)))):
        _shelf(pen, chance, top)
    _box(pen, (0, chance.randint(600, 660), WIDTH, HEIGHT), STEEL)


def _shelf(pen: Pen, chance: random.Random, top: int) -> None:
    pen.rectangle((40, top, WIDTH - 40, top + 14), INK)
    left = chance.randint(50, 130)
    while left < WIDTH - 170:
        width, height = chance.randint(50, 130), chance.randint(50, 170)
        box = (left, top - height, left + width, top)
        pen.rounded_rectangle(box, 12, _near(chance.choice((*BRIGHT, STEEL)), chance))
        pen.rectangle((left - 6, top - height, left + width + 6, top - height + 10), INK)
        left += width + chance.randint(18, 90)


def _samples(pen: Pen, chance: random.Random) -> None:
    """A fridge with boxes of kept samples, each with its label."""
    side = chance.randint(60, 190)
    _box(pen, (side, 20, WIDTH - side, HEIGHT), WHITE)
    _box(pen, (side + 26, 50, WIDTH - side - 26, HEIGHT - 20), (222, 232, 238))
    lid = chance.choice(BRIGHT)
    for top in range(chance.randint(190, 240), HEIGHT - 20, chance.randint(130, 190)):
        pen.rectangle((side + 26, top, WIDTH - side - 26, top + 8), STEEL)
        left = side + chance.randint(40, 90)
        while left < WIDTH - side - 140:
            width = chance.randint(84, 120)
            _box(pen, (left, top - 84, left + width, top), (236, 240, 240))
            pen.rectangle((left - 4, top - 94, left + width + 4, top - 80), lid)
            _lines(pen, (left + 12, top - 64, left + width - 12, top - 16))
            left += width + chance.randint(10, 70)


def _licence(pen: Pen, chance: random.Random) -> None:
    """Framed papers on a wall, with their seals."""
    pen.rectangle((0, chance.randint(520, 640), WIDTH, HEIGHT), _near(WOOD, chance))
    count = chance.choice((1, 2, 3))
    width = chance.randint(190, 250) if count > 1 else chance.randint(360, 520)
    gap = (WIDTH - count * width) // (count + 1)
    for nth in range(count):
        left, top = gap + nth * (width + gap), chance.randint(60, 150)
        bottom = top + int(width * chance.uniform(0.72, 1.35))
        _box(pen, (left - 14, top - 14, left + width + 14, bottom + 14), _near(YELLOW, chance))
        pen.rectangle((left, top, left + width, bottom), (252, 250, 240))
        pen.rectangle((left + width // 4, top + 24, left + 3 * width // 4, top + 40), RED)
        _lines(pen, (left + 30, top + 70, left + width - 30, bottom - 80))
        seal = (left + width - 90, bottom - 84, left + width - 30, bottom - 24)
        pen.ellipse(seal, outline=RED, width=5)


def _store(pen: Pen, chance: random.Random) -> None:
    """Sacks and boxes in a storage room, off the floor or not."""
    ground = chance.randint(470, 560)
    pen.rectangle((0, ground, WIDTH, HEIGHT), (188, 186, 178))
    for top in sorted(chance.sample(range(150, ground - 60, 50), 2)):
        pen.rectangle((30, top, WIDTH // 2, top + 12), INK)
        for left in range(50, WIDTH // 2 - 110, chance.randint(110, 150)):
            height = chance.randint(50, 90)
            _box(pen, (left, top - height, left + 92, top), _near(WOOD, chance))
    left = chance.randint(470, 560)
    pen.rectangle((left - 10, 640, WIDTH - 40, 664), WOOD)
    while left < WIDTH - 160:
        width, height = chance.randint(96, 140), chance.randint(150, 300)
        box = (left, 640 - height, left + width, 640)
        pen.rounded_rectangle(box, 34, _near((226, 216, 190), chance))
        pen.line((left + 20, 640 - height + 30, left + width - 20, 640 - height + 30), RED, 6)
        left += width + chance.randint(4, 40)


def _hall(pen: Pen, chance: random.Random) -> None:
    """A dining hall: rows of tables with stools, windows behind."""
    horizon = chance.randint(230, 330)
    _windows(pen, chance, horizon)
    pen.rectangle((0, horizon, WIDTH, HEIGHT), (206, 204, 196))
    seat, table = chance.choice(BRIGHT), _near(STEEL, chance)
    for row in range(4):
        top = horizon + 30 + row * row * 22 + row * 50
        size, thick = 60 + row * 46, 10 + row * 6
        for left in range(chance.randint(-60, 20), WIDTH, size * 2):
            pen.rectangle((left, top, left + int(size * 1.6), top + thick), table)
            for stool in (left + size // 4, left + size):
                box = (stool, top + thick * 2, stool + size // 3, top + thick * 3 + 6)
                pen.ellipse(box, seat)
                pen.line(
                    (stool + size // 6, top + thick * 3, stool + size // 6, top + thick * 5), INK, 4
                )


def _classroom(pen: Pen, chance: random.Random) -> None:
    pen.rectangle((0, 430, WIDTH, HEIGHT), (196, 178, 150))
    left = chance.randint(60, 320)
    _box(pen, (left, 70, left + 560, 300), (54, 92, 76))
    _lines(pen, (left + 40, 110, left + 40 + chance.randint(160, 380), 260), (214, 226, 218))
    pen.rectangle((left + 30, 304, left + 530, 318), WOOD)
    cloth = chance.choice(BRIGHT)
    for row in range(3):
        size, top = 110 + row * 44, 380 + row * 100
        for at in range(chance.randint(-60, 40), WIDTH, int(size * 1.7)):
            _box(pen, (at, top, at + size, top + 26 + row * 8), _near(WOOD, chance))
            pen.ellipse((at + size // 3, top - size // 2, at + 2 * size // 3, top - size // 6), INK)
            body = (at + size // 5, top - size // 5, at + 4 * size // 5, top + 4)
            pen.rounded_rectangle(body, 12, cloth)


def _ground(pen: Pen, chance: random.Random) -> None:
    """A sports ground before a school building."""
    horizon = chance.randint(250, 360)
    _sky(pen, chance, horizon)
    left, wall = chance.randint(40, 300), _near((224, 206, 180), chance)
    _box(pen, (left, horizon - chance.randint(110, 190), left + 540, horizon + 6), wall)
    for at in range(left + 30, left + 510, 66):
        for top in (horizon - 90, horizon - 42):
            pen.rectangle((at, top, at + 36, top + 26), (132, 164, 190))
    pen.rectangle((0, horizon, WIDTH, HEIGHT), _near((120, 158, 96), chance))
    curve = chance.randint(-260, 120)
    pen.ellipse((curve, horizon + 60, curve + 1300, HEIGHT + 420), _near((178, 92, 70), chance))
    for lane in range(1, 5):
        edge = lane * 46
        box = (curve + edge, horizon + 60 + edge // 2, curve + 1300 - edge, HEIGHT + 420 - edge)
        pen.ellipse(box, outline=WHITE, width=5)


def _gate(pen: Pen, chance: random.Random) -> None:
    """A school's gate at the road."""
    horizon = chance.randint(380, 450)
    _sky(pen, chance, horizon)
    for hill in range(3):
        at = chance.randint(-200, 800)
        pen.ellipse((at, horizon - 130 - hill * 20, at + 520, horizon + 220), _near(GREEN, chance))
    pen.rectangle((0, horizon, WIDTH, HEIGHT), (150, 152, 154))
    one, other, top = chance.randint(90, 200), chance.randint(680, 800), chance.randint(90, 170)
    stone = _near((206, 188, 160), chance)
    pen.rectangle((one - 20, top - 40, other + 110, top + 30), chance.choice((RED, BLUE, YELLOW)))
    for at in range(one + 60, other, 120):
        pen.rectangle((at, top - 22, at + 54, top + 12), WHITE)
    for left in (one, other):
        _box(pen, (left, top, left + 90, horizon + 120), stone)
    for left in range(one + 104, other - 6, 34):
        pen.rectangle((left, top + 170, left + 12, horizon + 110), STEEL)
    pen.rectangle((one + 90, top + 230, other, top + 246), STEEL)


def _sink(pen: Pen, chance: random.Random) -> None:
    """Basins and taps on a tiled wall."""
    tile, hue = chance.randint(40, 64), _soft(chance)
    for left in range(0, WIDTH, tile):
        for top in range(0, 430, tile):
            pen.rectangle((left + 1, top + 1, left + tile - 1, top + tile - 1), _near(hue, chance))
    pen.rectangle((0, 430, WIDTH, HEIGHT), _near(STEEL, chance))
    width = chance.randint(200, 300)
    for left in range(chance.randint(20, 120), WIDTH - width, width + chance.randint(30, 90)):
        basin = (left, 460, left + width, 650)
        pen.rounded_rectangle(basin, 40, (228, 232, 234), INK, 5)
        middle = left + width // 2
        pen.line((middle, 460, middle, 340), INK, 14)
        pen.line((middle - 4, 342, middle + 46, 342), INK, 14)
        pen.rectangle((left, 110, left + width - 30, 290), (206, 226, 236), STEEL, 8)
        pen.line((left + 30, 250, left + width // 2, 140), WHITE, 8)


def _bins(pen: Pen, chance: random.Random) -> None:
    """Bins for waste in a yard."""
    ground = chance.randint(400, 500)
    pen.rectangle((0, ground, WIDTH, HEIGHT), (172, 170, 164))
    for left in range(0, WIDTH, 56):
        for top in range(0, ground, 28):
            shift = 28 if top // 28 % 2 else 0
            box = (left - shift + 1, top + 1, left - shift + 55, top + 27)
            pen.rectangle(box, _near((186, 132, 108), chance))
    left = chance.randint(60, 160)
    for colour in chance.sample(BRIGHT, chance.choice((2, 3, 4))):
        width, height = chance.randint(130, 180), chance.randint(220, 320)
        bottom = ground + chance.randint(110, 190)
        _box(pen, (left, bottom - height, left + width, bottom), _near(colour, chance))
        pen.rectangle((left - 8, bottom - height - 22, left + width + 8, bottom - height + 6), INK)
        pen.ellipse((left + 8, bottom - 20, left + 48, bottom + 20), INK)
        left += width + chance.randint(14, 60)


SCENES: dict[str, Callable[[Pen, random.Random], None]] = {
    "kitchen": _kitchen,
    "samples": _samples,
    "licence": _licence,
    "store": _store,
    "hall": _hall,
    "classroom": _classroom,
    "ground": _ground,
    "gate": _gate,
    "sink": _sink,
    "bins": _bins,
}

# ---- strokes -----------------------------------------------------------------------------------


def _soft(chance: random.Random) -> Colour:
    return chance.randint(206, 240), chance.randint(212, 240), chance.randint(206, 238)


def _near(colour: Colour, chance: random.Random) -> Colour:
    shift = chance.randint(-16, 16)
    red, green, blue = (max(0, min(255, each + shift)) for each in colour)
    return red, green, blue


def _box(pen: Pen, box: Box, fill: Colour) -> None:
    pen.rectangle(box, fill, INK, 3)


def _lines(pen: Pen, box: Box, colour: Colour = (150, 154, 160)) -> None:
    """What looks like writing."""
    left, top, right, bottom = box
    for row, at in enumerate(range(top, bottom, 20)):
        pen.line((left, at, right - (right - left) * (row % 3) // 4, at), colour, 5)


def _windows(pen: Pen, chance: random.Random, bottom: int) -> None:
    width = chance.randint(120, 200)
    for left in range(chance.randint(10, 60), WIDTH - width, width + 50):
        _box(pen, (left, 40, left + width, bottom - 60), (196, 220, 234))
        pen.line((left + width // 2, 40, left + width // 2, bottom - 60), INK, 4)


def _sky(pen: Pen, chance: random.Random, horizon: int) -> None:
    hue = chance.randint(150, 190)
    for top in range(0, horizon, 6):
        light = min(250, hue + top // 6)
        pen.rectangle((0, top, WIDTH, top + 6), (light, min(252, light + 24), 246))
    for _cloud in range(chance.randint(0, 4)):
        left, top = chance.randint(0, WIDTH), chance.randint(20, 140)
        pen.ellipse((left, top, left + chance.randint(90, 200), top + 40), WHITE)


def _page(number: int, nth: int) -> Image.Image:
    image = Image.new("L", (595, 842), 255)
    pen = ImageDraw.Draw(image)
    if nth == 1:
        pen.rectangle((180, 70, 415, 92), 60)
    for row, top in enumerate(range(140 if nth == 1 else 80, 780, 26)):
        pen.rectangle((70, top, 525 - (row * (31 + number)) % 160, top + 7), 150)
    return image


def _exif(taken_at: datetime, place: Point | None, *, model: str) -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION] = 1
    exif[_MAKE], exif[_MODEL] = "Duxue demo", model
    taken = exif.get_ifd(_EXIF_IFD)
    taken[_TAKEN_AT] = taken_at.strftime("%Y:%m:%d %H:%M:%S")
    taken[_OFFSET] = taken_at.strftime("%z")[:3] + ":" + taken_at.strftime("%z")[3:5]
    if place:
        exif.get_ifd(_GPS_IFD).update(
            {
                1: "N" if place[0] >= 0 else "S",
                2: _degrees(abs(place[0])),
                3: "E" if place[1] >= 0 else "W",
                4: _degrees(abs(place[1])),
            }
        )
    return exif


def _degrees(value: float) -> tuple[float, float, float]:
    """Degrees, minutes, seconds."""
    minutes = value % 1 * 60
    return float(int(value)), float(int(minutes)), round(minutes % 1 * 60, 3)
