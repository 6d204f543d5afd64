"""Pictures and files that tests draw themselves, honest and hostile."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

from PIL import Image

RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (255, 255, 255)


def quarters(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Red and green above, blue and white below: any turn or mirroring shows."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image.convert(mode)


def encoded(image: Image.Image, format_: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def jpeg(width: int = 800, height: int = 600, **options: Any) -> bytes:
    return encoded(quarters(width, height), quality=90, **options)


def jpeg_with_exif(width: int, height: int, *, orientation: int) -> bytes:
    """As a phone writes it: turned pixels, the orientation, a camera's name and a place."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Camera of the test"
    exif.get_ifd(0x8825).update({1: "N", 2: (33.0, 0.0, 0.0), 3: "E", 4: (108.0, 0.0, 0.0)})
    return jpeg(width, height, exif=exif, comment=b"a comment of the camera")


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises any number of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(100_000))
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose frame header promises any number of pixels."""
    content = bytearray(jpeg(64, 64))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def png_16_bit(width: int, height: int) -> bytes:
    """Grey from black on the left to white on the right, in 16 bits."""
    row = b"\x00" + b"".join(struct.pack(">H", 65535 * x // (width - 1)) for x in range(width))
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(row * height)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def heic() -> bytes:
    """The beginning of a HEIC file: enough for its signature."""
    brands = b"heic" + bytes(4) + b"mif1heic"
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(2000)


def office(member: str) -> bytes:
    """A ZIP as Word and Excel write it, with this main part."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(member, "<x/>")
    return buffer.getvalue()
