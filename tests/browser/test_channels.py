"""Notices in the browser, and the pages of channels, in Chromium.

No push service can be reached here, so what a browser gets from one is handed to its service worker
over Chromium's own debugging protocol; everything before and after that is the real thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.db import connections
from playwright.sync_api import Browser, CDPSession, sync_playwright

from server.core import clock
from server.findings.services import raise_finding
from server.messaging.models import ChatGroup, Device, Notice
from tests.browser.watching import FLAGS, SCREENSHOTS, SIZES, Watched
from tests.cast import Cast
from tests.fakes.vendors import RobotServer
from tests.server.messaging.worlds import LOOPBACK

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def robots(settings) -> Iterator[RobotServer]:
    settings.OUTBOUND_PRIVATE_NETWORKS = LOOPBACK
    with RobotServer() as server:
        settings.ROBOT_HOSTS = server.hosts()
        yield server


def enter(watched: Watched, cast: Cast, username: str, path: str) -> None:
    """Through the link of a message: log in, and be there."""
    page = watched.open(path, f"login-{username}")
    page.fill("[name=username]", username)
    page.fill("[name=password]", cast.password)
    page.click("main button")
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("size", SIZES)
def test_a_school_sets_up_its_group_and_sees_what_the_platform_says(
    size, chrome, live_server, cast, robots
):
    watched = Watched(chrome, live_server.url, size)
    enter(watched, cast, "principal", "/channels/")
    watched.look("channels-empty")
    page = watched.page
    page.fill("[name=name]", "教师工作群")
    page.fill("[name=webhook]", robots.webhook("dingtalk"))
    page.fill("[name=sign_secret]", "SEC-wrong")
    page.click("details[open] button:has-text('添加')")
    page.wait_for_selector("text=已添加")
    page.click("text=发送测试消息")
    page.wait_for_selector("text=测试未成功")
    assert "310000" in page.inner_text("main")
    watched.look("channels-failed")
    ChatGroup.objects.update(tested_at=None)
    robots.sign_secret = "SEC-wrong"
    page.click("text=发送测试消息")
    page.wait_for_selector("text=测试成功")
    watched.look("channels-works")
    content = page.content()
    assert "a1b2" not in content
    assert "SEC-wrong" not in content


@pytest.mark.parametrize("size", SIZES)
def test_a_link_in_a_group_chat_opens_the_finding_and_the_notice(size, chrome, live_server, cast):
    finding, _created = raise_finding(
        finding_id=uuid4(),
        by=cast.office,
        school_id=cast.school.pk,
        title="食堂留样不足 48 小时，标签上没有留样人和时间",
        due_on=clock.today(),
    )
    watched = Watched(chrome, live_server.url, size)
    enter(watched, cast, "principal", f"/go/finding/{finding.pk}")
    assert finding.title in watched.page.inner_text("main")
    watched.look("go-finding")
    notice = Notice.objects.get(subject_id=finding.pk)
    page = watched.open(f"/go/notice/{notice.pk}", "go-notice")
    page.click("text=确认收到")
    page.wait_for_selector("text=已确认收到")
    watched.look("go-notice-confirmed")


@pytest.mark.parametrize("size", SIZES)
def test_the_offices_pages_of_groups(size, chrome, live_server, cast, robots):
    watched = Watched(chrome, live_server.url, size)
    enter(watched, cast, "office", "/channels/")
    watched.open("/admin/messaging/chatgroup/add/", "chat-group-add")
    page = watched.page
    page.select_option("[name=school]", str(cast.school.pk))
    page.fill("[name=name]", "教师工作群")
    page.fill("[name=webhook]", robots.webhook("wecom"))
    page.click(".dx-submit button")
    page.click("text=发送测试消息")
    page.wait_for_selector("text=测试成功")
    watched.look("chat-group")
    watched.open("/admin/messaging/chatgroup/", "chat-groups")


def test_without_a_push_service_the_page_says_so(
    chromium, live_server, cast, tmp_path, monkeypatch
):
    """In a profile that lasts: in a private window Chromium has no push at all."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, args=FLAGS, locale="zh-CN"
        )
        context.grant_permissions(["notifications"], origin=live_server.url)
        page = context.new_page()
        page.goto(f"{live_server.url}/channels/")
        page.fill("[name=username]", "office")
        page.fill("[name=password]", cast.password)
        page.click("main button")
        page.click("text=在此浏览器接收通知")
        page.wait_for_selector("[role=status][data-outcome=unreachable]", timeout=60_000)
        assert "连不上它的推送服务" in page.inner_text("[role=status][data-outcome]")
        assert page.is_enabled("text=在此浏览器接收通知")
        page.screenshot(path=SCREENSHOTS / "push-unreachable.png")
        context.close()
        connections.close_all()
    assert not Device.objects.exists()


def test_who_does_not_allow_notifications_is_told_how(chrome, live_server, cast):
    watched = Watched(chrome, live_server.url, "desk")
    enter(watched, cast, "office", "/channels/")
    watched.page.click("text=在此浏览器接收通知")
    watched.page.wait_for_selector("[role=status][data-outcome=denied]")


@pytest.fixture
def pushed(chrome: Browser, live_server, cast: Cast) -> tuple[Watched, CDPSession, str]:
    """A page whose service worker is registered, and the wire by which a push reaches it."""
    watched = Watched(chrome, live_server.url, "desk")
    watched.context.grant_permissions(["notifications"], origin=live_server.url)
    enter(watched, cast, "office", "/channels/")
    page = watched.page
    wire = watched.context.new_cdp_session(page)
    found: list[str] = []
    wire.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: found.extend(each["registrationId"] for each in event["registrations"]),
    )
    wire.send("ServiceWorker.enable")
    page.evaluate(
        """async () => {
            await navigator.serviceWorker.register("/push/worker.js", { scope: "/push/" });
            for (;;) {
                const known = await navigator.serviceWorker.getRegistration("/push/");
                if (known && known.active && known.active.state === "activated") return;
                await new Promise((resolve) => setTimeout(resolve, 50));
            }
        }"""
    )
    while not found:
        page.wait_for_timeout(50)
    return watched, wire, found[0]


NOTIFICATIONS = """async () => {
    const known = await navigator.serviceWorker.getRegistration("/push/");
    const shown = await known.getNotifications();
    return shown.map((each) => [each.title, each.body, each.tag, each.data.link]);
}"""


def deliver(watched: Watched, wire: CDPSession, registration: str, data: str) -> list[list[str]]:
    wire.send(
        "ServiceWorker.deliverPushMessage",
        {"origin": watched.base, "registrationId": registration, "data": data},
    )
    for _try in range(100):
        shown = watched.page.evaluate(NOTIFICATIONS)
        if shown:
            return shown
        watched.page.wait_for_timeout(50)
    return []


def test_a_push_is_shown_once_per_notice(pushed):
    watched, wire, registration = pushed
    notice = str(uuid4())
    message = {"notice": notice, "title": "督导通知", "body": "周三开会", "link": "/go/notice/1"}
    shown = deliver(watched, wire, registration, json.dumps(message))
    assert shown == [["督导通知", "周三开会", notice, "/go/notice/1"]]
    deliver(watched, wire, registration, json.dumps({**message, "body": "周四开会"}))
    watched.page.wait_for_timeout(300)
    shown = watched.page.evaluate(NOTIFICATIONS)
    assert shown == [["督导通知", "周四开会", notice, "/go/notice/1"]]


def test_a_push_that_cannot_be_read_is_shown_all_the_same(pushed):
    watched, wire, registration = pushed
    assert deliver(watched, wire, registration, "rubbish")[0][0] == "督学 Duxue"
