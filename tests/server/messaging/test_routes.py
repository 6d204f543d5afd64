"""Which deliveries a notice gets: people by what they have, groups by whom they concern."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from server.messaging.chat_groups import RobotGiven, add_chat_group, set_chat_group
from server.messaging.models import ChatGroup, Notice
from server.messaging.queries import Audience
from server.messaging.services import announce, notify
from server.messaging.sessions import set_push
from tests.fakes.vendors import PushService

FINDING = {"finding": "留样不足", "due": "2026-12-01"}


@pytest.fixture(autouse=True)
def resolved(monkeypatch):
    monkeypatch.setattr("server.messaging.chat_groups.check_host", lambda host, port: None)


@pytest.fixture
def group(cast):
    """Add a group of a school or an area."""
    number = iter(range(100))

    def group(place, by=None, **more) -> ChatGroup:
        field = "school_id" if hasattr(place, "stage") else "area_id"
        webhook = f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=abc{next(number)}"
        return add_chat_group(
            group_id=uuid4(),
            by=by or cast.office,
            name=f"{place}的群",
            robot=RobotGiven(webhook=webhook),
            **{field: place.pk, **more},
        )

    return group


def ways(notice: Notice, person) -> list[str]:
    rows = notice.deliveries.filter(recipient=person)
    return sorted(rows.values_list("channel", flat=True))


def told_groups(notice: Notice) -> list[ChatGroup]:
    return [row.group for row in notice.deliveries.filter(channel="robot").order_by("id")]


def test_a_person_without_anything_gets_inbox_and_socket(cast):
    notice = notify("finding.overdue", recipients=[cast.principal], school=cast.school, **FINDING)
    assert ways(notice, cast.principal) == ["inbox", "socket"]


def test_each_device_gets_its_own_providers_push(cast, log_in, settings):
    settings.JPUSH_URL = "jpush://key:secret@api.jpush.cn"
    settings.OUTBOUND_PRIVATE_NETWORKS = ["127.0.0.0/8"]
    with PushService() as server:
        for provider, address in [
            ("fcm", "token"),
            ("jpush", "registration"),
            ("webpush", json.dumps(server.subscribe().subscription)),
        ]:
            _token, device = log_in(cast.ada)
            set_push(device=device, provider=provider, address=address)
    notice = notify("announcement", recipients=[cast.ada], title="会议", body="周三")
    assert ways(notice, cast.ada) == ["fcm", "inbox", "jpush", "socket", "webpush"]


def test_what_is_not_set_up_makes_no_deliveries(cast, log_in, settings):
    settings.VAPID_PRIVATE_KEY_FILE, settings.VAPID_KEY_MADE = "", False
    cast.ada.email = "ada@duxue.example"
    cast.ada.save()
    _token, device = log_in(cast.ada)
    set_push(device=device, provider="jpush", address="registration")
    notice = notify("finding.overdue", recipients=[cast.ada], school=cast.school, **FINDING)
    assert ways(notice, cast.ada) == ["inbox", "socket"]


def test_mail_goes_to_whoever_has_an_address(cast, settings):
    settings.MAIL_URL, settings.MAIL_FROM = "smtp://127.0.0.1:1", "office@duxue.example"
    cast.ada.email = "ada@duxue.example"
    cast.ada.save()
    notice = notify("announcement", recipients=[cast.ada, cast.bruno], title="会议", body="周三")
    assert "mail" in ways(notice, cast.ada)
    assert "mail" not in ways(notice, cast.bruno)


def test_text_messages_are_for_what_cannot_wait(cast, settings):
    settings.SMS_URL = "json://127.0.0.1/?:phone={phone}"
    cast.bruno.phone = ""
    cast.bruno.save()
    people = [cast.ada, cast.bruno]
    urgent = notify("finding.overdue", recipients=people, school=cast.school, **FINDING)
    calm = notify("announcement", recipients=people, title="会议", body="周三")
    assert "sms" in ways(urgent, cast.ada)
    assert "sms" not in ways(urgent, cast.bruno)
    assert "sms" not in ways(calm, cast.ada)


def test_a_schools_group_hears_what_its_contacts_are_told_about_it(cast, group):
    mine, _others = group(cast.school), group(cast.other_school)
    notice = notify("finding.overdue", recipients=[cast.principal], school=cast.school, **FINDING)
    assert told_groups(notice) == [mine]


def test_a_schools_group_does_not_hear_what_inspectors_are_told_about_it(cast, group):
    """An unannounced visit, for one."""
    group(cast.school)
    visit = {"activity": "周", "starts": "2026-12-01", "ends": "2026-12-02"}
    notice = notify("visit.assigned", recipients=[cast.ada], school=cast.school, **visit)
    assert told_groups(notice) == []


def test_a_schools_group_does_not_hear_of_another_school(cast, group):
    group(cast.school)
    notice = notify(
        "finding.overdue", recipients=[cast.principal], school=cast.other_school, **FINDING
    )
    assert told_groups(notice) == []


def test_an_offices_group_hears_what_the_office_is_told(cast, group):
    county, town = group(cast.county), group(cast.town)
    matter = {"activity": "周", "count": "3", "day": "2026-12-01"}
    notice = notify("media.deletion_due", recipients=[cast.office], **matter)
    assert told_groups(notice) == [county]
    notice = notify("finding.overdue", recipients=[cast.town_group], school=cast.school, **FINDING)
    assert told_groups(notice) == [town]


def test_a_group_that_is_off_hears_nothing(cast, group):
    set_chat_group(group_id=group(cast.school).pk, by=cast.office, enabled=False)
    notice = notify("finding.overdue", recipients=[cast.principal], school=cast.school, **FINDING)
    assert told_groups(notice) == []


def test_announcements_are_said_only_where_they_are_wanted(cast, group):
    wants = group(cast.school, takes_announcements=True)
    group(cast.other_school)
    notice = announce(
        notice_id=uuid4(),
        by=cast.office,
        title="督导周",
        body="十二月第一周",
        audience=Audience(areas=[cast.county.pk]),
    )
    assert told_groups(notice) == [wants]


def test_an_announcement_to_somebody_by_name_is_said_in_no_group(cast, group):
    group(cast.school, takes_announcements=True)
    for audience in (
        Audience(people=[cast.principal.pk]),
        Audience(people=[cast.principal.pk], schools=[cast.other_school.pk]),
    ):
        notice = announce(
            notice_id=uuid4(), by=cast.office, title="谈话", body="周三", audience=audience
        )
        assert told_groups(notice) == []


def test_many_recipients_cost_no_more_statements(cast, group, settings):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    group(cast.school)

    def statements(*people) -> int:
        with CaptureQueriesContext(connection) as queries:
            notify("finding.overdue", recipients=people, school=cast.school, **FINDING)
        return len(queries)

    few = statements(cast.principal)
    assert statements(cast.principal, cast.ada, cast.bruno, cast.office, cast.expert) <= few
