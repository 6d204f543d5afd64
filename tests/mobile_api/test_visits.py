"""Visits over the API: lists, check-in, completion, review, and who does not see them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.activities.models import Visit
from server.activities.services.planning import publish_activity
from server.core import clock
from tests.activities import planned
from tests.clients import new, now

PLACE = {"lat": 33.0, "lon": 108.0, "accuracy_m": 8.5}


def check_in(phone, visit, **changes):
    return phone.post(
        f"/visits/{visit.pk}/check-in", {"id": new(), "at": now(), "location": PLACE, **changes}
    )


def test_an_inspector_lists_their_own_visits_with_what_to_fill_in(cast, phone, visit, kitchen):
    (listed,) = phone(cast.ada).get("/visits")["results"]
    assert listed["id"] == str(visit.pk)
    assert listed["school"] == {"id": str(cast.school.pk), "name": cast.school.name}
    assert [person["name"] for person in listed["team"]] == [cast.ada.name]
    assert [(form["form_id"], form["version"]) for form in listed["instruments"]] == [
        ("kitchen", kitchen.version)
    ]


def test_the_list_narrows_by_status_and_school(cast, phone, visit):
    office = phone(cast.office)
    assert len(office.get("/visits?status=assigned&status=returned")["results"]) == 3
    assert office.get("/visits?status=completed")["results"] == []
    (only,) = office.get("/visits", school=cast.school.pk)["results"]
    assert only["id"] == str(visit.pk)
    assert office.get("/visits", school=new())["results"] == []


def test_pages_hold_every_visit_once_while_new_ones_come_in(cast, phone, activity):
    office = phone(cast.office)
    first = office.get("/visits", limit=2)
    draft = planned(cast, cast.school)
    publish_activity(activity_id=draft.pk, by=cast.office)
    second = office.get("/visits", limit=2, cursor=first["next"])
    ids = [visit["id"] for page in (first, second) for visit in page["results"]]
    assert ids == [str(pk) for pk in activity.visits.order_by("-id").values_list("pk", flat=True)]
    assert second["next"] is None


def test_carla_finds_neither_the_visit_nor_its_actions(cast, phone, visit):
    carla = phone(cast.carla)
    path = f"/visits/{visit.pk}"
    carla.get(path, status=404)
    body = {"id": new(), "at": now(), "location": None, "summary": "", "reason": "x"}
    for action in ("check-in", "complete", "review", "return"):
        carla.post(f"{path}/{action}", body, status=404)
    assert str(visit.pk) not in str(carla.every("/visits"))


def test_a_visit_goes_from_check_in_to_review(cast, phone, visit):
    ada, office = phone(cast.ada), phone(cast.office)
    path = f"/visits/{visit.pk}"
    assert ada.get(path)["open_actions"] == ["check_in"]
    checked_in = check_in(ada, visit)
    assert (checked_in["state"], checked_in["location"]) == ("checked_in", PLACE)
    done = ada.post(f"{path}/complete", {"id": new(), "at": now(), "summary": "一切正常"})
    assert (done["state"], done["summary"], done["open_actions"]) == ("completed", "一切正常", [])
    returned = office.post(f"{path}/return", {"id": new(), "reason": "缺照片"})
    assert (returned["state"], returned["return_reason"]) == ("returned", "缺照片")
    ada.post(f"{path}/complete", {"id": new(), "at": now(), "summary": "已补"})
    assert office.post(f"{path}/review", {"id": new()})["state"] == "reviewed"


def test_the_same_check_in_again_is_the_same(cast, phone, visit):
    ada = phone(cast.ada)
    body = {"id": new(), "at": now(), "location": PLACE}
    path = f"/visits/{visit.pk}/check-in"
    first = ada.post(path, body)
    assert ada.post(path, body) == first
    assert visit.actions.count() == 1
    problem = ada.post(path, {**body, "location": None}, status=409)
    assert problem["code"] == "content_conflict"


def test_completing_before_the_check_in_is_a_wrong_state(cast, phone, visit):
    body = {"id": new(), "at": now(), "summary": ""}
    problem = phone(cast.ada).post(f"/visits/{visit.pk}/complete", body, status=409)
    assert problem["code"] == "wrong_state"


def test_an_office_sees_the_visit_but_does_not_check_in(cast, phone, visit):
    body = {"id": new(), "at": now(), "location": None}
    phone(cast.office).post(f"/visits/{visit.pk}/check-in", body, status=403)


def test_a_closed_activity_takes_no_check_in(cast, phone, visit):
    office = phone(cast.office)
    office.post(f"/activities/{visit.activity_id}/close")
    body = {"id": new(), "at": now(), "location": None}
    problem = phone(cast.ada).post(f"/visits/{visit.pk}/check-in", body, status=409)
    assert problem["code"] == "activity_closed"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"id": "7"}, "/id"),
        ({"at": "yesterday"}, "/at"),
        ({"location": {"lat": 91, "lon": 0}}, "/location/lat"),
        ({"location": {"lat": 1}}, "/location/lon"),
        ({"location": "here"}, "/location"),
    ],
)
def test_a_check_in_says_what_is_wrong(cast, phone, visit, changes, pointer):
    body = {"id": new(), "at": now(), "location": PLACE, **changes}
    problem = phone(cast.ada).post(f"/visits/{visit.pk}/check-in", body, status=422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_an_unannounced_visit_is_the_schools_from_the_check_in_on(cast, phone, kitchen):
    draft = planned(cast, cast.school, announced=False)
    publish_activity(activity_id=draft.pk, by=cast.office)
    visit = Visit.objects.get()
    principal = phone(cast.principal)
    principal.get(f"/visits/{visit.pk}", status=404)
    check_in(phone(cast.ada), visit)
    assert principal.get(f"/visits/{visit.pk}")["state"] == "checked_in"


def test_what_team_and_office_write_to_each_other_is_not_the_schools(cast, phone, visit):
    ada, path = phone(cast.ada), f"/visits/{visit.pk}"
    check_in(ada, visit)
    ada.post(f"{path}/complete", {"id": new(), "at": now(), "summary": "初步意见"})
    seen = phone(cast.principal).get(path)
    assert (seen["summary"], seen["return_reason"], seen["open_actions"]) == (None, None, [])
    assert phone(cast.town_group).get(path)["summary"] == "初步意见"


def test_the_phones_clock_may_be_wrong(cast, phone, visit):
    at = (clock.now() - timedelta(days=400)).isoformat()
    assert check_in(phone(cast.ada), visit, at=at)["state"] == "checked_in"


def test_the_list_costs_as_much_for_three_visits_as_for_one(
    cast, phone, activity, django_assert_max_num_queries
):
    office = phone(cast.office)
    with django_assert_max_num_queries(8) as of_one:
        assert len(office.get("/visits", school=cast.school.pk)["results"]) == 1
    with django_assert_max_num_queries(8) as of_three:
        assert len(office.get("/visits")["results"]) == 3
    assert len(of_one) == len(of_three)
