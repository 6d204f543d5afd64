"""Media over the API: declare, upload, resume, complete, read; and who may."""

from __future__ import annotations

import hashlib

import pytest
from django.test import Client

from media_storage import receiving
from media_storage.models import MediaObject
from media_storage.work import PUMP
from server.core import work
from tests.clients import new, now
from tests.forms import kitchen_answers
from tests.media_storage.pictures import camera_exif, jpeg


@pytest.fixture
def picture() -> bytes:
    return jpeg(800, 600)


@pytest.fixture
def declared(picture):
    return {
        "id": new(),
        "filename": "厨房.jpg",
        "content_type": "image/jpeg",
        "size": len(picture),
        "sha256": hashlib.sha256(picture).hexdigest(),
        "taken_at": now(),
        "location": {"lat": 33.0, "lon": 108.0, "accuracy_m": 5.0},
    }


def put_parts(upload, content: bytes) -> None:
    for part in upload["parts"]:
        piece = content[part["offset"] : part["offset"] + part["size"]]
        address = part["url"].removeprefix("http://testserver")
        answer = Client().put(
            address, piece, content_type="application/octet-stream", headers=part["headers"]
        )
        assert answer.status_code == 200, answer.content


def test_a_photo_goes_from_declared_to_ready(cast, phone, declared, picture):
    ada = phone(cast.ada)
    first = ada.post("/media", declared, status=201)
    assert first["state"] == "declared"
    assert ada.post("/media", declared)["id"] == declared["id"]
    path = f"/media/{declared['id']}"
    assert ada.get(path)["url"] is None
    put_parts(first["upload"], picture)
    assert ada.post(f"{path}/complete")["state"] == "stored"
    assert ada.get(f"{path}/upload")["upload"]["parts"] == []
    work.drain(PUMP)
    assert ada.post(f"{path}/complete")["state"] == "ready"
    read = ada.get(path)
    assert (read["state"], read["width"], read["height"]) == ("ready", 800, 600)
    assert read["location"] == declared["location"]
    assert {each["name"]: (each["width"], each["height"]) for each in read["renditions"]} == {
        "small": (320, 240),
        "large": (800, 600),
    }
    served = Client().get(read["renditions"][0]["url"].removeprefix("http://testserver"))
    assert read["renditions"][0]["content_type"] == served["Content-Type"] == "image/webp"
    assert b"".join(served)[8:12] == b"WEBP"
    served.close()


@pytest.fixture
def large(declared, picture):
    """A photo of a megabyte, and its declaration."""
    content = picture + bytes(1_000_000)
    sha256 = hashlib.sha256(content).hexdigest()
    return content, {**declared, "size": len(content), "sha256": sha256}


@pytest.mark.parametrize(
    ("link", "strategy", "count"), [({}, "single", 1), ({"link": "weak"}, "multipart", 4)]
)
def test_a_phone_says_how_it_finds_its_line(cast, phone, large, link, strategy, count):
    _content, declared = large
    upload = phone(cast.ada).post("/media", {**declared, **link}, status=201)["upload"]
    assert (upload["strategy"], len(upload["parts"])) == (strategy, count)


@pytest.mark.parametrize(("query", "count"), [({"link": "good"}, 1), ({}, 4)])
def test_a_phone_says_so_when_it_resumes(cast, phone, large, query, count):
    _content, declared = large
    ada = phone(cast.ada)
    ada.post("/media", declared, status=201)
    path = f"/media/{declared['id']}/upload"
    assert len(ada.get(path, **query)["upload"]["parts"]) == count
    problem = ada.get(path, status=400, link="awful")
    assert [error["pointer"] for error in problem["errors"]] == ["?link"]


def test_what_the_server_still_reads_is_answered_with_come_again(cast, phone, large):
    content, declared = large
    ada = phone(cast.ada)
    put_parts(ada.post("/media", {**declared, "link": "weak"}, status=201)["upload"], content)
    path = f"/media/{declared['id']}"
    for _time in range(2):
        answer = ada.raw("POST", f"{path}/complete")
        assert (answer.status_code, answer.json()["state"]) == (202, "arrived")
        assert int(answer["Retry-After"]) > 0
        assert ada.get(f"{path}/upload")["upload"]["parts"] == []
    assert ada.get(path)["url"] is None
    work.drain(receiving.PUMP)
    assert ada.post(f"{path}/complete")["state"] == "stored"


def test_what_the_file_says_of_itself_is_shown_and_kept_apart_from_what_the_phone_says(
    cast, phone, declared
):
    ada = phone(cast.ada)
    photo = jpeg(400, 300, exif=camera_exif())
    body = {**declared, "size": len(photo), "sha256": hashlib.sha256(photo).hexdigest()}
    put_parts(ada.post("/media", body, status=201)["upload"], photo)
    path = f"/media/{declared['id']}"
    ada.post(f"{path}/complete")
    assert ada.get(path)["facts"] is None
    work.drain(PUMP)
    read = ada.get(path)
    assert read["location"] == declared["location"]
    assert read["facts"] == {
        "taken_at": "2026-11-03T09:30:15+08:00",
        "has_zone": True,
        "location": {"lat": 33.125, "lon": 108.25, "accuracy_m": 4.5},
        "camera": {"maker": "Camera of the test", "model": "T 1", "software": ""},
        "duration_ms": None,
        "pages": None,
    }


def test_reading_a_file_costs_the_same_with_facts_and_renditions(
    cast, phone, declared, picture, django_assert_max_num_queries
):
    ada = phone(cast.ada)
    put_parts(ada.post("/media", declared, status=201)["upload"], picture)
    path = f"/media/{declared['id']}"
    ada.post(f"{path}/complete")
    work.drain(PUMP)
    with django_assert_max_num_queries(
        11
    ):  # who asks and what they may open; file, renditions, flags
        ada.get(path)


def test_an_upload_resumes_with_what_is_missing(cast, phone, declared, picture):
    ada = phone(cast.ada)
    ada.post("/media", declared, status=201)
    path = f"/media/{declared['id']}"
    assert ada.post(f"{path}/complete", status=409)["code"] == "upload_missing"
    put_parts(ada.get(f"{path}/upload")["upload"], picture)
    assert ada.post(f"{path}/complete")["state"] == "stored"


def test_other_bytes_than_the_declared_are_refused_and_the_upload_is_open_again(
    cast, phone, declared, picture
):
    ada = phone(cast.ada)
    first = ada.post("/media", declared, status=201)
    put_parts(first["upload"], bytes(len(picture)))
    path = f"/media/{declared['id']}"
    problem = ada.post(f"{path}/complete", status=422)
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("upload_mismatch", "/sha256")
    put_parts(ada.get(f"{path}/upload")["upload"], picture)
    assert ada.post(f"{path}/complete")["state"] == "stored"


def test_a_text_that_is_called_a_picture_is_rejected_with_a_reason(cast, phone, declared):
    ada, text = phone(cast.ada), b"only a text"
    body = {**declared, "size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    put_parts(ada.post("/media", body, status=201)["upload"], text)
    done = ada.post(f"/media/{declared['id']}/complete")
    assert (done["state"], bool(done["reason"])) == ("rejected", True)
    assert ada.get(f"/media/{declared['id']}")["url"] is None


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"size": 0}, "/size"),
        ({"size": 10**12}, "/size"),
        ({"size": 10**17}, "/size"),
        ({"content_type": "text/html"}, "/content_type"),
        ({"sha256": "x"}, "/sha256"),
        ({"filename": ""}, "/filename"),
        ({"location": {"lat": 91, "lon": 0}}, "/location/lat"),
        ({"taken_at": "noon"}, "/taken_at"),
        ({"link": "awful"}, "/link"),
        ({"taken_at": "9999-12-31T23:59:59Z"}, "/taken_at"),
    ],
)
def test_a_declaration_says_what_is_wrong(cast, phone, declared, changes, pointer):
    problem = phone(cast.ada).post("/media", {**declared, **changes}, status=422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert not MediaObject.objects.exists()


def test_an_id_stands_for_one_file_of_one_person(cast, phone, declared):
    phone(cast.ada).post("/media", declared, status=201)
    other = {**declared, "size": 5}
    assert phone(cast.ada).post("/media", other, status=409)["code"] == "content_conflict"
    phone(cast.carla).post("/media", declared, status=409)


def test_carla_finds_no_photo_that_is_not_hers(cast, phone, declared):
    phone(cast.ada).post("/media", declared, status=201)
    path = f"/media/{declared['id']}"
    carla = phone(cast.carla)
    carla.get(path, status=404)
    carla.get(f"{path}/upload", status=404)
    carla.post(f"{path}/complete", status=404)


def test_the_office_sees_the_photos_of_its_schools_but_does_not_upload_them(
    cast, phone, declared, picture, visit, kitchen
):
    ada, office = phone(cast.ada), phone(cast.office)
    put_parts(ada.post("/media", declared, status=201)["upload"], picture)
    path = f"/media/{declared['id']}"
    ada.post(f"{path}/complete")
    office.get(path, status=404)
    submission = {
        "form_id": "kitchen",
        "version": kitchen.version,
        "visit_id": str(visit.pk),
        "answers": kitchen_answers(licence_photo="厨房.jpg"),
        "attachments": [{"name": "厨房.jpg", "media_id": declared["id"]}],
    }
    ada.put(f"/submissions/{new()}", submission, status=201)
    assert office.get(path)["state"] == "stored"
    phone(cast.principal).get(path, status=404)
    office.get(f"{path}/upload", status=404)
    office.post(f"{path}/complete", status=404)


def test_a_store_that_is_down_tells_the_phone_to_come_again(cast, phone, declared, settings):
    ada = phone(cast.ada)
    ada.post("/media", declared, status=201)
    settings.MEDIA_STORE_URL = "s3://KEY:SECRET@127.0.0.1:9/bucket?scheme=http&path_style=1"
    path = f"/media/{declared['id']}"
    for method, address in (("GET", f"{path}/upload"), ("POST", f"{path}/complete")):
        answer = ada.raw(method, address)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer["Retry-After"] == "5"


def test_reading_a_photo_costs_few_queries(cast, phone, declared, django_assert_max_num_queries):
    ada = phone(cast.ada)
    ada.post("/media", declared, status=201)
    with django_assert_max_num_queries(11):
        ada.get(f"/media/{declared['id']}")
