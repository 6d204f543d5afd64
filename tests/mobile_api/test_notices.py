"""Notices over the API: the inbox, reading, acknowledging, announcing, deliveries."""

from __future__ import annotations

import pytest

from server.messaging.models import Notice
from tests.clients import new, now


@pytest.fixture
def written(cast):
    return {
        "id": new(),
        "title": "食品安全会议",
        "body": "周五上午九点。",
        "audience": {"areas": [str(cast.county.pk)], "roles": ["school_contact"]},
        "requires_ack": True,
    }


def test_an_office_announces_and_the_school_reads_and_acknowledges(cast, phone, written):
    office, principal = phone(cast.office), phone(cast.principal)
    office.post("/notices", written, status=202)
    (notice,) = principal.get("/notices", unread="true")["results"]
    assert (notice["title"], notice["requires_ack"], notice["read_at"]) == (
        "食品安全会议",
        True,
        None,
    )
    path = f"/notices/{notice['id']}"
    read = principal.post(f"{path}/read", {"at": now()})
    assert principal.post(f"{path}/read")["read_at"] == read["read_at"]
    assert principal.post(f"{path}/acknowledge", {})["acknowledged_at"]
    assert principal.get("/notices", unread="true")["results"] == []
    assert len(principal.get("/notices", unread="false")["results"]) == 1
    assert len(principal.get("/notices")["results"]) == 1
    rows = {row["recipient"]["name"]: row for row in office.every(f"{path}/deliveries")}
    assert rows.keys() == {cast.principal.name, cast.other_principal.name}


def test_the_same_announcement_again_reaches_nobody_twice(cast, phone, written):
    office = phone(cast.office)
    office.post("/notices", written, status=202)
    office.post("/notices", written, status=202)
    assert Notice.objects.count() == 1
    problem = office.post("/notices", {**written, "body": "改期"}, status=409)
    assert problem["code"] == "content_conflict"


def test_an_activity_names_its_schools(cast, phone, written, activity):
    audience = {"activity": str(activity.pk), "roles": ["school_contact"]}
    phone(cast.town_group).post("/notices", {**written, "audience": audience}, status=202)
    assert len(phone(cast.principal).get("/notices")["results"]) == 2
    audience["activity"] = new()
    body = {**written, "id": new(), "audience": audience}
    phone(cast.town_group).post("/notices", body, status=404)


def test_who_is_no_office_announces_nothing(cast, phone, written):
    for person in (cast.ada, cast.principal, cast.expert):
        phone(person).post("/notices", written, status=403)
    assert not Notice.objects.exists()


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"title": " "}, "/title"),
        ({"audience": {"roles": ["king"]}}, "/audience/roles/0"),
        ({"audience": {"areas": []}}, "/audience"),
        ({"audience": None}, "/audience"),
    ],
)
def test_an_announcement_says_what_is_wrong(cast, phone, written, changes, pointer):
    problem = phone(cast.office).post("/notices", {**written, **changes}, status=422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_carla_reads_nobody_elses_notice(cast, phone, visit):
    carla, ada = phone(cast.carla), phone(cast.ada)
    (notice,) = ada.get("/notices")["results"]
    path = f"/notices/{notice['id']}"
    carla.post(f"{path}/read", status=404)
    carla.post(f"{path}/acknowledge", status=404)
    carla.get(f"{path}/deliveries", status=404)
    ada.get(f"{path}/deliveries", status=404)


def test_a_notice_names_what_it_is_about(cast, phone, visit):
    ada = phone(cast.ada)
    (notice,) = ada.get("/notices")["results"]
    assert notice["subject"] == {"type": "visit", "id": str(visit.pk)}
    assert cast.school.name in notice["title"]


def test_lists_cost_the_same_for_many(cast, phone, written, django_assert_num_queries):
    office, principal = phone(cast.office), phone(cast.principal)
    for _round in range(3):
        office.post("/notices", {**written, "id": new()}, status=202)
        with django_assert_num_queries(4):  # who asks, the inbox, its files, one's answers
            principal.get("/notices")
    with django_assert_num_queries(5):
        office.get(f"/notices/{Notice.objects.latest('created_at').pk}/deliveries")
