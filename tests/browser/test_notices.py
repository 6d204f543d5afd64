"""Writing a notice in Chromium, at the desk and on the phone, and watching its receipts move."""

from __future__ import annotations

import pytest
from django.urls import reverse

from server.core.ids import new_id
from server.grid.models import User
from server.messaging.board import remind
from server.messaging.composing import correct
from server.messaging.models import Notice, NoticeDraft
from server.messaging.queries import inbox_of
from server.messaging.reading import answer, mark_read
from tests.browser.watching import SIZES, Watched
from tests.media_storage.pictures import jpeg

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("size", SIZES)
def test_an_office_writes_a_notice_with_a_form_and_follows_its_receipts(
    size, chrome, live_server, addresses
):
    watched = Watched(chrome, live_server.url, size)
    watched.log_in()
    page = watched.open(addresses["compose"], "notice-empty")
    assert page.locator(".dx-asks").is_hidden()
    page.fill("[name=title]", "食品安全会议")
    page.fill("[name=body]", "您好，")
    page.locator(".dx-variable").first.click()
    assert page.input_value("[name=body]") == "您好，{name}"
    page.set_input_files(
        "[name=files]",
        [{"name": "安排.jpg", "mimeType": "image/jpeg", "buffer": jpeg(64, 48)}],
    )
    page.locator(".dx-files [name=attachments]").wait_for(state="attached")
    page.check("[name=requires][value=answer]")
    page.fill("[data-part=label]", "参加人数")
    page.select_option("[data-part=kind]", "number")
    page.click(".dx-add-ask")
    second = page.locator(".dx-asked li").nth(1)
    second.locator("[data-part=kind]").select_option("choice")
    second.locator("[data-part=label]").fill("是否用餐")
    second.locator("[data-part=options]").fill("是\n否")
    page.locator("[name=roles][value=school_contact]").check()
    page.locator("#preview .dx-tallies").first.wait_for()
    page.fill(".dx-find", User.objects.get(username="inspector1").name)
    page.locator(".dx-found button").first.click()
    page.locator("[data-name=people] li").wait_for()
    page.wait_for_function("document.querySelector('.dx-kept').textContent.includes('草稿已保存')")
    draft = NoticeDraft.objects.get()
    watched.look("notice-written")
    page = watched.open(f"{addresses['compose']}?draft={draft.pk}", "notice-draft")
    assert page.locator(".dx-asked li").count() == 2
    assert page.locator(".dx-files li").count() == 1
    page.click("[name=do][value=send]")
    page.wait_for_url("**/change/")
    assert not NoticeDraft.objects.exists()
    notice = Notice.objects.get(pk=draft.pk)
    assert [question["kind"] for question in notice.form or ()] == ["number", "choice"]
    follow(watched, notice)


def follow(watched: Watched, notice: Notice) -> None:
    """The board moves by itself when somebody answers."""
    page = watched.page
    readers = User.objects.filter(deliveries__notice=notice, deliveries__channel="inbox").order_by(
        "pk"
    )
    first, second = readers[:2]
    page.evaluate("document.activeElement.blur()")
    told = {"q1": 2, "q2": "是"}
    answer(notice_id=notice.pk, answer_id=new_id(), by=first, answers=told)
    page.locator("#board .dx-numbers li", has_text="1人已填写").wait_for(timeout=12_000)
    mark_read(notice_id=notice.pk, by=second)
    office = User.objects.get(username="office")
    remind(notice_id=notice.pk, reminder_id=new_id(), by=office)
    correct(
        notice_id=notice.pk,
        correction_id=new_id(),
        by=office,
        seen_version=1,
        title="食品安全会议（改期）",
        body="改到周四，{name}",
        note="时间由周五改为周四",
    )
    path = reverse("admin:messaging_notice_change", args=[notice.pk])
    watched.open(path, "notice-board")
    watched.open(f"{path}?standing=undone", "notice-undone")
    watched.open(reverse("admin:messaging_notice_correct", args=[notice.pk]), "notice-correct")
    watched.open(reverse("admin:messaging_notice_changelist"), "notice-list")
    page = watched.open(path, "notice-board")
    page.locator("summary", has_text="撤回").click()
    page.fill("#note-recall", "会议取消")
    page.locator("details[open] button", has_text="撤回").click()
    page.locator(".dx-note", has_text="会议取消").wait_for()
    watched.look("notice-recalled")
    row = inbox_of(first).get(notice=notice)
    assert row.title.startswith("通知已撤回")
