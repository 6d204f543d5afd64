"""Chat groups: who sets them up, what is refused, what is told of them, what is not."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest

from server.core import clock
from server.core.audit import AuditEntry
from server.core.errors import ContentConflict, Invalid, NotFound
from server.messaging.chat_groups import (
    MOST_PER_PLACE,
    RobotGiven,
    TooSoon,
    add_chat_group,
    chat_groups_managed_by,
    delete_chat_group,
    set_chat_group,
    try_chat_group,
)
from server.messaging.models import ChatGroup
from tests.fakes.vendors import RobotServer
from tests.server.messaging.worlds import LOOPBACK, add_robot, told

WEBHOOK = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7a0a-4bc4"


@pytest.fixture
def robots(settings):
    settings.OUTBOUND_PRIVATE_NETWORKS = LOOPBACK
    with RobotServer() as server:
        settings.ROBOT_HOSTS = server.hosts()
        yield server


@pytest.fixture
def resolved(monkeypatch):
    """The platforms' names lead into the world."""
    monkeypatch.setattr("server.messaging.chat_groups.check_host", lambda host, port: None)


def add(by, webhook: str = WEBHOOK, **more) -> ChatGroup:
    fields = {"group_id": uuid4(), "name": "教师群", "robot": RobotGiven(webhook=webhook), **more}
    return add_chat_group(by=by, **fields)


@pytest.mark.parametrize("name", ["principal", "office", "town_group"])
def test_contacts_and_offices_of_a_school_add_its_groups(cast, resolved, name):
    group = add(getattr(cast, name), school_id=cast.school.pk)
    assert (group.kind, group.school, group.enabled) == ("wecom", cast.school, True)
    assert group in chat_groups_managed_by(cast.principal)
    assert group in chat_groups_managed_by(cast.office)


@pytest.mark.parametrize("name", ["ada", "carla", "other_principal", "expert"])
def test_others_find_no_school_to_add_to_and_no_group(cast, resolved, name):
    person = getattr(cast, name)
    with pytest.raises(NotFound):
        add(person, school_id=cast.school.pk)
    group = add(cast.principal, school_id=cast.school.pk)
    assert group not in chat_groups_managed_by(person)
    with pytest.raises(NotFound):
        try_chat_group(group_id=group.pk, by=person)
    with pytest.raises(NotFound):
        set_chat_group(group_id=group.pk, by=person, enabled=False)
    with pytest.raises(NotFound):
        delete_chat_group(group_id=group.pk, by=person)


def test_an_area_has_groups_of_its_office(cast, resolved):
    assert add(cast.office, area_id=cast.county.pk).area == cast.county
    assert add(cast.town_group, WEBHOOK + "2", area_id=cast.town.pk).area == cast.town
    for person, area in [(cast.town_group, cast.county), (cast.principal, cast.town)]:
        with pytest.raises(NotFound):
            add(person, WEBHOOK + "3", area_id=area.pk)


def test_a_group_belongs_to_one_place(cast, resolved):
    with pytest.raises(NotFound):
        add(cast.office)


def test_the_same_again_is_the_same_group_and_other_content_a_conflict(cast, resolved):
    group = add(cast.principal, school_id=cast.school.pk)
    again = add(cast.principal, school_id=cast.school.pk, group_id=group.pk)
    assert again == group
    assert AuditEntry.objects.filter(action="group.added").count() == 1
    with pytest.raises(ContentConflict):
        add(cast.principal, WEBHOOK + "9", school_id=cast.school.pk, group_id=group.pk)


def test_another_schools_id_is_not_taken_over(cast, resolved):
    group = add(cast.principal, school_id=cast.school.pk)
    with pytest.raises(NotFound):
        add(cast.other_principal, school_id=cast.other_school.pk, group_id=group.pk)


def test_one_robot_is_added_once(cast, resolved):
    add(cast.principal, school_id=cast.school.pk)
    with pytest.raises(Invalid) as refusal:
        add(cast.other_principal, school_id=cast.other_school.pk)
    assert refusal.value.problems[0].code == "taken"


def test_a_place_has_only_so_many(cast, resolved):
    for number in range(MOST_PER_PLACE):
        add(cast.principal, f"{WEBHOOK}-{number}", school_id=cast.school.pk)
    with pytest.raises(Invalid) as refusal:
        add(cast.principal, f"{WEBHOOK}-more", school_id=cast.school.pk)
    assert refusal.value.problems[0].code == "too_many"


@pytest.mark.parametrize(
    "webhook",
    ["http://127.0.0.1/robot", "https://10.0.0.1/cgi-bin/webhook/send?key=1", "javascript:x", ""],
)
def test_an_address_that_is_no_platforms_is_refused_with_the_field(cast, webhook):
    with pytest.raises(Invalid) as refusal:
        add(cast.principal, webhook, school_id=cast.school.pk)
    assert refusal.value.problems[0].pointer == "/webhook"
    assert not ChatGroup.objects.exists()


def test_a_platforms_name_that_leads_inside_is_refused(cast, monkeypatch):
    inside = [(2, 1, 6, "", ("192.168.0.8", 443))]
    monkeypatch.setattr("server.core.hosts.socket.getaddrinfo", lambda *_a, **_k: inside)
    with pytest.raises(Invalid) as refusal:
        add(cast.principal, school_id=cast.school.pk)
    assert refusal.value.problems[0].code == "private"


def test_wecom_has_nothing_to_sign_with(cast, resolved):
    with pytest.raises(Invalid) as refusal:
        add(
            cast.principal,
            school_id=cast.school.pk,
            robot=RobotGiven(webhook=WEBHOOK, sign_secret="SEC1"),
        )
    assert refusal.value.problems[0].pointer == "/sign_secret"


@pytest.mark.parametrize("kind", ["wecom", "dingtalk", "feishu"])
def test_a_test_says_a_word_in_the_group_and_keeps_the_answer(cast, robots, kind):
    group = try_chat_group(group_id=add_robot(cast, robots, kind).pk, by=cast.principal)
    assert group.test_passed
    assert "请在群里确认" in group.test_answer
    assert "督学平台测试消息" in json.dumps(robots.said, ensure_ascii=False)


def test_a_failed_test_says_what_to_mend(cast, robots):
    group = add_robot(cast, robots, "dingtalk", sign_secret="SEC-wrong")
    group = try_chat_group(group_id=group.pk, by=cast.principal)
    assert group.test_passed is False
    assert "加签" in group.test_answer
    assert "310000" in group.test_answer
    entry = AuditEntry.objects.get(action="group.tested")
    assert entry.details["passed"] is False


def test_tests_are_not_a_way_to_flood_a_group(cast, robots, monkeypatch):
    group = add_robot(cast, robots, "wecom")
    try_chat_group(group_id=group.pk, by=cast.principal)
    with pytest.raises(TooSoon):
        try_chat_group(group_id=group.pk, by=cast.office)
    later = clock.now() + timedelta(seconds=11)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert try_chat_group(group_id=group.pk, by=cast.principal).test_passed
    assert len(robots.said) == 2


def test_turning_off_and_on_again_is_told_with_the_name(cast, robots):
    group = add_robot(cast, robots, "wecom")
    group = set_chat_group(group_id=group.pk, by=cast.office, enabled=False)
    assert group.disabled_reason == "由 方主任 停用"
    group = set_chat_group(group_id=group.pk, by=cast.principal, enabled=True)
    assert (group.enabled, group.disabled_reason) == (True, "")
    set_chat_group(group_id=group.pk, by=cast.principal, enabled=True)
    assert AuditEntry.objects.filter(action="group.changed").count() == 2


def test_a_deleted_group_forgets_its_robot_and_keeps_what_was_delivered(cast, robots):
    group = add_robot(cast, robots, "wecom")
    row = told(cast, "robot")
    delete_chat_group(group_id=group.pk, by=cast.principal)
    group.refresh_from_db()
    assert (group.secret, group.fingerprint, group.enabled) == ("", "", False)
    row.refresh_from_db()
    assert row.group == group
    assert group not in chat_groups_managed_by(cast.office)
    assert add_robot(cast, robots, "wecom").pk != group.pk


def test_no_secret_reaches_the_audit_log_the_log_or_the_database(cast, robots, caplog):
    with caplog.at_level("DEBUG", logger="server"):
        group = add_robot(cast, robots, "dingtalk")
        try_chat_group(group_id=group.pk, by=cast.principal)
        set_chat_group(group_id=group.pk, by=cast.principal, enabled=False)
        delete_chat_group(group_id=group.pk, by=cast.principal)
    entries = AuditEntry.objects.filter(object_type="chat_group", object_id=group.pk)
    assert {entry.action for entry in entries} == {
        "group.added",
        "group.tested",
        "group.changed",
        "group.deleted",
    }
    assert {entry.school_id for entry in entries} == {cast.school.pk}
    group.refresh_from_db()
    everything = repr([list(entries.values()), ChatGroup.objects.values(), caplog.text])
    assert "a1b2" not in everything
    assert robots.sign_secret not in everything
