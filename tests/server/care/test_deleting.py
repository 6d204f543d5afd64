"""What is due is announced, waits, and is really gone afterwards; what anything keeps is not."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from media_storage.errors import StoreUnavailable
from media_storage.models import MediaObject
from media_storage.services import complete_media, resume_upload
from media_storage.stores import ObjectMissing, Store, get_store
from media_storage.stores.folder import FolderStore
from server.activities.models import Activity, Visit
from server.activities.services.planning import publish_activity
from server.care import deleting
from server.care.certificates import deletion_certificates_of, digest_of, is_genuine
from server.care.deleting import PUMP, Held, delete_now, find_due, keep_file, request_deletion
from server.care.holds import lift_hold, set_hold
from server.care.models import Deletion
from server.care.retention import set_retention
from server.core import clock, work
from server.core.audit import AuditEntry
from server.core.changes import Change
from server.core.errors import Invalid, NotAllowed, NotFound, WrongState
from server.findings.models import Finding
from server.findings.services import raise_finding
from server.messaging.models import Notice
from tests.activities import planned
from tests.cast import Cast
from tests.server.care.conftest import LONG_AGO, add_photo, answer_with, expire, found, settle

pytestmark = pytest.mark.django_db


def over(row: Deletion) -> Deletion:
    """The same, when its grace period is over."""
    moment = clock.now() - timedelta(seconds=1)
    Deletion.objects.filter(pk=row.pk).update(delete_after=moment, work_due_at=moment)
    row.refresh_from_db()
    return row


def carried_out(row: Deletion) -> Deletion:
    """As the worker leaves it once the grace period is over."""
    over(row)
    work.drain(PUMP)
    row.refresh_from_db()
    return row


# ---- what is due -----------------------------------------------------------------------------


def test_what_is_due_is_announced_to_the_office_and_waits(
    expired: MediaObject, activity: Activity, cast: Cast
) -> None:
    [row] = found()
    assert (row.media, row.activity, row.school) == (expired, activity, cast.school)
    assert (row.state, row.rule, row.decided_by) == ("due", "retention", cast.office)
    assert row.delete_after - clock.now() > timedelta(days=13)
    notice = Notice.objects.get(event="media.deletion_due")
    assert notice.params["count"] == "1"
    assert {each.recipient for each in notice.deliveries.all()} == {cast.office}
    assert AuditEntry.objects.get(action="deletion.announced").details["files"] == 1
    work.drain_all()
    expired.refresh_from_db()
    assert expired.state == "ready"
    assert found() == []


def test_photos_without_a_period_are_never_due(
    photo: MediaObject, finding: Finding, activity: Activity, cast: Cast
) -> None:
    settle(finding, cast)
    assert activity.media_kept_until is None
    assert found() == []


def test_the_last_day_still_counts(expired: MediaObject, activity: Activity) -> None:
    Activity.objects.filter(pk=activity.pk).update(media_kept_until=clock.today())
    assert found() == []


def test_a_visit_with_an_unsettled_problem_keeps_its_photos(
    photo: MediaObject, activity: Activity, finding: Finding, cast: Cast
) -> None:
    expire(activity)
    assert found() == []
    settle(finding, cast)
    assert len(found()) == 1


def test_a_photo_of_two_activities_is_kept_for_the_later_one(
    expired: MediaObject, cast: Cast
) -> None:
    draft = planned(cast, cast.school)
    later = publish_activity(activity_id=draft.pk, by=cast.office)
    set_retention(activity_id=later.pk, by=cast.office, keep_days=30, reason="规定")
    again, _created = raise_finding(
        finding_id=uuid4(),
        by=cast.office,
        school_id=cast.school.pk,
        visit_id=later.visits.get(school=cast.school).pk,
        title="再次发现",
        due_on=clock.today(),
    )
    MediaObject.objects.filter(pk=expired.pk).update(owner=cast.principal)
    answer_with(again, cast.principal, expired)
    assert found() == []  # the problem is open
    Finding.objects.filter(pk=again.pk).update(state="closed", closed_at=clock.now())
    assert found() == []  # settled, but the later activity's period goes on
    expire(later)
    Activity.objects.exclude(pk=later.pk).update(media_kept_until=clock.today() - timedelta(days=5))
    [row] = found()
    assert row.activity == later


def test_a_file_that_nobody_uses_is_not_ours_to_delete(expired: MediaObject, cast: Cast) -> None:
    add_photo(cast.ada)
    assert [row.media for row in found()] == [expired]


# ---- deleting --------------------------------------------------------------------------------


def test_deleting_takes_every_byte_and_leaves_the_record(
    store: Store, expired: MediaObject, cast: Cast
) -> None:
    keys = [expired.key, *expired.renditions.values_list("key", flat=True)]
    assert len(keys) == 5  # the original, two plain renditions, two for sharing
    assert all(store.size(key) for key in keys)
    before = Change.objects.filter(type="submission").count()
    [row] = found()
    row = carried_out(row)
    assert row.state == "deleted"
    for key in keys:
        with pytest.raises(ObjectMissing):
            next(store.read(key))
    assert store.traces(expired.key) == []
    expired.refresh_from_db()
    assert (expired.state, expired.renditions.count()) == ("deleted", 0)
    assert expired.sha256
    assert expired.submission_attachments.count() == 1
    assert Change.objects.filter(type="submission").count() >= before + 2


def test_the_certificate_says_what_why_who_and_what_the_store_answers(
    store: Store, expired: MediaObject, cast: Cast, settings
) -> None:
    keys = {expired.key, *expired.renditions.values_list("key", flat=True)}
    [row] = found()
    row = carried_out(row)
    certificate = deletion_certificates_of([expired.pk, uuid4()])[expired.pk]
    document = certificate.document
    assert document["certificate"] == certificate.number == row.number
    assert document["file"] | {"taken_at": "", "stored_at": ""} == {
        "id": str(expired.pk),
        "name": "licence.jpg",
        "content_type": "image/jpeg",
        "size": expired.size,
        "sha256": expired.sha256,
        "taken_at": "",
        "stored_at": "",
        "uploaded_by": "安督学",
    }
    [use] = document["used_in"]
    assert (use["activity"], use["school"]) == ("食品安全督导周", cast.school.name)
    assert document["rule"]["code"] == "retention"
    assert "保存 1 天" in document["rule"]["text"]
    assert document["decided_by"] == "方主任"
    answers = {each["key"]: each["answer"] for each in document["objects"]}
    assert keys <= set(answers)
    assert set(answers.values()) == {"404"}
    assert "SECRET" not in str(document)
    assert "duxue-secret" not in str(document)
    assert certificate.document_sha256 == digest_of(document)
    entry = AuditEntry.objects.get(action="media.deleted")
    assert entry.details["certificate_sha256"] == certificate.document_sha256
    assert is_genuine(document)
    assert not is_genuine({**document, "decided_by": "别人"})


def test_a_store_that_is_away_is_tried_again(expired: MediaObject, monkeypatch) -> None:
    [row] = found()

    def away(*_args: object, **_options: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(FolderStore, "erase", away)
    assert carried_out(row).state == "deleting"
    assert row.work_due_at is not None
    expired.refresh_from_db()
    assert expired.state == "deleted"  # nobody gets its address any more
    monkeypatch.undo()
    assert carried_out(row).state == "deleted"


@pytest.mark.parametrize("step", ["erase", "traces", "_finish"])
def test_a_worker_that_dies_anywhere_leaves_work_that_ends_well(
    expired: MediaObject, monkeypatch, step: str
) -> None:
    [row] = found()

    def die(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deleting if step == "_finish" else FolderStore, step, die)
    over(row)
    with pytest.raises(KeyboardInterrupt):
        work.drain(PUMP)
    monkeypatch.undo()
    assert carried_out(row).state == "deleted"
    assert get_store().traces(expired.key) == []
    assert AuditEntry.objects.filter(action="media.deleted").count() == 1


def test_a_store_that_forgets_nothing_gives_no_certificate(
    expired: MediaObject, monkeypatch
) -> None:
    [row] = found()
    erase = FolderStore.erase

    def pretend(store: FolderStore, key: str, **options: str) -> object:
        kept = b"".join(store.read(key))
        erased = erase(store, key, **options)
        store.write(key, [kept])
        return erased

    monkeypatch.setattr(FolderStore, "erase", pretend)
    row = carried_out(row)
    assert (row.state, row.certificate) == ("deleting", None)
    assert "still in the store" in row.work_error


def test_bytes_that_an_old_address_brings_back_are_erased_as_well(
    expired: MediaObject, cast: Cast
) -> None:
    MediaObject.objects.update(stored_at=clock.now() - timedelta(hours=1))
    [row] = request_deletion(media_ids=[expired.pk], by=cast.office, reason="家长要求")
    row = carried_out(row)
    assert row.state == "deleting"
    assert row.work_due_at == row.look_again_at
    assert row.look_again_at - clock.now() > timedelta(hours=10)
    get_store().write(expired.key, [b"again"])
    Deletion.objects.update(look_again_at=clock.now(), work_due_at=clock.now())
    work.drain(PUMP)
    row.refresh_from_db()
    assert row.state == "deleted"
    assert get_store().traces(expired.key) == []


def test_a_file_that_never_arrived_can_be_deleted_and_takes_no_upload_any_more(
    photo: MediaObject, cast: Cast
) -> None:
    MediaObject.objects.filter(pk=photo.pk).update(state="declared", stored_at=None)
    [row] = request_deletion(media_ids=[photo.pk], by=cast.office, reason="家长要求")
    assert carried_out(row).state == "deleting"
    photo.refresh_from_db()
    assert resume_upload(media=photo, base_url="http://testserver").parts == ()
    assert complete_media(media=photo).state == "deleted"


def test_the_camera_s_own_notes_go_with_the_file(expired: MediaObject) -> None:
    from media_storage.models import Facts

    notes = {"exif": {"Make": "x", "GPS": "y"}, "camera_model": "z"}
    Facts.objects.update_or_create(media=expired, defaults=notes)
    [row] = found()
    carried_out(row)
    assert Facts.objects.get(media=expired).exif == {}


# ---- holds -----------------------------------------------------------------------------------


def target(name: str, photo: MediaObject, visit: Visit) -> object:
    return {
        "activity": visit.activity,
        "school": visit.school,
        "visit": visit,
        "media": photo,
    }[name]


@pytest.mark.parametrize("name", ["activity", "school", "visit", "media"])
def test_what_is_held_is_neither_announced_nor_deleted(
    name: str, expired: MediaObject, made_visit: Visit, cast: Cast
) -> None:
    held = target(name, expired, made_visit)
    hold, kept = set_hold(target=name, target_id=held.pk, by=cast.office, reason="诉讼")
    assert kept == 0
    assert found() == []
    with pytest.raises(Held):
        request_deletion(media_ids=[expired.pk], by=cast.office, reason="家长要求")
    lift_hold(hold_id=hold.pk, by=cast.office, reason="结案")
    assert len(found()) == 1


@pytest.mark.parametrize("name", ["activity", "school", "visit", "media"])
def test_a_hold_stops_what_is_already_due(
    name: str, expired: MediaObject, made_visit: Visit, cast: Cast
) -> None:
    [row] = found()
    held = target(name, expired, made_visit)
    hold, kept = set_hold(target=name, target_id=held.pk, by=cast.office, reason="诉讼")
    assert kept == 1
    row.refresh_from_db()
    assert (row.state, row.kept_code, row.work_due_at) == ("kept", "held", None)
    work.drain_all()
    expired.refresh_from_db()
    assert expired.state == "ready"
    lift_hold(hold_id=hold.pk, by=cast.office, reason="结案")
    [again] = found()
    assert again.delete_after - clock.now() > timedelta(days=13)
    actions = AuditEntry.objects.filter(action__startswith="hold").order_by("pk")
    assert [entry.action for entry in actions] == ["hold.set", "hold.lifted"]
    assert actions[0].details["reason"] == "诉讼"


def test_a_hold_that_the_list_did_not_see_is_seen_by_the_worker(
    expired: MediaObject, made_visit: Visit, cast: Cast
) -> None:
    [row] = found()
    set_hold(target="visit", target_id=made_visit.pk, by=cast.office, reason="诉讼")
    Deletion.objects.update(state="due", kept_code="")
    assert carried_out(row).state == "kept"
    assert row.kept_code == "held"


def test_evidence_is_held_with_its_school_too(
    expired: MediaObject, finding: Finding, cast: Cast
) -> None:
    evidence = add_photo(cast.principal)
    action = finding.actions.first()
    action.media.add(evidence)
    MediaObject.objects.update(stored_at=clock.now() - LONG_AGO)
    set_hold(target="school", target_id=cast.school.pk, by=cast.office, reason="诉讼")
    assert found() == []


@pytest.mark.parametrize("who", ["ada", "carla", "principal", "expert"])
def test_a_hold_is_an_offices(who: str, photo: MediaObject, made_visit: Visit, cast: Cast) -> None:
    with pytest.raises(NotAllowed):
        set_hold(target="visit", target_id=made_visit.pk, by=getattr(cast, who), reason="x")


def test_a_hold_needs_a_reason_to_begin_and_to_end(
    photo: MediaObject, made_visit: Visit, cast: Cast
) -> None:
    with pytest.raises(Invalid):
        set_hold(target="visit", target_id=made_visit.pk, by=cast.office, reason=" ")
    hold, _kept = set_hold(target="visit", target_id=made_visit.pk, by=cast.office, reason="诉讼")
    with pytest.raises(Invalid):
        lift_hold(hold_id=hold.pk, by=cast.office, reason="")
    with pytest.raises(NotFound):
        set_hold(target="visit", target_id=uuid4(), by=cast.office, reason="x")


# ---- retention changes -----------------------------------------------------------------------


def test_a_longer_period_keeps_what_was_due(
    expired: MediaObject, activity: Activity, cast: Cast
) -> None:
    [row] = found()
    changed, kept = set_retention(
        activity_id=activity.pk, by=cast.office, keep_days=400, reason="上级要求"
    )
    assert (kept, changed.media_kept_until) == (1, changed.ends + timedelta(days=400))
    row.refresh_from_db()
    assert (row.state, row.kept_code) == ("kept", "not_due")
    assert found() == []
    entry = AuditEntry.objects.get(action="retention.changed")
    assert entry.details["days"] == {"before": 1, "after": 400}


def test_a_period_may_be_given_as_a_day_or_be_for_ever(activity: Activity, cast: Cast) -> None:
    until = activity.ends + timedelta(days=90)
    changed, _kept = set_retention(
        activity_id=activity.pk, by=cast.office, until=until, reason="规定"
    )
    assert (changed.keep_media_days, changed.media_kept_until) == (90, until)
    changed, _kept = set_retention(activity_id=activity.pk, by=cast.office, reason="长期保存")
    assert (changed.keep_media_days, changed.media_kept_until) == (None, None)


@pytest.mark.parametrize("values", [{"keep_days": 0}, {"keep_days": 40_000}, {"reason": " "}])
def test_a_period_that_makes_no_sense_is_refused(
    activity: Activity, cast: Cast, values: dict[str, object]
) -> None:
    with pytest.raises(Invalid):
        set_retention(**{"activity_id": activity.pk, "by": cast.office, "reason": "x", **values})
    with pytest.raises(Invalid):
        set_retention(activity_id=activity.pk, by=cast.office, until=activity.ends, reason="x")


@pytest.mark.parametrize("who", ["ada", "carla", "town_group", "principal"])
def test_others_do_not_change_the_county_s_period(who: str, activity: Activity, cast: Cast) -> None:
    with pytest.raises(NotFound):
        set_retention(activity_id=activity.pk, by=getattr(cast, who), keep_days=9, reason="x")


# ---- on demand -------------------------------------------------------------------------------


def test_a_request_takes_the_same_path_whatever_the_period_says(
    photo: MediaObject, cast: Cast
) -> None:
    MediaObject.objects.update(stored_at=clock.now() - LONG_AGO)
    [row] = request_deletion(media_ids=[photo.pk], by=cast.office, reason="家长要求")
    assert request_deletion(media_ids=[photo.pk], by=cast.office, reason="家长要求") == [row]
    assert (row.rule, row.decided_by, row.school) == ("request", cast.office, cast.school)
    row = carried_out(row)
    assert row.state == "deleted"
    assert row.certificate["rule"] == {
        "code": "request",
        "text": "按申请删除",
        "reason": "家长要求",
    }
    assert AuditEntry.objects.filter(action="deletion.requested").count() == 1


@pytest.mark.parametrize("who", ["ada", "bruno", "carla", "principal", "town_group", "expert"])
def test_only_the_office_over_the_school_has_files_deleted(
    who: str, photo: MediaObject, cast: Cast
) -> None:
    with pytest.raises(NotFound):
        request_deletion(media_ids=[photo.pk], by=getattr(cast, who), reason="x")
    assert not Deletion.objects.exists()


def test_the_office_keeps_a_file_for_a_time(expired: MediaObject, cast: Cast) -> None:
    [row] = found()
    until = clock.today() + timedelta(days=30)
    keep_file(deletion_id=row.pk, by=cast.office, reason="典型经验", until=until)
    assert found() == []
    Deletion.objects.update(kept_until=clock.today() - timedelta(days=1))
    assert len(found()) == 1


def test_the_office_ends_the_grace_period(expired: MediaObject, cast: Cast) -> None:
    [row] = found()
    delete_now(deletion_id=row.pk, by=cast.office)
    work.drain(PUMP)
    row.refresh_from_db()
    assert row.state == "deleted"
    with pytest.raises(WrongState):
        keep_file(deletion_id=row.pk, by=cast.office, reason="太晚")


def test_who_sees_the_list_without_being_the_office_decides_nothing(
    expired: MediaObject, cast: Cast
) -> None:
    [row] = found()
    with pytest.raises(NotAllowed):
        delete_now(deletion_id=row.pk, by=cast.town_group)
    for stranger in (cast.ada, cast.carla, cast.principal):
        with pytest.raises(NotFound):
            keep_file(deletion_id=row.pk, by=stranger, reason="x")


# ---- the database ----------------------------------------------------------------------------


def test_a_file_has_one_deletion_at_a_time(expired: MediaObject, cast: Cast) -> None:
    [row] = found()
    with pytest.raises(IntegrityError), transaction.atomic():
        Deletion.objects.create(
            media=expired, rule="retention", found_at=clock.now(), delete_after=clock.now()
        )
    with pytest.raises(IntegrityError), transaction.atomic():
        Deletion.objects.filter(pk=row.pk).update(state="deleted")


def test_looking_for_what_is_due_costs_the_same_for_more_files(
    expired: MediaObject, made_visit: Visit, cast: Cast, django_assert_max_num_queries
) -> None:
    action = Finding.objects.get(visit=made_visit).actions.first()
    for _ in range(4):
        action.media.add(add_photo(cast.principal))
    from server.care.counting import follow_feed

    follow_feed()
    with django_assert_max_num_queries(25):
        assert find_due() == 5
