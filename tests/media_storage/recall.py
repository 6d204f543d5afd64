"""How many faces of nobody the detector finds: the table of docs/shared-copies.md.

    .venv/bin/python -m tests.media_storage.recall

By width in pixels of the large rendition, and by how the head is held and lit. Then what it takes for
faces where there are none.
"""

from __future__ import annotations

import io
import random
import sys
from datetime import UTC, datetime

from PIL import Image

from media_storage.faces import Box, find_faces
from server.console.pictures import draw
from tests.media_storage.faces import SKINS, ground, head

WIDTHS = (20, 28, 40, 60, 120, 240)
HOW = {
    "front": {},
    "glasses": {"glasses": True},
    "light from a side": {"light": 0.9},
    "turned 25": {"yaw": 25},
    "turned 45": {"yaw": 45},
    "turned 65": {"yaw": 65},
    "turned 80": {"yaw": 80},
    "leaning 18": {"roll": 18},
    "leaning 30": {"roll": 30},
    "leaning 45": {"roll": 45},
    "leaning 90": {"roll": 90},
    "half covered": {"covered": True},
}
EACH = 12


def main() -> None:
    print(f"{'':20}" + "".join(f"{width:>8}" for width in WIDTHS))
    for name, how in HOW.items():
        shares = [_share(width, **how) for width in WIDTHS]  # type: ignore[arg-type]
        print(f"{name:20}" + "".join(f"{share:8.0%}" for share in shares), flush=True)
    kitchens = (
        draw("kitchen", each, taken_at=datetime(2026, 11, 23, tzinfo=UTC)) for each in range(20)
    )
    without = [Image.open(io.BytesIO(each)).convert("RGB") for each in kitchens]
    without += [ground(1600, 1200, seed=seed) for seed in range(20)]
    wrong = sum(len(find_faces(image)) for image in without)
    print(f"in {len(without)} pictures without faces: {wrong} found")


def _share(width: int, *, covered: bool = False, **how: float) -> float:
    """Of `EACH` faces this wide, on grounds and in colours of their own."""
    chance, size, hits = random.Random(width), int(width / 0.58), 0
    for number in range(EACH):
        sign = 1 if number % 2 else -1
        turned = {name: value * sign for name, value in how.items() if name != "glasses"}
        glasses = bool(how.get("glasses"))
        skin = SKINS[number % len(SKINS)]
        drawn = head(size, skin=skin, glasses=glasses, **turned)  # type: ignore[arg-type]
        if covered:  # as by the head in front
            drawn.paste((40, 60, 90, 255), (0, size * 55 // 100, size, size))
        image = ground(1600, 1200, seed=100 * width + number)
        x, y = chance.randrange(0, 1600 - size), chance.randrange(0, 1200 - size)
        image.paste(drawn, (x, y), drawn)
        hits += any(_covers(box, x + size / 2, y + size / 2, width) for box in find_faces(image))
    return hits / EACH


def _covers(box: Box, x: float, y: float, width: int) -> bool:
    left, upper, right, lower = box.pixels((1600, 1200))
    inner = width * 0.3
    around = left < x - inner and right > x + inner and upper < y - inner and lower > y + inner
    return around and right - left < width * 4


if __name__ == "__main__":
    sys.exit(main())
