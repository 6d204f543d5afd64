"""Pictures: decoded once, made small and upright, without metadata. Runs in the bounded process.

Hostile files are expected here. The decoder is named, never guessed; sizes are checked before a pixel
is decoded; whatever a decoder raises becomes `Refused` with a reason that the inspector can read.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final

from PIL import Image, ImageCms, UnidentifiedImageError

from media_storage import exif, single_type
from media_storage.likeness import difference_hash
from media_storage.refusals import Reason, Refused
from media_storage.results import SmallPicture, Told

MAX_PIXELS = 50_000_000
"""Of a picture that is decoded whole: 200 MB in colour. Phones make HEIC of 48 megapixels."""
MAX_DRAFT_PIXELS = 220_000_000
"""Of a baseline JPEG, which is decoded at a fraction of its size: phones make 108 and 200 megapixels."""
MAX_WEBP_PIXELS = 24_000_000
"""Its decoder keeps four copies of the picture."""
BAND_PIXELS = 4_000_000
MAX_PROFILE_BYTES = 1024 * 1024
"""Of a colour profile; a display's has a few thousand."""

SIZES = {"large": 1600, "small": 320}
# Measured (docs/media.md): a quarter to a third smaller than JPEG of the same error, for a tenth more
# of a photo's time; slower methods save little more.
FORMAT, QUALITY, METHOD = "WEBP", 76, 1
CONTENT_TYPE: Final = "image/webp"

# The checks below come first; these hold for whatever else opens a picture in this process.
Image.MAX_IMAGE_PIXELS = MAX_DRAFT_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def look(file: BinaryIO, *, pillow_format: str, signature: str) -> Iterator[Told | SmallPicture]:
    """The job "picture": what it says of itself and its thumbnail, then the large rendition.

    `pillow_format`: the only decoder that may touch it, such as "JPEG". Of an animation, the first
    frame. Raises Refused.
    """
    single_type.check(file, signature)
    with _opened(file, pillow_format) as image:
        # draft() picks a scale by both sides, so it wants the target's real size, not a square.
        size = image.size
        image.draft(image.mode, _fit(size, max(SIZES.values())))
        image.load()
        written = exif.read(image.info.get("exif", b""))
        # libheif turns the picture itself; its plug-in says so only in its own copy of the EXIF.
        turn = 1 if pillow_format == "HEIF" else written.get("Orientation", 1)
        large = _upright(_reduced(image, max(SIZES.values())), turn)
    width, height = reversed(size) if turn in (5, 6, 7, 8) else size
    yield from renditions(large, Told(width=width, height=height, exif=written))


def renditions(large: Image.Image, told: Told) -> Iterator[Told | SmallPicture]:
    """From an upright picture at most as large as the largest: what is told, the sizes, small first."""
    small = _reduced(large, SIZES["small"])
    told.perceptual_hash = difference_hash(small)
    yield told
    yield _encoded("small", small)
    yield _encoded("large", _reduced(large, SIZES["large"]))


@contextmanager
def _opened(file: BinaryIO, pillow_format: str) -> Iterator[Image.Image]:
    try:
        file.seek(0)
        if pillow_format == "HEIF":
            _learn_heif()
        with Image.open(file, formats=[pillow_format]) as image:
            _check_pixels(image)
            yield image
    except (Refused, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused(Reason.TOO_MANY_PIXELS, str(error)) from error
    except UnidentifiedImageError as error:
        raise Refused(Reason.BROKEN, "no such picture") from error
    except Exception as error:  # a decoder fed with hostile bytes may raise anything
        raise Refused(Reason.BROKEN, f"{type(error).__name__}: {error}") from error


def _learn_heif() -> None:
    import pillow_heif  # late: most files are JPEG

    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _check_pixels(image: Image.Image) -> None:
    width, height = image.size
    if width * height > _most_pixels(image):
        raise Refused(Reason.TOO_MANY_PIXELS, f"{width} x {height}")


def _most_pixels(image: Image.Image) -> int:
    # A progressive JPEG keeps all its coefficients in memory, whatever size is asked of it.
    if image.format in ("JPEG", "MPO") and not image.info.get("progressive"):
        return MAX_DRAFT_PIXELS
    return MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS


def _fit(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size within a square of `side`, proportions kept, never enlarged."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _reduced(image: Image.Image, side: int) -> Image.Image:
    """Within a square of `side`, in eight-bit RGB or grey, in sRGB."""
    size = _fit(image.size, side)
    if image.mode not in ("RGB", "L", "CMYK"):
        image = _plain_by_bands(image, size)
    if size != image.size:
        profile = image.info.get("icc_profile")
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        image.info = {"icc_profile": profile}
    return _in_srgb(image.convert("RGB") if image.mode == "CMYK" else image)


def _upright(image: Image.Image, orientation: Any) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _plain_by_bands(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Plain, and not much larger than `size`. Of a large picture no plain copy is made as a whole."""
    factor = min(image.width // size[0], image.height // size[1])
    if factor < 2:
        return _plain(image)
    width, height = -(-image.width // factor), -(-image.height // factor)
    # Of whole factors, so that no pixel of the result is made of two bands.
    rows = max(1, BAND_PIXELS // image.width // factor) * factor
    made = None
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(image.height, top + rows)))
        small = _plain(band).reduce(factor)
        made = made or Image.new(small.mode, (width, height))
        made.paste(small, (0, top // factor))
    assert made is not None  # noqa: S101 - a picture has rows
    made.info = image.info
    return made


def _plain(image: Image.Image) -> Image.Image:
    """Eight-bit RGB or grey, transparency on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        white.info = image.info
        return white
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled down: a plain convert() would cut everything above 255 to white."""
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")


def _in_srgb(image: Image.Image) -> Image.Image:
    """Colours moved to sRGB: the rendition carries no profile to read them by."""
    profile = image.info.pop("icc_profile", None)
    if not profile or image.mode != "RGB" or len(profile) > MAX_PROFILE_BYTES:
        return image
    with suppress(ImageCms.PyCMSError, OSError, ValueError):  # a broken profile: as it stands
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        move = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        return _moved(image, move)
    return image


def _moved(image: Image.Image, move: ImageCms.ImageCmsTransform) -> Image.Image:
    """Many phones name sRGB itself as their profile: then a quarter of a photo's time is saved."""
    if _changes_nothing(move):
        return image
    return ImageCms.applyTransform(image, move) or image


def _changes_nothing(move: ImageCms.ImageCmsTransform) -> bool:
    steps = range(0, 256, 51)
    colours = bytes(part for r in steps for g in steps for b in steps for part in (r, g, b))
    sample = Image.frombytes("RGB", (len(colours) // 3, 1), colours)
    moved = ImageCms.applyTransform(sample, move)
    if moved is None:
        return False
    pairs = zip(sample.tobytes(), moved.tobytes(), strict=True)
    return all(abs(one - other) <= 2 for one, other in pairs)


def _encoded(name: str, image: Image.Image) -> SmallPicture:
    buffer = io.BytesIO()
    # Saving writes the EXIF and the profile that `info` carries, unless it is empty.
    image.info = {}
    image.save(buffer, FORMAT, quality=QUALITY, method=METHOD)
    return SmallPicture(
        name=name,
        width=image.width,
        height=image.height,
        content_type=CONTENT_TYPE,
        data=buffer.getvalue(),
    )
