"""What offices do over the API: instruments and activities; schools and instruments as phones see them."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO

import pytest

from server.activities.models import Activity, Visit
from server.core import clock
from server.instruments.models import Instrument
from server.instruments.services import form_hash
from tests.clients import new
from tests.forms import KITCHEN_SURVEY, YES_NO, kitchen_xlsform, xlsform


def workbook(content: bytes) -> BytesIO:
    file = BytesIO(content)
    file.name = "form.xlsx"
    return file


@pytest.fixture
def plan(cast, kitchen):
    return {
        "id": new(),
        "kind": "routine",
        "title": "开学检查",
        "starts": clock.today().isoformat(),
        "ends": (clock.today() + timedelta(days=3)).isoformat(),
        "instruments": ["kitchen"],
        "schools": [str(cast.school.pk)],
        "announced": False,
    }


# ---- schools ------------------------------------------------------------------------------------


def test_schools_are_those_that_concern_the_person(cast, phone):
    def seen(person):
        return {school["id"] for school in phone(person).every("/schools", limit=1)}

    assert seen(cast.ada) == {str(cast.school.pk)}
    assert seen(cast.town_group) == {str(cast.school.pk), str(cast.other_school.pk)}
    assert len(seen(cast.office)) == 3
    assert seen(cast.expert) == set()


def test_carla_does_not_find_the_school(cast, phone):
    phone(cast.carla).get(f"/schools/{cast.school.pk}", status=404)


def test_a_school_has_its_place(cast, phone):
    school = phone(cast.ada).get(f"/schools/{cast.school.pk}")
    assert school["location"] == {"lat": 33.0, "lon": 108.0, "accuracy_m": None}
    assert (school["code"], school["area"]["code"]) == (cast.school.code, cast.town.code)


def test_schools_are_searched(cast, phone):
    office = phone(cast.office)
    assert [each["name"] for each in office.get("/schools", search="第二")["results"]] == [
        cast.other_school.name
    ]
    assert len(office.get("/schools", area=cast.town.pk)["results"]) == 2
    assert len(office.get("/schools", stage="junior")["results"]) == 1
    office.get("/schools", status=400, stage="castle")


# ---- instruments --------------------------------------------------------------------------------


def test_an_office_uploads_and_publishes_and_phones_get_the_form(cast, phone):
    office, ada = phone(cast.office), phone(cast.ada)
    form = {"xlsform": workbook(kitchen_xlsform()), "open": "true"}
    draft = office.upload("/instruments", form)
    assert draft["form_id"] == "kitchen"
    ada.get("/instruments/kitchen", status=404)
    version = office.post("/instruments/kitchen/publish")["version"]
    assert ada.get("/instruments/kitchen")["version"] == version
    published = ada.get(f"/instruments/kitchen/versions/{version}")
    assert published["fields"][1]["finding"]["severity"] == "major"
    xform = ada.raw("GET", published["xform_url"].removeprefix("http://testserver"))
    assert xform["Content-Type"].startswith("text/xml")
    assert form_hash(xform.content) == published["hash"]


def test_a_form_brings_its_files(cast, phone):
    office = phone(cast.office)
    survey = [
        *KITCHEN_SURVEY,
        {"type": "select_one_from_file dishes.csv", "name": "dish", "label": "菜品"},
    ]
    content = xlsform(survey, YES_NO, {"form_id": "dishes", "form_title": "菜品"})
    problem = office.upload("/instruments", {"xlsform": workbook(content)}, status=422)
    assert problem["errors"][0]["pointer"] == "/attachments"
    dishes = BytesIO(b"name,label\ntofu,\xe8\xb1\x86\xe8\x85\x90\n")
    dishes.name = "dishes.csv"
    office.upload("/instruments", {"xlsform": workbook(content), "attachments": [dishes]})
    version = office.post("/instruments/dishes/publish")["version"]
    (file,) = office.get(f"/instruments/dishes/versions/{version}")["attachments"]
    served = office.raw("GET", file["url"].removeprefix("http://testserver"))
    assert served.content == dishes.getvalue()


def test_mistakes_of_a_form_are_named_by_sheet_row_and_column(cast, phone):
    survey = [
        *KITCHEN_SURVEY,
        {"type": "integer", "name": "n", "label": "数", "relevant": "${x} >"},
    ]
    content = xlsform(survey, YES_NO, {"form_id": "broken", "form_title": "错"})
    problem = phone(cast.office).upload("/instruments", {"xlsform": workbook(content)}, status=422)
    assert problem["errors"][0]["pointer"].startswith("/survey/")


def test_what_is_no_workbook_is_refused(cast, phone):
    office = phone(cast.office)
    office.upload("/instruments", {"xlsform": workbook(b"text")}, status=400)
    office.upload("/instruments", {"open": "true"}, status=422)
    truncated = office.raw(
        "POST", "/instruments", b"--b\r\nrubbish", content_type="multipart/form-data; boundary=b"
    )
    assert truncated.status_code in (400, 422)
    assert not Instrument.objects.exists()


def test_an_inspector_uploads_and_publishes_nothing(cast, phone, kitchen):
    ada = phone(cast.ada)
    ada.upload("/instruments", {"xlsform": workbook(kitchen_xlsform("mine"))}, status=403)
    ada.post("/instruments/kitchen/publish", status=404)
    ada.get("/instruments/kitchen/versions/nothing", status=404)


def test_who_has_no_place_here_finds_no_instrument(cast, phone, kitchen):
    stranger = cast.carla
    stranger.memberships.all().delete()
    stranger.appointments.all().delete()
    carla = phone(stranger)
    assert carla.every("/instruments") == []
    carla.get("/instruments/kitchen", status=404)
    for rest in ("", "/xform", "/media/a.csv"):
        carla.get(f"/instruments/kitchen/versions/{kitchen.version}{rest}", status=404)


def test_the_lists_cost_the_same_for_many(cast, phone, kitchen, plan, django_assert_num_queries):
    office = phone(cast.office)
    office.post("/activities", plan, status=201)
    costs = {"/schools": 3, "/instruments": 6, "/activities": 5}
    for _round in range(2):
        for path, cost in costs.items():
            with django_assert_num_queries(cost):
                office.get(path)
        office.upload("/instruments", {"xlsform": workbook(kitchen_xlsform("other"))})
        office.post("/instruments/other/publish")
        office.post("/activities", {**plan, "id": new()}, status=201)


# ---- activities ---------------------------------------------------------------------------------


def test_an_activity_is_planned_previewed_published_and_closed(cast, phone, plan):
    office = phone(cast.office)
    path = f"/activities/{office.post('/activities', plan, status=201)['id']}"
    preview = office.get(f"{path}/preview")
    assert [visit["school"]["name"] for visit in preview["visits"]] == [cast.school.name]
    assert [person["name"] for person in preview["visits"][0]["team"]] == [cast.ada.name]
    assert office.post(f"{path}/publish")["state"] == "published"
    assert office.post(f"{path}/publish")["state"] == "published"
    assert Visit.objects.count() == 1
    assert office.post(f"{path}/close")["state"] == "closed"
    assert office.get(path)["instruments"][0]["form_id"] == "kitchen"
    assert [each["id"] for each in office.get("/activities", state="closed")["results"]] == [
        plan["id"]
    ]


def test_the_same_plan_again_is_the_same_activity(cast, phone, plan):
    office = phone(cast.office)
    first = office.post("/activities", plan, status=201)
    assert office.post("/activities", plan, status=201) == first
    assert office.post("/activities", {**plan, "title": "别的"}, status=409)["code"] == (
        "content_conflict"
    )
    other_schools = {**plan, "schools": [str(cast.other_school.pk)]}
    office.post("/activities", other_schools, status=409)
    assert Activity.objects.count() == 1


def test_a_school_without_an_inspector_is_shown(cast, phone, plan):
    cast.school.appointments.all().delete()
    office = phone(cast.office)
    path = f"/activities/{office.post('/activities', plan, status=201)['id']}"
    preview = office.get(f"{path}/preview")
    assert [school["id"] for school in preview["without_inspector"]] == [str(cast.school.pk)]
    assert office.post(f"{path}/publish", status=422)["code"] == "nothing_to_publish"


def test_carla_finds_neither_the_activity_nor_its_actions(cast, phone, plan):
    phone(cast.office).post("/activities", plan, status=201)
    path = f"/activities/{plan['id']}"
    for person in (cast.carla, cast.principal, cast.expert):
        stranger = phone(person)
        stranger.get(path, status=404)
        stranger.get(f"{path}/preview", status=404)
        for action in ("publish", "close"):
            stranger.post(f"{path}/{action}", status=404)
        stranger.post("/activities", {**plan, "id": new()}, status=403)
        assert stranger.every("/activities") == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"kind": "party"}, "/kind"),
        ({"ends": "2020-01-01"}, "/ends"),
        ({"instruments": ["nothing"]}, "/instruments/0"),
        ({"instruments": []}, "/instruments"),
        ({"schools": [new()]}, "/schools/0"),
        ({"schools": []}, "/schools"),
        ({"title": ""}, "/title"),
    ],
)
def test_a_plan_says_what_is_wrong(cast, phone, plan, changes, pointer):
    problem = phone(cast.office).post("/activities", {**plan, **changes}, status=422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_a_town_group_does_not_reach_the_other_town(cast, phone, plan):
    body = {**plan, "schools": [str(cast.far_school.pk)]}
    phone(cast.town_group).post("/activities", body, status=422)
