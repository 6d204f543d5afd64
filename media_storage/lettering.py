"""Text on pictures: fonts with their fallbacks, what may be written, wrapping, and the plate behind it.

Imported only where pictures are made: Pillow takes memory that the other processes have no use for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT = Path(__file__).parent / "fonts" / "DuxueSansSC-Regular.otf"
SYSTEM_FONTS = (
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/opentype/noto-cjk/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/google-noto-sans-cjk-fonts/NotoSansCJK-Regular.ttc", 2),
    ("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc", 0),
)
"""For characters that our font lacks; Debian, Fedora, Arch and Alpine each have a place of their own."""
SUBSTITUTE = "〓"
"""What printers set for a character that they have no type for."""
ELLIPSIS = "…"

_NO_CHARACTER = "\ufffe"
_MAX_CHARACTERS = 400
_SPACES = {"Zs", "Zl", "Zp", "Cc"}
_REMOVED = {"Cf", "Cs", "Mn", "Me"}
_EMOJI = ((0x2600, 0x27BF), (0x2B00, 0x2BFF), (0x1F000, 0x1FBFF), (0xE0000, 0xE0FFF))
_TEXT_SIGNS = "★☆♀♂"
_NOT_FIRST = "，。、；：？！）》」』】〉”’％%,.;:?!)]}·…"
_NOT_LAST = "（《「『【〈“‘([{"
"""What must not begin a line, and what must not end one."""

PLATE = (16, 20, 26)
PLATE_OPACITY = 0.72
"""White on it keeps a contrast of more than 7 : 1 above a white picture."""
HEADING = VALUE = (255, 255, 255)
LABEL = (216, 226, 240)


@dataclass(frozen=True, slots=True)
class Line:
    """One statement of a plate: a label, which may be empty, and what it says."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class _Run:
    """Characters of one row that one font has."""

    text: str
    font: ImageFont.FreeTypeFont
    colour: tuple[int, int, int]


_Row = list[_Run]


@dataclass(frozen=True, slots=True)
class Plate:
    """A text that is laid out: its size in pixels, and how to draw it."""

    width: int
    height: int
    rows: Sequence[_Row]
    size: int

    def draw(self, image: Image.Image, left: int, top: int) -> None:
        """Darken the ground, then write: legible on any picture."""
        box = (left, top, left + self.width, top + self.height)
        ground = image.crop(box)
        image.paste(Image.blend(ground, Image.new("RGB", ground.size, PLATE), PLATE_OPACITY), box)
        pen = ImageDraw.Draw(image)
        y = top + _padding(self.size)
        for row in self.rows:
            x = float(left + _padding(self.size))
            for run in row:
                # Anchored at the baseline: fonts of other makers have other ascents.
                pen.text((x, y + self.size), run.text, run.colour, run.font, anchor="ls")
                x += run.font.getlength(run.text)
            y += _line_height(self.size)


def lay_out(lines: Sequence[Line], *, size: int, width: int, rows_each: int = 2) -> Plate:
    """Set the lines in letters of `size` pixels on a plate at most `width` wide.

    A statement takes at most `rows_each` rows; what is longer ends in an ellipsis.
    """
    room = max(width - 2 * _padding(size), size)
    rows: list[_Row] = []
    for index, line in enumerate(lines):
        rows += _wrapped(line, size, room, rows_each, HEADING if index == 0 else VALUE)
    widest = max((sum(run.font.getlength(run.text) for run in row) for row in rows), default=0)
    return Plate(
        width=min(width, round(widest) + 2 * _padding(size)),
        height=len(rows) * _line_height(size) + 2 * _padding(size) - size // 4,
        rows=rows,
        size=size,
    )


def clean(text: str) -> str:
    """One line of what can be written: no controls, no emoji, no marks that pile up, spaces single."""
    # Composed first, so that a letter with its accent is one character and stays.
    kept = (_cleaned(each) for each in unicodedata.normalize("NFC", text[: 4 * _MAX_CHARACTERS]))
    return " ".join("".join(kept).split())[:_MAX_CHARACTERS]


def _cleaned(character: str) -> str:
    category = unicodedata.category(character)
    if category in _SPACES:
        return " "
    emoji = any(first <= ord(character) <= last for first, last in _EMOJI)
    if category in _REMOVED or (emoji and character not in _TEXT_SIGNS):
        return ""
    return character


def _wrapped(
    line: Line, size: int, room: int, most: int, colour: tuple[int, int, int]
) -> list[_Row]:
    """The rows of one statement; those after the first are indented by the label's width."""
    label = clean(line.label)
    indent = _length(label + " ", size) if label else 0.0
    if indent > room / 2:
        label, indent = "", 0.0
    pieces = _broken(clean(line.text), size, room - indent, most)
    rows: list[_Row] = []
    for index, piece in enumerate(pieces):
        row: _Row = []
        if label:
            lead = label + " " if index == 0 else _blank(indent, size)
            row += _runs(lead, size, LABEL)
        rows.append(row + _runs(piece, size, colour))
    return rows


def _broken(text: str, size: int, room: float, most: int) -> list[str]:
    """The text in at most `most` pieces that fit; the last one ends in an ellipsis if more is left."""
    pieces: list[str] = []
    while text and len(pieces) < most:
        end = _fitting(text, size, room)
        if end < len(text) and len(pieces) == most - 1:
            end = _fitting(text, size, room - _length(ELLIPSIS, size))
            pieces.append(text[:end].rstrip() + ELLIPSIS)
            break
        end = _good_break(text, end)
        pieces.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return pieces


def _fitting(text: str, size: int, room: float) -> int:
    """How many characters fit; at least one, so that the text gets shorter."""
    used = 0.0
    for index, character in enumerate(text):
        used += _length(character, size)
        if used > room:
            return max(index, 1)
    return len(text)


def _good_break(text: str, end: int) -> int:
    """A place at or before `end` that splits no word and lets no closing sign begin a line."""
    if end >= len(text):
        return end
    for place in range(end, max(end - 20, 0), -1):
        before, after = text[place - 1], text[place]
        inside_word = (before + after).isascii() and before not in " -/" and after != " "
        if not inside_word and after not in _NOT_FIRST and before not in _NOT_LAST:
            return place
    return end


def _blank(width: float, size: int) -> str:
    return " " * max(round(width / _length(" ", size)), 0)


def _runs(text: str, size: int, colour: tuple[int, int, int]) -> _Row:
    runs: _Row = []
    for character, font in _characters(text, size):
        if runs and runs[-1].font is font:
            runs[-1] = _Run(runs[-1].text + character, font, colour)
        else:
            runs.append(_Run(character, font, colour))
    return runs


def _characters(text: str, size: int) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    """Each character with a font that has it; what none has becomes the substitute."""
    for character in text:
        font = _font_for(character, size)
        yield (character, font) if font else (SUBSTITUTE, _fonts(size)[0])


def _length(text: str, size: int) -> float:
    return sum(_advance(character, size) for character in text)


@cache
def _advance(character: str, size: int) -> float:
    return next(font.getlength(each) for each, font in _characters(character, size))


@cache
def _font_for(character: str, size: int) -> ImageFont.FreeTypeFont | None:
    return next((font for font in _fonts(size) if _has(font, character)), None)


def _has(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether the font has the character: else it draws the box that it draws for none."""
    absent = font.getmask(_NO_CHARACTER, mode="L")
    drawn = font.getmask(character, mode="L")
    return (drawn.size, bytes(drawn)) != (absent.size, bytes(absent))


@cache
def _fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    """Our own, then those of the system, in the order in which they are asked."""
    return tuple(
        ImageFont.truetype(path, size, index, layout_engine=ImageFont.Layout.BASIC)
        for path, index in ((str(FONT), 0), *SYSTEM_FONTS)
        if Path(path).is_file()
    )


def _padding(size: int) -> int:
    return max(round(size * 0.6), 4)


def _line_height(size: int) -> int:
    return round(size * 1.4)
