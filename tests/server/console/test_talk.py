"""The pages of conversations: for offices in the console, for schools and inspectors on their own."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from media_storage.models import MediaObject
from server.conversations.models import Conversation, Member, Message
from server.conversations.services import mark_read
from server.core import work
from server.core.audit import AuditEntry
from tests.cast import PASSWORD
from tests.conversations import say
from tests.media_storage.pictures import jpeg

pytestmark = pytest.mark.django_db


@pytest.fixture
def path(of_school) -> str:
    return reverse("conversation", args=[of_school.pk])


def send(client: Client, path: str, text: str = "收到", *, scripted: bool = False, **more):
    body = {"message_id": str(uuid4()), "text": text, **more}
    accept = {"Accept": "application/json"} if scripted else {}
    return client.post(f"{path}send/", body, headers=accept)


def test_the_list_and_a_conversation_are_there_for_members(cast, browser, of_school, path):
    say(of_school, cast.ada, "请看食堂", mentions=[cast.principal.pk])
    for person in (cast.office, cast.town_group, cast.ada, cast.principal):
        client = browser(person)
        listed = client.get(reverse("conversations")).content.decode()
        assert cast.school.name in listed
        assert "请看食堂" in listed
        page = client.get(path).content.decode()
        assert "请看食堂" in page
        assert f'<mark class="dx-mention">@{cast.principal.name}</mark>' in page


def test_carla_finds_no_page(cast, browser, of_school, path, visit, finding):
    say(of_school, cast.ada, "请看食堂")
    message = Message.objects.get()
    for person in (cast.carla, cast.bruno, cast.other_principal, cast.expert):
        client = browser(person)
        for address in (path, f"{path}messages/", f"{path}messages/?after=0"):
            assert client.get(address).status_code == 404
        for subject, row in (("school", cast.school), ("visit", visit), ("finding", finding)):
            about = reverse("conversation-about", args=[subject, row.pk])
            assert client.get(about).status_code == 404
            assert send(client, about).status_code == 404
        for deed in ("send/", "read/", "mute/", "export/"):
            assert client.post(path + deed, {"kind": "txt"}).status_code == 404
        for deed in ("withdraw", "remove"):
            address = reverse(f"conversation-{deed}", args=[of_school.pk, message.pk])
            assert client.post(address, {"note": "x"}).status_code == 404
        assert "请看食堂" not in client.get(reverse("conversations")).content.decode()
        assert "请看食堂" not in client.get(reverse("conversations") + "?q=食堂").content.decode()
    assert Message.objects.count() == 1


def test_without_a_login_one_logs_in_and_comes_back(cast, of_school, path):
    client = Client()
    for address in (path, reverse("conversations")):
        assert client.get(address).url == f"{reverse('login')}?next={address}"
    assert client.post(f"{path}send/", {"text": "x"}).status_code == 302
    body = {"username": "principal", "password": PASSWORD, "next": path}
    answer = client.post(reverse("login"), body)
    assert answer.url == path
    page = client.get(path).content.decode()
    assert "/admin/" not in page
    client.post(reverse("logout"))
    assert client.get(path).status_code == 302
    wrong = {"username": "principal", "password": "no"}
    assert "dx-note-red" in Client().post(reverse("login"), wrong).content.decode()
    away = {"username": "principal", "password": PASSWORD, "next": "https://evil.example/"}
    assert Client().post(reverse("login"), away).url == reverse("inbox")


def test_the_first_message_makes_the_conversation(cast, browser, visit):
    client = browser(cast.principal)
    about = reverse("conversation-about", args=["visit", visit.pk])
    assert client.get(about).status_code == 200
    assert not Conversation.objects.exists()
    sent = send(client, about, "我们准备好了")
    conversation = Conversation.objects.get()
    assert sent.url == reverse("conversation", args=[conversation.pk])
    assert client.get(about).url == sent.url
    nowhere = reverse("conversation-about", args=["planet", visit.pk])
    assert client.get(nowhere).status_code == 404


def test_a_form_that_comes_twice_is_one_message_with_its_files(cast, browser, of_school, path):
    client = browser(cast.principal)
    message_id = str(uuid4())
    for _ in range(2):
        files = [
            SimpleUploadedFile("留样.jpg", jpeg(320, 240), content_type="image/jpeg"),
            SimpleUploadedFile("标签.jpg", jpeg(240, 320), content_type="image/jpeg"),
        ]
        body = {"message_id": message_id, "text": "照片见下", "files": files}
        assert client.post(f"{path}send/", body).url == path
    message = Message.objects.get()
    assert [file.media.filename for file in message.files.all()] == ["留样.jpg", "标签.jpg"]
    assert MediaObject.objects.count() == 2


def test_what_is_wrong_is_said_and_nothing_lost(cast, browser, of_school, path):
    client = browser(cast.principal)
    answer = send(client, path, "", scripted=True)
    assert (answer.status_code, "error" in answer.json()) == (422, True)
    assert "dx-note-red" in client.get(send(client, path, "").url).content.decode()
    answer = send(client, path, "长" * 4001, scripted=True)
    assert answer.status_code == 422
    rubbish = send(client, path, "好", scripted=True, mentions=["x", ""], message_id="?")
    assert rubbish.json()["number"] == 1


def test_the_page_asks_for_what_is_new_and_gets_304_until_there_is(
    cast, browser, of_school, path, django_assert_max_num_queries
):
    say(of_school, cast.ada, "一")
    client = browser(cast.principal)
    address = f"{path}messages/?after=1"
    first = client.get(address)
    assert json.loads(first.content)["html"].strip() == ""
    headers = {"If-None-Match": first.headers["ETag"]}
    with django_assert_max_num_queries(4):  # the session, the person, the roles, the conversation
        assert client.get(address, headers=headers).status_code == 304
    say(of_school, cast.ada, "<b>二</b>")
    answer = client.get(address, headers=headers)
    news = json.loads(answer.content)
    assert answer.status_code == 200
    assert (news["last"], news["has_more"]) == (2, False)
    assert "&lt;b&gt;二&lt;/b&gt;" in news["html"]
    for rubbish in ("?after=x", "?after=-1", f"?after={'9' * 40}", "?before="):
        assert client.get(f"{path}messages/{rubbish}").status_code == 200


def test_a_withdrawn_message_is_named_to_the_open_page(cast, browser, of_school, path):
    client = browser(cast.ada)
    message = say(of_school, cast.ada, "说错了")
    client.post(reverse("conversation-withdraw", args=[of_school.pk, message.pk]))
    page = client.get(path).content.decode()
    assert "说错了" not in page
    assert "已由发送人撤回" in page
    assert client.get(f"{path}messages/?after=1").json()["gone"] == [1]


def test_offices_remove_and_export_and_nobody_else_has_the_buttons(cast, browser, of_school, path):
    message = say(of_school, cast.ada, "不当内容")
    remove = reverse("conversation-remove", args=[of_school.pk, message.pk])
    for person in (cast.principal, cast.town_group):
        client = browser(person)
        page = client.get(path).content.decode()
        assert remove not in page
        assert reverse("conversation-export", args=[of_school.pk]) not in page
        client.post(remove, {"note": "x"})
        assert client.post(f"{path}export/", {"kind": "txt"}).status_code == 302
        assert not Message.objects.get(pk=message.pk).gone
    office = browser(cast.office)
    assert remove in office.get(path).content.decode()
    file = office.post(f"{path}export/", {"kind": "txt"})
    assert "attachment" in file.headers["Content-Disposition"]
    assert "不当内容" in file.content.decode()
    assert office.post(f"{path}export/", {"kind": "exe"}).status_code == 404
    office.post(remove, {"note": ""})
    assert not Message.objects.get(pk=message.pk).gone
    office.post(remove, {"note": "辱骂"})
    assert Message.objects.get(pk=message.pk).gone == "removed"


def test_a_document_is_opened_by_asking_and_each_time_is_logged(cast, browser, of_school, path):
    content = b"id,name\n1,\xe7\x95\x99\xe6\xa0\xb7\n"
    sheet = SimpleUploadedFile("台账.csv", content, content_type="text/csv")
    client = browser(cast.principal)
    send(client, path, "台账", files=[sheet])
    work.drain_all()
    media = MediaObject.objects.get()
    address = reverse("conversation-file", args=[of_school.pk, media.pk])
    assert address in browser(cast.ada).get(path).content.decode()
    opened = browser(cast.ada).get(address)
    assert b"".join(client.get(opened.url.removeprefix("http://testserver"))) == content
    assert browser(cast.carla).get(address).status_code == 404
    entries = AuditEntry.objects.filter(action="media.original_opened")
    assert [entry.by for entry in entries] == [cast.ada]


def test_reading_and_muting_by_the_page(cast, browser, of_school, path):
    say(of_school, cast.ada)
    client = browser(cast.principal)
    assert client.post(f"{path}read/", {"number": "x"}).status_code == 204
    client.post(f"{path}read/", {"number": "1"})
    client.post(f"{path}mute/", {"muted": "1"})
    member = Member.objects.get(user=cast.principal)
    assert (member.read_number, member.muted) == (1, True)
    client.post(f"{path}mute/", {})
    assert not Member.objects.get(user=cast.principal).muted


def test_unread_begins_with_a_line(cast, browser, of_school, path):
    for number in range(3):
        say(of_school, cast.ada, f"第 {number} 条")
    mark_read(conversation_id=of_school.pk, by=cast.principal, number=1)
    page = browser(cast.principal).get(path).content.decode()
    assert page.index("第 0 条") < page.index('id="unread"') < page.index("第 1 条")
    assert 'id="unread"' not in browser(cast.ada).get(path).content.decode()


def test_older_messages_are_a_link_away(cast, browser, of_school, path):
    for number in range(60):
        say(of_school, cast.ada, f"第 {number} 条")
    client = browser(cast.principal)
    page = client.get(path).content.decode()
    assert "第 59 条" in page
    assert "第 9 条" not in page
    assert "?before=11" in page
    older = client.get(f"{path}?before=11").content.decode()
    assert "第 9 条" in older
    assert "?before=" not in older
    assert client.get(f"{path}messages/?before=11").json()["has_more"] is False


def test_pages_of_the_console_link_to_the_conversation_with_what_is_unread(
    cast, office, group, visit, finding, of_school
):
    say(of_school, cast.ada)
    school = reverse("admin:grid_school_change", args=[cast.school.pk])
    assert "沟通（1 条未读）" in office.get(school).content.decode()
    for subject, name, row in (
        ("visit", "activities_visit", visit),
        ("finding", "findings_finding", finding),
    ):
        page = office.get(reverse(f"admin:{name}_change", args=[row.pk])).content.decode()
        assert reverse("conversation-about", args=[subject, row.pk]) in page
    # The town group may see the visit, and is no member of its conversation.
    page = group.get(reverse("admin:activities_visit_change", args=[visit.pk])).content.decode()
    assert reverse("conversation-about", args=["visit", visit.pk]) not in page


def test_lists_and_pages_cost_the_same_for_many(
    cast, browser, of_school, path, visit, django_assert_num_queries
):
    client = browser(cast.principal)
    client.get(path)
    for _round in range(3):
        say(of_school, cast.ada, mentions=[cast.principal.pk])
        with django_assert_num_queries(5):  # session, person, roles, count, page
            client.get(reverse("conversations"))
        with django_assert_num_queries(9):
            client.get(path)


def test_search_finds_within_one_conversation_and_in_all(cast, browser, of_school, of_visit):
    say(of_school, cast.ada, "留样不足")
    say(of_visit, cast.ada, "留样已补")
    client = browser(cast.principal)
    everywhere = client.get(reverse("conversations"), {"q": "留样"}).content.decode()
    assert "留样不足" in everywhere
    assert "留样已补" in everywhere
    within = client.get(reverse("conversations"), {"q": "留样", "in": str(of_visit.pk)})
    assert "留样不足" not in within.content.decode()
    nothing = client.get(reverse("conversations"), {"q": "没有的词"}).content.decode()
    assert "没有找到" in nothing
    assert client.get(reverse("conversations"), {"q": "\0", "in": "x"}).status_code == 200
