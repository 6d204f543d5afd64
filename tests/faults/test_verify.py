"""The comparison at the end of a run finds what it is there to find."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from media_storage.models import MediaObject
from media_storage.stores import get_store
from server.activities.models import Submission, SubmissionAttachment, Visit
from server.activities.services.accepting import accept_submission
from server.activities.services.documents import document_from_xml
from server.core import clock, work
from server.core.changes import Change
from server.findings.models import Finding
from server.instruments.models import InstrumentVersion
from server.messaging.services import notify
from server.receipts.models import Chain, Receipt
from tests.activities import device_of
from tests.cast import Cast
from tests.faults import verify
from tests.faults.plan import make_plan
from tests.forms import kitchen_xml

pytestmark = pytest.mark.django_db

Book = dict[str, Any]


@pytest.fixture
def book(cast: Cast, visit: Visit, kitchen: InstrumentVersion) -> Book:
    """The ledger of one failing check, which is stored and derived."""
    instance = str(uuid4())
    xml = kitchen_xml(
        kitchen.version,
        instance=instance,
        visit_id=str(visit.pk),
        licence="no",
        licence_note="没有",
    )
    accept_submission(document=document_from_xml(xml), device=device_of(cast.ada))
    work.drain_all()
    told = {
        "format": "xml",
        "sender": str(cast.ada.pk),
        "visit": str(visit.pk),
        "sha256": hashlib.sha256(xml).hexdigest(),
        "failing": ["licence"],
        "photos": {},
    }
    return {"stored": {instance: told}, "visits": {}, "findings": {}, "read": {}, "seen": {}}


def problems(book: Book) -> list[str]:
    return [text for check in verify.CHECKS for text in check(book)]


def test_what_is_as_it_was_told_has_no_problems(book: Book) -> None:
    assert problems(book) == []


def test_a_lost_submission_is_found(book: Book) -> None:
    book["stored"][str(uuid4())] = next(iter(book["stored"].values()))
    assert any("LOST" in text for text in problems(book))


def test_other_bytes_are_found(book: Book) -> None:
    Submission.objects.update(raw=b"<data/>")
    assert any("other bytes" in text for text in problems(book))


def test_a_submission_of_which_nobody_was_told_is_found(book: Book) -> None:
    book["stored"].clear()
    assert any("nobody was told" in text for text in problems(book))


def test_a_photo_without_its_bytes_is_found(book: Book, cast: Cast) -> None:
    [(key, told)] = book["stored"].items()
    photo = b"a photo"
    told["photos"]["a.jpg"] = hashlib.sha256(photo).hexdigest()
    assert any("LOST" in text for text in problems(book))
    media = MediaObject.objects.create(
        filename="a.jpg", content_type="image/jpeg", size=7, sha256="0" * 64, state="ready",
        stored_at=clock.now(),
    )  # fmt: skip
    SubmissionAttachment.objects.create(submission_id=UUID(key), name="a.jpg", media=media)
    assert any("no bytes in the store" in text for text in problems(book))
    get_store().write(media.key, [photo])
    left = [text for text in problems(book) if not text.startswith("receipts")]
    assert all("renditions" in text or "ready" in text for text in left)


def test_a_second_finding_and_a_second_notice_are_found(book: Book, cast: Cast) -> None:
    finding = Finding.objects.get()
    notify(
        "finding.opened",
        recipients=[cast.principal],
        subject=("finding", finding.pk),
        school=cast.school,
        finding=finding.title,
        due="2026-12-01",
    )
    work.drain_all()
    assert any("too many" in text and "finding.opened" in text for text in problems(book))
    finding.pk, finding.source_key = None, "other"
    finding.save(force_insert=True)
    assert any("finding too many" in text for text in problems(book))


def test_a_change_that_no_feed_tells_is_found(book: Book) -> None:
    Change.objects.all().delete()
    assert any("no change row" in text for text in problems(book))


def test_work_that_is_left_or_dead_is_found(book: Book) -> None:
    Submission.objects.update(work_due_at=clock.now())
    assert any("still due" in text for text in problems(book))
    Submission.objects.update(work_due_at=None, work_dead_at=clock.now())
    assert any("dead" in text for text in problems(book))


def test_a_break_in_the_chain_of_receipts_and_a_thing_without_one_are_found(book: Book) -> None:
    assert problems(book) == []
    with transaction.atomic():
        Receipt.objects.filter(kind="submission").update(signature="0" * 128)
        assert any(text.startswith("receipts: signature") for text in problems(book))
        transaction.set_rollback(True)
    Chain.objects.update(patrolled_at=clock.now() + timedelta(hours=1))
    Submission.objects.create(**_copied(Submission.objects.get()))
    assert any("receipts: 1 things have none" in text for text in problems(book))


def _copied(row: Submission) -> dict[str, Any]:
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return {**values, "id": uuid4()}


def test_a_reader_who_missed_something_is_found(book: Book, cast: Cast) -> None:
    book["seen"][str(cast.office.pk)] = {"finding": []}
    assert any("office never saw finding" in text for text in problems(book))


def test_a_seed_makes_one_plan() -> None:
    chosen = {"store": "s3", "kills": 200, "submissions": 5000}
    plan = make_plan(seed=1, **chosen)
    assert plan == make_plan(seed=1, **chosen)
    assert plan != make_plan(seed=2, **chosen)
    assert sum(fault.is_kill for fault in plan) == 200
    assert [fault.after for fault in plan] == sorted(fault.after for fault in plan)
