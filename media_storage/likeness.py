"""Pictures that look alike: a 64-bit difference hash, and how to compare two.

The upright picture is made grey, shrunk to 9 x 8, and each of its 64 pairs of neighbours in a row gives
a bit: whether the left one is brighter. It survives new compression, other sizes and changes of
brightness; it does not survive cropping or turning. Two hashes are compared by the number of bits in
which they differ:

    0 to 4      the same picture, encoded anew
    5 to 10     probably the same, retouched
    about 32    two pictures that have nothing to do with each other

    distance(one, other)                                         in Python
    bit_count((one # other)::bit(64))                            in PostgreSQL 14 and newer

It is stored as a signed 64-bit integer, as databases have it. A picture that is all one tone has no
hash: it would be like every other such picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SAME, ALIKE = 4, 10
WIDTH, HEIGHT = 9, 8
MIN_CONTRAST = 8
"""Of 255 steps of grey, between the darkest and the brightest of the 72 places."""


def distance(one: int, other: int) -> int:
    """In how many of the 64 bits two hashes differ."""
    return ((one ^ other) & (2**64 - 1)).bit_count()


def difference_hash(image: Image.Image) -> int | None:
    """Of an upright picture; None for one without contrast."""
    from PIL import Image as Pillow

    small = image.convert("L").resize((WIDTH, HEIGHT), Pillow.Resampling.BOX)
    grey = small.tobytes()
    if max(grey) - min(grey) < MIN_CONTRAST:
        return None
    bits = 0
    for row in range(HEIGHT):
        for place in range(row * WIDTH, row * WIDTH + WIDTH - 1):
            bits = bits << 1 | (grey[place] > grey[place + 1])
    return bits - 2**64 if bits >= 2**63 else bits
