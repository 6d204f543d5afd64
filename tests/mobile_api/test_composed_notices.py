"""Over the API: notices with variables, files, forms and times; correcting, recalling; receipts; lists."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from server.core import clock, work
from server.grid.models import Membership, User
from server.messaging.models import Notice
from tests.clients import new, now
from tests.media_storage.pictures import jpeg
from tests.mobile_api.test_media import put_parts

QUESTIONS = [
    {"kind": "number", "label": "人数"},
    {"kind": "choice", "label": "用餐", "options": ["是", "否"], "required": False},
]


@pytest.fixture
def written(cast) -> dict[str, Any]:
    return {
        "id": new(),
        "title": "{name}：食品安全会议",
        "body": "{school}请于周五参加。",
        "audience": {"schools": [str(cast.school.pk)]},
    }


def upload(device) -> str:
    picture = jpeg(64, 48)
    declared = {
        "id": new(),
        "filename": "安排.jpg",
        "content_type": "image/jpeg",
        "size": len(picture),
        "sha256": hashlib.sha256(picture).hexdigest(),
    }
    put_parts(device.post("/media", declared, status=201)["upload"], picture)
    device.post(f"/media/{declared['id']}/complete")
    return declared["id"]


def the_one(device) -> dict[str, Any]:
    (notice,) = device.get("/notices")["results"]
    return notice


def test_everybody_gets_their_own_text_in_the_inbox_and_by_sync(cast, phone, written):
    principal, ada = phone(cast.principal), phone(cast.ada)
    _found, cursor = principal.sync()
    phone(cast.office).post("/notices", written, status=202)
    assert the_one(principal)["title"] == "白校长：食品安全会议"
    assert the_one(ada)["title"] == "安督学：食品安全会议"
    found, cursor = principal.sync(cursor)
    (change,) = [each for each in found if each["type"] == "notice"]
    assert change["data"]["body"] == "东河镇中心小学请于周五参加。"
    assert principal.get(f"/notices/{written['id']}") == change["data"]
    found, _cursor = ada.sync()
    (title,) = [each["data"]["title"] for each in found if each["type"] == "notice"]
    assert title == "安督学：食品安全会议"


def test_a_correction_and_a_recall_come_by_sync(cast, phone, written):
    office, principal = phone(cast.office), phone(cast.principal)
    office.post("/notices", {**written, "requires": "acknowledge"}, status=202)
    path = f"/notices/{written['id']}"
    principal.post(f"{path}/acknowledge")
    _found, cursor = principal.sync()
    correction = {
        "id": new(),
        "version": 1,
        "title": "会议改期",
        "body": "改到周四",
        "note": "时间",
        "ask_again": True,
    }
    for _press in range(2):
        assert office.post(f"{path}/correct", correction)["version"] == 2
    problem = office.post(f"{path}/correct", {**correction, "id": new()}, status=409)
    assert problem["code"] == "notice_changed"
    work.drain_all()
    found, cursor = principal.sync(cursor)
    (data,) = [each["data"] for each in found if each["type"] == "notice"]
    assert (data["title"], data["corrected"]["version"], data["corrected"]["note"]) == (
        "会议改期",
        2,
        "时间",
    )
    assert (data["requires"], data["acknowledged_at"]) == ("acknowledge", None)
    versions = office.every(f"{path}/versions")
    assert [version["title"] for version in versions] == [written["title"], "会议改期"]
    office.post(f"{path}/recall", {"reason": " "}, status=422)
    for _press in range(2):
        assert office.post(f"{path}/recall", {"reason": "取消"})["state"] == "recalled"
    work.drain_all()
    found, _cursor = principal.sync(cursor)
    (data,) = [each["data"] for each in found if each["type"] == "notice"]
    assert data["title"] == "通知已撤回：会议改期"
    assert "改到周四" not in data["body"]
    assert data["recalled"]["reason"] == "取消"
    assert data["recalled"]["office"] == "云岭县"


def test_files_are_opened_by_short_lived_links(cast, phone, written):
    office, principal = phone(cast.office), phone(cast.principal)
    media = upload(office)
    office.post("/notices", {**written, "attachments": [media]}, status=202)
    (file,) = the_one(principal)["attachments"]
    assert (file["id"], file["filename"]) == (media, "安排.jpg")
    path = f"/notices/{written['id']}/attachments/{media}"
    assert office.get(path)["filename"] == "安排.jpg"
    phone(cast.carla).get(path, status=404)
    principal.get(f"/media/{media}", status=404)  # the notice is the only door
    problem = office.post("/notices", {**written, "id": new(), "attachments": [new()]}, status=422)
    assert problem["errors"][0]["pointer"] == "/attachments/0"
    address = principal.get(path)["url"].removeprefix("http://testserver")
    served = Client().get(address)
    assert b"".join(served) == jpeg(64, 48)
    served.close()


def test_a_form_is_answered_and_answered_again(cast, phone, written):
    office, principal = phone(cast.office), phone(cast.principal)
    form = {"requires": "answer", "questions": QUESTIONS}
    office.post("/notices", {**written, **form}, status=202)
    shown = the_one(principal)
    assert [question["id"] for question in shown["questions"]] == ["q1", "q2"]
    path = f"/notices/{shown['id']}/answer"
    problem = principal.post(path, {"id": new(), "answers": {"q1": "三"}}, status=422)
    assert problem["errors"][0]["pointer"] == "/answers/q1"
    told = {"id": new(), "answers": {"q1": 3, "q2": None}, "at": now()}
    for _press in range(2):
        answered = principal.post(path, told)
    assert answered["answers"] == {"q1": 3}
    assert answered["answered_at"]
    assert answered["read_at"]
    assert principal.post(path, {"id": new(), "answers": {"q1": 4}})["answers"] == {"q1": 4}
    principal.post(path, {**told, "answers": {"q1": 9}}, status=409)
    plain = {**written, "id": new()}
    office.post("/notices", plain, status=202)
    body = {"id": new(), "answers": {}}
    problem = principal.post(f"/notices/{plain['id']}/answer", body, status=409)
    assert problem["code"] == "no_questions"


def test_a_scheduled_notice_is_changed_and_cancelled(cast, phone, written):
    office = phone(cast.office)
    at = (clock.now() + timedelta(hours=3)).isoformat()
    sent = office.post("/notices", {**written, "send_at": at}, status=202)
    assert sent["state"] == "scheduled"
    path = f"/notices/{written['id']}"
    changed = {key: value for key, value in written.items() if key != "id"}
    changed |= {"title": "改了", "send_at": at}
    assert office.put(path, changed)["title"] == "改了"
    assert phone(cast.principal).get("/notices")["results"] == []
    assert office.post(f"{path}/cancel")["state"] == "cancelled"
    office.put(path, changed, status=409)


def test_a_megabyte_of_text_is_refused_politely(cast, phone, written):
    body = {**written, "body": "字" * 350_000}
    problem = phone(cast.office).post("/notices", body, status=422)
    assert problem["errors"][0]["pointer"] == "/body"
    assert not Notice.objects.exists()


def test_an_unknown_variable_is_refused_by_name(cast, phone, written):
    body = {**written, "title": "{salary}"}
    problem = phone(cast.office).post("/notices", body, status=422)
    assert problem["errors"][0]["code"] == "unknown_variable"
    assert "{salary}" in problem["errors"][0]["detail"]


def test_a_preview_is_a_count_and_pages_of_names(cast, phone, written):
    office = phone(cast.office)
    asked = {"audience": {"areas": [str(cast.town.pk)]}, "limit": 2}
    first = office.post("/notices/preview", asked)
    assert (first["people"], first["inbox_only"], first["school_count"]) == (5, 5, 2)
    assert {"role": "inspector", "people": 2} in first["roles"]
    assert first["channels"] == [{"channel": "inbox", "people": 5}]
    names = [each["name"] for each in first["results"]]
    while first["next"]:
        first = office.post("/notices/preview", {**asked, "cursor": first["next"]})
        names += [each["name"] for each in first["results"]]
    assert len(names) == len(set(names)) == 5
    for person in (cast.ada, cast.principal, cast.carla):
        phone(person).post("/notices/preview", asked, status=403)
    hidden = {"audience": {"activity": new()}}
    office.post("/notices/preview", hidden, status=404)


def test_a_board_tells_figures_and_names_and_reminds(cast, phone, written):
    office, principal = phone(cast.office), phone(cast.principal)
    office.post("/notices", {**written, "requires": "acknowledge"}, status=202)
    path = f"/notices/{written['id']}"
    principal.post(f"{path}/acknowledge", {"at": now()})
    board = office.get(f"{path}/board")
    assert (board["recipients"], board["acknowledged"], board["undone"]) == (2, 1, 1)
    etag = office.raw("GET", f"{path}/board").headers["ETag"]
    again = office.raw("GET", f"{path}/board", headers={"If-None-Match": etag})
    assert again.status_code == 304
    (line,) = office.every(f"{path}/board/people", standing="undone")
    assert line["recipient"]["name"] == "安督学"
    assert (line["school"], line["phone"]) == (cast.school.name, "12000000000")
    (line,) = office.every(f"{path}/board/people", standing="done")
    assert line["read_device"] == "测试手机"
    assert line["read_device_time"]
    reminder = {"id": new()}
    for _press in range(2):
        assert office.post(f"{path}/remind", reminder, status=202)["remind_after"]
    assert office.post(f"{path}/remind", {"id": new()}, status=409)["code"] == "reminded_recently"
    titles = [notice["title"] for notice in phone(cast.ada).get("/notices")["results"]]
    assert titles == ["提醒：安督学：食品安全会议", "安督学：食品安全会议"]
    assert len(principal.get("/notices")["results"]) == 1


def test_saved_lists_are_the_offices_own(cast, phone, written):
    office, group = phone(cast.office), phone(cast.town_group)
    path = f"/notice-lists/{new()}"
    told = {"name": "初中", "audience": {"stages": ["junior"]}}
    for _press in range(2):
        assert office.put(path, told)["name"] == "初中"
    assert [row["name"] for row in office.get("/notice-lists")["results"]] == ["初中"]
    assert group.get("/notice-lists")["results"] == []
    group.put(path, told, status=404)
    group.delete(path, status=404)
    phone(cast.carla).put(f"/notice-lists/{new()}", told, status=403)
    phone(cast.carla).delete(path, status=404)
    office.put(f"/notice-lists/{new()}", {**told, "audience": {}}, status=422)
    office.delete(path)
    assert office.get("/notice-lists")["results"] == []


def test_carla_finds_nothing_of_anybody_elses_notice(cast, phone, written):
    office, carla = phone(cast.office), phone(cast.carla)
    office.post("/notices", {**written, "requires": "answer", "questions": QUESTIONS}, status=202)
    path = f"/notices/{written['id']}"
    changed = {key: value for key, value in written.items() if key != "id"}
    carla.get(path, status=404)
    carla.put(path, changed, status=403)  # she is no office at all
    phone(cast.town_group).put(path, changed, status=404)
    correction = {"id": new(), "version": 1, "title": "x", "body": "y"}
    for person in (carla, phone(cast.town_group)):
        person.post(f"{path}/answer", {"id": new(), "answers": {"q1": 1}}, status=404)
        person.get(f"{path}/attachments/{new()}", status=404)
        person.post(f"{path}/cancel", status=404)
        person.post(f"{path}/recall", {"reason": "x"}, status=404)
        person.post(f"{path}/correct", correction, status=404)
        person.get(f"{path}/versions", status=404)
        person.get(f"{path}/board", status=404)
        person.get(f"{path}/board/people", status=404)
        person.post(f"{path}/remind", {"id": new()}, status=404)
        assert person.get("/notices/sent")["results"] == []
    assert [row["id"] for row in office.get("/notices/sent")["results"]] == [written["id"]]


def test_lists_of_receipts_cost_the_same_for_many(cast, phone, written, django_assert_num_queries):
    office = phone(cast.office)
    people = User.objects.bulk_create(User(username=f"p{n}", name="人") for n in range(30))
    Membership.objects.bulk_create(
        Membership(user=user, role="inspector", area=cast.town) for user in people
    )
    for audience in ({"schools": [str(cast.school.pk)]}, {"areas": [str(cast.town.pk)]}):
        told = {**written, "id": new(), "audience": audience}
        office.post("/notices", told, status=202)
        with django_assert_num_queries(5):  # the device, the roles, the notice, figures, reminders
            office.get(f"/notices/{told['id']}/board")
        with django_assert_num_queries(8):
            office.get(f"/notices/{told['id']}/board/people")


def test_an_inbox_of_many_templated_notices_asks_once_who_reads(
    cast, phone, written, django_assert_num_queries
):
    office, principal = phone(cast.office), phone(cast.principal)
    for _round in range(3):
        office.post("/notices", {**written, "id": new()}, status=202)
        with django_assert_num_queries(7):  # three of them for the reader's name and schools
            principal.get("/notices")
