"""Which kinds of file are taken, how large each may be, and what their first bytes look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from django.conf import settings

HEAD_BYTES = 4096
"""How much of a file's beginning `sniff` wants."""

MAX_IMAGE_BYTES = 30 * 1024 * 1024

ISO_MEDIA = "iso-media"  # MP4, M4A, MOV and 3GP share one container; their brands are not reliable
ZIP = "zip"
TEXT = "text"


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: its media type, the signature that `sniff` finds, its extensions, other names.

    `job` looks into it, in a bounded process (media_storage.bounded.jobs); empty: there is nothing more
    to look into.
    """

    content_type: str
    signature: str
    extensions: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    job: str = ""
    pillow: str = ""
    """The only decoder of Pillow's that may touch it."""
    member: str = ""
    """The entry that an Office document of this kind has in its ZIP."""

    @property
    def is_image(self) -> bool:
        return self.content_type.startswith("image/")

    @property
    def max_bytes(self) -> int:
        limit: int = settings.MAX_UPLOAD_BYTES
        return min(MAX_IMAGE_BYTES, limit) if self.is_image else limit


_OFFICE = "application/vnd.openxmlformats-officedocument."


def _picture(content_type: str, signature: str, *names: tuple[str, ...]) -> Format:
    extensions, aliases = names
    pillow = signature.upper()
    return Format(content_type, signature, extensions, aliases, job="picture", pillow=pillow)


def _recording(content_type: str, signature: str, *names: tuple[str, ...]) -> Format:
    extensions, aliases = names
    return Format(content_type, signature, extensions, aliases, job="recording")


def _office(kind: str, extension: str, member: str) -> Format:
    return Format(f"{_OFFICE}{kind}", ZIP, (extension,), job="office", member=member)


FORMATS = (
    _picture("image/jpeg", "jpeg", (".jpg", ".jpeg"), ("image/jpg", "image/pjpeg")),
    _picture("image/png", "png", (".png",), ("image/x-png",)),
    _picture("image/webp", "webp", (".webp",), ()),
    _picture("image/heic", "heif", (".heic",), ("image/heic-sequence",)),
    _picture("image/heif", "heif", (".heif",), ("image/heif-sequence",)),
    Format("application/pdf", "pdf", (".pdf",), job="pdf"),
    _recording("video/mp4", ISO_MEDIA, (".mp4", ".m4v"), ("video/x-m4v",)),
    _recording("video/3gpp", ISO_MEDIA, (".3gp", ".3gpp"), ()),
    _recording("video/quicktime", ISO_MEDIA, (".mov",), ()),
    _recording("audio/mp4", ISO_MEDIA, (".m4a",), ("audio/m4a", "audio/x-m4a", "audio/aac")),
    _recording("audio/3gpp", ISO_MEDIA, (".3ga",), ()),
    _recording("audio/amr", "amr", (".amr",), ("audio/amr-wb",)),
    _recording("audio/mpeg", "mp3", (".mp3",), ("audio/mp3",)),
    _recording("audio/wav", "wav", (".wav",), ("audio/x-wav", "audio/wave")),
    _office("wordprocessingml.document", ".docx", "word/document.xml"),
    _office("spreadsheetml.sheet", ".xlsx", "xl/workbook.xml"),
    _office("presentationml.presentation", ".pptx", "ppt/presentation.xml"),
    # ODK Collect sends its audit log as audit.csv beside the photos.
    Format("text/csv", TEXT, (".csv",), ("text/comma-separated-values",)),
)

_BY_NAME = {name: each for each in FORMATS for name in (each.content_type, *each.aliases)}
_BY_EXTENSION = {extension: each for each in FORMATS for extension in each.extensions}


def format_of(content_type: str) -> Format | None:
    """The format of a media type, parameters and case aside; None for what is not taken."""
    return _BY_NAME.get(content_type.partition(";")[0].strip().lower())


def format_by_name(filename: str) -> Format | None:
    """The format that a file's extension stands for."""
    return _BY_EXTENSION.get(PurePosixPath(filename).suffix.lower())


def may_be_shown(content_type: str) -> bool:
    """Whether a browser may open bytes of this type in place: it runs nothing that they contain."""
    format_ = format_of(content_type)
    return format_ is not None and format_.content_type.startswith(
        ("image/", "video/", "audio/", "application/pdf")
    )


def saved_name(filename: str, content_type: str) -> str:
    """The name to save bytes of this verified type under: never one that another program would open.

    What was called page.html and is a photo becomes page.html.jpg; of an unknown type, page.html.bin.
    """
    format_, named = format_of(content_type), format_by_name(filename)
    if format_ and named and named.signature == format_.signature:
        return filename
    return filename + (format_.extensions[0] if format_ else ".bin")


def format_by_signature(signature: str) -> Format | None:
    """The first format with this signature: what a file without a declared type is taken for."""
    return next((each for each in FORMATS if each.signature == signature), None)


_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", ZIP),
    (b"#!AMR", "amr"),
    (b"ID3", "mp3"),
)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[a-z!?]", re.IGNORECASE)
"""A page or a drawing that calls itself text: browsers run what it says."""
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def sniff(head: bytes) -> str:
    """The signature of a file by its first `HEAD_BYTES` bytes; empty where it has none we know."""
    for magic, signature in _MAGIC:
        if head.startswith(magic):
            return signature
    if head[:4] == b"RIFF":
        return {b"WEBP": "webp", b"WAVE": "wav"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return _sniff_ftyp(head)
    if head[:1] == b"\xff" and head[1:2] in (b"\xfb", b"\xf3", b"\xf2"):
        return "mp3"
    return TEXT if _is_text(head) and not _MARKUP.match(head) else ""


def _sniff_ftyp(head: bytes) -> str:
    brand = head[8:12]
    if brand in _HEIF_BRANDS:
        # AVIF files may carry the general HEIF brand and name themselves only among the others.
        return "" if b"avif" in head[16 : int.from_bytes(head[:4], "big")] else "heif"
    return "" if brand in (b"avif", b"avis") else ISO_MEDIA


def _is_text(head: bytes) -> bool:
    if not head or any(byte < 32 and byte not in b"\t\n\r\x0c" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) >= HEAD_BYTES
    return True
