"""EXIF: what is read from a block, and what becomes of it as columns."""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from media_storage import exif
from media_storage.facts import facts_of
from media_storage.models import Facts, MediaObject
from media_storage.results import Told
from tests.media_storage.pictures import camera_exif


def facts(**fields: Any) -> Facts:
    return facts_of(MediaObject(), Told(exif=fields))


def block(general: dict[int, Any], exposure: dict[int, Any] | None = None) -> bytes:
    made = Image.Exif()
    made.update(general)
    made.get_ifd(0x8769).update(exposure or {})
    return made.tobytes()


def test_a_phones_block_is_read_by_the_names_of_the_standard() -> None:
    assert exif.read(camera_exif().tobytes()) == {
        "Make": "Camera of the test",
        "Model": "T 1",
        "DateTimeOriginal": "2026:11:03 09:30:15",
        "OffsetTimeOriginal": "+08:00",
        "SubsecTimeOriginal": "250",
        "GPSLatitudeRef": "N",
        "GPSLatitude": [33.0, 7.0, 30.0],
        "GPSLongitudeRef": "E",
        "GPSLongitude": [108.0, 15.0, 0.0],
        "GPSHPositioningError": 4.5,
    }


def test_both_orders_of_bytes_are_read() -> None:
    little = b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHII", 1, 0x0112, 3, 1, 6)
    big = b"MM\x00*\x00\x00\x00\x08" + struct.pack(">HHHIHH", 1, 0x0112, 3, 1, 6, 0)
    assert exif.read(little) == exif.read(big) == {"Orientation": 6}


def test_texts_are_one_printable_line_that_every_database_takes() -> None:
    dirty = block({0x010F: "A\tB\nC", 0x0110: "x" * 5000, 0x0131: "a\x00secret"})
    assert exif.read(dirty) == {"Make": "A B C", "Model": "x" * exif.MAX_TEXT, "Software": "a"}
    chinese = block({0x010F: "#########"}).replace(b"#" * 9, "华\u202e为".encode())
    assert exif.read(chinese)["Make"] == "华 为"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"Exif\x00\x00",
        b"II*\x00",
        b"II*\x00\xff\xff\xff\xff",
        b"II*\x00\x08\x00\x00\x00\xff\xff",
        b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHII", 1, 0x010F, 2, 2**32 - 1, 2**32 - 1),
        b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8),  # itself
        b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHII", 1, 0x0112, 99, 1, 6),
        b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHII", 1, 0x829A, 5, 1, 10),  # x / 0
    ],
)
def test_a_block_without_sense_says_nothing(broken: bytes) -> None:
    assert exif.read(broken) == {}


def test_ten_megabytes_with_entries_that_are_all_of_it_take_no_time() -> None:
    entries = b"".join(struct.pack("<HHII", 0x010F, 2, 2**30, 8) for _ in range(65_535))
    hostile = b"II*\x00\x08\x00\x00\x00\xff\xff" + entries + bytes(10 << 20)
    begun = time.process_time()
    found = exif.read(hostile)
    assert time.process_time() - begun < 0.5
    assert all(len(str(value)) <= exif.MAX_TEXT for value in found.values())


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"II*\x00\x08\x00\x00\x00", b"MM\x00*\x00\x00\x00\x08"]),
)
def test_whatever_the_bytes_there_is_an_answer_that_makes_a_row(rest: bytes, head: bytes) -> None:
    row = facts_of(MediaObject(), Told(exif=exif.read(head + rest)))
    assert row.latitude is None or -90 <= row.latitude <= 90


def test_the_moment_is_the_cameras_with_its_zone() -> None:
    row = facts(DateTimeOriginal="2026:11:03 09:30:15", OffsetTimeOriginal="-03:30")
    assert (row.exif_at, row.exif_has_zone) == (datetime(2026, 11, 3, 13, 0, 15, tzinfo=UTC), True)


def test_without_a_zone_it_is_the_servers() -> None:
    row = facts(DateTimeOriginal="2026:11:03 09:30:15")
    assert (row.exif_at, row.exif_has_zone) == (datetime(2026, 11, 3, 1, 30, 15, tzinfo=UTC), False)


def test_the_moment_of_a_change_by_a_program_is_no_moment_of_exposure() -> None:
    assert facts(DateTime="2026:11:03 09:30:15").exif_at is None
    scanned = facts(DateTimeDigitized="2026:11:03 09:30:15", OffsetTime="+00:00")
    assert (scanned.exif_at, scanned.exif_has_zone) == (
        datetime(2026, 11, 3, 9, 30, 15, tzinfo=UTC),
        True,
    )


@pytest.mark.parametrize(
    "words",
    ["0000:00:00 00:00:00", "2026:13:01 00:00:00", "    :  :     :  :  ", "yesterday", "", "9999"],
)
def test_a_camera_that_does_not_know_the_time_says_nothing(words: str) -> None:
    assert facts(DateTimeOriginal=words).exif_at is None


@pytest.mark.parametrize("words", ["0001:01:01 00:00:00", "9999:12:31 23:59:59"])
def test_the_ends_of_time_are_survived(words: str) -> None:
    for zone in ("+14:00", "-14:00", ""):
        facts(DateTimeOriginal=words, OffsetTimeOriginal=zone)


@pytest.mark.parametrize("zone", ["+99:00", "+08:75", "Z", "08:00", ""])
def test_a_zone_without_sense_is_none(zone: str) -> None:
    row = facts(DateTimeOriginal="2026:11:03 09:30:15", OffsetTimeOriginal=zone)
    assert row.exif_has_zone is False
    assert row.exif_at is not None


PLACE = {
    "GPSLatitude": [33.0, 7.0, 30.0],
    "GPSLatitudeRef": "S",
    "GPSLongitude": [108.0, 15.0, 0.0],
    "GPSLongitudeRef": "W",
}


def test_a_place_is_degrees_with_their_side_and_its_accuracy() -> None:
    row = facts(**PLACE, GPSHPositioningError=12.5)
    assert (row.latitude, row.longitude, row.accuracy_m) == (-33.125, -108.25, 12.5)
    assert facts(**PLACE).accuracy_m is None
    assert facts(**{**PLACE, "GPSLatitude": 33.125}).latitude == -33.125


@pytest.mark.parametrize(
    "changes",
    [
        {"GPSLatitude": [91.0, 0.0, 0.0]},
        {"GPSLatitude": [float("nan"), 0.0, 0.0]},
        {"GPSLatitude": "33"},
        {"GPSLatitudeRef": ""},
        {"GPSLatitudeRef": "X"},
        {"GPSLongitude": [181.0, 0.0, 0.0]},
        {"GPSLongitude": [-5.0, 0.0, 0.0]},
        {"GPSStatus": "V"},
        {"GPSLatitude": [0.0, 0.0, 0.0], "GPSLongitude": [0.0, 0.0, 0.0]},
    ],
)
def test_a_place_without_sense_or_without_a_fix_is_none(changes: dict[str, Any]) -> None:
    row = facts(**{**PLACE, **changes}, GPSHPositioningError=3.0)
    assert (row.latitude, row.longitude, row.accuracy_m) == (None, None, None)


@pytest.mark.parametrize("accuracy", [0.0, -1.0, 1e9, float("nan"), "5", [1.0, 2.0]])
def test_an_accuracy_without_sense_is_none(accuracy: Any) -> None:
    row = facts(**PLACE, GPSHPositioningError=accuracy)
    assert (row.latitude, row.accuracy_m) == (-33.125, None)


@pytest.mark.django_db
def test_all_of_it_is_kept_as_data() -> None:
    media = MediaObject.objects.create(
        filename="a.jpg", content_type="image/jpeg", size=1, sha256="0" * 64
    )
    told = Told(
        exif=exif.read(camera_exif().tobytes()),
        perceptual_hash=-(2**63),
        duration_ms=2**53,
        pages=1_000_000,
    )
    facts_of(media, told).save()
    kept = Facts.objects.get()
    assert kept.exif == told.exif
    assert (kept.camera_maker, kept.camera_model) == ("Camera of the test", "T 1")
    assert (kept.perceptual_hash, kept.duration_ms, kept.pages) == (-(2**63), 2**53, 1_000_000)
