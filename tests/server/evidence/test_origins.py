"""What a photo says of itself: from the gallery, without EXIF, written by a picture editor."""

from __future__ import annotations

import pytest

from server.evidence.sentences import sentence
from tests.evidence import NOT_READ, codes, flag


@pytest.fixture
def made(day, visit, cast):
    day.check_in(visit, cast.ada)
    return visit


@pytest.mark.parametrize(("origin", "found"), [("gallery", ["gallery"]), ("camera", []), ("", [])])
def test_a_photo_from_the_gallery_is_flagged(day, cast, made, record, origin, found):
    photo = day.photo(cast.ada, origin=origin)
    record(photo, made)
    day.work()
    assert codes(photo) == found


def test_the_gallery_is_told_as_a_hint(day, cast, made, record):
    photo = day.photo(cast.ada, origin="gallery")
    record(photo, made)
    day.work()
    found = flag("gallery", photo)
    assert found.severity == "hint"
    assert sentence(found) == "手机登记照片是从相册选取的，而不是在现场拍摄的。"


@pytest.mark.parametrize(
    ("origin", "facts", "found"),
    [
        ("camera", {}, ["no_exif"]),
        ("", {}, []),
        ("gallery", {}, ["gallery"]),
        ("camera", {"camera_maker": "Test"}, []),
        ("camera", {"exif": {"Orientation": 1}}, []),
        ("camera", {"latitude": 33.0, "longitude": 108.0}, []),
        ("camera", NOT_READ, []),
    ],
)
def test_a_camera_writes_exif(day, cast, made, record, origin, facts, found):
    photo = day.photo(cast.ada, origin=origin, facts=facts)
    record(photo, made)
    day.work()
    assert codes(photo) == found


def test_a_pdf_from_a_camera_needs_no_exif(day, cast, made, record):
    photo = day.photo(cast.ada, origin="camera", facts={}, content_type="application/pdf")
    record(photo, made)
    day.work()
    assert codes(photo) == []


@pytest.mark.parametrize(
    ("software", "found"),
    [
        ("Adobe Photoshop 27.1 (Windows)", ["edited"]),
        ("美图秀秀 10.2", ["edited"]),
        ("GIMP 3.0", ["edited"]),
        ("HDR+ 1.0.5", []),
        ("MediaTek Camera Application", []),
        ("19.1", []),
        ("", []),
    ],
)
def test_software_that_changes_pictures_is_a_hint(day, cast, made, record, software, found):
    photo = day.photo(cast.ada, facts={"exif_at": day.at(1), "software": software})
    record(photo, made)
    day.work()
    assert codes(photo) == found
    if found:
        assert flag("edited", photo).severity == "hint"
        assert software in sentence(flag("edited", photo))


def test_the_editors_are_a_setting(day, cast, made, record, settings):
    settings.EVIDENCE_EDITORS = ["hdr+"]
    photo = day.photo(cast.ada, facts={"exif_at": day.at(1), "software": "HDR+ 1.0.5"})
    record(photo, made)
    day.work()
    assert codes(photo) == ["edited"]


def test_a_photo_that_is_used_nowhere_is_not_flagged_until_it_is(day, cast, made, record):
    photo = day.photo(cast.ada, origin="gallery")
    day.work()
    assert codes() == []
    record(photo, made)
    day.work()
    assert codes(photo) == ["gallery"]
