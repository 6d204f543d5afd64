"""Conversations over the API: opening, writing, reading on, what is refused, and Carla."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest

from server.conversations.models import Conversation, Message
from server.core import clock
from server.core.audit import AuditEntry
from server.grid.models import Appointment
from tests.clients import Phone, new, now
from tests.media_storage.pictures import jpeg


@pytest.fixture
def about_school(cast) -> dict:
    return {"subject_type": "school", "subject_id": str(cast.school.pk)}


@pytest.fixture
def talk(cast, phone, about_school) -> str:
    """The address of the school's conversation."""
    opened = phone(cast.principal).post("/conversations", about_school, status=201)
    return f"/conversations/{opened['id']}"


def text(words: str = "请看食堂", **more: object) -> dict:
    return {"id": new(), "text": words, "device_time": now(), **more}


def uploaded(device: Phone, content: bytes, *, name: str, kind: str) -> str:
    """A file that the phone has declared, uploaded and completed."""
    body = {
        "id": new(),
        "filename": name,
        "content_type": kind,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    declared = device.post("/media", body, status=201)
    (part,) = declared["upload"]["parts"]
    path = part["url"].partition("testserver")[2]
    response = device.client.generic(
        "PUT", path, content, content_type=kind, headers=part["headers"]
    )
    assert response.status_code in (200, 201, 204), response.content
    device.post(f"/media/{body['id']}/complete")
    return body["id"]


def test_a_visit_a_finding_and_a_school_have_one_conversation_each(
    cast, phone, visit, about_school
):
    ada, principal = phone(cast.ada), phone(cast.principal)
    about_visit = {"subject_type": "visit", "subject_id": str(visit.pk)}
    first = ada.post("/conversations", about_visit, status=201)
    again = principal.post("/conversations", about_visit)
    assert (again["id"], again["title"]) == (first["id"], f"{visit.activity} · {cast.school}")
    assert again["subject"] == {"type": "visit", "id": str(visit.pk)}
    assert principal.post("/conversations", about_school, status=201)["id"] != first["id"]
    assert {each["name"] for each in first["members"]} == {
        cast.ada.name,
        cast.principal.name,
        cast.office.name,
    }
    assert Conversation.objects.count() == 2


def test_a_message_arrives_once(cast, phone, talk):
    ada, message = phone(cast.ada), text()
    sent = ada.post(f"{talk}/messages", message, status=201)
    assert (sent["number"], sent["text"], sent["sender"]["name"]) == (
        1,
        "请看食堂",
        cast.ada.name,
    )
    assert ada.post(f"{talk}/messages", message) == sent
    # The phone's clock was set right in between: it is the same message.
    assert ada.post(f"{talk}/messages", {**message, "device_time": now()})["number"] == 1
    for other in ({"text": "别的"}, {"mentions": [str(cast.office.pk)]}):
        problem = ada.post(f"{talk}/messages", {**message, **other}, status=409)
        assert problem["code"] == "content_conflict"
    phone(cast.principal).post(f"{talk}/messages", message, status=409)
    assert Message.objects.count() == 1


def test_who_was_away_reads_on_from_their_number(cast, phone, talk):
    ada, principal = phone(cast.ada), phone(cast.principal)
    for number in range(7):
        ada.post(f"{talk}/messages", text(f"第 {number} 条"), status=201)
    page = principal.get(f"{talk}/messages", after=0, limit=3)
    got = [each["number"] for each in page["results"]]
    while page["has_more"]:
        page = principal.get(f"{talk}/messages", after=got[-1], limit=3)
        got += [each["number"] for each in page["results"]]
    assert got == [1, 2, 3, 4, 5, 6, 7]
    newest = principal.get(f"{talk}/messages", limit=2)
    assert ([each["number"] for each in newest["results"]], newest["has_more"]) == ([6, 7], True)
    back = principal.get(f"{talk}/messages", before=6, limit=10)
    assert ([each["number"] for each in back["results"]], back["has_more"]) == (
        [1, 2, 3, 4, 5],
        False,
    )


def test_reading_counts_down_and_never_back(cast, phone, talk):
    ada, principal = phone(cast.ada), phone(cast.principal)
    for _ in range(3):
        ada.post(f"{talk}/messages", text(), status=201)
    (listed,) = principal.get("/conversations", unread="true")["results"]
    assert (listed["unread"], listed["last_message"]["text"]) == (3, "请看食堂")
    assert principal.post(f"{talk}/read", {"number": 2})["read_number"] == 2
    assert principal.post(f"{talk}/read", {"number": 1})["read_number"] == 2
    assert principal.get(talk)["unread"] == 1
    assert principal.post(f"{talk}/read", {"number": 10**17})["read_number"] == 3
    assert principal.get("/conversations", unread="true")["results"] == []
    assert ada.get(talk)["unread"] == 0


def test_the_feed_tells_of_every_message_once(cast, phone, talk):
    ada, principal = phone(cast.ada), phone(cast.principal)
    _changes, cursor = principal.sync()
    for number in (1, 2):
        ada.post(f"{talk}/messages", text(str(number)), status=201)
    changes, cursor = principal.sync(cursor)
    (change,) = [each for each in changes if each["type"] == "conversation"]
    assert (change["op"], change["data"]["last_number"], change["data"]["unread"]) == ("put", 2, 2)
    assert principal.sync(cursor)[0] == []
    copied, _cursor = phone(cast.town_group).sync()
    assert [each["data"]["last_number"] for each in copied if each["type"] == "conversation"] == [2]


def test_the_feed_tells_nobody_else(cast, phone, talk):
    carla, bruno = phone(cast.carla), phone(cast.bruno)
    cursors = [device.sync()[1] for device in (carla, bruno)]
    phone(cast.ada).post(f"{talk}/messages", text(), status=201)
    for device, cursor in zip((carla, bruno), cursors, strict=True):
        assert device.sync(cursor)[0] == []


def test_an_unannounced_visit_is_not_told_by_its_conversation(cast, phone, unannounced):
    ada, principal = phone(cast.ada), phone(cast.principal)
    _changes, cursor = principal.sync()
    about = {"subject_type": "visit", "subject_id": str(unannounced.pk)}
    path = f"/conversations/{ada.post('/conversations', about, status=201)['id']}"
    ada.post(f"{path}/messages", text("先看后厨"), status=201)
    principal.post("/conversations", about, status=404)
    principal.get(path, status=404)
    principal.get(f"{path}/messages", status=404)
    principal.post(f"{path}/messages", text(), status=404)
    assert principal.every("/conversations") == []
    assert principal.get("/conversations/search", q="后厨")["results"] == []
    assert principal.sync(cursor)[0] == []
    assert principal.get("/notices")["results"] == []

    here = {"id": new(), "at": now(), "location": None}
    ada.post(f"/visits/{unannounced.pk}/check-in", here)
    changes, _cursor = principal.sync(cursor)
    (change,) = [each for each in changes if each["type"] == "conversation"]
    assert (change["data"]["first_number"], change["data"]["unread"]) == (2, 0)
    assert change["data"]["last_message"] is None
    assert principal.get(f"{path}/messages", after=0)["results"] == []
    ada.post(f"{path}/messages", text("已到校"), status=201)
    (message,) = principal.get(f"{path}/messages", after=0)["results"]
    assert (message["number"], message["text"]) == (2, "已到校")


def test_carla_finds_nothing(cast, phone, talk, about_school):
    message = text()
    phone(cast.ada).post(f"{talk}/messages", message, status=201)
    entry = f"{talk}/messages/{message['id']}"
    for person in (cast.carla, cast.bruno, cast.other_principal, cast.expert):
        stranger = phone(person)
        stranger.get(talk, status=404)
        stranger.get(f"{talk}/messages", status=404)
        stranger.post(f"{talk}/messages", text(), status=404)
        stranger.post(f"{talk}/messages", message, status=404)
        stranger.post(f"{talk}/read", {"number": 1}, status=404)
        stranger.put(f"{talk}/mute", {"muted": True}, status=404)
        stranger.post(f"{entry}/withdraw", status=404)
        stranger.post(f"{entry}/remove", {"reason": "x"}, status=404)
        stranger.post(f"{talk}/export", {}, status=404)
        stranger.post("/conversations", about_school, status=404)
        stranger.get("/conversations/search", q="食堂", conversation=talk[15:], status=404)
        assert stranger.get("/conversations/search", q="食堂")["results"] == []
        assert stranger.every("/conversations") == []
    assert Message.objects.count() == 1


def test_an_ended_appointment_ends_the_conversation(cast, phone, talk):
    ada = phone(cast.ada)
    ada.post(f"{talk}/messages", text(), status=201)
    _changes, cursor = ada.sync()
    yesterday = clock.today() - timedelta(days=1)
    Appointment.objects.filter(inspector=cast.ada).update(ends=yesterday)
    ada.get(f"{talk}/messages", status=404)
    page = ada.get("/sync", cursor=cursor)
    assert page["reset"]
    assert "conversation" not in {each["type"] for each in page["changes"]}


def test_a_clock_of_2099_is_shown_and_orders_nothing(cast, phone, talk):
    ada = phone(cast.ada)
    ada.post(f"{talk}/messages", text("一", device_time="2099-01-01T00:00:00+08:00"), status=201)
    ada.post(f"{talk}/messages", text("二", device_time="2001-01-01T00:00:00+08:00"), status=201)
    first, second = ada.get(f"{talk}/messages", after=0)["results"]
    assert (first["text"], first["device_time"][:4]) == ("一", "2099")
    assert (second["text"], second["device_time"][:4]) == ("二", "2001")
    assert first["created_at"] <= second["created_at"]
    problem = ada.post(f"{talk}/messages", text(device_time="9999-01-01T00:00:00Z"), status=422)
    assert problem["errors"][0]["pointer"] == "/device_time"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"text": ""}, "/text"),
        ({"text": " \n\u200b\u202e "}, "/text"),
        ({"text": "长" * 4001}, "/text"),
        ({"text": "x" * 1_000_000}, "/text"),
        ({"text": None}, "/text"),
        ({"text": ["一"]}, "/text"),
        ({"id": "1"}, "/id"),
        ({"mentions": ["ada"]}, "/mentions/0"),
        ({"mentions": [new() for _ in range(51)]}, "/mentions"),
        ({"media": [new()]}, "/media/0"),
        ({"media": [new() for _ in range(10)]}, "/media"),
        ({"device_time": "昨天"}, "/device_time"),
    ],
)
def test_a_message_says_what_is_wrong_with_it(cast, phone, talk, changes, pointer):
    problem = phone(cast.ada).post(f"{talk}/messages", text(**changes), status=422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    "raw",
    [b"[]", b'"x"', b'{"id": ', b'{"id": "\\ud800"}', b'{"text": "\\u0000"}', b"\xff\xfe"],
)
def test_rubbish_is_refused(cast, phone, talk, raw):
    assert phone(cast.ada).raw("POST", f"{talk}/messages", raw).status_code == 400
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    "query", [{"after": "x"}, {"after": -1}, {"before": 0}, {"limit": 0}, {"after": 2**70}]
)
def test_wrong_places_are_refused(cast, phone, talk, query):
    phone(cast.ada).get(f"{talk}/messages", status=400, **query)


def test_control_characters_go_and_emoji_stay(cast, phone, talk):
    sent = phone(cast.ada).post(
        f"{talk}/messages", text("  一\r\n二\x07\u202e三 👩\u200d🏫\u2066 "), status=201
    )
    assert sent["text"] == "一\n二三 👩\u200d🏫"


def test_who_writes_too_fast_is_told_when_to_go_on(cast, phone, talk, settings):
    settings.CONVERSATION_MESSAGES_A_MINUTE = 2
    ada, first = phone(cast.ada), text()
    ada.post(f"{talk}/messages", first, status=201)
    ada.post(f"{talk}/messages", text(), status=201)
    refused = ada.raw("POST", f"{talk}/messages", json.dumps(text()).encode())
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert refused.json()["code"] == "too_many_requests"
    ada.post(f"{talk}/messages", first)  # a repetition costs nothing
    phone(cast.principal).post(f"{talk}/messages", text(), status=201)


def test_mentions_are_of_members_only(cast, phone, talk):
    mentions = [str(cast.principal.pk), str(cast.carla.pk), new()]
    sent = phone(cast.ada).post(f"{talk}/messages", text(mentions=mentions), status=201)
    assert [each["id"] for each in sent["mentions"]] == [str(cast.principal.pk)]


def test_a_photo_is_for_the_members(cast, phone, talk):
    ada, principal, carla = phone(cast.ada), phone(cast.principal), phone(cast.carla)
    media = uploaded(ada, jpeg(640, 480), name="a.jpg", kind="image/jpeg")
    principal.get(f"/media/{media}", status=404)
    sent = ada.post(f"{talk}/messages", text("", media=[media]), status=201)
    assert [each["id"] for each in sent["media"]] == [media]
    assert principal.get(f"/media/{media}")["original"] is True
    assert principal.post(f"/media/{media}/original")["url"]
    carla.get(f"/media/{media}", status=404)
    carla.post(f"/media/{media}/original", status=404)
    again = ada.post(f"{talk}/messages", text("", media=[media]), status=422)
    assert again["errors"][0]["code"] == "in_use"
    problem = principal.post(f"{talk}/messages", text("", media=[media]), status=422)
    assert problem["errors"][0]["code"] == "unknown"


def test_a_message_may_come_before_its_photo(cast, phone, talk):
    ada = phone(cast.ada)
    content = jpeg(64, 48)
    body = {
        "id": new(),
        "filename": "a.jpg",
        "content_type": "image/jpeg",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    ada.post("/media", body, status=201)
    sent = ada.post(f"{talk}/messages", text("", media=[body["id"]]), status=201)
    assert sent["media"][0]["state"] == "declared"


def test_the_sender_withdraws_within_two_minutes(cast, phone, talk):
    ada, principal, message = phone(cast.ada), phone(cast.principal), text("说错了")
    ada.post(f"{talk}/messages", message, status=201)
    path = f"{talk}/messages/{message['id']}/withdraw"
    principal.post(path, status=403)
    gone = ada.post(path)
    assert (gone["text"], gone["gone"]) == ("", "withdrawn")
    assert ada.post(path) == gone
    first, second = principal.get(f"{talk}/messages", after=0)["results"]
    assert (first["text"], first["gone"]) == ("", "withdrawn")
    assert (second["kind"], second["about"], second["number"]) == ("withdrawn", 1, 2)
    assert principal.get("/conversations/search", q="说错")["results"] == []
    assert principal.get(talk)["unread"] == 0
    assert principal.get(talk)["last_message"]["gone"] == "withdrawn"
    # A late repetition of the message finds what became of it, and brings nothing back.
    assert ada.post(f"{talk}/messages", message)["gone"] == "withdrawn"

    late = text("旧的")
    ada.post(f"{talk}/messages", late, status=201)
    Message.objects.filter(pk=late["id"]).update(created_at=clock.now() - timedelta(seconds=121))
    problem = ada.post(f"{talk}/messages/{late['id']}/withdraw", status=409)
    assert problem["code"] == "withdrawal_late"


def test_the_office_removes_with_a_reason(cast, phone, talk):
    ada, office, message = phone(cast.ada), phone(cast.office), text("不当言论")
    ada.post(f"{talk}/messages", message, status=201)
    path = f"{talk}/messages/{message['id']}/remove"
    for person in (cast.ada, cast.principal, cast.town_group):
        phone(person).post(path, {"reason": "x"}, status=403)
    office.post(path, {"reason": " "}, status=422)
    assert office.post(path, {"reason": "辱骂"})["gone"] == "removed"
    assert office.post(path, {"reason": "再次"})["gone"] == "removed"
    entry = AuditEntry.objects.get(action="message.removed")
    assert entry.details["reason"] == "辱骂"
    assert entry.details["sha256"] == Message.objects.get(pk=message["id"]).sha256
    log = json.dumps(list(AuditEntry.objects.values_list("details", flat=True)), ensure_ascii=False)
    assert "不当言论" not in log


def test_the_office_exports_and_it_is_logged(cast, phone, talk):
    ada, office = phone(cast.ada), phone(cast.office)
    ada.post(f"{talk}/messages", text("第一行\n[9] 第二行"), status=201)
    for person in (cast.ada, cast.principal, cast.town_group):
        phone(person).post(f"{talk}/export", {}, status=403)
    plain = office.raw("POST", f"{talk}/export", b'{"kind": "txt"}')
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert "\n    [9] 第二行\n" in plain.content.decode()
    whole = office.raw("POST", f"{talk}/export", b'{"kind": "json"}').json()
    assert [each["text"] for each in whole["entries"]] == ["第一行\n[9] 第二行"]
    office.post(f"{talk}/export", {"kind": "exe"}, status=422)
    assert AuditEntry.objects.filter(action="conversation.exported").count() == 2


def test_search_pages_and_keeps_to_one_conversation(cast, phone, talk, visit):
    ada = phone(cast.ada)
    about = {"subject_type": "visit", "subject_id": str(visit.pk)}
    other = f"/conversations/{ada.post('/conversations', about, status=201)['id']}"
    for number in range(5):
        ada.post(f"{talk}/messages", text(f"留样 {number}"), status=201)
    ada.post(f"{other}/messages", text("留样在这里"), status=201)
    found = ada.every("/conversations/search", q="留样", limit=2)
    assert [each["text"] for each in found] == [
        "留样在这里",
        *(f"留样 {number}" for number in (4, 3, 2, 1, 0)),
    ]
    within = ada.every("/conversations/search", q="留样", conversation=talk[15:])
    assert len(within) == 5
    ada.get("/conversations/search", status=400)
    ada.get("/conversations/search", q="x" * 101, status=400)


def test_muting_is_ones_own(cast, phone, talk):
    ada = phone(cast.ada)
    assert ada.put(f"{talk}/mute", {"muted": True}) == {"read_number": 0, "muted": True}
    assert ada.get(talk)["muted"] is True
    assert phone(cast.principal).get(talk)["muted"] is False


def test_lists_cost_the_same_for_many(cast, phone, talk, visit, django_assert_num_queries):
    ada, principal = phone(cast.ada), phone(cast.principal)
    about = {"subject_type": "visit", "subject_id": str(visit.pk)}
    ada.post("/conversations", about, status=201)
    for _round in range(3):
        media = uploaded(ada, jpeg(64, 48), name="a.jpg", kind="image/jpeg")
        body = text(media=[media], mentions=[str(cast.principal.pk)])
        ada.post(f"{talk}/messages", body, status=201)
        costs = {
            "/conversations": 3,  # the device, the roles, the page
            f"{talk}/messages?after=0": 7,  # and the conversation, mentions, files, renditions
            "/conversations/search?q=食堂": 6,
        }
        for path, cost in costs.items():
            with django_assert_num_queries(cost):
                principal.get(path)
