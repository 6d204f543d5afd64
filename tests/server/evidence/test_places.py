"""Places: EXIF, the phone and the check-in against the school, in metres, with their accuracy."""

from __future__ import annotations

import pytest

from server.evidence.sentences import sentence
from server.grid.coordinates import wgs84_to_gcj02
from server.grid.models import School
from server.grid.services import save_school
from tests.evidence import FAR, NEAR, SCHOOL, codes, flag

KILOMETRE = (33.009, 108.0)
"""1001 metres north of the school."""


def exif_at(day, place: tuple[float, float], accuracy: float | None = None) -> dict[str, object]:
    lat, lon = place
    return {
        "exif_at": day.at(1),
        "latitude": lat,
        "longitude": lon,
        "accuracy_m": accuracy,
        "exif": {"Make": "Test"},
    }


@pytest.fixture
def made(day, visit, cast):
    day.check_in(visit, cast.ada)
    return visit


def test_a_photo_from_elsewhere_is_flagged_with_the_distance_and_the_limit(day, cast, made, record):
    photo = day.photo(cast.ada, place=FAR)
    record(photo, made)
    day.work()
    found = flag("other_place", photo)
    assert codes(photo) == ["other_place"]
    assert (found.severity, found.details["source"]) == ("warn", "phone")
    assert found.details["distance_m"] == pytest.approx(3336, abs=1)
    assert sentence(found) == ("照片的位置（手机，精度 ±10 米）离学校 3336 米，超过 500 米。")


def test_a_photo_at_the_school_is_no_flag(day, cast, made, record):
    photo = day.photo(cast.ada, place=NEAR, facts=exif_at(day, NEAR))
    record(photo, made)
    day.work()
    assert codes(photo) == []


@pytest.mark.parametrize(("accuracy", "found"), [(10, ["other_place"]), (600, [])])
def test_what_the_accuracy_explains_is_no_flag(day, cast, made, record, accuracy, found):
    photo = day.photo(cast.ada, place=KILOMETRE, accuracy=accuracy)
    record(photo, made)
    day.work()
    assert codes(photo) == found


def test_a_position_without_an_accuracy_is_taken_for_a_usual_one(day, cast, made, record, settings):
    settings.EVIDENCE_PLACE_METRES = 960
    photo = day.photo(cast.ada, place=KILOMETRE, accuracy=None)
    record(photo, made)
    day.work()
    assert codes(photo) == []
    settings.EVIDENCE_UNKNOWN_ACCURACY_METRES = 0
    other = day.photo(cast.ada, place=KILOMETRE, accuracy=None)
    record(other, made)
    day.work()
    assert codes(other) == ["other_place"]
    assert "精度未知" in sentence(flag("other_place", other))


def test_exif_s_place_counts_where_the_phone_claims_to_be_at_the_school(day, cast, made, record):
    photo = day.photo(cast.ada, place=NEAR, facts=exif_at(day, FAR, 8.0))
    record(photo, made)
    day.work()
    assert codes(photo) == ["other_place"]
    assert flag("other_place", photo).details["source"] == "exif"


def test_a_photo_without_a_place_is_no_flag(day, cast, made, record):
    photo = day.photo(cast.ada, place=None)
    record(photo, made)
    day.work()
    assert codes(photo) == []


def test_a_phone_that_tells_the_map_s_coordinates_is_a_hint(day, cast, made, record, settings):
    settings.EVIDENCE_PLACE_METRES = 200
    shown = wgs84_to_gcj02(SCHOOL)
    photo = day.photo(cast.ada, place=shown)
    record(photo, made)
    day.work()
    found = flag("other_place", photo)
    assert found.severity == "hint"
    assert sentence(found).endswith("若手机给出的是火星坐标（GCJ-02），则位置相符。")


def test_where_the_school_has_no_position_the_check_in_stands_in_for_it(day, cast, made, record):
    School.objects.filter(pk=cast.school.pk).update(latitude=None, longitude=None)
    photo, near = day.photo(cast.ada, place=FAR), day.photo(cast.ada, place=NEAR)
    record(photo, made)
    record(near, made)
    day.work()
    assert codes(near) == []
    found = flag("other_place", photo)
    assert found.details["reference"] == "check_in"
    assert "学校没有登记坐标" in sentence(found)


def test_without_any_position_to_compare_with_nothing_is_claimed(day, cast, visit, record):
    School.objects.filter(pk=cast.school.pk).update(latitude=None, longitude=None)
    day.check_in(visit, cast.ada, place=None)
    photo = day.photo(cast.ada, place=FAR)
    record(photo, visit)
    day.work()
    assert codes() == []


def test_a_school_s_position_that_is_mended_mends_the_flags(day, cast, made, record):
    photo = day.photo(cast.ada, place=FAR)
    record(photo, made)
    day.work()
    assert codes(photo) == ["other_place"]
    school = School.objects.get(pk=cast.school.pk)
    school.latitude, school.longitude = FAR
    save_school(school=school, by=cast.office)
    day.work()
    assert codes(photo) == []
    assert codes(visit=made) == ["check_in_away"]


# ---- the check-in -----------------------------------------------------------------------------


def test_a_check_in_elsewhere_is_flagged_on_the_visit(day, cast, visit):
    day.check_in(visit, cast.ada, place=FAR, accuracy=25)
    day.work()
    found = flag("check_in_away", visit=visit)
    assert (found.media_id, found.severity) == (None, "warn")
    assert sentence(found) == "签到位置（精度 ±25 米）离学校 3336 米，超过 500 米。"


@pytest.mark.parametrize("place", [NEAR, None])
def test_a_check_in_at_the_school_or_without_a_place_is_no_flag(day, cast, visit, place):
    day.check_in(visit, cast.ada, place=place)
    day.work()
    assert codes() == []


def test_a_check_in_cannot_arrive_before_it_was_made(day, cast, visit):
    day.check_in(visit, cast.ada, at=14)
    day.work()
    found = flag("clock_ahead", visit=visit, media=None)
    assert sentence(found).startswith("签到时间 2026-11-23 23:00（手机）比到达服务器的时间")


def test_distances_are_told_in_kilometres_when_they_are_long(day, cast, made, record):
    photo = day.photo(cast.ada, place=(34.0, 108.0))
    record(photo, made)
    day.work()
    assert "离学校 111 公里，超过 500 米" in sentence(flag("other_place", photo))
