"""Pictures: what they are, without decoding them, and smaller upright copies without metadata.

Hostile files are expected here. The decoder is named, never guessed; sizes are checked before a pixel
is decoded; whatever a decoder raises becomes `BadImage` with a reason that the inspector can read.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageCms, UnidentifiedImageError

from media_storage.errors import BadImage
from media_storage.models import MediaObject

MAX_PIXELS = 40_000_000
"""Of a picture that is decoded whole: 160 MB with an alpha channel."""
MAX_DRAFT_PIXELS = 220_000_000
"""Of a baseline JPEG, which is decoded at a fraction of its size: phones make 108 and 200 megapixels."""

SIZES = {"small": 320, "large": 1600}
QUALITY = 82

# The checks below come first; these hold for whatever else opens a picture in this process.
Image.MAX_IMAGE_PIXELS = MAX_DRAFT_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)

ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Rejection = MediaObject.Rejection


@dataclass(frozen=True, slots=True)
class Picture:
    """Width and height in pixels as displayed, after orientation."""

    width: int
    height: int
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class SmallPicture:
    """A rendition: JPEG bytes, sRGB, upright, no metadata."""

    name: str
    width: int
    height: int
    data: bytes


def identify(file: BinaryIO, *, pillow_format: str) -> Picture:
    """Size and orientation from the header alone. Raises BadImage."""
    with _opened(file, pillow_format) as image:
        return _picture(image)


def make_renditions(file: BinaryIO, *, pillow_format: str) -> tuple[Picture, list[SmallPicture]]:
    """One decode, all sizes; a picture smaller than a size keeps its own. Raises BadImage.

    `pillow_format`: the only decoder that may touch it, such as "JPEG". Of an animation, the first
    frame.
    """
    with _opened(file, pillow_format) as image:
        picture = _picture(image)
        # draft() picks a scale by both sides, so it wants the target's real size, not a square.
        image.draft(image.mode, _fit(image.size, max(SIZES.values())))
        pixels: Image.Image = image
        renditions = []
        for name, side in sorted(SIZES.items(), key=lambda each: -each[1]):
            pixels = _reduced(pixels, side)
            renditions.append(_encoded(name, pixels, picture.orientation))
        return picture, renditions


@contextmanager
def _opened(file: BinaryIO, pillow_format: str) -> Iterator[Image.Image]:
    try:
        file.seek(0)
        with Image.open(file, formats=[pillow_format]) as image:
            _check_pixels(image)
            yield image
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(Rejection.TOO_MANY_PIXELS, str(error)) from error
    except UnidentifiedImageError as error:
        raise BadImage(Rejection.BROKEN, "no such picture") from error
    except MemoryError:
        raise
    except Exception as error:  # a decoder fed with hostile bytes may raise anything
        raise BadImage(Rejection.BROKEN, f"{type(error).__name__}: {error}") from error


def _check_pixels(image: Image.Image) -> None:
    # A progressive JPEG keeps all its coefficients in memory, whatever size is asked of it.
    scaled = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    width, height = image.size
    if width * height > (MAX_DRAFT_PIXELS if scaled else MAX_PIXELS):
        raise BadImage(Rejection.TOO_MANY_PIXELS, f"{width} x {height}")


def _picture(image: Image.Image) -> Picture:
    orientation = _orientation(image)
    width, height = image.size
    if orientation >= 5:
        width, height = height, width
    return Picture(width=width, height=height, orientation=orientation)


def _orientation(image: Image.Image) -> int:
    # A PNG's getexif() decodes the picture when no EXIF chunk stands before its pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    with suppress(Exception):  # broken EXIF does not make a broken picture
        value = image.getexif().get(ORIENTATION)
        return value if value in _UPRIGHT else 1
    return 1


def _fit(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size within a square of `side`, proportions kept, never enlarged."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _reduced(image: Image.Image, side: int) -> Image.Image:
    image = _plain(image)
    size = _fit(image.size, side)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _plain(image: Image.Image) -> Image.Image:
    """Eight-bit RGB or grey, transparency on white."""
    if image.mode in ("RGB", "L"):
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image)
    if image.mode == "CMYK":
        return image.convert("RGB")
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


def _encoded(name: str, image: Image.Image, orientation: int) -> SmallPicture:
    image = _in_srgb(image)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    buffer = io.BytesIO()
    # Saving writes the comment and EXIF that `info` carries, unless it is empty.
    image.info = {}
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True, progressive=True)
    return SmallPicture(name, *image.size, data=buffer.getvalue())


def _in_srgb(image: Image.Image) -> Image.Image:
    """Colours moved to sRGB: the rendition carries no profile to read them by."""
    profile = image.info.get("icc_profile")
    copy = image.copy()
    if not profile or image.mode != "RGB":
        return copy
    with suppress(ImageCms.PyCMSError, OSError, ValueError):  # a broken profile: as it stands
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        moved = ImageCms.profileToProfile(copy, source, ImageCms.createProfile("sRGB"))
        return moved or copy
    return copy
