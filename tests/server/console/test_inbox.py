"""The inbox in a browser: reading, confirming, answering, opening files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from server.core import clock
from server.core.ids import new_id
from server.messaging.composing import Message, compose, recall
from server.messaging.models import Notice, NoticeAnswer
from server.messaging.queries import Audience
from tests.cast import Cast
from tests.media_storage.pictures import jpeg

QUESTIONS = [
    {"kind": "text", "label": "参会人"},
    {"kind": "number", "label": "人数"},
    {"kind": "choice", "label": "用餐", "options": ["是", "否"]},
    {"kind": "choices", "label": "哪天", "options": ["周三", "周四"]},
    {"kind": "date", "label": "到达", "required": False},
]


def send(cast: Cast, **changes: Any) -> Notice:
    values = {
        "title": "例会",
        "body": "{name}：周五",
        "audience": Audience(schools=[cast.school.pk]),
    }
    return compose(notice_id=new_id(), by=cast.office, message=Message(**{**values, **changes}))


@pytest.fixture
def principal(browser, cast) -> Client:
    return browser(cast.principal)


def text_of(answer) -> str:
    return answer.content.decode()


def test_the_inbox_lists_notices_and_what_each_still_asks(principal, cast):
    assert "还没有通知" in text_of(principal.get("/inbox/"))
    first = send(cast, requires="acknowledge")
    send(cast, title="读一读")
    page = text_of(principal.get("/inbox/"))
    assert page.count("未读") == 2
    principal.get(f"/go/notice/{first.pk}")
    page = text_of(principal.get("/inbox/"))
    assert page.count("未读") == 1
    assert "待确认" in page
    principal.post(f"/go/notice/{first.pk}")
    assert "待确认" not in text_of(principal.get("/inbox/"))


def test_the_inbox_costs_the_same_for_many(principal, cast, django_assert_max_num_queries):
    for _ in range(12):
        send(cast)
    with django_assert_max_num_queries(9):
        assert text_of(principal.get("/inbox/")).count("/go/notice/") == 12


def test_it_is_ones_own(browser, cast):
    notice = send(cast)
    assert "例会" not in text_of(browser(cast.carla).get("/inbox/"))
    assert browser(cast.carla).get(f"/go/notice/{notice.pk}").status_code == 404
    assert Client().get("/inbox/")["Location"] == "/login/?next=/inbox/"


def test_the_text_is_filled_in_for_its_reader(principal, cast):
    notice = send(cast)
    assert f"{cast.principal.name}：周五" in text_of(principal.get(f"/go/notice/{notice.pk}"))


def test_a_form_is_answered_and_answered_again(principal, cast):
    notice = send(cast, requires="answer", questions=QUESTIONS)
    link = f"/go/notice/{notice.pk}"
    assert "提交回执" in text_of(principal.get(link))
    body = {"q-q1": "白校长", "q-q2": "2", "q-q3": "是", "q-q4": ["周三", "周四"], "q-q5": ""}
    page = text_of(principal.post(link, body))
    assert "已提交回执" in page
    assert 'value="周四" checked' in page
    assert NoticeAnswer.objects.get().answers == {
        "q1": "白校长",
        "q2": 2,
        "q3": "是",
        "q4": ["周三", "周四"],
    }
    principal.post(link, {**body, "q-q2": "3.5"})
    answers = NoticeAnswer.objects.order_by("number")
    assert [(each.answers["q2"], each.replaced_at is None) for each in answers] == [
        (2, False),
        (3.5, True),
    ]


def test_a_wrong_answer_is_named_and_kept_in_the_form(principal, cast):
    notice = send(cast, requires="answer", questions=QUESTIONS)
    answer = principal.post(
        f"/go/notice/{notice.pk}", {"q-q1": "白校长", "q-q2": "两个", "q-q3": "也许"}
    )
    page = text_of(answer)
    assert answer.status_code == 422
    assert "请填写数字" in page
    assert 'value="两个"' in page
    assert "请从选项中选择一项" in page
    assert not NoticeAnswer.objects.exists()


def test_a_closed_form_takes_nothing_and_says_so(principal, cast, monkeypatch):
    ends = clock.now() + timedelta(hours=1)
    notice = send(cast, requires="answer", questions=QUESTIONS[:1], open_until=ends)
    later = ends + timedelta(minutes=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    page = text_of(principal.get(f"/go/notice/{notice.pk}"))
    assert "不能再填写" in page
    assert "<fieldset disabled>" in page
    answer = principal.post(f"/go/notice/{notice.pk}", {"q-q1": "白校长"})
    assert answer.status_code == 409
    assert not NoticeAnswer.objects.exists()


def test_a_recalled_notice_says_why_and_asks_nothing(principal, cast):
    notice = send(cast, requires="answer", questions=QUESTIONS)
    recall(notice_id=notice.pk, by=cast.office, reason="日期有误")
    page = text_of(principal.get(f"/go/notice/{notice.pk}"))
    assert "日期有误" in page
    assert "填写回执" not in page


def test_its_files_are_opened_by_who_received_it(principal, browser, cast):
    stored = store_stream(filename="日程.jpg", content_type="image/jpeg", chunks=[jpeg(64, 48)])
    media = MediaObject.objects.create(
        **new_media_values(
            media_id=new_id(), owner_id=cast.office.pk, filename="日程.jpg", stored=stored
        )
    )
    notice = send(cast, attachments=[media.pk])
    assert "日程.jpg" in text_of(principal.get(f"/go/notice/{notice.pk}"))
    path = f"/inbox/{notice.pk}/files/{media.pk}/"
    assert principal.get(path).status_code == 302
    assert browser(cast.carla).get(path).status_code == 404
    assert Client().get(path)["Location"] == f"/login/?next={path}"
