"""What is two things at once is refused; what phones put behind their photos is not."""

from __future__ import annotations

import io
import random
import zipfile

import pytest

from media_storage.refusals import Refused
from media_storage.single_type import check
from tests.media_storage import pictures

JPEG = pictures.jpeg()


def archive(comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("a", "x" * 50)
        made.comment = comment
    return buffer.getvalue()


def refused(content: bytes, signature: str = "jpeg") -> bool:
    try:
        check(io.BytesIO(content), signature)
    except Refused as found:
        return found.code == "mixed_types"
    return False


@pytest.mark.parametrize(
    "behind",
    [
        archive(),
        archive(b"a comment" * 5000),
        archive() + b"and a little more",
        b"<HTML >",
        b" " * 5000 + b"<script\n>",
        b"<!DOCTYPE\thtml",
        b"<?php echo",
        b'<svg xmlns="http://www.w3.org/2000/svg">',
        b"7z\xbc\xaf\x27\x1c",
    ],
)
def test_what_another_program_would_open_or_run_is_refused(behind: bytes) -> None:
    assert refused(JPEG + behind)


@pytest.mark.parametrize(
    "behind",
    [
        b"",
        bytes(1000),
        JPEG,  # a second view
        random.Random(1).randbytes(2 << 20),  # a video
        b"SEFH\x6a\x00SEFT",
        b"PK\x05\x06" + bytes(18),  # an empty directory holds nothing
        b"PK\x05\x06",
        b"PK\x03\x04",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>",
        b"less < more",
    ],
)
def test_what_phones_put_behind_their_photos_is_taken(behind: bytes) -> None:
    assert not refused(JPEG + behind)


def test_a_thumbnail_within_the_exif_is_not_taken_for_the_end() -> None:
    exif = pictures.camera_exif().tobytes() + b"\xff\xd9 <script> " * 500
    content = pictures.jpeg(exif=exif)
    assert content.index(b"\xff\xd9") < content.index(b"\xff\xda")
    assert content.index(b"<script>") < 4096
    assert refused(content)  # by its first bytes
    far = pictures.jpeg(exif=pictures.camera_exif().tobytes() + bytes(5000) + b"\xff\xd9 <script>")
    assert not refused(far)


def test_a_pdf_is_looked_for_as_far_as_readers_look() -> None:
    assert refused(JPEG[:2] + b"\xff\xfe\x00\x10" + b"%PDF-1.4      " + JPEG[2:])
    assert not refused(JPEG + b"%PDF-1.4")


@pytest.mark.parametrize("signature", ["jpeg", "png", "webp", "heif", "pdf", "wav", "amr", "mp3"])
@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff\xd8", b"%%EOF", bytes(9), b"\xff" * 99])
def test_a_file_that_ends_anywhere_is_survived(signature: str, content: bytes) -> None:
    assert not refused(content, signature)
