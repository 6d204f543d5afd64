"""Two people who talk in two browsers: the office in the console, the school on its own page."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import expect

from server.console.talk import pages
from server.conversations.models import Message
from server.conversations.services import open_conversation
from server.core import work
from server.findings.models import Finding
from server.grid.models import User
from server.grid.queries import contacts_of
from tests.browser.watching import SIZES, Watched
from tests.media_storage.pictures import jpeg

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("size", SIZES)
def test_an_office_and_a_school_talk(
    size, chrome, live_server, addresses, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(pages, "POLL_SECONDS", 1)
    finding = Finding.objects.filter(state="open").select_related("school")[0]
    contact: User = contacts_of(finding.school)[0]
    conversation, _new = open_conversation(subject="finding", subject_id=finding.pk, by=contact)

    school = Watched(chrome, live_server.url, size)
    school.open("/conversations/", "talk-login")
    school.page.fill("[name=username]", contact.username)
    school.page.fill("[name=password]", settings.DEMO_PASSWORD)
    school.page.click("main button[type=submit]")
    school.page.wait_for_url("**/conversations/")
    school.look("talk-list-school")
    theirs = school.open(f"/conversations/{conversation.pk}/", "talk-empty")

    office = Watched(chrome, live_server.url, size)
    office.log_in()
    ours = office.open(f"/admin/findings/finding/{finding.pk}/change/", "talk-finding")
    ours.click("a:has-text('沟通'):not(nav a)")
    ours.wait_for_url(f"**/conversations/{conversation.pk}/")

    photo = tmp_path / "留样.jpg"
    photo.write_bytes(jpeg(640, 480))
    theirs.fill("#text", "照片见下")
    theirs.click(".dx-people summary")
    theirs.check("[name=mentions] >> nth=0")
    theirs.set_input_files("[name=files]", photo)
    theirs.click(".dx-write [type=submit]")
    expect(theirs.locator(".dx-mine")).to_have_count(1)
    expect(ours.locator(".dx-said")).to_contain_text("照片见下", timeout=10_000)
    expect(ours.locator(".dx-mention")).to_have_count(1)

    work.drain_all()  # the photo is looked into, and shows itself on both open pages
    for page in (ours, theirs):
        expect(page.locator(".dx-thumb img")).to_have_count(1, timeout=10_000)
    ours.fill("#text", "收到，请补充说明。")
    ours.click(".dx-write [type=submit]")
    expect(theirs.locator(".dx-said:not(.dx-mine)")).to_contain_text("请补充", timeout=10_000)
    assert theirs.input_value("#text") == ""
    expect(theirs.locator(".dx-day")).to_have_count(1)

    ours.reload()
    office.look("talk-office")
    ours.locator(".dx-mine").hover()
    ours.locator(".dx-mine").get_by_text("撤回").click()
    expect(theirs.locator(".dx-line")).to_have_count(1, timeout=10_000)
    school.look("talk-school")
    assert Message.objects.filter(gone="withdrawn").count() == 1
