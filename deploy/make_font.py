"""Make the font of watermarks: a subset of Noto Sans CJK SC under a name of its own.

Run it where fontTools is, an environment of its own outside of the product's:

    deploy/debian.sh fonts-noto-cjk unicode-data
    python3 -m venv /tmp/font && /tmp/font/bin/pip install fonttools==4.68.0
    /tmp/font/bin/python deploy/make_font.py

The same packages give the same file, byte for byte. See media_storage/fonts/README.md.
"""

from __future__ import annotations

import bz2
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
SIMPLIFIED = 2
"""Which face of the collection: 0 JP, 1 KR, 2 SC, 3 TC, 4 HK."""
UNIHAN = Path("/usr/share/unicode/Unihan_OtherMappings.txt.bz2")
TARGET = Path(__file__).resolve().parents[1] / "media_storage" / "fonts" / "DuxueSansSC-Regular.otf"

FAMILY = "Duxue Sans SC"
DESCRIPTION = "A subset of Noto Sans CJK SC 2.004 for the watermarks of Duxue; outlines unchanged."
SIGNS = "…—–‘’“”·•°±×÷≈≤≥→←↑↓№℃㎡㎞²³□■▲●★※"
LATIN = (0x20, 0x7E), (0xA0, 0xFF)
DROPPED = ["BASE", "GDEF", "GPOS", "GSUB", "VORG", "vhea", "vmtx"]
"""Pillow lays out these texts glyph by glyph, from left to right."""


def main() -> int:
    from fontTools import subset
    from fontTools.ttLib import TTFont

    wanted = set(characters())
    font = TTFont(SOURCE, fontNumber=SIMPLIFIED, recalcTimestamp=False)
    absent = sorted(wanted - font.getBestCmap().keys())
    options = subset.Options()
    options.layout_features = []
    options.hinting = False
    options.drop_tables += DROPPED
    options.name_IDs = ["*"]
    options.notdef_outline = True
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=wanted)
    subsetter.subset(font)
    _rename(font)
    font.save(TARGET)
    print(f"{TARGET}: {len(wanted) - len(absent)} characters, {TARGET.stat().st_size} bytes")
    if absent:
        print("not in the source:", " ".join(f"U+{each:04X}" for each in absent), file=sys.stderr)
    return 1 if absent else 0


def characters() -> Iterator[int]:
    """ASCII and Latin-1, GB 2312, the table of general standard characters, Big5's frequent ones."""
    for first, last in LATIN:
        yield from range(first, last + 1)
    yield from map(ord, SIGNS)
    yield from _rows("gb2312", range(0xA1, 0xF8), range(0xA1, 0xFF))
    yield from _rows("big5", range(0xA4, 0xC7), [*range(0x40, 0x7F), *range(0xA1, 0xFF)])
    yield from _standard()


def _rows(codec: str, first: range, second: range | list[int]) -> Iterator[int]:
    for high in first:
        for low in second:
            try:
                yield ord(bytes([high, low]).decode(codec))
            except UnicodeDecodeError:
                continue  # a place of the table with nothing in it


def _standard() -> Iterator[int]:
    """通用规范汉字表 (2013), all three levels: Unihan's property kTGH."""
    with bz2.open(UNIHAN, "rt", encoding="utf-8") as lines:
        for line in lines:
            code, _, rest = line.partition("\t")
            if rest.startswith("kTGH\t"):
                yield int(code.removeprefix("U+"), 16)


def _rename(font: Any) -> None:
    """A modified version goes by a name of its own: Noto is a trademark, Source a reserved name."""
    names, plain = font["name"], FAMILY.replace(" ", "")
    for record in list(names.names):
        if record.langID not in (0, 0x409) or record.nameID not in (0, 7, 8, 11, 13, 14):
            names.removeNames(record.nameID, record.platformID, record.platEncID, record.langID)
    given = {
        1: FAMILY,
        2: "Regular",
        3: f"2.004;{plain}-Regular",
        4: FAMILY,
        5: "Version 2.004",
        6: f"{plain}-Regular",
        10: DESCRIPTION,
    }
    for number, text in given.items():
        names.setName(text, number, 3, 1, 0x409)
    outlines = font["CFF "].cff
    outlines.fontNames = [f"{plain}-Regular"]
    outlines.topDictIndex[0].FullName = FAMILY
    outlines.topDictIndex[0].FamilyName = FAMILY


if __name__ == "__main__":
    raise SystemExit(main())
