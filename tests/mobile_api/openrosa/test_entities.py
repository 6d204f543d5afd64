"""The lists of schools, visits and findings: each person's own rows, the same bytes each time."""

from __future__ import annotations

import csv
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest

from mobile_api.openrosa.entities import LISTS, entity_list
from server.activities.models import Visit
from server.activities.services.visits import check_in
from server.core import clock
from server.findings.machine import WITHDRAW
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding, raise_finding
from server.grid.models import User
from tests.cast import Cast, add_school, appoint

pytestmark = pytest.mark.django_db


def rows(filename: str, user: User) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(entity_list(filename, user).decode())))


def finding_at(cast: Cast, **values) -> Finding:
    finding, _new = raise_finding(
        finding_id=uuid4(),
        by=cast.ada,
        school_id=cast.school.pk,
        title="消防通道堵塞",
        due_on=clock.today() + timedelta(days=3),
        **values,
    )
    return finding


def test_every_list_begins_with_what_collect_asks_of_entities(cast: Cast):
    for filename in LISTS:
        header = entity_list(filename, cast.ada).decode().splitlines()[0]
        assert header.startswith("name,label,__version,"), filename


def test_visits_are_the_persons_open_ones_with_school_and_deadline(cast: Cast, gate_visit: Visit):
    (row,) = rows("visits.csv", cast.ada)
    assert row["name"] == str(gate_visit.pk)
    assert cast.school.name in row["label"]
    assert (row["school_code"], row["school_id"]) == (cast.school.code, str(cast.school.pk))
    assert (row["forms"], row["due"]) == ("gate", clock.today().isoformat())


def test_carla_sees_her_own_rows_and_none_of_adas(cast: Cast, gate_visit: Visit):
    finding_at(cast)
    assert [row["school_code"] for row in rows("visits.csv", cast.carla)] == [cast.far_school.code]
    assert [row["school_code"] for row in rows("schools.csv", cast.carla)] == [cast.far_school.code]
    assert rows("findings.csv", cast.carla) == []
    assert rows("visits.csv", cast.principal) == []


def test_findings_are_listed_until_they_are_settled(cast: Cast):
    finding = finding_at(cast)
    for user in (cast.ada, cast.principal, cast.office):
        (row,) = rows("findings.csv", user)
        assert (row["name"], row["title"], row["state"]) == (
            str(finding.pk),
            "消防通道堵塞",
            "open",
        )
    act_on_finding(
        finding_id=finding.pk, action_id=uuid4(), by=cast.ada, step=Step(action=WITHDRAW, note="误")
    )
    assert rows("findings.csv", cast.ada) == []


def test_a_closed_school_is_not_offered(cast: Cast):
    cast.school.is_active = False
    cast.school.save()
    assert rows("schools.csv", cast.ada) == []


def test_the_same_rows_are_the_same_bytes(cast: Cast, gate_visit: Visit):
    appoint(cast.ada, add_school("东河镇第三小学", "9101210004", cast.town))
    for filename in LISTS:
        assert entity_list(filename, cast.ada) == entity_list(filename, cast.ada)
    codes = [row["school_code"] for row in rows("schools.csv", cast.ada)]
    assert codes == sorted(codes)
    assert len(codes) == 2


def test_a_change_raises_the_rows_version(cast: Cast, gate_visit: Visit, monkeypatch):
    (before,) = rows("visits.csv", cast.ada)
    later = clock.now() + timedelta(hours=1)
    check_in(visit_id=gate_visit.pk, action_id=uuid4(), by=cast.ada, at=later, place=None)
    gate_visit.actions.update(received_at=later)
    (after,) = rows("visits.csv", cast.ada)
    assert after["state"] == "checked_in"
    assert int(before["__version"]) < int(after["__version"]) < 2**31


def test_a_row_without_a_date_of_its_own_is_new_each_morning(cast: Cast, monkeypatch):
    (before,) = rows("schools.csv", cast.ada)
    tomorrow = clock.today() + timedelta(days=1)
    monkeypatch.setattr("mobile_api.openrosa.entities.clock.today", lambda: tomorrow)
    (after,) = rows("schools.csv", cast.ada)
    assert int(after["__version"]) - int(before["__version"]) == 86_400


@pytest.mark.parametrize(("filename", "queries"), [("visits.csv", 2), ("schools.csv", 2)])
def test_a_list_costs_the_same_for_any_number_of_rows(
    cast: Cast, gate_visit: Visit, filename: str, queries: int, django_assert_max_num_queries
):
    for number in range(4, 9):
        school = add_school(f"第{number}小学", f"910121000{number}", cast.town)
        appoint(cast.ada, school)
        Visit.objects.create(activity=gate_visit.activity, school=school).team.set([cast.ada])
    with django_assert_max_num_queries(queries):
        assert len(rows(filename, cast.ada)) == 6
