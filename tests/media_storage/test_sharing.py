"""The shared copy of a picture, as the bounded process makes it."""

from __future__ import annotations

import io
import tempfile
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from media_storage import bounded
from media_storage.refusals import Refused
from media_storage.sharing import make_shared_copy
from tests.media_storage.faces import ground, head
from tests.media_storage.pictures import encoded, jpeg

LINES = [
    ["", "云岭县东河镇中心小学"],
    ["活动", "食品安全督导周"],
    ["督学", "安督学"],
    ["时间", "2026-11-23 10:12:05 +08:00"],
    ["位置", "33.00012, 108.00034（±5 米），距学校 13 米"],
    ["编号", "7F3A 9C21 D0E4 B5F6"],
]


def made(image: Image.Image | bytes, *, format_: str = "WEBP", **how: Any) -> dict[str, Any]:
    content = image if isinstance(image, bytes) else encoded(image, format_)
    given = {"lines": LINES, "blur": False, "boxes": [], **how}
    return make_shared_copy(io.BytesIO(content), **given)


def pictures_of(answer: dict[str, Any]) -> dict[str, Image.Image]:
    found = {each["name"]: each for each in answer["pictures"]}
    opened = {name: Image.open(io.BytesIO(each["data"])) for name, each in found.items()}
    for name, image in opened.items():
        assert image.format == "JPEG"
        assert image.size == (found[name]["width"], found[name]["height"])
    return opened


def changed(one: Image.Image, other: Image.Image) -> tuple[int, int, int, int]:
    """The part in which two pictures differ by more than their encoding."""
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).convert("L")
    box = difference.point(lambda value: 255 if value > 40 else 0).getbbox()
    assert box
    return box


@pytest.mark.parametrize("size", [(1600, 1200), (1200, 1600), (900, 1600)])
@pytest.mark.parametrize("tone", [10, 250])
def test_the_plate_stands_in_a_corner_of_the_picture(size: tuple[int, int], tone: int) -> None:
    picture = Image.new("RGB", size, (tone, tone, tone))
    shared = pictures_of(made(picture))["shared"]
    assert shared.size == size
    left, upper, right, lower = changed(picture, shared)
    assert left < size[0] * 0.1
    assert lower > size[1] * 0.9
    assert upper > size[1] * 0.6
    assert right < size[0] * 0.95


@pytest.mark.parametrize("size", [(1, 1), (200, 140), (1600, 12), (12, 1600), (320, 240)])
def test_of_a_picture_too_small_for_it_nothing_is_covered(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (200, 30, 30))
    shared = pictures_of(made(picture))["shared"]
    assert shared.width >= 300
    left = (shared.width - size[0]) // 2
    kept = shared.crop((left, 0, left + size[0], size[1])).resize((1, 1), Image.Resampling.BOX)
    red, green, _blue = kept.getpixel((0, 0))  # type: ignore[misc]
    if min(size) > 10 and size[1] < 1000:
        assert red > 150
        assert green < 80


def test_a_copy_without_words_is_the_picture() -> None:
    picture = ground(800, 600, seed=1)
    shared = pictures_of(made(picture, lines=[]))["shared"]
    assert shared.size == picture.size
    assert max(ImageStat.Stat(ImageChops.difference(picture, shared.convert("RGB"))).mean) < 6


def test_the_thumbnail_is_made_of_the_same_picture_and_has_no_plate() -> None:
    picture = Image.new("RGB", (1600, 1200), (250, 250, 250))
    small = pictures_of(made(picture))["shared_small"]
    assert small.size == (320, 240)
    assert min(low for low, _high in small.convert("RGB").getextrema()) > 240  # type: ignore[misc]


def test_faces_are_hidden_in_both_pictures_and_told() -> None:
    picture, face = ground(1600, 1200, seed=1), head(400)
    picture.paste(face, (600, 300), face)
    plain, blurred = made(picture), made(picture, blur=True)
    assert plain["faces"] == []
    assert any(
        x < 800 / 1600 < x + width and y < 500 / 1200 < y + height
        for x, y, width, height in blurred["faces"]
    )
    for name, shared in pictures_of(blurred).items():
        box = changed(pictures_of(plain)[name], shared)
        scale = shared.width / 1600
        assert box[0] < 700 * scale
        assert box[2] > 900 * scale


def test_what_people_hide_is_hidden_without_looking_for_faces() -> None:
    picture = ground(1600, 1200, seed=2)
    answer = made(picture, lines=[], boxes=[[0.5, 0.25, 0.25, 0.25]])
    assert answer["faces"] == []
    shared, plain = (pictures_of(each)["shared"] for each in (answer, made(picture, lines=[])))
    left, upper, right, lower = changed(plain, shared)
    assert 780 <= left < right <= 1220
    assert 280 <= upper < lower <= 620


def test_a_copy_carries_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera of the test"
    for content in (
        jpeg(800, 600, exif=exif, comment=b"a comment"),
        encoded(ground(640, 480, seed=1), "WEBP", exif=exif),
    ):
        for image in pictures_of(made(content)).values():
            assert not image.getexif()
            assert "comment" not in image.info


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff\xe0" + bytes(500),
        jpeg(1200, 900)[:9000],
        b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    ],
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        made(content)
    assert refused.value.code == "broken"


def test_what_is_larger_than_any_rendition_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(Refused) as refused:
        made(jpeg(4100, 3100))
    assert refused.value.code == "too_many_pixels"


def test_another_kind_of_picture_than_ours_is_refused() -> None:
    with pytest.raises(Refused):
        made(ground(64, 64, seed=1), format_="PNG")


def test_it_runs_in_the_bounded_process_with_little_memory() -> None:
    picture, face = ground(1600, 1200, seed=1), head(300)
    picture.paste(face, (600, 300), face)
    with tempfile.TemporaryFile() as file:
        file.write(encoded(picture, "WEBP"))
        file.flush()
        answer = bounded.run("shared", file, lines=LINES, blur=True, boxes=[[0.1, 0.1, 0.1, 0.1]])
    assert len(answer["faces"]) == 1
    assert bounded.usage().peak_bytes < 180 * 1024 * 1024
    bounded.close()


def test_the_same_picture_gives_the_same_copy() -> None:
    picture, face = ground(800, 600, seed=1), head(200)
    picture.paste(face, (300, 200), face)
    assert made(picture, blur=True) == made(picture, blur=True)
