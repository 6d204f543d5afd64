"""The proof: any one changed bit, removed row, swapped or replaced object is found.

Each test breaks the sound chain of `chained` once, in a transaction that is rolled back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import Error, models, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media_storage import absence
from media_storage.models import MediaObject
from media_storage.stores import get_store
from server.activities.models import (
    Submission,
    SubmissionAttachment,
    SubmissionConflict,
    VisitAction,
)
from server.core.changes import record_change
from server.findings.models import FindingAction
from server.instruments.models import InstrumentVersion
from server.receipts.checking import Objects, check_everything, check_submission
from server.receipts.keys import PrivateKey
from server.receipts.models import Chain, DayHead, Receipt
from server.receipts.proof import Anchors, Report
from tests.receipts import FIRST_KEY, County, new_photo

pytestmark = pytest.mark.django_db

EVERYTHING = Objects(every=True)
WORK = {"work_due_at", "work_attempts", "work_lost", "work_error", "work_dead_at"}

# What a changed bit is found in, and what the receipts say nothing of. Together they are all columns.
COVERED: dict[type[models.Model], set[str]] = {
    Receipt: {
        *("position", "kind", "subject", "sequence", "day", "made_at", "key", "hash", "body"),
        *("signature", "countersignature"),
    },
    DayHead: {
        *("number", "day", "first", "count", "hash", "closed_at", "body", "signature", "nodes"),
    },
    Chain: {"position", "last_hash", "key", "open_day", "day_first"},
    Submission: {
        *("id", "replaces", "version", "visit", "sender", "device", "format", "raw", "sha256"),
        *("answers", "started_at", "ended_at", "device_time", "received_at"),
    },
    SubmissionAttachment: {"submission", "name", "media"},
    SubmissionConflict: {
        *("id", "submission", "sender", "device", "format", "raw", "sha256", "name", "media"),
        "received_at",
    },
    MediaObject: {
        *("id", "filename", "size", "sha256", "origin", "taken_at", "latitude", "longitude"),
        *("accuracy_m", "key"),
    },
    FindingAction: {
        *("id", "finding", "action", "by", "at", "received_at", "from_state", "to_state"),
        *("content", "note", "measures", "due_on"),
    },
    VisitAction: {
        *("id", "visit", "action", "by", "at", "received_at", "from_state", "to_state", "content"),
    },
    InstrumentVersion: {"version", "xform", "instrument"},
}
NOT_COVERED: dict[type[models.Model], set[str]] = {
    Receipt: {"again_at"},
    DayHead: {"id"},
    Chain: {
        *("id", "feed_txid", "feed_id", "patrol", "patrolled_at", "error", "error_at"),
    },
    Submission: {"root_id", *WORK},
    SubmissionAttachment: {"id", "item"},
    SubmissionConflict: set(),
    MediaObject: {
        *("owner", "content_type", "upload_id", "state", "reject_code", "note_code", "width"),
        *("height", "created_at", "stored_at", "lost_at", "upload_fault", *WORK),
    },
    FindingAction: set(),
    VisitAction: set(),
    InstrumentVersion: {
        *("id", "xlsform", "hash", "form", "warnings", "published_at", "created_at", "created_by"),
    },
}


@contextmanager
def undone() -> Iterator[None]:
    """What the block does to the database did not happen."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def sound(**options: Any) -> Report:
    return check_everything(objects=EVERYTHING, **options)


def test_the_chain_as_it_was_made_is_sound(chained: County):
    report = sound()
    assert report.flaws == []
    counts = report.counts
    assert (counts["receipts"], counts["days"], counts["keys"]) == (14, 3, 2)
    assert (counts["files"], counts["objects read"]) == (6, 6)
    assert counts["waiting for a receipt"] == 0


@pytest.mark.parametrize("model", COVERED)
def test_every_column_is_covered_or_named_as_not_covered(model):
    columns = {field.name for field in model._meta.concrete_fields}
    assert columns == COVERED[model] | NOT_COVERED[model]
    assert not COVERED[model] & NOT_COVERED[model]


# ---- one bit -----------------------------------------------------------------------------------


def with_a_bit_changed(value: Any, bit: int) -> Any:
    """The value with one bit of it changed. Raises Nothing where it has none."""
    if isinstance(value, memoryview):
        value = bytes(value)
    if value is None or (isinstance(value, Sized) and not value):
        raise Nothing
    for kind, changed in BIT_OF.items():
        if isinstance(value, kind):
            return changed(value, bit)
    raise AssertionError(type(value))


def bit_of_bytes(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8 % len(value)] ^= 1 << bit % 8
    return bytes(changed)


def bit_of_text(value: str, bit: int) -> str:
    place = bit // 5 % len(value)
    return f"{value[:place]}{chr(ord(value[place]) ^ (1 << bit % 5))}{value[place + 1 :]}"


BIT_OF: dict[type, Callable[[Any, int], Any]] = {
    datetime: lambda value, bit: value + timedelta(microseconds=2 ** (bit % 40)),
    date: lambda value, bit: date.fromordinal(value.toordinal() ^ (1 << bit % 10)),
    UUID: lambda value, bit: UUID(int=value.int ^ (1 << bit % 128)),
    bytes: bit_of_bytes,
    str: bit_of_text,
    float: lambda value, bit: value + 2.0 ** -(bit % 20),
    int: lambda value, bit: value ^ (1 << bit % 16),
}


class Nothing(Exception):
    """There is no bit to change."""


def change_json(value: Any, bit: int) -> Any:
    """A bit of one leaf."""
    if isinstance(value, dict) and value:
        name = sorted(value)[bit % len(value)]
        return {**value, name: change_json(value[name], bit // 3)}
    if isinstance(value, list) and value:
        return [change_json(value[0], bit), *value[1:]]
    return with_a_bit_changed(value, bit)


def change(model: type[models.Model], pk: Any, name: str, bit: int) -> None:
    """Past all constraints that the database lets be put off, and none of the models' code."""
    field = model._meta.get_field(name)
    rows = model._default_manager.filter(pk=pk)
    value = rows.values_list(field.attname, flat=True).get()
    is_json = isinstance(field, models.JSONField)
    changed = (change_json if is_json else with_a_bit_changed)(value, bit)
    if isinstance(changed, str) and "\x00" in changed:
        raise Nothing
    rows.update(**{field.attname: changed})


CASES = [(model, name) for model, names in COVERED.items() for name in sorted(names)]
REFUSED = (Nothing, Error, ValueError, OverflowError)
"""The database itself holds against some bits: of a reference, of a constraint."""


def rows_with_receipts(model: type[models.Model]) -> list[Any]:
    """The keys of all rows that the chain consists of or speaks of."""
    rows = model._default_manager.order_by("pk")
    if model is InstrumentVersion:
        rows = rows.filter(submissions__isnull=False).distinct()
    return list(rows.values_list("pk", flat=True))


def try_change(model: type[models.Model], pk: Any, name: str, bit: int) -> bool:
    """False where there is nothing to change, or the database refuses."""
    try:
        with transaction.atomic():
            change(model, pk, name, bit)
    except REFUSED:
        return False
    return True


def test_a_changed_bit_of_any_column_is_found(chained: County):
    choose, unfound, untried = random.Random(20261123), [], []
    for model, name in CASES:
        tried = 0
        column = model._meta.get_field(name).attname
        filled = model._default_manager.exclude(**{name: None}).values_list("pk", column)
        rows = sorted((pk for pk, value in filled if value or value == 0), key=str)
        for pk in choose.sample(rows, min(len(rows), 4)):
            with undone():
                changed = try_change(model, pk, name, choose.getrandbits(16))
                tried += changed
                if changed and sound().is_sound:
                    unfound.append((model.__name__, name, pk))
        if not tried:
            untried.append((model.__name__, name))
    assert unfound == []
    assert untried == [("MediaObject", "origin")]  # a constraint knows its three values


def test_a_photo_from_the_gallery_that_was_made_one_of_the_camera_is_found(chained: County):
    assert MediaObject.objects.filter(filename="1.jpg").update(origin="gallery") == 1
    (flaw,) = sound().flaws
    assert (flaw.code, flaw.place) == ("changed", "files/1.jpg/origin")


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    case=st.sampled_from(CASES), row=st.integers(0, 20), bit=st.integers(0, 2**20), data=st.data()
)
def test_any_bit_at_random_is_found(chained: County, case, row: int, bit: int, data):
    model, name = case
    pks = rows_with_receipts(model)
    with undone():
        if try_change(model, pks[row % len(pks)], name, bit):
            assert not sound().is_sound


def test_a_changed_bit_of_any_object_in_the_store_is_found(chained: County):
    store = get_store()
    for media in MediaObject.objects.all():
        whole = b"".join(store.read(media.key))
        for bit in (0, 8 * len(whole) // 2, 8 * len(whole) - 1):
            store.write(media.key, [with_a_bit_changed(whole, bit)])
            assert codes(sound()) == {"changed"}
            assert check_everything().is_sound  # which reads no objects
        store.write(media.key, [whole])
    assert sound().is_sound


# ---- rows that are gone, objects that were changed for others ----------------------------------


def codes(report: Report) -> set[str]:
    return {flaw.code for flaw in report.flaws}


def removed(model: type[models.Model], pk: Any) -> None:
    """Past the models' cascades, as by hand."""
    rows = model._default_manager.filter(pk=pk)
    rows._raw_delete(rows.db)


@pytest.mark.parametrize(
    "model",
    COVERED,
)
def test_any_removed_row_is_found(model, chained: County):
    pks = rows_with_receipts(model)
    assert pks
    for pk in pks:
        with undone():
            removed(model, pk)
            assert not sound().is_sound, pk


def test_a_removed_object_is_found_and_named(chained: County):
    media = Submission.objects.get(pk=chained.ids["photo"]).attachments.get().media
    get_store().delete(media.key)
    (flaw,) = sound().flaws
    assert (flaw.code, flaw.place) == ("missing", "files/1.jpg")
    assert str(chained.ids["photo"]) in flaw.where


def test_two_objects_that_changed_places_are_found(chained: County):
    first, second = MediaObject.objects.filter(filename__in=["1.jpg", "mended.jpg"])
    MediaObject.objects.filter(pk=first.pk).update(key="swap")
    MediaObject.objects.filter(pk=second.pk).update(key=first.key)
    MediaObject.objects.filter(pk=first.pk).update(key=second.key)
    assert codes(sound()) == {"changed"}
    assert len(sound().flaws) == 2


def test_a_photo_that_was_replaced_with_its_row_is_found(chained: County):
    file = SubmissionAttachment.objects.get(submission=chained.ids["photo"])
    other = new_photo(chained.cast.ada, "other.jpg")
    other.save(force_insert=True)
    SubmissionAttachment.objects.filter(pk=file.pk).update(media=other)
    assert {flaw.place for flaw in sound().flaws} >= {"files/1.jpg/sha256", "files/1.jpg/id"}
    chained.make()  # and no further receipt makes it good
    assert not sound().is_sound


def test_a_file_that_was_added_by_hand_is_found(chained: County):
    other = new_photo(chained.cast.ada, "9.jpg")
    other.save(force_insert=True)
    submission = chained.ids["tuesday"]
    SubmissionAttachment.objects.create(submission_id=submission, name="9.jpg", media=other)
    assert codes(sound()) == {"extra"}


def test_a_record_that_was_put_in_by_hand_is_found_after_a_day(chained: County):
    row = Submission.objects.get(pk=chained.ids["photo"])
    row.pk = UUID(int=7)
    row.save(force_insert=True)
    (flaw,) = sound().flaws
    assert (flaw.code, "00000007" in flaw.where) == ("extra", True)


def test_answers_changed_behind_our_back_are_named_and_never_signed_again(chained: County):
    Submission.objects.filter(pk=chained.ids["tuesday"]).update(answers={"licence": "yes"})
    record_change("submission", chained.ids["tuesday"])
    assert chained.make() == 0
    (flaw,) = sound().flaws
    assert (flaw.code, flaw.place) == ("changed", "answers")


# ---- the chain's end, and what only somebody else's memory finds --------------------------------


def cut_off_after(position: int, day: date) -> None:
    """What somebody does who can write to the database: remove the end, and mend the chain's row."""
    Receipt.objects.filter(position__gt=position).delete()
    DayHead.objects.filter(day__gte=day).delete()
    last, head = Receipt.objects.get(position=position), DayHead.objects.order_by("number").last()
    Chain.objects.update(
        position=position,
        last_hash=last.hash,
        open_day=day,
        day_first=head.first + head.count if head else 1,
        key=Receipt.objects.filter(kind="key").latest("position").subject.hex[:16],
    )


def test_an_end_that_was_cut_off_carelessly_is_found(chained: County):
    with undone():
        Receipt.objects.filter(position__gte=12).delete()
        assert "missing" in codes(sound())
    DayHead.objects.filter(number=3).delete()
    assert "missing" in codes(sound())


def test_an_end_that_was_cut_off_with_care_is_found_by_who_knows_a_later_day(chained: County):
    day = DayHead.objects.get(number=2)
    first = DayHead.objects.get(number=1)
    known = Anchors(days={"2026-11-24": day.hash})
    assert sound(anchors=known).is_sound
    with undone():
        cut_off_after(first.first + first.count - 1, first.day + timedelta(days=1))
        # Nothing in the database contradicts it: this is what an anchor is for.
        assert codes(check_everything()) <= {"extra"}
        assert "anchor" in codes(check_everything(anchors=known))


def test_a_receipt_that_was_kept_elsewhere_is_an_anchor_too(chained: County):
    last = Receipt.objects.latest("position")
    anchors = lambda: Anchors(receipts={last.position: last.hash})  # noqa: E731 - it is used up
    assert sound(anchors=anchors()).is_sound
    day = DayHead.objects.get(number=3)
    with undone():
        cut_off_after(day.first - 1, day.day + timedelta(days=1))
        assert "anchor" in codes(check_everything(anchors=anchors()))


def test_a_chain_that_was_written_anew_with_the_stolen_key_is_found_by_an_anchor(chained: County):
    known = {day.day.isoformat(): day.hash for day in DayHead.objects.all()}
    for model in (Receipt, DayHead, Chain):
        model.objects.all().delete()
    Submission.objects.filter(pk=chained.ids["photo"]).update(answers={"licence": "yes"})
    chained.make()
    assert sound().is_sound
    assert "anchor" in codes(sound(anchors=Anchors(days=known)))


def test_another_key_than_the_published_one_is_found(chained: County):
    published = PrivateKey(bytes.fromhex(FIRST_KEY)).public
    assert sound(keys=[published]).is_sound
    assert codes(sound(keys=[PrivateKey(bytes.fromhex("cc" * 32)).public])) == {"key"}


# ---- deleted on purpose ------------------------------------------------------------------------


@pytest.fixture
def certificates(monkeypatch) -> dict[UUID, str]:
    """What a module that deletes says of the objects that it deleted."""
    certified: dict[UUID, str] = {}
    monkeypatch.setattr(absence, "_explainers", [])
    absence.register_explainer(lambda ids: {id: certified[id] for id in ids if id in certified})
    return certified


@pytest.mark.parametrize("keeps", ["the row", "no row"])
def test_what_was_deleted_with_a_certificate_is_no_loss(chained, certificates, keeps: str):
    file = SubmissionAttachment.objects.get(submission=chained.ids["photo"])
    get_store().delete(file.media.key)
    if keeps == "no row":
        SubmissionAttachment.objects.filter(pk=file.pk).update(media=None)
        MediaObject.objects.filter(pk=file.media_id).delete()
    assert codes(sound()) == {"missing"}
    certificates[file.media_id] = "销毁证明 2026-7"
    report = sound()
    assert report.is_sound
    assert report.counts["files deleted with a certificate"] == 1
    assert report.notes == [f"media {file.media_id} was deleted: 销毁证明 2026-7"]
    record_change("submission", chained.ids["photo"])
    assert chained.make() == 0  # the receipt stays as it is
    assert checked(chained).is_sound


def test_a_certificate_for_one_photo_does_not_cover_another(chained: County, certificates):
    files = SubmissionAttachment.objects.filter(media__isnull=False)
    for file in files:
        get_store().delete(file.media.key)
    certificates[files[0].media_id] = "销毁证明 2026-7"
    assert len(sound().flaws) == len(files) - 1


# ---- one submission, as the console checks it ----------------------------------------------------


def checked(county: County, name: str = "photo", most_bytes: int = 10**9) -> Report:
    submission = Submission.objects.get(pk=county.ids[name])
    return check_submission(submission, most_bytes=most_bytes)


def test_each_submission_checks_by_itself(chained: County):
    for name in chained.ids:
        assert checked(chained, name).flaws == []
    assert checked(chained).counts["files"] == 1
    assert checked(chained, most_bytes=10).counts["not read"] == 1


def test_a_changed_bit_around_one_submission_is_found_by_its_own_check(chained: County):
    choose, unfound = random.Random(20261124), []
    submission = Submission.objects.get(pk=chained.ids["photo"])
    receipt = Receipt.objects.get(subject=submission.pk)
    media = submission.attachments.get().media
    places = {
        Submission: submission.pk,
        SubmissionAttachment: submission.attachments.get().pk,
        MediaObject: media.pk,
        Receipt: receipt.pk,
        DayHead: DayHead.objects.get(day=receipt.day).pk,
    }
    moved = {
        (Submission, "id"),
        (Receipt, "kind"),
        (Receipt, "subject"),
    }  # it is no longer this one's
    for model, pk in places.items():
        for name in sorted(COVERED[model]):
            if (model, name) in moved:
                continue
            with undone():
                if (
                    try_change(model, pk, name, choose.getrandbits(16))
                    and checked(chained).is_sound
                ):
                    unfound.append((model.__name__, name))
    assert unfound == []


def test_a_gap_beside_one_submissions_receipt_is_found(chained: County):
    receipt = Receipt.objects.get(subject=chained.ids["tuesday"])
    for position in (receipt.position - 1, receipt.position + 1):
        with undone():
            removed(Receipt, position)
            assert not checked(chained, "tuesday").is_sound


def test_a_sample_reads_so_many_objects(chained: County):
    report = check_everything(objects=Objects(sample=2))
    assert report.counts["objects read"] == 2
    for media in MediaObject.objects.all():
        get_store().delete(media.key)
    assert len(check_everything(objects=Objects(sample=2)).flaws) == 2
