"""Flags over the API: with photos, records, visits and findings; explanations; the phone's clock."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from media_storage.models import Facts, MediaObject
from server.messaging.models import ClockReading, Device
from tests.clients import new
from tests.evidence import FAR, HOUR, flag

OTHER_SCHOOL = (33.01, 108.0)


@pytest.fixture
def photo(day, cast, visit, bruno_visit, record):
    """Ada's, from elsewhere by EXIF, and the same file as one of Bruno's."""
    day.check_in(visit, cast.ada, place=FAR)
    facts = {"exif_at": day.at(1), "latitude": FAR[0], "longitude": FAR[1], "exif": {"Make": "T"}}
    photo = day.photo(cast.ada, content="gate", origin="camera", facts=facts)
    record(photo, visit)
    record(day.photo(cast.bruno, content="gate", place=OTHER_SCHOOL), bruno_visit)
    day.work()
    return photo


# ---- reading ----------------------------------------------------------------------------------


def test_a_photo_tells_its_times_places_uses_and_flags(day, cast, phone, photo, visit):
    read = phone(cast.ada).get(f"/media/{photo.pk}")
    assert read["origin"] == "camera"
    assert read["times"] == {
        "phone": "2026-11-23T10:00:00+08:00",
        "phone_corrected": "2026-11-23T10:00:00+08:00",
        "clock_offset_ms": None,
        "exif": "2026-11-23T10:00:00+08:00",
        "exif_has_zone": False,
        "taken": "2026-11-23T10:00:00+08:00",
        "taken_from": "exif",
        "arrived": "2026-11-23T21:00:00+08:00",
    }
    assert read["places"]["phone"] == {"lat": 33.0005, "lon": 108.0, "accuracy_m": 10.0}
    assert read["places"]["exif"] == {"lat": 33.03, "lon": 108.0, "accuracy_m": None}
    (use,) = read["uses"]
    assert (use["type"], use["id"], use["school"]["name"]) == (
        "visit",
        str(visit.pk),
        "东河镇中心小学",
    )
    assert use["distance_m"] == {"phone": 55.6, "exif": 3335.8}
    found = {each["code"]: each for each in read["flags"]}
    assert set(found) == {"other_place", "reused"}
    assert found["other_place"]["severity"] == "warn"
    assert found["other_place"]["text"] == (
        "照片的位置（EXIF，精度未知）离学校 3336 米，超过 500 米。"
    )
    assert found["other_place"]["details"]["distance_m"] == pytest.approx(3335.8)


def test_flags_are_told_in_the_reader_s_language(cast, phone, photo):
    ada = phone(cast.ada)
    answer = ada.raw("GET", f"/media/{photo.pk}", headers={"Accept-Language": "en"})
    texts = {each["code"]: each["text"] for each in answer.json()["flags"]}
    assert texts["other_place"] == (
        "The photo's position (EXIF, accuracy unknown) is 3336 m from the school, over 500 m."
    )
    assert "another visit (which you may not see)" in texts["reused"]


def test_the_other_visit_is_named_only_to_who_may_see_it(cast, phone, photo, bruno_visit):
    def reused(person) -> dict:
        flags = phone(person).get(f"/media/{photo.pk}")["flags"]
        return next(each for each in flags if each["code"] == "reused")

    assert reused(cast.ada)["other"] is None
    assert reused(cast.office)["other"]["visit_id"] == str(bruno_visit.pk)
    assert "第二小学" in reused(cast.office)["text"]
    assert str(bruno_visit.pk) not in str(reused(cast.ada))


def test_a_record_shows_the_flags_of_its_files(cast, phone, photo):
    submission = photo.submission_attachments.get().submission
    (file,) = phone(cast.ada).get(f"/submissions/{submission.pk}")["attachments"]
    assert {each["code"] for each in file["flags"]} == {"other_place", "reused"}
    assert file["times"]["taken_from"] == "exif"
    assert file["distance_m"] == {"phone": 55.6, "exif": 3335.8}
    assert file["origin"] == "camera"


def test_a_visit_shows_the_flags_of_its_check_in_to_team_and_office(cast, phone, photo, visit):
    for person in (cast.ada, cast.office):
        read = phone(person).get(f"/visits/{visit.pk}")
        assert [each["code"] for each in read["flags"]] == ["check_in_away"]
        assert read["distance_m"] == pytest.approx(3335.8)
    assert phone(cast.principal).get(f"/visits/{visit.pk}")["flags"] == []


def test_a_step_of_a_rectification_shows_the_flags_of_its_photos(day, cast, phone, visit):
    day.check_in(visit, cast.ada)
    finding = day.find(visit, cast.ada)
    old = day.photo(cast.principal, taken=-30, place=None)
    day.mend(finding, cast.principal, old)
    day.work()
    for person in (cast.principal, cast.ada):
        (step,) = phone(person).get(f"/findings/{finding.pk}")["actions"]
        assert [(each["code"], each["media_id"]) for each in step["flags"]] == [
            ("before_finding", str(old.pk))
        ]


def test_a_school_does_not_see_the_flags_of_the_inspector_s_photo(day, cast, phone, visit):
    day.check_in(visit, cast.ada)
    finding = day.find(visit, cast.ada)
    day.mend(finding, cast.principal)
    proof = day.photo(cast.ada, taken=6, origin="gallery", place=None)
    day.mend(finding, cast.ada, proof, action="verify")
    day.work()

    def shown(person) -> list[str]:
        steps = phone(person).get(f"/findings/{finding.pk}")["actions"]
        return [each["code"] for step in steps for each in step["flags"]]

    assert shown(cast.ada) == ["gallery"]
    assert shown(cast.principal) == []
    assert phone(cast.principal).get(f"/media/{proof.pk}")["flags"] == []


def test_a_phone_that_syncs_learns_of_flags_that_come_later(day, cast, phone, visit, record):
    day.check_in(visit, cast.ada)
    photo = day.photo(cast.ada, place=FAR)
    submission = record(photo, visit)
    ada = phone(cast.ada)
    copy, cursor = ada.sync()
    (mine,) = [each["data"] for each in copy if each["id"] == str(submission.pk)]
    assert mine["attachments"][0]["flags"] == []
    day.work()
    changes, cursor = ada.sync(cursor)
    (mine,) = [each["data"] for each in changes if each["id"] == str(submission.pk)]
    assert [each["code"] for each in mine["attachments"][0]["flags"]] == ["other_place"]
    changes, _cursor = ada.sync(cursor)
    assert changes == []


@pytest.mark.parametrize("year", [1, 9999])
def test_a_clock_at_an_end_of_time_spoils_no_record_and_no_sync(
    day, cast, phone, visit, record, year
):
    photo = day.photo(cast.ada, facts={"exif_at": datetime(year, 12, 31, 23, tzinfo=UTC)})
    MediaObject.objects.filter(pk=photo.pk).update(taken_at=datetime(year, 12, 31, 23, tzinfo=UTC))
    submission = record(photo, visit)
    day.work()
    ada = phone(cast.ada)
    (file,) = ada.get(f"/submissions/{submission.pk}")["attachments"]
    end = "1970-01-01T08:00:00+08:00" if year == 1 else "2200-01-01T08:00:00+08:00"
    assert file["times"]["phone"] == file["times"]["exif"] == end
    assert str(submission.pk) in [change["id"] for change in ada.sync()[0]]


def test_carla_sees_neither_photo_nor_flags(cast, phone, photo):
    carla = phone(cast.carla)
    carla.get(f"/media/{photo.pk}", status=404)
    found = flag("other_place", photo)
    body = {"id": new(), "text": "不是我的"}
    carla.post(f"/flags/{found.pk}/notes", body, status=404)


def test_a_list_of_records_costs_the_same_for_many_photos(
    day, cast, phone, visit, record, django_assert_num_queries
):
    day.check_in(visit, cast.ada)
    ada = phone(cast.ada)
    for _round in range(3):
        for _ in range(2):
            record(day.photo(cast.ada, place=FAR), visit)
        day.work()
        ada.get("/submissions")  # the first of an hour notes that the device was seen
        with django_assert_num_queries(10):
            ada.get("/submissions")


# ---- explaining -------------------------------------------------------------------------------


def test_an_inspector_explains_a_flag_once_for_each_id(cast, phone, photo):
    ada, found = phone(cast.ada), flag("other_place", photo)
    body = {"id": new(), "text": "在分校区拍摄"}
    for _ in range(2):
        told = ada.post(f"/flags/{found.pk}/notes", body)
        assert [(note["by"]["name"], note["text"]) for note in told["notes"]] == [
            ("安督学", "在分校区拍摄")
        ]
    other = {**body, "text": "别的"}
    assert ada.post(f"/flags/{found.pk}/notes", other, status=409)["code"] == "content_conflict"
    ada.post(f"/flags/{found.pk}/notes", {"id": new(), "text": ""}, status=422)
    (read,) = [
        each
        for each in phone(cast.office).get(f"/media/{photo.pk}")["flags"]
        if each["code"] == "other_place"
    ]
    assert read["notes"][0]["text"] == "在分校区拍摄"


def test_a_school_cannot_explain_its_own_photo_away(day, cast, phone, visit):
    day.check_in(visit, cast.ada)
    finding = day.find(visit, cast.ada)
    old = day.photo(cast.principal, taken=-30, place=None)
    day.mend(finding, cast.principal, old)
    day.work()
    found = flag("before_finding", old)
    body = {"id": new(), "text": "拍错了"}
    phone(cast.principal).post(f"/flags/{found.pk}/notes", body, status=403)


# ---- declaring where a file is from -----------------------------------------------------------


def declaration(**fields: object) -> dict[str, object]:
    return {
        "id": new(),
        "filename": "gate.jpg",
        "content_type": "image/jpeg",
        "size": 4,
        "sha256": hashlib.sha256(b"gate").hexdigest(),
        **fields,
    }


@pytest.mark.parametrize("origin", ["camera", "gallery", ""])
def test_a_phone_says_where_a_file_is_from(cast, phone, origin):
    body = declaration(origin=origin)
    phone(cast.ada).post("/media", body, status=201)
    assert MediaObject.objects.get(pk=body["id"]).origin == origin


def test_a_phone_that_says_nothing_is_not_asked(cast, phone):
    body = declaration()
    phone(cast.ada).post("/media", body, status=201)
    assert MediaObject.objects.get(pk=body["id"]).origin == ""


def test_an_origin_that_nobody_knows_is_refused_by_name(cast, phone):
    refused = phone(cast.ada).post("/media", declaration(origin="cloud"), status=422)
    assert [each["pointer"] for each in refused["errors"]] == ["/origin"]


def test_a_phone_that_was_renewed_in_between_may_say_it_now(cast, phone):
    ada, body = phone(cast.ada), declaration()
    ada.post("/media", body, status=201)
    ada.post("/media", {**body, "origin": "camera"})
    other = declaration(origin="camera")
    ada.post("/media", other, status=201)
    ada.post("/media", {**other, "origin": "gallery"}, status=409)


def test_declaring_is_still_one_statement_beside_the_token(cast, phone, django_assert_num_queries):
    ada = phone(cast.ada)
    with django_assert_num_queries(2):
        ada.post("/media", declaration(origin="camera"), status=201)


# ---- the phone's clock ------------------------------------------------------------------------


def device_time(moment) -> dict[str, str]:
    return {"X-Device-Time": moment.isoformat()}


@pytest.mark.parametrize("call", ["sync", "check-in"])
def test_the_clock_is_read_with_a_sync_and_a_check_in(day, cast, phone, visit, call):
    ada = phone(cast.ada)
    headers = device_time(day.moment + 3 * HOUR)
    if call == "sync":
        answer = ada.raw("GET", "/sync", headers=headers)
    else:
        body = f'{{"id": "{new()}", "at": "2026-11-23T12:00:00+08:00", "location": null}}'
        answer = ada.raw("POST", f"/visits/{visit.pk}/check-in", body.encode(), headers=headers)
    assert answer.status_code == 200, answer.content
    reading = ClockReading.objects.get()
    assert (reading.device_id, reading.offset_ms) == (
        Device.objects.get(user=cast.ada).pk,
        10_800_000,
    )


def test_the_clock_is_read_with_a_log_in(day, cast, phone):
    body = (
        f'{{"username": "ada", "password": "correct-horse-7", "device": {{"id": "{new()}"}}}}'
    ).encode()
    answer = phone(cast.bruno).raw(
        "POST", "/auth/sessions", body, headers=device_time(day.moment - HOUR)
    )
    assert answer.status_code == 201
    assert ClockReading.objects.get().offset_ms == -3_600_000


@pytest.mark.parametrize("told", ["", "yesterday", "2026-11-23T12:00:00", "1", "9" * 5000])
def test_a_clock_that_cannot_be_read_is_no_reading_and_no_error(cast, phone, told):
    answer = phone(cast.ada).raw("GET", "/sync", headers={"X-Device-Time": told})
    assert answer.status_code == 200
    assert not ClockReading.objects.exists()


def test_an_idle_sync_that_tells_its_clock_costs_no_more(
    day, cast, phone, django_assert_num_queries
):
    ada = phone(cast.ada)
    _changes, cursor = ada.sync()
    ada.raw("GET", "/sync", query={"cursor": cursor}, headers=device_time(day.moment))
    day.moment += timedelta(minutes=10)
    with django_assert_num_queries(2):
        headers = device_time(day.moment + timedelta(seconds=3))
        ada.raw("GET", "/sync", query={"cursor": cursor}, headers=headers)


def test_what_a_file_says_beyond_its_columns_is_not_sent(cast, phone, photo):
    Facts.objects.filter(media=photo).update(exif={"MakerNote": "x" * 100_000})
    answer = phone(cast.ada).raw("GET", f"/media/{photo.pk}")
    assert len(answer.content) < 20_000
