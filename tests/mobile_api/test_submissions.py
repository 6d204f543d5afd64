"""Submissions over the API: stored once, conflicts kept, rules checked, files joined later."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from media_storage.models import MediaObject
from server.activities.models import Submission, SubmissionConflict
from server.activities.services.planning import close_activity
from server.core.changes import Change
from tests.clients import new, now
from tests.forms import kitchen_answers


@pytest.fixture
def body(visit, kitchen):
    return {
        "form_id": "kitchen",
        "version": kitchen.version,
        "visit_id": str(visit.pk),
        "answers": kitchen_answers(),
        "started_at": now(),
        "ended_at": now(),
        "device_time": now(),
        "attachments": [],
    }


def stored_media(owner, **fields) -> MediaObject:
    values = {"filename": "a.jpg", "content_type": "image/jpeg", "size": 3, "sha256": "0" * 64}
    return MediaObject.objects.create(owner=owner, **{**values, **fields})


def test_a_submission_is_created_once_and_read_back(cast, phone, body):
    ada, path = phone(cast.ada), f"/submissions/{new()}"
    assert ada.put(path, body, status=201)["state"] == "complete"
    assert ada.put(path, body)["state"] == "complete"
    read = ada.get(path)
    assert read["answers"] == kitchen_answers()
    assert read["visit_id"] == body["visit_id"]
    assert read["conflicts"] == 0
    assert Submission.objects.count() == 1


def test_a_retry_may_have_another_device_time(cast, phone, body):
    ada, path = phone(cast.ada), f"/submissions/{new()}"
    ada.put(path, body, status=201)
    ada.put(path, {**body, "device_time": "2020-01-01T00:00:00Z"}, status=200)


def test_other_content_under_the_same_id_is_a_conflict_and_both_are_kept(cast, phone, body):
    ada, path = phone(cast.ada), f"/submissions/{new()}"
    ada.put(path, body, status=201)
    other = {**body, "answers": kitchen_answers(storage={"age": 7})}
    for _again in range(2):
        assert ada.put(path, other, status=409)["code"] == "content_conflict"
    assert json.loads(bytes(SubmissionConflict.objects.get().raw))["answers"] == other["answers"]
    read = ada.get(path)
    assert (read["answers"], read["conflicts"]) == (body["answers"], 1)


def test_answers_that_break_the_rules_are_named_and_nothing_is_kept(cast, phone, body):
    answers = kitchen_answers(storage={"fridge": 11, "age": "x"}, unknown=1)
    problem = phone(cast.ada).put(f"/submissions/{new()}", {**body, "answers": answers}, status=422)
    pointers = {error["pointer"] for error in problem["errors"]}
    assert {"/answers/storage/age", "/answers/unknown"} <= pointers
    assert not Submission.objects.exists()


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"form_id": 7}, "/form_id"),
        ({"answers": []}, "/answers"),
        ({"visit_id": "x"}, "/visit_id"),
        ({"started_at": "2026-01-01T08:00:00"}, "/started_at"),
        ({"ended_at": 5}, "/ended_at"),
        ({"attachments": [{"name": "a"}]}, "/attachments/0"),
        ({"attachments": [{"name": "a", "media_id": 1}]}, "/attachments/0/media_id"),
    ],
)
def test_a_body_of_the_wrong_shape_is_named_by_its_field(cast, phone, body, changes, pointer):
    problem = phone(cast.ada).put(f"/submissions/{new()}", {**body, **changes}, status=422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_an_unknown_form_or_version_is_404(cast, phone, body):
    ada = phone(cast.ada)
    for changes in ({"form_id": "nothing"}, {"version": "0"}, {"version": "\u0001"}):
        problem = ada.put(f"/submissions/{new()}", {**body, **changes}, status=404)
        assert problem["code"] == "unknown_form"


def test_bruno_does_not_fill_in_adas_visit(cast, phone, body):
    phone(cast.bruno).put(f"/submissions/{new()}", body, status=404)
    assert not Submission.objects.exists()


def test_a_closed_activity_takes_no_submission(cast, phone, body, visit):
    close_activity(activity_id=visit.activity_id, by=cast.office)
    problem = phone(cast.ada).put(f"/submissions/{new()}", body, status=409)
    assert problem["code"] == "activity_closed"


def test_a_file_may_come_before_or_after_the_submission(cast, phone, body):
    ada, path = phone(cast.ada), f"/submissions/{new()}"
    body["answers"] = kitchen_answers(licence_photo="a.jpg")
    first = ada.put(path, body, status=201)
    assert (first["state"], first["missing"]) == ("incomplete", ["a.jpg"])
    media = stored_media(cast.ada)
    body["attachments"] = [{"name": "a.jpg", "media_id": str(media.pk)}]
    assert ada.put(path, body)["state"] == "incomplete"
    MediaObject.objects.update(state="stored", stored_at=now())
    assert ada.put(path, body)["state"] == "complete"
    (file,) = ada.get(path)["attachments"]
    assert (file["media_id"], file["state"]) == (str(media.pk), "stored")


def test_files_must_be_ones_own_and_named_by_the_answers(cast, phone, body):
    ada, path = phone(cast.ada), f"/submissions/{new()}"
    brunos = stored_media(cast.bruno)
    body["attachments"] = [{"name": "a.jpg", "media_id": str(brunos.pk)}]
    problem = ada.put(path, body, status=422)
    assert problem["errors"][0]["pointer"] == "/attachments/0/media_id"
    body["attachments"] = [{"name": "a.jpg", "media_id": str(stored_media(cast.ada).pk)}]
    assert ada.put(path, body, status=422)["code"] == "attachment_not_named"
    assert not Submission.objects.exists()


def test_who_may_read_a_submission(cast, phone, body):
    ada, path = phone(cast.ada), f"/submissions/{new()}"
    ada.put(path, body, status=201)
    for person in (cast.office, cast.town_group):
        phone(person).get(path)
    for person in (cast.carla, cast.bruno, cast.principal):
        reader = phone(person)
        reader.get(path, status=404)
        assert reader.every("/submissions") == []
        assert reader.every("/submissions", visit=body["visit_id"]) == []


def test_submissions_are_listed_by_visit(cast, phone, body):
    ada = phone(cast.ada)
    ids = {new() for _ in range(3)}
    for each in ids:
        ada.put(f"/submissions/{each}", body, status=201)
    listed = ada.every("/submissions", visit=body["visit_id"], limit=2)
    assert {each["id"] for each in listed} == ids
    assert ada.every("/submissions", visit=new()) == []


def test_the_list_costs_the_same_for_many(cast, phone, body, django_assert_num_queries):
    ada = phone(cast.ada)
    ada.put(f"/submissions/{new()}", body, status=201)
    with django_assert_num_queries(5):
        ada.get("/submissions")
    body["answers"] = kitchen_answers(licence_photo="a.jpg")
    for _ in range(3):
        ada.put(f"/submissions/{new()}", body, status=201)
    with django_assert_num_queries(5):
        ada.get("/submissions")


def test_accepting_costs_few_statements(cast, phone, body, django_assert_max_num_queries):
    ada = phone(cast.ada)
    ada.put(f"/submissions/{new()}", body, status=201)
    with django_assert_max_num_queries(9):
        ada.put(f"/submissions/{new()}", body, status=201)


def test_an_edit_through_json_is_a_submission_of_its_own_row(cast, phone, body):
    ada, first = phone(cast.ada), new()
    ada.put(f"/submissions/{first}", body, status=201)
    assert ada.get(f"/submissions/{first}")["replaces"] is None
    assert Submission.objects.get().root_id == UUID(first)


class Repeated(TestCase):
    """Property: however often and in whatever order a phone repeats itself, each thing is there once."""

    @pytest.fixture(autouse=True)
    def _setting(self, cast, phone, body):
        self.ada, self.body = phone(cast.ada), body

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([4, 5])), min_size=1, max_size=8))
    def test_writes_are_idempotent(self, sent):
        ids = [new() for _ in range(3)]
        first: dict[str, int] = {}
        before = Change.objects.count()
        for index, fridge in sent:
            content = {
                **self.body,
                "answers": kitchen_answers(storage={"fridge": fridge, "age": 1}),
            }
            known = first.setdefault(ids[index], fridge)
            is_new = Submission.objects.filter(pk=ids[index]).exists() is False
            status = 201 if is_new else 200 if known == fridge else 409
            self.ada.put(f"/submissions/{ids[index]}", content, status=status)
        assert Submission.objects.filter(pk__in=ids).count() == len(first)
        assert Change.objects.count() == before + len(first)
        for pk, fridge in first.items():
            assert self.ada.get(f"/submissions/{pk}")["answers"]["storage"]["fridge"] == fridge
