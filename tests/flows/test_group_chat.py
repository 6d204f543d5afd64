"""A finding reaches a school that lives in its group chat: robot, link, log-in, and what goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client

from server.core import clock, work
from server.findings.services import raise_finding
from server.messaging.models import ChatGroup, Delivery
from tests.fakes.vendors import RobotServer
from tests.server.messaging.worlds import LOOPBACK, add_robot


@pytest.fixture
def robots(settings) -> Iterator[RobotServer]:
    settings.OUTBOUND_PRIVATE_NETWORKS = LOOPBACK
    settings.PUBLIC_URL = "https://duxue.example"
    with RobotServer() as server:
        settings.ROBOT_HOSTS = server.hosts()
        yield server


def find(cast, school) -> None:
    """The office finds something at the school, and the worker sends what is due."""
    raise_finding(
        finding_id=uuid4(),
        by=cast.office,
        school_id=school.pk,
        title="食堂留样不足 48 小时",
        due_on=clock.today() + timedelta(days=7),
    )
    work.drain_all()


def test_the_principal_is_mentioned_follows_the_link_and_reads_the_finding(cast, robots):
    add_robot(cast, robots, "wecom")
    find(cast, cast.school)
    (said,) = robots.said
    assert said["text"]["mentioned_mobile_list"] == [cast.principal.phone]
    (link,) = re.findall(r"https://duxue\.example(/go/\S+)", said["text"]["content"])

    reader = Client()
    answer = reader.get(link, follow=True)
    assert "登录后查看" in answer.content.decode()
    login = {"username": "principal", "password": cast.password, "next": link}
    assert "食堂留样不足 48 小时" in reader.post("/login/", login, follow=True).content.decode()

    stranger = Client()
    stranger.post("/login/", {**login, "username": "other"})
    assert stranger.get(link).status_code == 404


def test_another_schools_group_stays_silent(cast, robots):
    add_robot(cast, robots, "wecom")
    find(cast, cast.other_school)
    assert robots.said == []


def test_a_platform_that_is_down_for_a_while_loses_nothing_and_holds_up_nobody(
    cast, robots, monkeypatch
):
    real, ahead = clock.now, [timedelta()]
    monkeypatch.setattr(clock, "now", lambda: real() + ahead[0])
    add_robot(cast, robots, "wecom")
    robots.queue.extend(["internal", "rubbish", "close"])
    find(cast, cast.school)
    row = Delivery.objects.get(channel="robot")
    assert row.state == "pending"
    assert row.work_error
    others = Delivery.objects.exclude(pk=row.pk)
    assert not others.filter(state="pending").exists()
    for _hour in range(4):
        ahead[0] += timedelta(hours=1)
        work.drain_all()
    row.refresh_from_db()
    assert row.state == "sent"
    assert len(robots.said) == 1


def test_a_robot_that_was_removed_is_turned_off_and_the_school_sees_why(cast, robots):
    add_robot(cast, robots, "wecom")
    robots.queue.append("wecom_gone")
    find(cast, cast.school)
    row = Delivery.objects.get(channel="robot")
    assert row.state == "dead"
    assert "机器人已被移除" in row.reason
    assert not ChatGroup.objects.get().enabled
    find(cast, cast.school)
    assert Delivery.objects.filter(channel="robot").count() == 1
    principal = Client()
    principal.post("/login/", {"username": "principal", "password": cast.password})
    page = principal.get("/channels/").content.decode()
    assert "已停用" in page
    assert "重新添加机器人" in page
