"""Chat groups over the API; credentials go in and never come out."""

from __future__ import annotations

import json

import pytest

from server.messaging.models import ChatGroup
from server.messaging.services import notify
from tests.clients import new
from tests.fakes.vendors import RobotServer
from tests.server.messaging.worlds import LOOPBACK


@pytest.fixture
def robots(settings):
    settings.OUTBOUND_PRIVATE_NETWORKS = LOOPBACK
    with RobotServer() as server:
        settings.ROBOT_HOSTS = server.hosts()
        yield server


def body_of(robots: RobotServer, kind: str = "dingtalk", **more: object) -> dict[str, object]:
    signed = "" if kind == "wecom" else robots.sign_secret
    body = {"id": new(), "name": "教师群", "webhook": robots.webhook(kind), "sign_secret": signed}
    return {**body, **more}


@pytest.mark.parametrize("name", ["principal", "office", "town_group"])
def test_a_group_is_added_tested_turned_off_and_deleted(cast, phone, robots, name):
    person, path = phone(getattr(cast, name)), f"/schools/{cast.school.pk}/chat-groups"
    added = person.post(path, body_of(robots), status=201)
    assert (added["kind"], added["enabled"], added["test_passed"]) == ("dingtalk", True, None)
    tested = person.post(f"{path}/{added['id']}/test")
    assert tested["test_passed"]
    assert len(robots.said) == 1
    off = person.call("PATCH", f"{path}/{added['id']}", {"enabled": False}, status=200)
    assert not off["enabled"]
    (listed,) = person.get(path)["results"]
    assert listed == person.get(f"{path}/{added['id']}") == off
    person.call("DELETE", f"{path}/{added['id']}", status=204)
    person.get(f"{path}/{added['id']}", status=404)
    assert person.get(path)["results"] == []


@pytest.mark.parametrize("name", ["ada", "carla", "other_principal", "expert"])
def test_others_see_and_change_nothing(cast, phone, robots, name):
    path = f"/schools/{cast.school.pk}/chat-groups"
    added = phone(cast.principal).post(path, body_of(robots), status=201)
    other = phone(getattr(cast, name))
    other.get(path, status=404)
    other.post(path, body_of(robots, "wecom"), status=404)
    other.get(f"{path}/{added['id']}", status=404)
    other.post(f"{path}/{added['id']}/test", status=404)
    other.call("PATCH", f"{path}/{added['id']}", {"enabled": False}, status=404)
    other.call("DELETE", f"{path}/{added['id']}", status=404)
    assert ChatGroup.objects.get().enabled
    assert robots.said == []


def test_a_group_is_found_at_its_own_school_only(cast, phone, robots):
    office = phone(cast.office)
    added = office.post(f"/schools/{cast.school.pk}/chat-groups", body_of(robots), status=201)
    office.get(f"/schools/{cast.other_school.pk}/chat-groups/{added['id']}", status=404)


def test_a_list_costs_the_same_for_more_groups(cast, phone, robots, django_assert_max_num_queries):
    principal, path = phone(cast.principal), f"/schools/{cast.school.pk}/chat-groups"
    for kind in ("wecom", "dingtalk", "feishu"):
        principal.post(path, body_of(robots, kind), status=201)
    with django_assert_max_num_queries(6):
        assert len(principal.get(path)["results"]) == 3


def test_no_answer_holds_the_address_or_the_secret(cast, phone, robots):
    principal, path = phone(cast.principal), f"/schools/{cast.school.pk}/chat-groups"
    answers = [
        added := principal.post(path, body_of(robots, keyword="督导"), status=201),
        principal.get(path),
        principal.post(f"{path}/{added['id']}/test"),
        principal.post(path, body_of(robots), status=422),
        principal.post(path, body_of(robots, webhook="https://evil.example/?a1b2"), status=422),
    ]
    everything = json.dumps(answers, ensure_ascii=False)
    for secret in ("a1b2", robots.sign_secret, "access_token"):
        assert secret not in everything


def test_what_is_refused_names_the_field(cast, phone, robots):
    path = f"/schools/{cast.school.pk}/chat-groups"
    refused = phone(cast.principal).post(
        path, body_of(robots, webhook="http://192.168.1.1/robot"), status=422
    )
    assert refused["errors"][0]["pointer"] == "/webhook"
    assert "企业微信、钉钉、飞书" in refused["errors"][0]["detail"]


def test_a_failed_test_is_an_answer_and_too_many_are_a_conflict(cast, phone, robots):
    principal, path = phone(cast.principal), f"/schools/{cast.school.pk}/chat-groups"
    added = principal.post(path, body_of(robots, sign_secret="SEC-wrong"), status=201)
    tested = principal.post(f"{path}/{added['id']}/test")
    assert tested["test_passed"] is False
    assert "加签" in tested["test_answer"]
    assert principal.post(f"{path}/{added['id']}/test", status=409)["code"] == "test_too_soon"


def test_deliveries_to_a_group_name_it_in_the_place_of_a_person(cast, phone, robots):
    office = phone(cast.office)
    office.post(f"/schools/{cast.school.pk}/chat-groups", body_of(robots), status=201)
    notice = notify(
        "finding.overdue",
        recipients=[cast.principal],
        school=cast.school,
        finding="留样不足",
        due="2026-12-01",
    )
    rows = office.get(f"/notices/{notice.pk}/deliveries")["results"]
    (row,) = [row for row in rows if row["channel"] == "robot"]
    assert row["recipient"] is None
    assert row["group"]["name"] == "教师群"
    assert all(each["group"] is None for each in rows if each["recipient"])


def test_the_app_is_told_what_browsers_subscribe_with(cast, phone, settings):
    assert len(phone(cast.ada).get("/me")["settings"]["webpush_key"]) == 87
    settings.VAPID_PRIVATE_KEY_FILE, settings.VAPID_KEY_MADE = "", False
    assert phone(cast.ada).get("/me")["settings"]["webpush_key"] == ""


def test_an_endpoint_in_our_own_network_is_refused(cast, phone):
    ada = phone(cast.ada)
    subscription = {
        "endpoint": "https://127.0.0.1/push",
        "keys": {"auth": "A" * 22, "p256dh": "BA" + "A" * 85},
    }
    push = {"provider": "webpush", "subscription": subscription}
    refused = ada.call("PUT", f"/devices/{ada.device_id}/push", push, status=422)
    assert refused["errors"][0]["code"] == "private"
