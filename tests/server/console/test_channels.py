"""Pages of channels, links of messages, and log-in of those who do not enter the console."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from server.activities.models import Visit
from server.findings.models import Finding
from server.messaging.chat_groups import RobotGiven, add_chat_group
from server.messaging.models import ChatGroup, Device
from server.messaging.services import notify
from tests.fakes.vendors import Browser, RobotServer
from tests.server.messaging.worlds import LOOPBACK, add_robot


@pytest.fixture
def robots(settings):
    settings.OUTBOUND_PRIVATE_NETWORKS = LOOPBACK
    with RobotServer() as server:
        settings.ROBOT_HOSTS = server.hosts()
        yield server


def text_of(answer) -> str:
    assert answer.status_code == 200, answer
    return answer.content.decode()


def filled(robots: RobotServer, kind: str = "dingtalk", **more: object) -> dict[str, object]:
    return {
        "group_id": str(uuid4()),
        "name": "教师群",
        "webhook": robots.webhook(kind),
        "sign_secret": "" if kind == "wecom" else robots.sign_secret,
        "language": "zh-hans",
        **more,
    }


# ---- the school's page -----------------------------------------------------------------------


def test_a_contact_adds_tests_stops_and_deletes_a_group(browser, cast, robots):
    principal = browser(cast.principal)
    assert "还没有添加群机器人" in text_of(principal.get("/channels/"))
    answer = principal.post(f"/channels/?school={cast.school.pk}", filled(robots), follow=True)
    assert "已添加" in text_of(answer)
    group = ChatGroup.objects.get()
    page = text_of(principal.post(f"/channels/groups/{group.pk}/test/", follow=True))
    assert "测试成功" in page
    assert "请在群里确认" in page
    assert len(robots.said) == 1
    page = text_of(principal.post(f"/channels/groups/{group.pk}/disable/", follow=True))
    assert "由 白校长 停用" in page
    principal.post(f"/channels/groups/{group.pk}/enable/")
    page = text_of(principal.post(f"/channels/groups/{group.pk}/delete/", follow=True))
    assert "还没有添加群机器人" in page


def test_a_failed_test_says_what_the_platform_answered(browser, cast, robots):
    group = add_robot(cast, robots, "dingtalk", sign_secret="SEC-wrong")
    principal = browser(cast.principal)
    page = text_of(principal.post(f"/channels/groups/{group.pk}/test/", follow=True))
    assert "测试未成功" in page
    assert "310000" in page


def test_no_page_shows_the_address_or_the_secret(browser, cast, robots, office):
    principal = browser(cast.principal)
    principal.post("/channels/", filled(robots, keyword="督导"))
    group = ChatGroup.objects.get()
    for answer in (
        principal.get("/channels/"),
        principal.post(f"/channels/groups/{group.pk}/test/", follow=True),
        office.get(f"/admin/messaging/chatgroup/{group.pk}/change/"),
        office.get("/admin/messaging/chatgroup/"),
    ):
        for secret in ("a1b2", robots.sign_secret):
            assert secret not in text_of(answer)


def test_an_address_that_leads_inside_is_refused_at_its_field(browser, cast, robots):
    answer = browser(cast.principal).post(
        "/channels/", filled(robots, webhook="https://192.168.1.1/x")
    )
    assert "只支持企业微信、钉钉、飞书" in text_of(answer)
    assert not ChatGroup.objects.exists()


@pytest.mark.parametrize("name", ["ada", "other_principal", "expert"])
def test_others_groups_do_not_exist(browser, cast, robots, name):
    group = add_robot(cast, robots, "wecom")
    other = browser(getattr(cast, name))
    assert group.name not in text_of(other.get(f"/channels/?school={cast.school.pk}"))
    for deed in ("test", "disable", "enable", "delete"):
        assert other.post(f"/channels/groups/{group.pk}/{deed}/").status_code == 404
    assert robots.said == []


def test_a_visitor_logs_in_first(client, db):
    answer = client.get("/channels/")
    assert answer.status_code == 302
    assert answer["Location"] == "/login/?next=/channels/"


def test_a_get_presses_no_button(browser, cast, robots):
    group = add_robot(cast, robots, "wecom")
    assert browser(cast.principal).get(f"/channels/groups/{group.pk}/delete/").status_code == 405


# ---- the office's pages ----------------------------------------------------------------------


def test_an_office_adds_a_group_for_a_school_or_for_itself(office, cast, robots):
    page = text_of(office.get(f"/admin/messaging/chatgroup/add/?school={cast.school.pk}"))
    assert cast.school.name in page
    office.post(
        "/admin/messaging/chatgroup/add/", filled(robots, school=str(cast.school.pk), area="")
    )
    office.post(
        "/admin/messaging/chatgroup/add/",
        filled(robots, "wecom", school="", area=str(cast.county.pk)),
    )
    assert {(each.school, each.area) for each in ChatGroup.objects.all()} == {
        (cast.school, None),
        (None, cast.county),
    }


def test_an_office_must_say_whose_group_it_is(office, cast, robots):
    answer = office.post("/admin/messaging/chatgroup/add/", filled(robots, school="", area=""))
    assert "请选择学校或行政区其中之一" in text_of(answer)


def test_the_offices_buttons_test_and_delete(office, cast, robots):
    group = add_robot(cast, robots, "feishu")
    page = f"/admin/messaging/chatgroup/{group.pk}"
    assert "测试成功" in text_of(office.post(f"{page}/do/test/", follow=True))
    for deed, words in [
        ("disable", "已停用，不再向此群发送"),
        ("enable", "已启用"),
        ("announcements", "也会转发到此群"),
        ("delete", "已删除"),
    ]:
        assert words in text_of(office.post(f"{page}/do/{deed}/", follow=True))
    assert office.get(f"{page}/change/").status_code == 404


def test_a_town_group_finds_the_groups_of_its_town_only(group, cast, robots, monkeypatch):
    monkeypatch.setattr("server.messaging.chat_groups.check_host", lambda host, port: None)
    far = add_chat_group(
        group_id=uuid4(),
        by=cast.office,
        name="远处的群",
        school_id=cast.far_school.pk,
        robot=RobotGiven(webhook=robots.webhook("wecom")),
    )
    assert "远处的群" not in text_of(group.get("/admin/messaging/chatgroup/"))
    assert group.get(f"/admin/messaging/chatgroup/{far.pk}/change/").status_code == 404


def test_a_delivery_to_a_group_has_its_page(office, cast, robots):
    chat = add_robot(cast, robots, "wecom")
    notice = notify(
        "finding.overdue",
        recipients=[cast.principal],
        school=cast.school,
        finding="留样不足",
        due="2026-12-01",
    )
    row = notice.deliveries.get(channel="robot")
    for path in (
        f"/admin/messaging/delivery/{row.pk}/change/",
        "/admin/messaging/delivery/?channel__exact=robot",
        f"/admin/messaging/notice/{notice.pk}/change/",
    ):
        assert chat.name in text_of(office.get(path))


# ---- links of messages -----------------------------------------------------------------------


@pytest.fixture
def finding(made_visit: Visit) -> Finding:
    return Finding.objects.get()


def test_a_link_asks_to_log_in_and_then_shows_the_thing(client, cast, finding):
    link = f"/go/finding/{finding.pk}"
    answer = client.get(link)
    assert answer["Location"] == f"/login/?next={link}"
    login = {"username": "principal", "password": cast.password, "next": link}
    answer = client.post("/login/", login, follow=True)
    assert finding.title in text_of(answer)
    assert answer.redirect_chain == [(link, 302)]


def test_who_guesses_passwords_is_locked_out_here_too(client, cast, settings):
    settings.AXES_FAILURE_LIMIT = 2
    for _try in range(3):
        answer = client.post("/login/", {"username": "principal", "password": "wrong"})
    assert "登录失败次数过多" in answer.content.decode()


def test_a_login_leads_nowhere_else(client, cast):
    login = {"username": "principal", "password": cast.password, "next": "https://evil.example/"}
    assert client.post("/login/", login)["Location"] == "/channels/"


def test_an_office_lands_on_the_consoles_page(office, cast, finding, made_visit):
    for kind, row in [
        ("finding", finding),
        ("visit", made_visit),
        ("activity", made_visit.activity),
        ("school", cast.school),
    ]:
        answer = office.get(f"/go/{kind}/{row.pk}")
        meta = row._meta
        address = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
        assert answer["Location"] == address
        assert office.get(address).status_code == 200


@pytest.mark.parametrize("name", ["ada", "principal"])
def test_inspectors_and_schools_read_it_here(browser, cast, finding, made_visit, name):
    client = browser(getattr(cast, name))
    assert finding.title in text_of(client.get(f"/go/finding/{finding.pk}"))
    assert cast.school.name in text_of(client.get(f"/go/visit/{made_visit.pk}"))
    assert cast.school.name in text_of(client.get(f"/go/school/{cast.school.pk}"))


def test_who_may_not_see_it_finds_nothing(browser, cast, finding, made_visit):
    notice = notify("announcement", recipients=[cast.ada], title="会议", body="周三")
    carla = browser(cast.carla)
    for link in (
        f"/go/finding/{finding.pk}",
        f"/go/visit/{made_visit.pk}",
        f"/go/school/{cast.school.pk}",
        f"/go/notice/{notice.pk}",
        f"/go/finding/{uuid4()}",
        f"/go/user/{cast.ada.pk}",
    ):
        assert carla.get(link).status_code == 404, link


def test_opening_a_notice_reads_it_and_the_button_confirms_it(browser, cast):
    notice = notify(
        "announcement", recipients=[cast.ada], requires_ack=True, title="会议", body="周三开会"
    )
    ada, link = browser(cast.ada), f"/go/notice/{notice.pk}"
    assert "周三开会" in text_of(ada.get(link))
    row = notice.deliveries.get(channel="inbox")
    assert row.read_at is not None
    assert row.acknowledged_at is None
    assert "已确认收到" in text_of(ada.post(link))
    row.refresh_from_db()
    assert row.acknowledged_at is not None


def test_the_author_of_a_notice_lands_on_its_page(office, cast):
    notice = notify(
        "announcement", recipients=[cast.ada], created_by=cast.office, title="会议", body="周三"
    )
    answer = office.get(f"/go/notice/{notice.pk}")
    assert answer["Location"] == f"/admin/messaging/notice/{notice.pk}/change/"


# ---- this browser ----------------------------------------------------------------------------


def subscribe(client: Client, method: str = "post", **more: object) -> object:
    body = {"browser": uuid4().hex, "name": "Linux", **more}
    return getattr(client, method)(
        "/push/subscription", json.dumps(body), content_type="application/json"
    )


@pytest.fixture
def resolved(monkeypatch):
    monkeypatch.setattr("server.messaging.subscriptions.check_host", lambda host, port: None)


def test_a_subscription_lasts_until_the_log_out(browser, cast, resolved):
    office = browser(cast.office)
    answer = subscribe(office, subscription=Browser("https://push.example/1").subscription)
    assert answer.status_code == 204
    device = Device.objects.get()
    assert (device.user, device.revoked_at) == (cast.office, None)
    office.post("/logout/")
    device.refresh_from_db()
    assert device.revoked_at is not None
    assert device.push_address == ""


def test_a_log_out_of_the_console_ends_it_too(browser, cast, resolved):
    office = browser(cast.office)
    subscribe(office, subscription=Browser("https://push.example/1").subscription)
    office.post("/admin/logout/")
    assert Device.objects.get().revoked_at is not None


def test_turning_it_off_ends_it(browser, cast, resolved):
    office, id = browser(cast.office), uuid4().hex
    subscribe(office, browser=id, subscription=Browser("https://push.example/1").subscription)
    assert subscribe(office, "delete", browser=id).status_code == 204
    assert Device.objects.get().revoked_at is not None


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"subscription": {}}, 422),
        ({"subscription": {"endpoint": "http://127.0.0.1/"}}, 422),
        ({"browser": "x"}, 400),
    ],
)
def test_what_is_no_subscription_is_refused_in_words(office, more, status):
    answer = subscribe(office, **more)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_a_visitor_subscribes_to_nothing(client, db):
    assert subscribe(client).status_code == 302


def test_a_forged_subscription_is_refused(cast):
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.office, backend="django.contrib.auth.backends.ModelBackend")
    assert subscribe(client).status_code == 403


def test_the_worker_is_served_where_its_scope_is(client, db):
    answer = client.get("/push/worker.js")
    assert answer["Content-Type"].startswith("text/javascript")
    assert b"showNotification" in answer.content
