"""Findings over the API: the list, the steps, what is refused, the matrix."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.core import clock
from server.findings.models import Finding, FindingAction
from tests.clients import new, now


@pytest.fixture
def entered(cast, visit):
    return {
        "id": new(),
        "school_id": str(cast.school.pk),
        "visit_id": str(visit.pk),
        "title": "留样不足",
        "detail": "午餐留样 80 克",
        "severity": "major",
        "due": (clock.today() + timedelta(days=7)).isoformat(),
    }


@pytest.fixture
def finding(cast, phone, entered) -> str:
    phone(cast.ada).post("/findings", entered, status=201)
    return entered["id"]


def step(action: str, **fields) -> dict:
    return {"id": new(), "action": action, "at": now(), **fields}


def test_a_finding_is_entered_once(cast, phone, entered):
    ada = phone(cast.ada)
    created = ada.post("/findings", entered, status=201)
    assert (created["title"], created["due"], created["state"]) == (
        "留样不足",
        entered["due"],
        "open",
    )
    assert ada.post("/findings", entered)["id"] == entered["id"]
    assert ada.post("/findings", {**entered, "title": "别的"}, status=409)["code"] == (
        "content_conflict"
    )
    assert Finding.objects.count() == 1


def test_a_finding_goes_from_the_school_to_closed(cast, phone, finding):
    ada, principal, path = phone(cast.ada), phone(cast.principal), f"/findings/{finding}"
    assert principal.get(path)["open_actions"] == ["answer"]
    answered = principal.post(f"{path}/actions", step("answer", measures="已补足"))
    assert (answered["state"], answered["open_actions"]) == ("answered", [])
    assert ada.get(path)["open_actions"] == ["verify", "return"]
    returned = ada.post(f"{path}/actions", step("return", note="照片不清"))
    assert returned["state"] == "returned"
    principal.post(f"{path}/actions", step("answer", measures="重拍"))
    closed = ada.post(f"{path}/actions", step("verify", note="核查通过"))
    assert (closed["state"], bool(closed["closed_at"])) == ("closed", True)
    assert [action["action"] for action in closed["actions"]] == [
        "answer",
        "return",
        "answer",
        "verify",
    ]
    assert closed["actions"][0]["by"]["name"] == cast.principal.name


def test_the_same_action_again_is_the_same(cast, phone, finding):
    principal, path = phone(cast.principal), f"/findings/{finding}/actions"
    action = step("answer", measures="已补足")
    assert principal.post(path, action) == principal.post(path, action)
    assert FindingAction.objects.count() == 1
    principal.post(path, {**action, "measures": "别的"}, status=409)


def test_a_step_out_of_turn_is_a_wrong_state(cast, phone, finding):
    problem = phone(cast.ada).post(f"/findings/{finding}/actions", step("verify"), status=409)
    assert problem["code"] == "wrong_state"


def test_the_school_does_not_verify_itself(cast, phone, finding):
    principal, path = phone(cast.principal), f"/findings/{finding}/actions"
    principal.post(path, step("answer", measures="已补足"))
    assert principal.post(path, step("verify"), status=403)["code"] == "not_allowed"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"action": "answer"}, "/measures"),
        ({"action": "dance"}, "/action"),
        ({"action": "answer", "measures": "x", "media": ["7"]}, "/media/0"),
        ({"action": "answer", "measures": "x", "media": [str(new())]}, "/media/0"),
    ],
)
def test_an_answer_says_what_it_lacks(cast, phone, finding, changes, pointer):
    body = {"id": new(), **changes}
    problem = phone(cast.principal).post(f"/findings/{finding}/actions", body, status=422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_carla_and_the_neighbour_find_nothing(cast, phone, finding):
    for person in (cast.carla, cast.bruno, cast.other_principal, cast.expert):
        stranger = phone(person)
        stranger.get(f"/findings/{finding}", status=404)
        stranger.post(f"/findings/{finding}/actions", step("verify"), status=404)
        assert stranger.every("/findings") == []
        assert stranger.get("/findings/matrix")["totals"]["total"] == 0


def test_carla_enters_nothing_at_another_school(cast, phone, entered):
    phone(cast.carla).post("/findings", entered, status=404)
    phone(cast.carla).post("/findings", {**entered, "visit_id": None}, status=404)
    phone(cast.principal).post("/findings", entered, status=403)
    assert not Finding.objects.exists()


def test_the_list_narrows(cast, phone, finding, visit):
    office = phone(cast.office)

    def listed(query: str) -> int:
        return len(office.get(f"/findings?{query}")["results"])

    assert listed("state=open&state=answered") == 1
    assert listed("state=closed") == 0
    assert listed(f"school={cast.school.pk}") == 1
    assert listed(f"activity={visit.activity_id}&visit={visit.pk}") == 1
    assert (listed("overdue=true"), listed("overdue=false")) == (0, 1)
    Finding.objects.update(due_on=clock.today() - timedelta(days=1))
    assert (listed("overdue=true"), listed("overdue=false")) == (1, 0)
    assert office.get("/findings")["results"][0]["overdue"] is True


def test_pages_follow_the_deadline(cast, phone, entered):
    ada = phone(cast.ada)
    days = [9, 3, 3, 5]
    for day in days:
        due = (clock.today() + timedelta(days=day)).isoformat()
        ada.post("/findings", {**entered, "id": new(), "due": due}, status=201)
    dues = [finding["due"] for finding in ada.every("/findings", limit=1)]
    assert dues == sorted(dues)
    assert len(dues) == len(days)


def test_the_matrix_counts_schools_and_items(cast, phone, entered, visit):
    ada, bruno, office = phone(cast.ada), phone(cast.bruno), phone(cast.office)
    ada.post("/findings", entered, status=201)
    ada.post("/findings", {**entered, "id": new(), "title": "无证"}, status=201)
    other = {**entered, "id": new(), "school_id": str(cast.other_school.pk), "visit_id": None}
    bruno.post("/findings", other, status=201)
    ada.post(f"/findings/{entered['id']}/actions", step("withdraw", note="误判"))
    matrix = office.get("/findings/matrix")
    assert matrix["totals"] == {"schools": 2, "schools_cleared": 0, "total": 3, "settled": 1}
    assert {item["key"]: (item["total"], item["settled"]) for item in matrix["items"]} == {
        "留样不足": (2, 1),
        "无证": (1, 0),
    }
    bruno.post(f"/findings/{other['id']}/actions", step("withdraw", note="误判"))
    assert office.get("/findings/matrix")["totals"]["schools_cleared"] == 1
    of_activity = office.get("/findings/matrix", activity=visit.activity_id)
    assert [school["id"] for school in of_activity["schools"]] == [str(cast.school.pk)]
    phone(cast.expert).get("/findings/matrix", status=404, activity=visit.activity_id)


def test_lists_and_matrix_cost_the_same_for_many(cast, phone, entered, django_assert_num_queries):
    ada, principal = phone(cast.ada), phone(cast.principal)
    costs = {"/findings": 7, "/findings/matrix": 3}
    for _round in range(3):
        body = {**entered, "id": new()}
        ada.post("/findings", body, status=201)
        principal.post(f"/findings/{body['id']}/actions", step("answer", measures="已补足"))
        for path, cost in costs.items():
            with django_assert_num_queries(cost):
                ada.get(path)
