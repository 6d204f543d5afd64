"""Text on pictures: which characters there are, how lines are broken, and that it can be read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont

from media_storage import lettering
from media_storage.lettering import ELLIPSIS, FONT, SUBSTITUTE, Line, clean, lay_out


@pytest.fixture(autouse=True)
def only_our_font(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine without any Chinese font."""
    monkeypatch.setattr(lettering, "SYSTEM_FONTS", ())
    forget()
    yield
    forget()


CACHES = (lettering._fonts, lettering._font_for, lettering._advance)


def forget() -> None:
    for each in CACHES:
        each.cache_clear()


def texts(*lines: Line, size: int = 20, width: int = 600, rows_each: int = 2) -> list[str]:
    plate = lay_out(lines, size=size, width=width, rows_each=rows_each)
    return ["".join(run.text for run in row) for row in plate.rows]


def drawn(ground: int, *lines: Line, size: int = 24) -> Image.Image:
    plate = lay_out(lines, size=size, width=560)
    image = Image.new("RGB", (plate.width, plate.height), (ground, ground, ground))
    plate.draw(image, 0, 0)
    return image


def written(text: str, size: int = 20) -> str:
    return "".join(run.text for run in lettering._runs(text, size, lettering.VALUE))


@pytest.mark.parametrize(
    "text",
    [
        "东河镇中心小学（示范性寄宿制）",
        "ASCII: [a-z] {0} ~ 100%",
        "±5 米，距学校 13 米 · 33.00012°",
        "堃喆玥珺昇祎燊垚淼赟犇翀彧",  # names; most of them are not in GB 2312
        "埗堌墘嫘峣崾嵖嶂岙圩垭塬",  # places
        "㑇㛹㛃䲟䲠𠙶𠳐𡎚𡐓𣗋𣲗",  # third level of the table, from the extensions A and B
        "學校檢查臺灣龍",  # traditional
    ],
)
def test_our_font_has_the_characters_of_names_and_places(text: str) -> None:
    assert written(text) == text


def test_our_font_has_gb_2312_whole() -> None:
    font = ImageFont.truetype(str(FONT), 12, layout_engine=ImageFont.Layout.BASIC)
    codes = [bytes([high, low]) for high in range(0xB0, 0xF8) for low in range(0xA1, 0xFF)]
    characters = [code.decode("gb2312", "ignore") for code in codes]
    hanzi = [each for each in characters if each]
    assert len(hanzi) == 6763
    assert [each for each in hanzi if not lettering._has(font, each)] == []


@pytest.mark.parametrize("character", ["\U00030000", "ئ", "\ue863", "\U0002ceb0"])
def test_a_character_that_no_font_has_leaves_a_visible_sign(character: str) -> None:
    assert written(f"张{character}") == f"张{SUBSTITUTE}"
    assert written(SUBSTITUTE) == SUBSTITUTE


def test_a_font_of_the_system_helps_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here ours is the system's, and the product's is one that has nothing but Latin."""
    monkeypatch.setattr(lettering, "SYSTEM_FONTS", (("/nowhere.ttc", 2), (str(FONT), 0)))
    latin = ImageFont.load_default(20)
    assert isinstance(latin, ImageFont.FreeTypeFont)
    ours = ImageFont.truetype(str(FONT), 20, layout_engine=ImageFont.Layout.BASIC)
    forget()
    assert len(lettering._fonts(20)) == 2
    monkeypatch.setattr(lettering, "_fonts", lambda size: (latin, ours))
    runs = lettering._runs("ab学校", 20, lettering.VALUE)
    assert [(run.text, run.font is ours) for run in runs] == [("ab", False), ("学校", True)]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("食堂🍎检查👩‍🏫☀️", "食堂检查"),
        ("一\n二\t三\u3000四\x00五", "一 二 三 四 五"),
        ("安\u202e督\u200b学\ufeff", "安督学"),
        ("e\u0301te\u0301", "été"),
        ("a" + "\u0300" * 50, "à"),
        ("★☆", "★☆"),
        ("", ""),
        ("\ud800", ""),
        ("长" * 5000, "长" * 400),
    ],
)
def test_what_cannot_be_written_is_left_out(text: str, kept: str) -> None:
    assert clean(text) == kept


def test_a_statement_that_is_too_long_is_wrapped_and_ends_in_an_ellipsis() -> None:
    first, second = texts(Line("", "督导" * 60))
    assert first == "督导" * (len(first) // 2) + "督" * (len(first) % 2)
    assert second.endswith(ELLIPSIS)
    assert lettering._length(second, 20) <= 600
    assert texts(Line("", "督导")) == ["督导"]
    assert len(texts(Line("", "督导" * 60), rows_each=3)) == 3


def test_what_follows_a_label_is_indented_by_it() -> None:
    first, second = texts(Line("活动", "督导" * 25))
    assert first.startswith("活动 督导")
    assert second.startswith("  ")
    assert second.strip().startswith(("督", "导"))


def test_words_and_numbers_stay_whole_and_marks_stand_where_they_may() -> None:
    rows = texts(Line("", "x " * 20 + "2026-11-23 10:12:05 " * 3), width=400, rows_each=9)
    assert all(row.strip() for row in rows)
    whole = " ".join(rows)
    assert whole.count("10:12:05") == 3
    for width in range(200, 420, 20):
        for row in texts(Line("", "检查（食堂），宿舍。操场、厕所" * 4), width=width, rows_each=20):
            assert not row.startswith(tuple("，。、）"))
            assert not row.endswith("（")


def test_a_word_longer_than_a_line_is_cut_rather_than_lost() -> None:
    rows = texts(Line("", "A" * 100), rows_each=9)
    assert "".join(rows) == "A" * 100


@pytest.mark.parametrize("width", [1, 10, 60])
def test_a_width_that_holds_hardly_a_letter_is_survived(width: int) -> None:
    plate = lay_out([Line("标签", "文字"), Line("", "")], size=20, width=width)
    assert plate.width <= width
    plate.draw(Image.new("RGB", (100, 400)), 0, 0)


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    def luminance(colour: tuple[int, ...]) -> float:
        parts = [value / 255 for value in colour]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", [0, 128, 255])
@pytest.mark.parametrize("colour", [lettering.VALUE, lettering.LABEL])
def test_letters_stand_out_on_any_picture(ground: int, colour: tuple[int, int, int]) -> None:
    plate = drawn(ground, Line("", " ")).getpixel((1, 1))
    assert isinstance(plate, tuple)
    assert contrast(colour, plate) >= 4.5


def test_the_text_is_really_there() -> None:
    """The plate is the same but for the character, and that is the one that the font draws."""
    one, other = drawn(200, Line("", "东东东")), drawn(200, Line("", "东西东"))
    box = ImageChops.difference(one, other).getbbox()
    assert box
    left, _upper, right, _lower = box
    padding = lettering._padding(24)
    assert padding + 24 <= left < right <= padding + 2 * 24 + 1
    font = ImageFont.truetype(str(FONT), 24, layout_engine=ImageFont.Layout.BASIC)
    mask = Image.new("L", (24, 40))
    ImageDraw.Draw(mask).text((0, 24), "西", 255, font, anchor="ls")
    seen = other.convert("L").crop((padding + 24, padding, padding + 48, padding + 40))
    dark = seen.getpixel((0, 0))
    assert isinstance(dark, int)
    letters = seen.point(lambda value: 255 if value > 160 else 0)
    expected = mask.point(lambda value: 255 if value > 128 else 0)
    differing = sum(a != b for a, b in zip(letters.tobytes(), expected.tobytes(), strict=True))
    assert differing <= 24
    assert expected.getbbox()
