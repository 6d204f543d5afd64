import pytest

from media_storage.formats import format_by_name, format_of, saved_name, sniff
from tests.media_storage import pictures


@pytest.mark.parametrize(
    ("content", "signature"),
    [
        (pictures.jpeg(8, 8), "jpeg"),
        (pictures.encoded(pictures.quarters(8, 8), "PNG"), "png"),
        (pictures.encoded(pictures.quarters(8, 8), "WEBP"), "webp"),
        (pictures.heic(), "heif"),
        (b"%PDF-1.7\n", "pdf"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "iso-media"),
        (b"\x00\x00\x00\x1cftypM4A \x00\x00\x00\x00", "iso-media"),
        (b"#!AMR\n\x3c", "amr"),
        (pictures.office("word/document.xml"), "zip"),
        ("题目,回答\n一,是\n".encode(), "text"),
        (("督" * 2000).encode()[:4096], "text"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1", ""),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avif", ""),
        (b"GIF89a\x01\x00\x01\x00", ""),
        (b"MZ\x90\x00\x03", ""),
        (b"", ""),
    ],
)
def test_the_first_bytes_tell_the_kind(content: bytes, signature: str) -> None:
    assert sniff(content[:4096]) == signature


def test_other_names_and_parameters_of_a_type_are_understood() -> None:
    jpeg = format_of("image/jpeg")
    assert jpeg is not None
    assert format_of("IMAGE/JPG; charset=binary") == jpeg
    assert format_by_name("照片.JPeG") == jpeg


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "image/gif", "", "*/*"])
def test_a_type_that_could_run_or_is_not_shown_is_not_taken(content_type: str) -> None:
    assert format_of(content_type) is None


@pytest.mark.parametrize(
    ("filename", "content_type", "name"),
    [
        ("食堂.jpg", "image/jpeg", "食堂.jpg"),
        ("食堂.JPEG", "image/jpeg", "食堂.JPEG"),
        ("page.html", "image/jpeg", "page.html.jpg"),
        ("kitchen", "image/png", "kitchen.png"),
        ("page.html", "application/octet-stream", "page.html.bin"),
        ("record", "audio/3gpp", "record.3ga"),
        ("record.3gp", "audio/3gpp", "record.3gp"),
    ],
)
def test_a_file_is_saved_under_the_ending_of_what_it_is(
    filename: str, content_type: str, name: str
) -> None:
    assert saved_name(filename, content_type) == name
