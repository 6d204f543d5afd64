"""A hostile corpus, made here: bombs, cut and mixed files, lies in headers, and odd but honest ones.

    .venv/bin/python -m tests.media_storage.hostile            measure all, print the table
    .venv/bin/python -m tests.media_storage.hostile --write    and write it into docs/media-hostile.md
    .venv/bin/python -m tests.media_storage.hostile NAME …     only those whose name contains one of these

Each file goes the product's way: its beginning is looked at as when an upload is completed, then its
job runs in a fresh bounded process, with the product's limits. tests/media_storage/test_hostile.py holds
the verdicts.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import struct
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms

from tests.media_storage import pictures
from tests.media_storage.pictures import encoded, jpeg, quarters

MB = 1024 * 1024
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
JPEG, PNG, WEBP, HEIC = "image/jpeg", "image/png", "image/webp", "image/heic"
PDF, MP4, M4A, AMR = "application/pdf", "video/mp4", "audio/mp4", "audio/amr"
READY = "ready"

PAGE = b"<html><script>alert(1)</script></html>"


@dataclass(frozen=True)
class Case:
    """A file, what it is called, and what becomes of it: "ready", with a note, or a reason."""

    name: str
    content_type: str
    make: Callable[[], bytes]
    verdict: str
    note: str = ""
    needs_ffmpeg: bool = False


@dataclass(frozen=True)
class Seen:
    """What became of a file. The most memory of the child or of a program of its; zero: it had none."""

    verdict: str
    note: str
    size: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


# ---- judging ------------------------------------------------------------------------------------


def judge(content: bytes, content_type: str) -> Seen:
    """The product's way, without database and store."""
    from media_storage import bounded, services
    from media_storage.formats import HEAD_BYTES, format_of

    format_ = format_of(content_type)
    reason = services._judge(format_, content[:HEAD_BYTES])
    if reason or format_ is None or not format_.job:
        return Seen(str(reason) or READY, "", len(content), 0, 0, 0)
    bounded.close()
    begun, cpu_before = time.monotonic(), _cpu_of_children()
    with tempfile.TemporaryFile() as file, watching() as peaks:
        file.write(content)
        file.flush()
        verdict, note = _verdict(file, format_)
    seconds = time.monotonic() - begun
    bounded.close()
    cpu_seconds = _cpu_of_children() - cpu_before
    return Seen(verdict, note, len(content), seconds, cpu_seconds, max(peaks.values()))


def _cpu_of_children() -> float:
    """Of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _verdict(file: Any, format_: Any) -> tuple[str, str]:
    from media_storage import bounded, work
    from media_storage.refusals import Refused
    from media_storage.results import Told

    note = ""
    try:
        for each in work._looking(file, format_):
            if isinstance(each, Told):
                note = each.note
    except (Refused, bounded.Disturbed) as ended:
        return str(ended.code), ""
    return READY, note


@contextmanager
def watching() -> Iterator[dict[int, int]]:
    """The most memory of each process that this one starts, or they start, by its number."""
    peaks: dict[int, int] = {}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.004):
            for process in _descendants(os.getpid()):
                with suppress(OSError, IndexError, ValueError):
                    status = Path(f"/proc/{process}/status").read_text()
                    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
                    # Before it is another program, a new process is a copy of this one.
                    if "python" in Path(f"/proc/{process}/exe").readlink().name:
                        told = Path(f"/proc/{process}/cmdline").read_bytes()
                        if b"media_storage.bounded" not in told:
                            continue
                    peaks[process] = max(peaks.get(process, 0), peak)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


def _descendants(process: int) -> list[int]:
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


# ---- making: pictures ---------------------------------------------------------------------------


def _png(
    width: int,
    height: int,
    *,
    bits: int = 8,
    colour: int = 2,
    before: Sequence[tuple[bytes, bytes]] = (),
    after: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """Black, any size, in a few hundred kilobytes at most. `colour`: PNG's number of the kind."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * samples * bits + 7) // 8)
    squeeze, pixels = zlib.compressobj(9), b""
    many = max(1, MB // len(row))
    for start in range(0, height, many):
        pixels += squeeze.compress(row * min(many, height - start))
    pixels += squeeze.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *before, (b"IDAT", pixels), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pictures._chunk(*each) for each in chunks)


def _palette_png() -> bytes:
    half_clear = (b"tRNS", bytes([0, 128]))
    return _png(7000, 7000, colour=3, before=[(b"PLTE", bytes(6)), half_clear])


def _scans_jpeg(scans: int = 3000) -> bytes:
    """Progressive, 49 megapixels of one tone: each scan is a few bytes and costs a whole pass."""
    content = encoded(Image.new("L", (7000, 7000), 90), quality=80, progressive=True)
    start = content.rindex(b"\xff\xda")
    scan = content[start:-2]
    return content[:start] + scan * scans + content[-2:]


def _segments(content: bytes, marker: int, payloads: Sequence[bytes]) -> bytes:
    """A JPEG with these segments behind its first two bytes."""
    parts = (struct.pack(">BBH", 0xFF, marker, 2 + len(each)) + each for each in payloads)
    return content[:2] + b"".join(parts) + content[2:]


def _exif_of(size: int) -> bytes:
    """A block with as many entries as it can name, each of which is all of it."""
    entries = b"".join(struct.pack("<HHII", 0x9000 + n, 2, size, 8) for n in range(5000))
    block = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 5000) + entries
    return block + b"A" * (size - len(block))


def _jpeg_exif() -> bytes:
    block = _exif_of(10 * MB)
    pieces = [block[start : start + 65_000] for start in range(0, len(block), 65_000)]
    return _segments(jpeg(), 0xE1, [b"Exif\x00\x00" + piece for piece in pieces])


def _jpeg_profile(profile: bytes) -> bytes:
    pieces = [profile[start : start + 65_000] for start in range(0, len(profile), 65_000)]
    count = min(255, len(pieces))
    return _segments(
        jpeg(),
        0xE2,
        [
            b"ICC_PROFILE\x00" + bytes([number, count]) + piece
            for number, piece in enumerate(pieces[:count], start=1)
        ],
    )


def _recursive_profile() -> bytes:
    """Each of its tags is the profile itself."""
    honest = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    names = [b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"A2B0", b"wtpt", b"desc"]
    tags = b"".join(name + struct.pack(">II", 0, 4000) for name in names * 10)
    body = honest[:128] + struct.pack(">I", 10 * len(names)) + tags
    body = body.ljust(4000, b"\x00")
    return struct.pack(">I", len(body)) + body[4:]


def _noisy_profile() -> bytes:
    """The size of the largest that a JPEG can carry, all of it one table."""
    honest = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    size = 255 * 65_000
    tag = b"A2B0" + struct.pack(">II", 144, size - 144)
    table = b"mft2" + bytes(4) + bytes([3, 3, 255, 0])
    body = (honest[:128] + struct.pack(">I", 1) + tag + table).ljust(size, b"\x7f")
    return struct.pack(">I", size) + body[4:]


def _webp_claiming(width: int, height: int) -> bytes:
    content = bytearray(encoded(quarters(64, 64), "WEBP", quality=50))
    frame = content.index(b"\x9d\x01\x2a")
    content[frame + 3 : frame + 7] = struct.pack("<HH", width, height)
    return bytes(content)


def _flat_webp(width: int, height: int) -> bytes:
    return encoded(Image.new("RGB", (width, height), (9, 99, 9)), "WEBP", method=0)


def _webp_with(name: bytes, payload: bytes) -> bytes:
    plain = encoded(quarters(320, 240), "WEBP", exif=pictures.camera_exif())
    start = plain.index(b"EXIF")
    kept = plain[:start] + name + struct.pack("<I", len(payload)) + payload
    kept += b"\x00" * (len(payload) % 2)
    return kept[:4] + struct.pack("<I", len(kept) - 8) + kept[8:]


def _animated(format_: str, frames: int, side: int) -> bytes:
    chance = random.Random(1)
    made = [
        Image.new("RGB", (side, side), tuple(chance.randint(0, 255) for _ in range(3)))
        for _ in range(frames)
    ]
    return encoded(made[0], format_, save_all=True, append_images=made[1:], duration=10)


def _heic(**options: Any) -> bytes:
    return pictures.heic(640, 480, **options)


def _heic_claiming(width: int, height: int) -> bytes:
    content = bytearray(_heic())
    place = content.index(b"ispe") + 8
    content[place : place + 8] = struct.pack(">II", width, height)
    return bytes(content)


def _box(name: bytes, *parts: bytes, version: int | None = None) -> bytes:
    body = b"".join(parts)
    if version is not None:
        body = bytes([version, 0, 0, 0]) + body
    return struct.pack(">I4s", 8 + len(body), name) + body


def _heic_of_itself() -> bytes:
    """A picture that is derived from itself."""
    item = _box(b"infe", struct.pack(">HH", 1, 0), b"iden", b"\x00", version=2)
    size = _box(b"ispe", struct.pack(">II", 640, 480), version=0)
    uses = _box(b"ipma", struct.pack(">IHBB", 1, 1, 1, 1), version=0)
    meta = _box(
        b"meta",
        _box(b"hdlr", bytes(4), b"pict", bytes(13), version=0),
        _box(b"pitm", struct.pack(">H", 1), version=0),
        _box(b"iinf", struct.pack(">H", 1), item, version=0),
        _box(b"iref", _box(b"dimg", struct.pack(">HHH", 1, 1, 1)), version=0),
        _box(b"iprp", _box(b"ipco", size), uses),
        version=0,
    )
    return _box(b"ftyp", b"heic", bytes(4), b"mif1heic") + meta


# ---- making: documents --------------------------------------------------------------------------


def _pdf(
    *, page: str = "", content: bytes = b"", filtered: str = "", more: Sequence[str] = ()
) -> bytes:
    stream = content.decode("latin-1")
    return pictures.pdf_of(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R {page} >>",
            f"<< /Length {len(content)} {filtered} >>\nstream\n{stream}\nendstream",
            *more,
        ],
        f"/Size {5 + len(more)} /Root 1 0 R",
    )


def _zeros(megabytes: int, piece: bytes = bytes(MB)) -> bytes:
    squeeze, content = zlib.compressobj(9), b""
    for _ in range(megabytes * MB // len(piece)):
        content += squeeze.compress(piece)
    return content + squeeze.flush()


def _pdf_picture() -> bytes:
    """One picture of 900 megapixels in 3 MB."""
    pixels = _zeros(900 * 3).decode("latin-1")
    picture = (
        "<< /Type /XObject /Subtype /Image /Width 30000 /Height 30000 /ColorSpace /DeviceRGB"
        f" /BitsPerComponent 8 /Filter /FlateDecode /Length {len(pixels)} >>"
        f"\nstream\n{pixels}\nendstream"
    )
    page = "/Resources << /XObject << /P 5 0 R >> >>"
    return _pdf(page=page, content=b"595 0 0 842 0 0 cm /P Do", more=[picture])


def _pdf_laughs() -> bytes:
    """Forms that draw the next one ten times, ten deep."""
    forms = []
    for number in range(10):
        drawn = "/F Do " * 10 if number < 9 else "0 0 1 1 re f"
        inner = f"/Resources << /XObject << /F {6 + number} 0 R >> >>" if number < 9 else ""
        forms.append(
            f"<< /Type /XObject /Subtype /Form /BBox [0 0 595 842] {inner} /Length {len(drawn)} >>"
            f"\nstream\n{drawn}\nendstream"
        )
    return _pdf(page="/Resources << /XObject << /F 5 0 R >> >>", content=b"/F Do", more=forms)


def _pdf_loop() -> bytes:
    """A tree of pages that holds itself, of two thousand million pages."""
    return pictures.pdf_of(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2000000000 /Parent 2 0 R >>",
        ],
        "/Size 3 /Root 1 0 R",
    )


def _pdf_deep() -> bytes:
    return _pdf(page="/Deep " + "[" * 200_000 + "]" * 200_000)


def _docx_bomb() -> bytes:
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("word/document.xml", "<x/>")
            with archive.open("word/media/image1.bmp", "w") as member:
                for _ in range(1024):
                    member.write(bytes(MB))
        return buffer.getvalue()


def _docx_lying() -> bytes:
    """50 MB that say of themselves, in both places, that they are 50 bytes."""
    content = bytearray(pictures.office(**{"word/media/image1.bmp": bytes(50 * MB)}))
    true, place = struct.pack("<I", 50 * MB), 0
    while (place := content.find(true, place)) >= 0:
        content[place : place + 4] = struct.pack("<I", 50)
    return bytes(content)


def _docx_overlapping() -> bytes:
    """A thousand entries of 50 KB that are one and the same."""
    payload = random.Random(1).randbytes(50_000)
    content = bytearray(pictures.office(**{"word/media/a.bin": payload}))
    end = content.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", content, end + 16)[0]
    entry = bytes(content[content.rindex(b"PK\x01\x02", start, end) : end])
    entries = bytes(content[start:end]) + entry * 1000
    return bytes(content[:start]) + entries + _end_of_zip(1003, len(entries), start)


def _docx_crowded() -> bytes:
    """A directory of 200,000 entries in a file of 11 MB."""
    content = pictures.office()
    end = content.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", content, end + 16)[0]
    entry = content[content.rindex(b"PK\x01\x02", start, end) : end]
    entries = content[start:end] + entry * 200_000
    return content[:start] + entries + _end_of_zip(65_535, len(entries), start)


def _end_of_zip(count: int, size: int, start: int) -> bytes:
    return struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, size, start, 0)


def _docx_nested() -> bytes:
    """A ZIP within a ZIP, two hundred deep, within a document: nobody unpacks them."""
    inner = b"the end"
    for _ in range(200):
        inner = _zip(("inner.zip", inner))
    return pictures.office(**{"word/embeddings/deep.zip": inner})


def _zip(*members: tuple[str, bytes]) -> bytes:
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members:
                archive.writestr(name, content)
        return buffer.getvalue()


# ---- making: recordings -------------------------------------------------------------------------


def _replaced(
    content: bytes, box: bytes, offset: int, value: bytes, *, last: bool = False
) -> bytes:
    place = (content.rindex(box) if last else content.index(box)) + 4 + offset
    return content[:place] + value + content[place + len(value) :]


def _video() -> bytes:
    return pictures.video()


def _video_wide() -> bytes:
    """The picture's width and height in the index are 65535."""
    return _replaced(_video(), b"avc1", 24, b"\xff\xff\xff\xff")


def _video_large() -> bytes:
    picture = ("-f", "lavfi", "-i", "color=red:size=8000x6250:rate=1:duration=1")
    return pictures.recorded(*picture, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", extension=".mp4")


def _video_long() -> bytes:
    """The index says that it lasts for 136 years."""
    content = _video()
    for box in (b"mvhd", b"mdhd"):
        content = _replaced(content, box, 12, struct.pack(">II", 1, 0xFFFF_FFFF))
    return content


def _video_crowded() -> bytes:
    """Tables of four thousand million pieces, in an index of a few hundred bytes."""
    content = _video()
    for box in (b"stsz", b"stco", b"stts"):
        content = _replaced(content, box, 8 if box == b"stsz" else 4, b"\xff\xff\xff\xf0")
    return content


def _noise_for_pictures() -> bytes:
    """A whole index, and random bytes where the pictures should be."""
    content = _video()
    start = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    return content[:start] + random.Random(1).randbytes(end - start) + content[end:]


def _mp3_tags() -> bytes:
    size = 10 * MB
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    body = b"TXXX" + struct.pack(">IH", size - 10, 0)
    return b"ID3\x04\x00\x00" + length + body.ljust(size, b"A") + pictures.sound(".mp3")


# ---- the corpus ---------------------------------------------------------------------------------


def _ffmpeg(name: str, content_type: str, make: Callable[[], bytes], *verdict: str) -> Case:
    return Case(name, content_type, make, *verdict, needs_ffmpeg=True)


CASES = (
    # Bombs: little to send, much to decode.
    Case(
        "bomb: PNG that claims 50000 × 50000",
        PNG,
        lambda: pictures.png_claiming(50_000, 50_000),
        "too_many_pixels",
    ),
    Case("bomb: PNG of 49 MP", PNG, lambda: _png(7000, 7000), READY),
    Case(
        "bomb: PNG of 49 MP, 16 bits and alpha",
        PNG,
        lambda: _png(7000, 7000, bits=16, colour=6),
        READY,
    ),
    Case(
        "bomb: PNG of 49 MP, 16 bits of grey",
        PNG,
        lambda: _png(7000, 7000, bits=16, colour=0),
        READY,
    ),
    Case("bomb: PNG of 49 MP, transparent palette", PNG, _palette_png, READY),
    Case(
        "bomb: JPEG that claims 65000 × 65000",
        JPEG,
        lambda: pictures.jpeg_claiming(65_000, 65_000),
        "too_many_pixels",
    ),
    Case(
        "bomb: JPEG that claims 200 MP and has a line of them",
        JPEG,
        lambda: pictures.jpeg_claiming(16_000, 12_500),
        READY,
    ),
    Case("bomb: JPEG of 49 MP in 3000 scans", JPEG, _scans_jpeg, "too_slow"),
    Case("lies: WebP of 16383 × 16383", WEBP, lambda: _webp_claiming(16_383, 16_383), "broken"),
    Case("bomb: WebP of 25 MP", WEBP, lambda: _flat_webp(5000, 5000), "too_many_pixels"),
    Case("bomb: WebP of 24 MP", WEBP, lambda: _flat_webp(6000, 4000), READY),
    Case(
        "bomb: HEIC that claims 30000 × 30000",
        HEIC,
        lambda: _heic_claiming(30_000, 30_000),
        "too_many_pixels",
    ),
    Case("bomb: HEIC of 48 MP", HEIC, lambda: pictures.heic(8000, 6000), READY),
    Case("bomb: PDF with a picture of 900 MP", PDF, _pdf_picture, READY),
    Case(
        "bomb: PDF whose page unpacks to 1 GB",
        PDF,
        lambda: _pdf(content=_zeros(1024, b"q Q " * 1024), filtered="/Filter /FlateDecode"),
        "too_much_memory",
    ),
    Case("bomb: PDF of forms in forms, 10^10 of them", PDF, _pdf_laughs, "too_much_memory"),
    Case("bomb: PDF page of 10^9 points", PDF, lambda: pictures.pdf(size=(1e9, 1e9)), READY),
    Case("bomb: PDF whose pages hold themselves", PDF, _pdf_loop, "broken"),
    Case("bomb: PDF with lists 200,000 deep", PDF, _pdf_deep, READY),
    Case("bomb: DOCX that unpacks to 1 GB", DOCX, _docx_bomb, "unpacks_too_large"),
    Case("bomb: DOCX that says it is smaller", DOCX, _docx_lying, "broken"),
    Case(
        "bomb: DOCX whose entries share their bytes", DOCX, _docx_overlapping, "unpacks_too_large"
    ),
    Case("bomb: DOCX with 200,000 entries", DOCX, _docx_crowded, "unpacks_too_large"),
    Case("odd: DOCX with ZIPs in ZIPs, 200 deep", DOCX, _docx_nested, READY),
    # Cut off.
    Case("cut: JPEG", JPEG, lambda: jpeg(1200, 900)[:9000], "broken"),
    Case(
        "cut: PNG", PNG, lambda: encoded(pictures.scene(900, 900, seed=1), "PNG")[:40_000], "broken"
    ),
    Case(
        "cut: WebP",
        WEBP,
        lambda: encoded(pictures.scene(900, 900, seed=1), "WEBP")[:9000],
        "broken",
    ),
    Case("cut: HEIC", HEIC, lambda: _heic()[:1500], "broken"),
    Case("cut: HEIC, nothing but its beginning", HEIC, pictures.heic_beginning, "broken"),
    Case("cut: PDF", PDF, lambda: pictures.pdf()[:120], "broken"),
    Case("cut: DOCX", DOCX, lambda: pictures.office(**{"a": bytes(9000)})[:-30], "broken"),
    Case("cut: AMR, nothing but its beginning", AMR, lambda: b"#!AMR\n", READY, needs_ffmpeg=True),
    _ffmpeg("cut: MP4 without its index", MP4, lambda: _video()[:-2000], "broken"),
    _ffmpeg(
        "cut: MP4, index first",
        MP4,
        lambda: pictures.video("-movflags", "+faststart")[:-2000],
        "broken",
    ),
    # Two things at once.
    Case("mixed: JPEG and ZIP", JPEG, lambda: jpeg() + _zip(("a.class", b"x" * 99)), "mixed_types"),
    Case("mixed: JPEG with a web page behind it", JPEG, lambda: jpeg() + PAGE, "mixed_types"),
    Case(
        "mixed: JPEG with a web page in its comment",
        JPEG,
        lambda: _segments(jpeg(), 0xFE, [PAGE]),
        "mixed_types",
    ),
    Case(
        "mixed: JPEG with a PDF in its comment",
        JPEG,
        lambda: _segments(jpeg(), 0xFE, [pictures.pdf()]),
        "mixed_types",
    ),
    Case(
        "mixed: JPEG with a RAR behind it",
        JPEG,
        lambda: jpeg() + b"Rar!\x1a\x07\x01\x00" + bytes(99),
        "mixed_types",
    ),
    Case(
        "mixed: PNG and ZIP",
        PNG,
        lambda: encoded(quarters(99, 99), "PNG") + _zip(("a", b"x" * 99)),
        "mixed_types",
    ),
    Case(
        "mixed: PNG with PHP behind it",
        PNG,
        lambda: encoded(quarters(99, 99), "PNG") + b"<?php system($_GET[0]);",
        "mixed_types",
    ),
    Case(
        "mixed: WebP and ZIP",
        WEBP,
        lambda: encoded(quarters(99, 99), "WEBP") + _zip(("a", b"x" * 99)),
        "mixed_types",
    ),
    Case("mixed: HEIC and ZIP", HEIC, lambda: _heic() + _zip(("a", b"x" * 99)), "mixed_types"),
    Case(
        "mixed: PDF and web page",
        PDF,
        lambda: pictures.pdf().replace(b"%\xe2\xe3\xcf\xd3", b"%" + PAGE),
        "mixed_types",
    ),
    Case("mixed: PDF with a web page behind it", PDF, lambda: pictures.pdf() + PAGE, "mixed_types"),
    Case("mixed: PDF and ZIP", PDF, lambda: pictures.pdf() + _zip(("a", b"x" * 99)), "mixed_types"),
    Case("mixed: AMR and ZIP", AMR, lambda: pictures.amr() + _zip(("a", b"x" * 99)), "mixed_types"),
    Case(
        "mixed: DOCX and PDF",
        DOCX,
        lambda: _zip(("%PDF-1.4", pictures.pdf()), ("word/document.xml", b"<x/>")),
        "mixed_types",
    ),
    _ffmpeg("mixed: MP4 and ZIP", MP4, lambda: _video() + _zip(("a", b"x" * 99)), "mixed_types"),
    Case(
        "mixed: GIF and ZIP, called JPEG",
        JPEG,
        lambda: encoded(quarters(99, 99), "GIF") + _zip(("a", b"x")),
        "type_mismatch",
    ),
    _ffmpeg("honest: JPEG with its short video behind it", JPEG, lambda: jpeg() + _video(), READY),
    Case(
        "honest: JPEG with a maker's data behind it",
        JPEG,
        lambda: jpeg() + b"SEFH" + bytes(500) + b"SEFT",
        READY,
    ),
    # Called by another name.
    Case("wrong: PNG called JPEG", JPEG, lambda: encoded(quarters(99, 99), "PNG"), "type_mismatch"),
    Case("wrong: web page called JPEG", JPEG, lambda: PAGE * 20, "type_mismatch"),
    Case("wrong: web page called CSV", "text/csv", lambda: PAGE, "type_mismatch"),
    Case("wrong: program called PDF", PDF, lambda: b"MZ" + bytes(500), "type_mismatch"),
    Case("wrong: ZIP called DOCX", DOCX, lambda: _zip(("a", b"x")), "type_mismatch"),
    Case(
        "wrong: XLSX called DOCX", DOCX, lambda: pictures.office("xl/workbook.xml"), "type_mismatch"
    ),
    Case(
        "wrong: AVIF called HEIC", HEIC, lambda: encoded(quarters(64, 64), "AVIF"), "type_mismatch"
    ),
    Case("wrong: animated GIF called WebP", WEBP, lambda: _animated("GIF", 5, 64), "type_mismatch"),
    Case(
        "wrong: play list called MP4",
        MP4,
        lambda: b"#EXTM3U\nfile:///etc/passwd\n",
        "type_mismatch",
    ),
    _ffmpeg("wrong: sound called video", MP4, lambda: pictures.sound(".m4a"), "type_mismatch"),
    _ffmpeg("wrong: video called sound", M4A, _video, "type_mismatch"),
    # Metadata.
    Case("metadata: JPEG with 10 MB of EXIF", JPEG, _jpeg_exif, READY),
    Case(
        "metadata: JPEG with 10 MB of comments",
        JPEG,
        lambda: _segments(jpeg(), 0xFE, [b"A" * 65_000] * 160),
        READY,
    ),
    Case(
        "metadata: PNG with 10 MB of EXIF",
        PNG,
        lambda: _png(640, 480, before=[(b"eXIf", _exif_of(10 * MB))]),
        READY,
    ),
    Case(
        "metadata: PNG with 10 MB of text",
        PNG,
        lambda: _png(640, 480, before=[(b"tEXt", b"a\x00" + b"A" * 10 * MB)]),
        READY,
    ),
    Case(
        "metadata: PNG whose text unpacks to 1 GB",
        PNG,
        lambda: _png(640, 480, before=[(b"zTXt", b"a\x00\x00" + _zeros(1024))]),
        "broken",
    ),
    Case(
        "metadata: WebP with 10 MB of EXIF",
        WEBP,
        lambda: _webp_with(b"EXIF", _exif_of(10 * MB)),
        READY,
    ),
    Case(
        "metadata: HEIC with 10 MB of EXIF",
        HEIC,
        lambda: _heic(exif=b"Exif\x00\x00" + _exif_of(10 * MB)),
        READY,
    ),
    _ffmpeg("metadata: MP3 with 10 MB of tags", "audio/mpeg", _mp3_tags, READY),
    Case("profile: 16 MB, one table", JPEG, lambda: _jpeg_profile(_noisy_profile()), READY),
    Case("profile: made of itself", JPEG, lambda: _jpeg_profile(_recursive_profile()), READY),
    Case(
        "profile: PNG's unpacks to 1 GB",
        PNG,
        lambda: _png(640, 480, before=[(b"iCCP", b"a\x00\x00" + _zeros(1024))]),
        "broken",
    ),
    # Odd pictures.
    Case("animated: PNG, 1000 frames", PNG, lambda: _animated("PNG", 1000, 64), READY),
    Case("animated: WebP, 300 frames", WEBP, lambda: _animated("WEBP", 300, 128), READY),
    Case("odd: JPEG in CMYK", JPEG, lambda: encoded(quarters(800, 600, "CMYK")), READY),
    Case("odd: PNG with 16 bits of grey", PNG, lambda: pictures.png_16_bit(800, 60), READY),
    Case("odd: PNG of 1 × 100000", PNG, lambda: _png(1, 100_000), READY),
    Case("odd: PNG of 100000 × 1", PNG, lambda: _png(100_000, 1), READY),
    Case("odd: JPEG of 65500 × 1", JPEG, lambda: jpeg(65_500, 2), READY),
    Case("odd: PNG of 0 × 0", PNG, lambda: _png(0, 0), "broken"),
    Case("odd: JPEG without height", JPEG, lambda: pictures.jpeg_claiming(64, 0), "broken"),
    Case("odd: HEIC derived from itself", HEIC, _heic_of_itself, "broken"),
    Case("odd: nothing at all", JPEG, lambda: b"", "empty"),
    # Video with lies in its headers.
    _ffmpeg("bomb: MP4 of 50 MP", MP4, _video_large, "too_many_pixels"),
    _ffmpeg("lies: MP4 of 65535 × 65535", MP4, _video_wide, READY),
    _ffmpeg("lies: MP4 of 136 years", MP4, _video_long, READY),
    _ffmpeg("lies: MP4 of 4 thousand million pieces", MP4, _video_crowded, "broken"),
    _ffmpeg("lies: MP4 with noise for pictures", MP4, _noise_for_pictures, READY, "no_preview"),
)


# ---- the table ----------------------------------------------------------------------------------

PAGE_OF_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "media-hostile.md"
BEGIN, END = "<!-- table: python -m tests.media_storage.hostile --write -->\n", "<!-- end -->\n"


def table(rows: Sequence[tuple[Case, Seen]]) -> str:
    """For people, in Markdown."""
    lines = [
        "| file | bytes | verdict | seconds | of CPU | most memory, MB |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for case, seen in rows:
        verdict = f"{seen.verdict}, note `{seen.note}`" if seen.note else seen.verdict
        verdict = verdict if seen.verdict == READY else f"rejected: `{seen.verdict}`"
        cost = (
            " | | "
            if not seen.peak_bytes
            else (f"{seen.seconds:.1f} | {seen.cpu_seconds:.1f} | {seen.peak_bytes / MB:.0f}")
        )
        lines.append(f"| {case.name} | {seen.size:,} | {verdict} | {cost} |")
    return "\n".join(lines) + "\n"


def made_apart(case: Case) -> bytes:
    """In a process of its own: to make a bomb takes memory too, and the judge is to stay small."""
    with tempfile.TemporaryFile() as file:
        maker = os.fork()
        if not maker:
            status = 1
            try:
                file.write(case.make())
                file.flush()
                status = 0
            finally:
                os._exit(status)
        if os.waitpid(maker, 0)[1]:
            raise RuntimeError(f"{case.name} cannot be made")
        file.seek(0)
        return file.read()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.media_storage.hostile")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", action="store_true", help="the table into the docs")
    parser.add_argument("--json", action="store_true", help="for programs: a line for each file")
    given = parser.parse_args(arguments)
    chosen = [
        case for case in CASES if not given.names or any(name in case.name for name in given.names)
    ]
    rows, wrong = [], 0
    for case in chosen:
        if case.needs_ffmpeg and not pictures.has_ffmpeg():
            continue
        seen = judge(made_apart(case), case.content_type)
        rows.append((case, seen))
        if given.json:
            sys.stdout.write(json.dumps({"name": case.name, **asdict(seen)}) + "\n")
        if (seen.verdict, seen.note) != (case.verdict, case.note):
            wrong += 1
            sys.stderr.write(f"{case.name}: {seen.verdict} {seen.note}, wanted {case.verdict}\n")
    if not given.json:
        sys.stdout.write(table(rows))
    if given.write and not given.names:
        before, _, rest = PAGE_OF_RESULTS.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE_OF_RESULTS.write_text(before + BEGIN + table(rows) + END + after)
    return 1 if wrong else 0


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    sys.exit(main(sys.argv[1:]))
