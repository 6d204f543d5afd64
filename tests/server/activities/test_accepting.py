"""The accept path: stored once, whole, and nothing that contradicts is lost."""

from __future__ import annotations

import hashlib
import threading
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections

from media_storage.models import MediaObject
from server.activities.models import (
    Submission,
    SubmissionAttachment,
    SubmissionConflict,
    Visit,
)
from server.activities.services.accepting import (
    Accepted,
    BroughtFile,
    FileNotNamed,
    FormNotOfVisit,
    Outcome,
    VisitFinished,
    accept_submission,
)
from server.activities.services.documents import (
    Document,
    document_from_json,
    document_from_xml,
    instance_uuid,
)
from server.activities.services.planning import close_activity
from server.activities.services.visits import ActivityClosed
from server.core import clock
from server.core.changes import Change
from server.core.errors import ContentConflict, Invalid, NotFound
from server.instruments.models import InstrumentVersion
from server.instruments.queries import UnknownForm
from server.instruments.services import publish_instrument, upload_xlsform
from tests.activities import device_of
from tests.cast import Cast
from tests.forms import YES_NO, kitchen_answers, kitchen_xml, xlsform

pytestmark = pytest.mark.django_db


def as_json(
    kitchen: InstrumentVersion, *, id: UUID | None = None, visit: Visit | None = None, **answers
) -> Document:
    return document_from_json(
        submission_id=id or uuid4(),
        form_id="kitchen",
        version=kitchen.version,
        answers=kitchen_answers(**answers),
        raw=b"{}",
        visit_id=visit.pk if visit else None,
        started_at=None,
        ended_at=None,
        device_time=None,
    )


def photo(name: str = "1.jpg", content: bytes = b"x", **values) -> BroughtFile:
    media = MediaObject(
        filename=name,
        content_type="image/jpeg",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        **{"state": "stored", "stored_at": clock.now(), **values},
    )
    return BroughtFile(name, media, fresh=True)


def test_a_json_and_an_xml_document_end_in_the_same_row(cast: Cast, kitchen, visit: Visit):
    device = device_of(cast.ada)
    accept_submission(document=as_json(kitchen, visit=visit), device=device)
    accept_submission(document=document_from_xml(kitchen_xml(kitchen.version)), device=device)
    first, second = Submission.objects.order_by("received_at")
    assert first.answers == second.answers == kitchen_answers()
    assert first.visit == second.visit == visit
    assert (first.format, second.format) == ("json", "xml")


def test_an_accepted_submission_waits_for_deriving_and_is_in_the_change_log(
    cast: Cast, kitchen, visit: Visit
):
    document = as_json(kitchen, visit=visit)
    accept_submission(document=document, device=device_of(cast.ada))
    assert Submission.objects.get().work_due_at is not None
    change = Change.objects.get(type="submission")
    assert (change.object_id, change.school_id) == (document.id, cast.school.pk)


def test_the_same_again_is_a_success_and_stores_nothing(cast: Cast, kitchen, visit: Visit):
    document, device = as_json(kitchen, visit=visit), device_of(cast.ada)
    assert accept_submission(document=document, device=device).outcome is Outcome.NEW
    assert accept_submission(document=document, device=device).outcome is Outcome.SAME
    assert Submission.objects.count() == 1
    assert Change.objects.filter(type="submission").count() == 1


def test_other_content_under_the_same_id_is_a_conflict_and_both_are_kept(
    cast: Cast, kitchen, visit: Visit
):
    device, instance = device_of(cast.ada), str(uuid4())
    raw = kitchen_xml(kitchen.version, instance=instance)
    other = raw.replace(b"<age>41</age>", b"<age>4</age>")
    accept_submission(document=document_from_xml(raw), device=device)
    for _ in range(2):
        with pytest.raises(ContentConflict):
            accept_submission(document=document_from_xml(other), device=device)
    assert bytes(Submission.objects.get().raw) == raw
    assert bytes(SubmissionConflict.objects.get().raw) == other


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite serialises writers, so there is no race"
)
def test_eight_identical_posts_at_once_all_succeed(cast: Cast, kitchen, visit: Visit):
    document, device = as_json(kitchen, visit=visit), device_of(cast.ada)
    start, outcomes = threading.Barrier(8), []

    def post() -> None:
        start.wait(10)
        outcomes.append(accept_submission(document=document, device=device).outcome)
        connections.close_all()

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.value for outcome in outcomes) == ["new"] + ["same"] * 7
    assert Submission.objects.count() == 1


def test_files_join_in_any_order_and_the_last_makes_it_complete(cast: Cast, kitchen, visit: Visit):
    device = device_of(cast.ada)
    document = as_json(kitchen, visit=visit, licence_photo="1.jpg")
    first = accept_submission(document=document, device=device)
    assert first.missing == {"1.jpg"}
    second = accept_submission(document=document, device=device, files=[photo()])
    assert second == Accepted(document.id, Outcome.SAME, frozenset())
    assert SubmissionAttachment.objects.get().media == MediaObject.objects.get()


def test_a_file_that_came_with_the_document_is_joined_at_once(cast: Cast, kitchen, visit: Visit):
    document = as_json(kitchen, visit=visit, licence_photo="1.jpg")
    accepted = accept_submission(document=document, device=device_of(cast.ada), files=[photo()])
    assert accepted.missing == frozenset()


def test_a_declared_photo_whose_bytes_are_on_the_way_is_still_missing(
    cast: Cast, kitchen, visit: Visit
):
    document = as_json(kitchen, visit=visit, licence_photo="1.jpg")
    declared = photo(state="declared", stored_at=None)
    accepted = accept_submission(document=document, device=device_of(cast.ada), files=[declared])
    assert accepted.missing == {"1.jpg"}


def test_the_same_file_again_is_not_stored_twice(cast: Cast, kitchen, visit: Visit):
    device = device_of(cast.ada)
    document = as_json(kitchen, visit=visit, licence_photo="1.jpg")
    accept_submission(document=document, device=device, files=[photo()])
    accept_submission(document=document, device=device, files=[photo()])
    assert MediaObject.objects.count() == 1


def test_another_file_under_the_same_name_is_a_conflict_and_both_are_kept(
    cast: Cast, kitchen, visit: Visit
):
    device = device_of(cast.ada)
    document = as_json(kitchen, visit=visit, licence_photo="1.jpg")
    accept_submission(document=document, device=device, files=[photo()])
    with pytest.raises(ContentConflict):
        accept_submission(document=document, device=device, files=[photo(content=b"other")])
    assert MediaObject.objects.count() == 2
    assert SubmissionConflict.objects.get().media.size == 5


def test_a_file_that_the_document_does_not_name_is_refused_by_name(
    cast: Cast, kitchen, visit: Visit
):
    with pytest.raises(FileNotNamed, match=r"stray\.jpg"):
        accept_submission(
            document=as_json(kitchen, visit=visit),
            device=device_of(cast.ada),
            files=[photo("stray.jpg")],
        )
    assert not Submission.objects.exists()
    assert not MediaObject.objects.exists()


def test_the_only_open_visit_with_the_form_is_found(cast: Cast, kitchen, visit: Visit):
    accept_submission(document=as_json(kitchen), device=device_of(cast.ada))
    assert Submission.objects.get().visit == visit


def test_the_document_may_name_its_visit(cast: Cast, kitchen, visit: Visit):
    document = as_json(kitchen, visit_id=str(visit.pk))
    accept_submission(document=document, device=device_of(cast.ada))
    assert Submission.objects.get().visit == visit


def test_a_submission_without_a_visit_stands_alone(cast: Cast, kitchen):
    accept_submission(document=as_json(kitchen), device=device_of(cast.ada))
    assert Submission.objects.get().visit is None


def test_somebody_elses_visit_does_not_exist(cast: Cast, kitchen, visit: Visit):
    for stranger in (cast.carla, cast.bruno, cast.principal, cast.office):
        with pytest.raises(NotFound):
            accept_submission(document=as_json(kitchen, visit=visit), device=device_of(stranger))
    assert not Submission.objects.exists()


def test_a_form_that_the_visit_does_not_use_is_refused(cast: Cast, kitchen, visit: Visit):
    survey = [{"type": "select_one yes_no", "name": "licence", "label": "?"}]
    upload_xlsform(by=cast.office, content=xlsform(survey, YES_NO, {"form_id": "other"}))
    other = publish_instrument(by=cast.office, form_id="other")
    document = document_from_json(
        submission_id=uuid4(),
        form_id="other",
        version=other.version,
        answers={"licence": "yes"},
        raw=b"{}",
        visit_id=visit.pk,
        started_at=None,
        ended_at=None,
        device_time=None,
    )
    with pytest.raises(FormNotOfVisit):
        accept_submission(document=document, device=device_of(cast.ada))


def test_a_closed_activity_and_a_reviewed_visit_take_nothing(
    cast: Cast, kitchen, visit: Visit, activity
):
    document, device = as_json(kitchen, visit=visit), device_of(cast.ada)
    Visit.objects.update(state=Visit.State.REVIEWED)
    with pytest.raises(VisitFinished):
        accept_submission(document=document, device=device)
    Visit.objects.update(state=Visit.State.ASSIGNED)
    close_activity(activity_id=activity.pk, by=cast.office)
    with pytest.raises(ActivityClosed):
        accept_submission(document=document, device=device)


def test_a_document_may_still_arrive_after_completion(cast: Cast, kitchen, visit: Visit):
    Visit.objects.update(state=Visit.State.COMPLETED)
    accept_submission(document=as_json(kitchen, visit=visit), device=device_of(cast.ada))
    assert Submission.objects.get().visit == visit


def test_an_edit_is_a_row_of_its_own_in_the_chain(cast: Cast, kitchen, visit: Visit):
    device, first, second = device_of(cast.ada), str(uuid4()), str(uuid4())
    accept_submission(
        document=document_from_xml(kitchen_xml(kitchen.version, instance=first)), device=device
    )
    edit = kitchen_xml(kitchen.version, instance=second, old=first)
    accept_submission(document=document_from_xml(edit), device=device)
    row = Submission.objects.get(pk=second)
    assert (str(row.replaces_id), str(row.root_id)) == (first, first)


def test_an_edit_that_arrives_before_its_original_is_kept(cast: Cast, kitchen, visit: Visit):
    edit = kitchen_xml(kitchen.version, old=str(uuid4()))
    accept_submission(document=document_from_xml(edit), device=device_of(cast.ada))
    assert not Submission.objects.filter(pk=Submission.objects.get().replaces_id).exists()


@pytest.mark.parametrize(
    ("answers", "pointer", "code"),
    [
        ({"licence": "perhaps"}, "/answers/licence", "not_a_choice"),
        ({"licence": None}, "/answers/licence", "required"),
        ({"storage": {"fridge": 30}}, "/answers/storage/fridge", "constraint"),
        ({"storage": {"age": "old"}}, "/answers/storage/age", "wrong_type"),
        ({"unheard": 1}, "/answers/unheard", "unknown_field"),
        ({"licence": "no"}, "/answers/licence_note", "required"),
    ],
)
def test_answers_that_break_the_forms_rules_are_refused_with_the_field(
    kitchen, answers: dict, pointer: str, code: str
):
    with pytest.raises(Invalid) as refusal:
        as_json(kitchen, **answers)
    assert [(each.pointer, each.code) for each in refusal.value.problems] == [(pointer, code)]


def test_an_unknown_form_or_version_is_refused_by_name(kitchen):
    with pytest.raises(UnknownForm, match="1999"):
        document_from_xml(kitchen_xml("1999"))


def test_any_instance_id_becomes_the_same_uuid_each_time():
    known = uuid4()
    assert instance_uuid(f"uuid:{known}") == known
    assert instance_uuid("collect-7") == instance_uuid("collect-7") != instance_uuid("collect-8")
