"""PDF and Office files, honest ones; the hostile are in the corpus."""

from __future__ import annotations

import io
import zipfile

import pytest
from PIL import Image

from media_storage.documents import check_office, look_into_pdf
from media_storage.refusals import Refused
from media_storage.results import SmallPicture, Told
from tests.media_storage import pictures

WORD = "word/document.xml"


def pages(content: bytes) -> tuple[Told, list[SmallPicture]]:
    told, *made = look_into_pdf(io.BytesIO(content))
    assert isinstance(told, Told)
    return told, [each for each in made if isinstance(each, SmallPicture)]


def test_the_first_page_is_drawn_and_all_are_counted() -> None:
    told, made = pages(pictures.pdf(pages=7))
    assert told.pages == 7
    assert [(each.name, each.width, each.height) for each in made] == [
        ("small", 226, 320),
        ("large", 1131, 1600),
    ]
    page = Image.open(io.BytesIO(made[1].data)).convert("RGB")
    above, below = page.getpixel((500, 300)), page.getpixel((500, 1300))
    assert isinstance(above, tuple)
    assert isinstance(below, tuple)
    assert above[0] > 180
    assert above[1] < 60
    assert min(below) > 240


@pytest.mark.parametrize(
    ("size", "wanted"), [((14_400, 1), (1600, 1)), ((1, 14_400), (1, 1600)), ((3, 3), (1600, 1600))]
)
def test_a_page_of_any_shape_fits(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    _told, made = pages(pictures.pdf(size=size))
    assert (made[1].width, made[1].height) == wanted


def test_a_document_with_a_password_is_no_broken_one() -> None:
    assert pages(pictures.pdf(password=True)) == (Told(note="locked"), [])


def test_an_office_file_is_whole_and_has_its_main_part() -> None:
    with_picture = pictures.office(**{"word/media/image1.jpeg": pictures.jpeg()})
    assert list(check_office(io.BytesIO(with_picture), member=WORD)) == [Told()]


def test_a_bit_that_changed_in_any_part_is_found() -> None:
    content = bytearray(pictures.office(**{"word/media/image1.jpeg": pictures.jpeg()}))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(Refused) as refused:
        list(check_office(io.BytesIO(bytes(content)), member=WORD))
    assert refused.value.code == "broken"


def test_compression_that_no_office_program_uses_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(WORD, "<x/>" * 100)
    with pytest.raises(Refused) as refused:
        list(check_office(buffer, member=WORD))
    assert refused.value.code == "broken"
