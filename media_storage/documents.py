"""PDF and Office files: opened far enough to know that they are what they claim. In the bounded process."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO

from media_storage import single_type
from media_storage.refusals import Reason, Refused
from media_storage.results import SmallPicture, Told

MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
MAX_UNPACKED = 512 * 1024 * 1024
MAX_RATIO = 100
"""So many times its own size a document may have inside, above `FREE_BYTES`."""
FREE_BYTES = 100 * 1024 * 1024
CHUNK = 64 * 1024


def look_into_pdf(file: BinaryIO) -> Iterator[Told | SmallPicture]:
    """The job "pdf": how many pages, and renditions of the first. Raises Refused."""
    import pypdfium2  # late: most files are photos

    single_type.check(file, "pdf")
    file.seek(0)
    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == pypdfium2.raw.FPDF_ERR_PASSWORD:
            yield Told(note="locked")
            return
        raise Refused(Reason.BROKEN, str(error)) from error
    with closing(document):
        yield from _first_page(document, Told(pages=_pages(document)))


def _pages(document: Any) -> int:
    pages = len(document)
    if not 0 < pages <= 1_000_000:
        raise Refused(Reason.BROKEN, f"{pages} pages")
    return pages


def _first_page(document: Any, told: Told) -> Iterator[Told | SmallPicture]:
    import pypdfium2

    from media_storage.imaging import SIZES, renditions

    try:
        page = document[0]
        longest = max(page.get_size())
        if not (math.isfinite(longest) and longest > 0):
            raise Refused(Reason.BROKEN, f"a page of {longest} points")
        shown = page.render(
            scale=max(SIZES.values()) / longest, may_draw_forms=False, rev_byteorder=True
        )
        image = shown.to_pil().convert("RGB")
    except pypdfium2.PdfiumError:
        # Readers are patient with a page that they cannot draw, and so are we.
        told.note = "no_preview"
        yield told
        return
    yield from renditions(image, told)


def check_office(file: BinaryIO, *, member: str) -> Iterator[Told]:
    """The job "office": a whole ZIP that holds its main part and no more than it says. Raises Refused."""
    single_type.check(file, "zip")
    _check_directory(file)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_entries(entries, size=file.seek(0, os.SEEK_END))
            if member not in archive.namelist():
                raise Refused(Reason.TYPE_MISMATCH, f"no {member}")
            for entry in entries:
                _unpack(archive, entry)
    except (Refused, MemoryError):
        raise
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, RuntimeError) as error:
        # RuntimeError: an encrypted entry, which no Office program writes.
        raise Refused(Reason.BROKEN, f"{type(error).__name__}: {error}") from error
    yield Told()


def _check_directory(file: BinaryIO) -> None:
    """Before all of it is read: zipfile makes an object of each entry that it lists."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - single_type.TAIL)
    file.seek(start)
    end = file.read(single_type.TAIL)
    place = end.rfind(b"PK\x05\x06")
    length = int.from_bytes(end[place + 12 : place + 16], "little")
    if place < 0:
        raise Refused(Reason.BROKEN, "no directory")
    if length > MAX_DIRECTORY_BYTES:  # so is the length of a ZIP64, which no phone's document needs
        raise Refused(Reason.UNPACKS_TOO_LARGE, f"a directory of {length} bytes")


def _check_entries(entries: list[zipfile.ZipInfo], *, size: int) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED or unpacked > max(FREE_BYTES, MAX_RATIO * size):
        raise Refused(Reason.UNPACKS_TOO_LARGE, f"{unpacked} bytes inside")
    if sum(entry.compress_size for entry in entries) > size:
        raise Refused(Reason.UNPACKS_TOO_LARGE, "entries that share their bytes")
    methods = {entry.compress_type for entry in entries}
    if not methods <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise Refused(Reason.BROKEN, f"compressed by methods {sorted(methods)}")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """To nowhere: what is longer than it says, or other than its checksum, is found."""
    with archive.open(entry) as unpacked:
        while unpacked.read(CHUNK):
            pass
