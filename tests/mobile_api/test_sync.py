"""The phone's copy: whole at first, then what changed, and never what is not this person's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from media_storage.signals import media_processed, media_shown
from media_storage.work import PUMP as MEDIA_PUMP
from server.activities.models import Activity, Visit
from server.activities.services.deriving import PUMP
from server.activities.services.planning import assign_visit, publish_activity
from server.core import clock, work
from server.core.changes import Change, record_change
from server.findings.models import Finding
from server.grid.models import Appointment
from server.grid.services import appoint_inspector, end_appointment
from server.instruments.services import publish_instrument, upload_xlsform
from server.messaging import services
from server.messaging.composing import announce
from server.messaging.queries import Audience
from tests.activities import planned
from tests.clients import new, now
from tests.forms import kitchen_answers, kitchen_xlsform
from tests.media_storage.pictures import jpeg


def types(changes: list[Any]) -> list[str]:
    return [f"{change['op']} {change['type']}" for change in changes]


def send_failing(ada, visit, kitchen) -> str:
    """A submission that is a finding once it is derived. Returns its id."""
    body = {
        "form_id": "kitchen",
        "version": kitchen.version,
        "visit_id": str(visit.pk),
        "answers": kitchen_answers(licence="no", licence_note="未见"),
    }
    submission_id = new()
    ada.put(f"/submissions/{submission_id}", body, status=201)
    work.drain(PUMP)
    return submission_id


def test_a_new_phone_gets_all_that_its_person_may_see(cast, phone, visit, kitchen):
    ada = phone(cast.ada)
    send_failing(ada, visit, kitchen)
    changes, _cursor = ada.sync()
    assert types(changes) == [
        "put school",
        "put instrument",
        "put visit",
        "put submission",
        "put finding",
        "put notice",
    ]
    by_type = {change["type"]: change["data"] for change in changes}
    assert by_type["school"] == ada.get(f"/schools/{cast.school.pk}")
    assert [field["name"] for field in by_type["instrument"]["form"]["fields"]][:2] == [
        "visit_id",
        "licence",
    ]
    shown = ada.get(f"/visits/{visit.pk}")
    assert by_type["visit"] == {k: shown[k] for k in by_type["visit"]}


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_the_copy_is_the_same_in_pages_of_any_size(cast, phone, activity, limit):
    office = phone(cast.office)
    whole, _cursor = office.sync()
    paged, cursor = office.sync(limit=limit)
    assert paged == whole
    assert office.sync(cursor) == ([], cursor)


def test_changes_while_the_copy_is_read_are_not_lost(cast, phone, visit):
    ada = phone(cast.ada)
    first = ada.get("/sync", limit=1)
    visit_path = f"/visits/{visit.pk}/check-in"
    ada.post(visit_path, {"id": new(), "at": now(), "location": None})
    _rest, cursor = ada.sync(first["cursor"])
    later, _cursor = ada.sync(cursor)
    assert ("visit", str(visit.pk)) in {(change["type"], change["id"]) for change in later}


def test_after_the_copy_only_changes_come_each_object_once(cast, phone, visit, kitchen):
    ada = phone(cast.ada)
    _copy, cursor = ada.sync()
    for action in ("check-in", "complete"):
        body = {"id": new(), "at": now(), "location": None, "summary": ""}
        ada.post(f"/visits/{visit.pk}/{action}", body)
    submission_id = send_failing(ada, visit, kitchen)
    changes, cursor = ada.sync(cursor)
    assert types(changes) == ["put visit", "put submission", "put finding"]
    assert changes[0]["data"]["state"] == "completed"
    assert changes[1]["id"] == submission_id
    assert ada.sync(cursor)[0] == []


def test_a_school_learns_of_its_finding_but_not_of_the_submission(cast, phone, visit, kitchen):
    principal, ada = phone(cast.principal), phone(cast.ada)
    _copy, cursor = principal.sync()
    submission_id = send_failing(ada, visit, kitchen)
    changes, _cursor = principal.sync(cursor)
    assert types(changes) == ["put finding", "put notice"]
    assert submission_id not in [change["id"] for change in changes]


def test_an_unannounced_visit_leaves_no_trace_at_the_school(cast, phone, kitchen):
    principal = phone(cast.principal)
    _copy, cursor = principal.sync()
    publish_activity(activity_id=planned(cast, cast.school, announced=False).pk, by=cast.office)
    assert principal.sync(cursor)[0] == []
    body = {"id": new(), "at": now(), "location": None}
    phone(cast.ada).post(f"/visits/{Visit.objects.get().pk}/check-in", body)
    assert types(principal.sync(cursor)[0]) == ["put visit", "put notice"]


def test_carla_hears_nothing_of_another_school(cast, phone, visit, kitchen):
    carla, ada = phone(cast.carla), phone(cast.ada)
    copy, cursor = carla.sync()
    assert {change["id"] for change in copy if change["type"] == "school"} == {
        str(cast.far_school.pk)
    }
    ada.post(f"/visits/{visit.pk}/check-in", {"id": new(), "at": now(), "location": None})
    send_failing(ada, visit, kitchen)
    assert carla.sync(cursor)[0] == []


def test_a_member_without_an_appointment_gets_the_school_with_the_visit(cast, phone, kitchen):
    bruno = phone(cast.bruno)
    _copy, cursor = bruno.sync()
    draft = planned(cast, cast.school)
    assign_visit(activity=draft, school=cast.school, team=[cast.bruno])
    changes, _cursor = bruno.sync(cursor)
    assert types(changes) == ["put school", "put visit", "put notice"]
    assert changes[0]["id"] == str(cast.school.pk)


def test_an_appointment_starts_the_copy_over_and_brings_all_of_the_school(
    cast, phone, visit, kitchen
):
    ada, bruno = phone(cast.ada), phone(cast.bruno)
    send_failing(ada, visit, kitchen)
    _copy, cursor = bruno.sync()
    appoint_inspector(inspector_id=cast.bruno.pk, school_id=cast.school.pk, by=cast.office)
    assert bruno.get("/sync", cursor=cursor)["reset"] is True
    changes, _cursor = bruno.sync(cursor)
    ids = {change["id"] for change in changes if change["op"] == "put"}
    assert {str(cast.school.pk), str(Finding.objects.get().pk)} <= ids


def test_an_ended_appointment_takes_the_school_away(cast, phone):
    ada = phone(cast.ada)
    _copy, cursor = ada.sync()
    end_appointment(appointment_id=Appointment.objects.get(inspector=cast.ada).pk, by=cast.office)
    page = ada.get("/sync", cursor=cursor)
    assert page["reset"] is True
    assert "put school" not in types(page["changes"])
    changes, _cursor = ada.sync(page["cursor"])
    assert ("delete", str(cast.school.pk)) in {(each["op"], each["id"]) for each in changes}


def test_a_term_that_begins_by_the_calendar_starts_the_copy_over(cast, phone):
    tomorrow = clock.today() + timedelta(days=1)
    term = Appointment.objects.create(inspector=cast.ada, school=cast.far_school, starts=tomorrow)
    ada = phone(cast.ada)
    _copy, cursor = ada.sync()
    assert ada.get("/sync", cursor=cursor)["reset"] is False
    Appointment.objects.filter(pk=term.pk).update(starts=clock.today())
    page = ada.get("/sync", cursor=cursor)
    assert page["reset"] is True
    assert str(cast.far_school.pk) in {change["id"] for change in page["changes"]}


def test_a_member_who_was_taken_off_a_visit_loses_it(cast, phone, visit):
    ada = phone(cast.ada)
    _copy, cursor = ada.sync()
    visit.team.clear()
    record_change("visit", visit.pk, user_ids=[cast.ada.pk])
    changes, _cursor = ada.sync(cursor)
    assert [(each["op"], each["id"], each["data"]) for each in changes] == [
        ("delete", str(visit.pk), None)
    ]


def test_a_photo_that_became_ready_comes_as_its_submission(cast, phone, visit, kitchen):
    ada = phone(cast.ada)
    media = MediaObject.objects.create(
        owner=cast.ada,
        filename="a.jpg",
        content_type="image/jpeg",
        size=3,
        sha256="0" * 64,
        state="stored",
        stored_at=clock.now(),
    )
    body = {
        "form_id": "kitchen",
        "version": kitchen.version,
        "visit_id": str(visit.pk),
        "answers": kitchen_answers(licence_photo="a.jpg"),
        "attachments": [{"name": "a.jpg", "media_id": str(media.pk)}],
    }
    ada.put(f"/submissions/{new()}", body, status=201)
    _copy, cursor = ada.sync()
    MediaObject.objects.update(state="rejected", reject_code="broken")
    media.refresh_from_db()
    media_processed.send(MediaObject, media=media)
    ((change,), _cursor) = ada.sync(cursor)
    (file,) = change["data"]["attachments"]
    assert (file["state"], bool(file["reason"])) == ("rejected", True)


def test_phones_learn_of_the_thumbnail_before_the_photo_is_ready(cast, phone, visit, kitchen):
    ada, photo = phone(cast.ada), jpeg(800, 600)
    stored = store_stream(filename="a.jpg", content_type="image/jpeg", chunks=[photo])
    values = new_media_values(media_id=new(), owner_id=cast.ada.pk, filename="a.jpg", stored=stored)
    media = MediaObject.objects.create(**values)
    body = {
        "form_id": "kitchen",
        "version": kitchen.version,
        "visit_id": str(visit.pk),
        "answers": kitchen_answers(licence_photo="a.jpg"),
        "attachments": [{"name": "a.jpg", "media_id": str(media.pk)}],
    }
    ada.put(f"/submissions/{new()}", body, status=201)
    _copy, cursor = ada.sync()
    seen = []

    def hear(**_signal):
        changes, _cursor = ada.sync(cursor)
        [change] = [each for each in changes if each["type"] == "submission"]
        read = ada.get(f"/media/{media.pk}")
        seen.append((change["data"]["attachments"][0]["state"], len(read["renditions"])))

    # Connected last: what the product's own listeners write is there.
    media_shown.connect(hear)
    media_processed.connect(hear)
    try:
        work.drain(MEDIA_PUMP)
    finally:
        media_shown.disconnect(hear)
        media_processed.disconnect(hear)
    assert seen == [("processing", 1), ("ready", 2)]


def test_a_new_publication_reaches_those_who_use_it_only(cast, phone, kitchen):
    ada = phone(cast.ada)
    _copy, cursor = ada.sync()
    upload_xlsform(by=cast.office, content=kitchen_xlsform())
    second = publish_instrument(by=cast.office, form_id="kitchen")
    ((change,), _cursor) = ada.sync(cursor)
    assert (change["type"], change["data"]["version"]) == ("instrument", second.version)
    record_change("instrument", cast.county.pk)
    assert ada.sync(_cursor)[0] == []


def test_what_is_long_settled_is_not_copied(cast, phone, visit, kitchen):
    ada = phone(cast.ada)
    send_failing(ada, visit, kitchen)
    long_ago = clock.now() - timedelta(days=120)
    Activity.objects.update(
        state="closed", starts=long_ago.date(), ends=long_ago.date() + timedelta(days=1)
    )
    Finding.objects.update(state="closed", closed_at=long_ago, updated_at=long_ago)
    cast.ada.deliveries.update(created_at=long_ago)
    assert types(ada.sync()[0]) == ["put school", "put instrument"]


def test_a_notice_read_elsewhere_comes_again(cast, phone, visit):
    one, other = phone(cast.ada), phone(cast.ada)
    _copy, cursor = one.sync()
    (notice,) = other.get("/notices")["results"]
    other.post(f"/notices/{notice['id']}/read", {})
    ((change,), _cursor) = one.sync(cursor)
    assert (change["type"], change["id"]) == ("notice", notice["id"])
    assert change["data"]["read_at"]


def test_a_notice_to_a_crowd_is_one_change_that_only_its_recipients_see(cast, phone, monkeypatch):
    monkeypatch.setattr(services, "AT_ONCE", 1)
    ada, carla = phone(cast.ada), phone(cast.carla)
    cursors = [person.sync()[1] for person in (ada, carla)]
    people = Audience(people=[cast.ada.pk, cast.principal.pk])
    notice = announce(notice_id=uuid4(), by=cast.office, title="督导周", body="请", audience=people)
    work.drain(next(pump for pump in work.pumps() if pump.name == "notices"))
    row = Change.objects.get(type="notice")
    assert (row.object_id, row.user_id, row.school_id) == (notice.pk, None, None)
    (change,) = ada.sync(cursors[0])[0]
    assert (change["op"], change["data"]["title"]) == ("put", "督导周")
    assert carla.sync(cursors[1])[0] == []


@pytest.mark.parametrize("cursor", ["rubbish", "W10", "bnVsbA", "WyJhIiwwLDAsOSxudWxsXQ", "é"])
def test_a_rubbish_cursor_is_refused(cast, phone, cursor):
    problem = phone(cast.ada).get("/sync", status=400, cursor=cursor)
    assert problem["code"] == "cursor_invalid"


def test_a_cursor_from_another_life_of_the_database_is_refused(cast, phone, visit):
    ada = phone(cast.ada)
    _copy, cursor = ada.sync()
    Change.objects.all().delete()
    assert ada.get("/sync", status=400, cursor=cursor)["code"] == "cursor_invalid"


def test_an_idle_phones_cursor_moves_past_what_others_did(cast, phone, visit):
    carla = phone(cast.carla)
    _copy, cursor = carla.sync()
    record_change("visit", visit.pk, school_id=cast.school.pk)
    changes, later = carla.sync(cursor)
    assert changes == []
    assert later != cursor
    record_change("school", cast.far_school.pk, school_id=cast.far_school.pk)
    assert types(carla.sync(later)[0]) == ["put school"]


def test_nothing_new_costs_three_queries_after_authentication(
    cast, phone, visit, django_assert_max_num_queries
):
    ada = phone(cast.ada)
    _copy, cursor = ada.sync()
    with django_assert_max_num_queries(1 + 3):
        assert ada.get("/sync", cursor=cursor)["changes"] == []


def test_a_page_costs_the_same_for_many_objects(
    cast, phone, visit, kitchen, django_assert_num_queries, django_assert_max_num_queries
):
    ada = phone(cast.ada)
    _copy, cursor = ada.sync()
    send_failing(ada, visit, kitchen)
    with django_assert_max_num_queries(16) as of_one:
        ada.get("/sync", cursor=cursor)
    cost = len(of_one)
    for _ in range(3):
        send_failing(ada, visit, kitchen)
    with django_assert_num_queries(cost):
        assert len(ada.get("/sync", cursor=cursor)["changes"]) == 8
