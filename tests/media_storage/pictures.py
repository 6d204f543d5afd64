"""Pictures and files that tests draw themselves, honest and hostile."""

from __future__ import annotations

import io
import random
import shutil
import struct
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from PIL import Image, ImageDraw, ImageFilter

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


def camera_exif() -> Image.Exif:
    """Of a phone that knows its time, its zone and its place."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Camera of the test", "T 1"
    times = {0x9003: "2026:11:03 09:30:15", 0x9011: "+08:00", 0x9291: "250"}
    exif.get_ifd(0x8769).update(times)
    north, east = (33.0, 7.0, 30.0), (108.0, 15.0, 0.0)
    exif.get_ifd(0x8825).update({1: "N", 2: north, 3: "E", 4: east, 0x1F: 4.5})
    return exif


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


def heic(width: int = 640, height: int = 480, *, orientation: int = 1, **options: Any) -> bytes:
    """As an iPhone writes it: turned by the container (3, 6 and 8), and the same in the EXIF."""
    import pillow_heif  # late: it takes a while

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Camera of the test"
    options = {"quality": 80, "exif": exif, **options}
    content = encoded(quarters(width, height), "HEIF", **options)
    return content if orientation == 1 else _turned(content, {6: 3, 3: 2, 8: 1}[orientation])


def _turned(content: bytes, quarter_turns: int) -> bytes:
    """With a property of the picture that turns it to the left: the encoder here writes none."""
    file = bytearray(content)
    used = file.index(b"ipma") - 4  # the table of which item has which properties; they end here
    count = used + 18
    last = count + 1 + file[count]
    file[last:last] = bytes(
        [0x80 | file[count] + 1]
    )  # all four are this picture's; ours is the fifth
    file[count] += 1
    file[used:used] = struct.pack(">I4sB", 9, b"irot", quarter_turns)
    for name, by in ((b"ipma", 1), (b"ipco", 9), (b"iprp", 10), (b"meta", 10)):
        _add(file, file.index(name) - 4, by)
    items = file.index(b"iloc") + 12
    for number in range(struct.unpack_from(">H", file, items - 2)[0]):
        _add(file, items + 18 * number + 4, 10)  # where its bytes begin
    return bytes(file)


def _add(file: bytearray, place: int, by: int) -> None:
    struct.pack_into(">I", file, place, struct.unpack_from(">I", file, place)[0] + by)


def heic_beginning() -> bytes:
    """Of a HEIC file: enough for its signature."""
    brands = b"heic" + bytes(4) + b"mif1heic"
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(2000)


def scene(width: int, height: int, *, seed: int) -> Image.Image:
    """Large soft shapes and many small ones, as in a photo; another one for each seed."""
    chance = random.Random(seed)
    image = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(image)
    for number in range(120):
        size = max(width, height) // (2 + number // 4)
        left, top = chance.randint(-size // 2, width), chance.randint(-size // 2, height)
        colour = tuple(chance.randint(0, 255) for _ in range(3))
        pen.ellipse((left, top, left + size, top + size * 2 // 3), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(max(1, width // 400)))


def office(member: str = "word/document.xml", **parts: bytes) -> bytes:
    """A ZIP as Word and Excel write it, with this main part and others."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(member, "<x/>")
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pdf(*, pages: int = 2, size: tuple[float, float] = (595, 842), password: bool = False) -> bytes:
    """A PDF whose pages are red above and white below."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(pages))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>",
        "<< >>",
    ]
    for number in range(pages):
        width, height = size
        drawn = f"0.86 0.08 0.08 rg 0 {height / 2} {width} {height / 2} re f"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}]"
            f" /Contents {5 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    trailer = f"/Size {len(objects) + 1} /Root 1 0 R"
    if password:
        objects.append(f"<< /Filter /Standard /V 1 /R 2 /P -4 /O <{'41' * 32}> /U <{'42' * 32}> >>")
        trailer += f" /Encrypt {len(objects)} 0 R /ID [<{'43' * 16}> <{'43' * 16}>]"
    return pdf_of(objects, trailer)


def pdf_of(objects: list[str], trailer: str) -> bytes:
    """The file of these objects, with the table that finds them."""
    content = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    places = []
    for number, each in enumerate(objects, start=1):
        places.append(len(content))
        content += f"{number} 0 obj\n{each}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    return content + f"{end}trailer\n<< {trailer} >>\nstartxref\n{len(content)}\n%%EOF\n".encode()


@contextmanager
def in_a_file(content: bytes) -> Iterator[IO[bytes]]:
    """Where a bounded process can read it."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file


def has_ffmpeg() -> bool:
    return bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


@cache
def recorded(*arguments: str, extension: str) -> bytes:
    """What ffmpeg makes of its own test pictures and tones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"recorded{extension}"
        command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", *arguments, str(path)]
        subprocess.run(command, check=True)
        return path.read_bytes()


PICTURE = ("-f", "lavfi", "-i", "color=red:size=640x360:rate=10:duration=2")
TONE = ("-f", "lavfi", "-i", "sine=duration=2:sample_rate=8000")


def video(*options: str) -> bytes:
    """Two seconds of red with a tone, H.264 in MP4, the index at its end as phones write it."""
    codecs = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac")
    return recorded(*PICTURE, *TONE, *codecs, *options, extension=".mp4")


def sound(extension: str) -> bytes:
    """Two seconds of a tone."""
    return recorded(*TONE, extension=extension)


def amr(frames: int = 100) -> bytes:
    """20 ms of silence each, narrow band at 4.75 kbit/s."""
    return b"#!AMR\n" + (b"\x04" + bytes(12)) * frames
