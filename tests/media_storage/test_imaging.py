"""What becomes of pictures, honest and hostile."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, ImageCms

from media_storage import likeness
from media_storage.imaging import look
from media_storage.refusals import Refused
from media_storage.results import SmallPicture, Told
from tests.media_storage import pictures
from tests.media_storage.pictures import BLUE, GREEN, RED, WHITE

Pixel = tuple[int, int, int]


def seen(content: bytes, pillow_format: str = "JPEG") -> list[Told | SmallPicture]:
    file = io.BytesIO(content)
    return list(look(file, pillow_format=pillow_format, signature=pillow_format.lower()))


def told(content: bytes, pillow_format: str = "JPEG") -> Told:
    first = seen(content, pillow_format)[0]
    assert isinstance(first, Told)
    return first


def made(content: bytes, pillow_format: str = "JPEG") -> dict[str, SmallPicture]:
    results = seen(content, pillow_format)
    return {each.name: each for each in results if isinstance(each, SmallPicture)}


def opened(small: SmallPicture) -> Image.Image:
    image = Image.open(io.BytesIO(small.data))
    assert (image.format, small.content_type) == ("WEBP", "image/webp")
    assert image.size == (small.width, small.height)
    return image


def corners(image: Image.Image) -> list[Pixel]:
    """The colours of the four quarters, row by row."""
    rgb = image.convert("RGB")
    width, height = image.size
    places = [(x, y) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    return [rgb.getpixel(place) for place in places]  # type: ignore[misc]


def near(found: list[Pixel], wanted: list[Pixel]) -> bool:
    pairs = zip(sum(found, ()), sum(wanted, ()), strict=True)
    return all(abs(one - other) < 25 for one, other in pairs)


def test_what_it_says_and_the_thumbnail_come_before_the_large_picture() -> None:
    first, second, third = seen(pictures.jpeg(900, 600))
    assert isinstance(first, Told)
    assert isinstance(second, SmallPicture)
    assert isinstance(third, SmallPicture)
    assert (second.name, third.name) == ("small", "large")


def test_one_pass_makes_both_sizes_with_the_proportions_kept() -> None:
    small = made(pictures.jpeg(4000, 3000))
    assert (small["large"].width, small["large"].height) == (1600, 1200)
    assert (small["small"].width, small["small"].height) == (320, 240)
    for each in small.values():
        assert near(corners(opened(each)), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize(("width", "height"), [(4000, 3000), (3000, 4000)])
def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(
    monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    decoded: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def spy(image: Image.Image, *args: Any, **kwargs: Any) -> Image.Image:
        decoded.append(image.size)
        return resize(image, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", spy)
    made(pictures.jpeg(width, height))
    assert decoded[0] == (width // 2, height // 2)


def test_a_small_picture_is_not_enlarged() -> None:
    small = made(pictures.jpeg(200, 100))
    assert {(each.width, each.height) for each in small.values()} == {(200, 100)}


def test_a_very_long_picture_keeps_at_least_one_pixel() -> None:
    small = made(pictures.jpeg(9000, 2))
    assert (small["small"].width, small["small"].height) == (320, 1)


@pytest.mark.parametrize(
    ("orientation", "wanted"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
    ],
)
def test_every_orientation_is_applied(orientation: int, wanted: list[Pixel]) -> None:
    content = pictures.jpeg_with_exif(2400, 1200, orientation=orientation)
    size = (1200, 2400) if orientation >= 5 else (2400, 1200)
    found = told(content)
    assert (found.width, found.height) == size
    for each in made(content).values():
        assert near(corners(opened(each)), wanted)


def test_renditions_carry_no_metadata() -> None:
    content = pictures.jpeg_with_exif(900, 600, orientation=6)
    for each in made(content).values():
        assert not opened(each).getexif()
        assert b"Camera of the test" not in each.data
        assert b"a comment" not in each.data
        assert b"Exif" not in each.data


def test_a_progressive_picture_is_fine() -> None:
    small = made(pictures.jpeg(progressive=True))["small"]
    assert near(corners(opened(small)), [RED, GREEN, BLUE, WHITE])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_make_a_broken_picture() -> None:
    broken = pictures.jpeg(exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff")
    assert made(broken)["small"].width == 320


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_other_colour_spaces_of_jpeg(mode: str) -> None:
    content = pictures.encoded(pictures.quarters(640, 480, mode), quality=90)
    wanted = corners(pictures.quarters(640, 480, mode))
    assert near(corners(opened(made(content)["small"])), wanted)


def test_16_bits_of_grey_become_8_without_burning_out() -> None:
    image = opened(made(pictures.png_16_bit(640, 64), "PNG")["small"]).convert("L")
    values = [image.getpixel((x, 10)) for x in (0, 80, 160, 240, 319)]
    for value, wanted in zip(values, (0, 64, 128, 191, 255), strict=True):
        assert isinstance(value, int)
        assert abs(value - wanted) < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(mode: str) -> None:
    image = Image.new("RGBA", (400, 400), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": image.getpixel((0, 0))} if mode == "P" else {}
    small = opened(made(pictures.encoded(image, "PNG", **options), "PNG")["small"])
    assert near(corners(small), [WHITE] * 4)


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(format_: str) -> None:
    frames = [Image.new("RGB", (400, 300), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if format_ == "WEBP" else {}
    content = pictures.encoded(
        frames[0], format_, save_all=True, append_images=frames[1:], duration=50, **options
    )
    assert near(corners(opened(made(content, format_)["small"])), [RED] * 4)


def test_colours_of_another_profile_are_moved_to_srgb() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A profile in which red and green have changed places: a rendition that ignores it shows.
    swapped = profile.replace(b"rXYZ", b"tXYZ").replace(b"gXYZ", b"rXYZ").replace(b"tXYZ", b"gXYZ")
    small = opened(made(pictures.jpeg(icc_profile=swapped))["small"])
    found = corners(small)
    assert found[0][1] > found[0][0]
    assert found[1][0] > found[1][1]
    assert "icc_profile" not in small.info


def test_a_broken_profile_is_ignored() -> None:
    content = pictures.jpeg(icc_profile=b"no profile at all")
    assert near(corners(opened(made(content)["small"])), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (pictures.png_claiming(50_000, 50_000), "PNG"),
        (pictures.png_claiming(8_000, 7_000), "PNG"),
        (pictures.jpeg_claiming(60_000, 60_000), "JPEG"),
    ],
)
def test_a_bomb_is_refused_before_it_is_decoded(content: bytes, format_: str) -> None:
    with pytest.raises(Refused) as refused:
        seen(content, format_)
    assert refused.value.code == "too_many_pixels"


def test_a_phone_with_very_many_pixels_is_welcome() -> None:
    found = told(pictures.jpeg(12_000, 9_000))
    assert (found.width, found.height) == (12_000, 9_000)


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (pictures.jpeg(1200, 900)[:5000], "JPEG"),
        (pictures.jpeg()[:30], "JPEG"),
        (b"", "JPEG"),
        ("这是一个文本文件".encode() * 50, "JPEG"),
        (pictures.encoded(pictures.quarters(900, 900), "PNG")[:300], "PNG"),
        (pictures.png_claiming(300, 300), "PNG"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "WEBP"),
    ],
)
def test_a_broken_file_is_refused(content: bytes, format_: str) -> None:
    with pytest.raises(Refused) as refused:
        seen(content, format_)
    assert refused.value.code == "broken"


def test_only_the_named_decoder_touches_a_file() -> None:
    png = pictures.encoded(pictures.quarters(10, 10), "PNG")
    with pytest.raises(Refused):
        seen(png)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_heic_photo_is_turned_by_its_container_and_only_once(orientation: int) -> None:
    content = pictures.heic(640, 480, orientation=orientation)
    found, small = told(content, "HEIF"), made(content, "HEIF")["small"]
    size = (480, 640) if orientation >= 5 else (640, 480)
    assert (found.width, found.height) == size
    as_jpeg = made(pictures.jpeg_with_exif(640, 480, orientation=orientation))["small"]
    assert (small.width, small.height) == (as_jpeg.width, as_jpeg.height)
    assert near(corners(opened(small)), corners(opened(as_jpeg)))
    assert found.exif["Make"] == "Camera of the test"


def test_a_profile_of_srgb_itself_is_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    sizes = []
    apply = ImageCms.applyTransform

    def spy(image: Image.Image, *args: Any, **kwargs: Any) -> Any:
        sizes.append(image.size)
        return apply(image, *args, **kwargs)

    monkeypatch.setattr(ImageCms, "applyTransform", spy)
    small = made(pictures.jpeg(icc_profile=profile))["small"]
    assert near(corners(opened(small)), [RED, GREEN, BLUE, WHITE])
    assert sizes == [(216, 1)]


def test_a_picture_encoded_anew_has_a_hash_near_and_another_one_far() -> None:
    scene = pictures.scene(1600, 1200, seed=1)
    one = told(pictures.encoded(scene, quality=92)).perceptual_hash
    assert one is not None
    again = [
        pictures.encoded(scene, quality=30),
        pictures.encoded(scene.resize((640, 480)), quality=80),
        pictures.encoded(scene.point(lambda value: value * 0.8 + 30), quality=80),
    ]
    for content in again:
        other = told(content).perceptual_hash
        assert other is not None
        assert likeness.distance(one, other) <= likeness.SAME
    for seed in range(2, 8):
        other = told(pictures.encoded(pictures.scene(800, 600, seed=seed))).perceptual_hash
        assert other is not None
        assert likeness.distance(one, other) > likeness.ALIKE


def test_the_hash_is_of_the_upright_picture_and_fits_a_signed_column() -> None:
    scene = pictures.scene(800, 600, seed=3)
    turned = scene.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    one = told(pictures.encoded(scene, quality=95)).perceptual_hash
    other = told(pictures.encoded(turned, quality=95, exif=exif)).perceptual_hash
    assert one is not None
    assert other is not None
    assert likeness.distance(one, other) <= 2
    assert -(2**63) <= one < 2**63


def test_a_picture_of_one_tone_has_no_hash() -> None:
    assert (
        told(pictures.encoded(Image.new("RGB", (400, 300), (90, 90, 90)))).perceptual_hash is None
    )


def test_distance_counts_bits_across_the_sign() -> None:
    assert likeness.distance(-1, 0) == 64
    assert likeness.distance(-(2**63), 2**63 - 1) == 64
    assert likeness.distance(5, 5) == 0
    assert likeness.distance(0b1011, 0b0001) == 2
