"""Run in the product's environment: reads the ledger, compares it with the database and the store.

Prints JSON: counts, and problems, of which there must be none.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from media_storage.models import MediaObject

KEPT = 20


def main() -> None:
    django.setup()
    ledger = json.load(sys.stdin)
    problems: list[str] = []
    for check in CHECKS:
        problems += check(ledger)
    json.dump(
        {"problems": problems[:KEPT], "total": len(problems), "counts": _counts()}, sys.stdout
    )


def _documents(ledger: dict[str, Any]) -> Iterator[str]:
    """Everything that was answered is there once, byte for byte, and nothing else is."""
    from server.activities.models import RefusedDocument, Submission, SubmissionConflict

    rows = {str(row.pk): row for row in Submission.objects.select_related("visit")}
    for key, told in ledger["stored"].items():
        row = rows.pop(key, None)
        if row is None:
            yield f"submission {key}: LOST"
        elif hashlib.sha256(row.raw).hexdigest() != told["sha256"]:
            yield f"submission {key}: other bytes"
        elif (str(row.visit_id), str(row.sender_id)) != (told["visit"], told["sender"]):
            yield f"submission {key}: other visit or sender"
    yield from (f"submission {key}: nobody was told of it" for key in rows)
    yield from (f"conflict: {row}" for row in SubmissionConflict.objects.all())
    yield from (f"refused: {row.code} {row.reason}" for row in RefusedDocument.objects.all())


def _photos(ledger: dict[str, Any]) -> Iterator[str]:
    """Every photo is in the store, byte for byte, and ready with its renditions and shared copies."""
    from server.activities.models import SubmissionAttachment

    rows = {
        (str(row.submission_id), row.name): row.media
        for row in SubmissionAttachment.objects.select_related("media").prefetch_related(
            "media__renditions"
        )
    }
    expected = {
        (key, name): sha256
        for key, told in ledger["stored"].items()
        for name, sha256 in told["photos"].items()
    }
    yield from (f"photo {place}: nobody sent it" for place in rows.keys() - expected.keys())
    present = [place for place in expected if rows.get(place)]
    yield from (f"photo {place}: LOST" for place in expected.keys() - set(present))
    with ThreadPoolExecutor(4) as readers:
        digests = readers.map(_digest, [rows[place] for place in present])
        for place, digest in zip(present, digests, strict=True):
            media = rows[place]
            if digest != expected[place]:
                yield f"photo {place}: {digest or 'no bytes in the store'}"
            if media.state != "ready" or len(media.renditions.all()) != 4:
                yield f"photo {place}: {media.state} {media.work_error}"


def _digest(media: MediaObject) -> str:
    """Of the bytes in the store; empty where there are none."""
    from media_storage.stores import ObjectMissing, get_store

    digest = hashlib.sha256()
    try:
        for chunk in get_store().read(media.key):
            digest.update(chunk)
        for rendition in media.renditions.all():
            get_store().size(rendition.key)
    except ObjectMissing:
        return ""
    return digest.hexdigest()


def _findings(ledger: dict[str, Any]) -> Iterator[str]:
    """One for each failing answer, and each action on it once."""
    from server.findings.models import Finding, FindingAction

    found = Counter(
        (str(key), item.strip("/"))
        for key, item in Finding.objects.values_list("submission", "item")
    )
    wanted = Counter(
        (key, name) for key, told in ledger["stored"].items() for name in told["failing"]
    )
    yield from (f"finding missing: {each}" for each in wanted - found)
    yield from (f"finding too many: {each}" for each in found - wanted)
    acted = Counter(
        (str(key), action) for key, action in FindingAction.objects.values_list("finding", "action")
    )
    asked = Counter((key, action) for key, each in ledger["findings"].items() for action in each)
    yield from (f"finding action: {each}" for each in _differences(acted, asked))


def _notices(ledger: dict[str, Any]) -> Iterator[str]:
    """One of each kind for each thing, and one inbox row for each of its recipients."""
    from server.findings.models import Finding
    from server.messaging.models import Delivery, Notice

    told = Counter(
        (event, str(subject))
        for event, subject in Notice.objects.values_list("event", "subject_id")
        if event.startswith("finding.") or event == "visit.checked_in"
    )
    wanted = Counter(
        ("finding.opened", str(pk)) for pk in Finding.objects.values_list("pk", flat=True)
    )
    events = {"answer": "finding.answered", "verify": "finding.closed"}
    for key, actions in ledger["findings"].items():
        wanted.update((events[action], key) for action in actions)
    wanted.update(
        ("visit.checked_in", key) for key, each in ledger["visits"].items() if "check-in" in each
    )
    yield from (f"notice: {each}" for each in _differences(told, wanted))
    recipients = {  # the contact; two inspectors; all three
        "finding.opened": 1,
        "finding.answered": 2,
        "finding.closed": 3,
        "visit.checked_in": 1,
    }
    rows = Delivery.objects.filter(channel="inbox", notice__event__in=recipients)
    inboxes = Counter(rows.values_list("notice", flat=True))
    for pk, event in Notice.objects.filter(event__in=recipients).values_list("pk", "event"):
        if inboxes[pk] != recipients[event]:
            yield f"notice {pk} {event}: in {inboxes[pk]} inboxes"


def _visits(ledger: dict[str, Any]) -> Iterator[str]:
    from server.activities.models import VisitAction

    names = {"check-in": "check_in", "complete": "complete"}
    acted = Counter(
        (str(key), action) for key, action in VisitAction.objects.values_list("visit", "action")
    )
    asked = Counter(
        (key, names[action]) for key, each in ledger["visits"].items() for action in set(each)
    )
    yield from (f"visit action: {each}" for each in _differences(acted, asked))


def _reads(ledger: dict[str, Any]) -> Iterator[str]:
    from server.messaging.models import Delivery

    for key, people in ledger["read"].items():
        for person in people:
            row = Delivery.objects.get(notice=key, recipient=person, channel="inbox")
            if row.read_at is None:
                yield f"notice {key}: read, and not marked"


def _changes(ledger: dict[str, Any]) -> Iterator[str]:
    """The feed tells of everything."""
    from server.core.changes import Change
    from server.findings.models import Finding

    told = set(Change.objects.values_list("type", "object_id").distinct())
    known = {(type_, str(key)) for type_, key in told}
    wanted = {("submission", key) for key in ledger["stored"]}
    wanted |= {("finding", str(pk)) for pk in Finding.objects.values_list("pk", flat=True)}
    yield from (f"no change row: {each}" for each in wanted - known)


def _work(_ledger: dict[str, Any]) -> Iterator[str]:
    """Nothing is left to do, nothing died. What is planned for later, and was never tried, may wait."""
    from django.db.models import Q

    from server.core import clock, work

    for pump in work.pumps():
        due = Q(work_due_at__lte=clock.now()) | Q(work_due_at__isnull=False, work_attempts__gt=0)
        for row in pump.rows().filter(due):
            yield f"{pump.name} {row.pk}: still due, {row.work_attempts} {row.work_error}"
        for row in pump.rows().filter(work_dead_at__isnull=False):
            yield f"{pump.name} {row.pk}: dead, {row.work_error}"


def _seen(ledger: dict[str, Any]) -> Iterator[str]:
    """Whoever synced all the time saw everything that they may see."""
    from mobile_api.feed import KINDS
    from server.grid.models import User

    for person, types in ledger["seen"].items():
        user = User.objects.get(pk=person)
        for kind in KINDS:
            visible = {str(key) for key in kind.visible(user).values_list(kind.key, flat=True)}
            missed = visible - set(types.get(kind.type, ()))
            yield from (f"{user.username} never saw {kind.type} {key}" for key in missed)


def _receipts(_ledger: dict[str, Any]) -> Iterator[str]:
    """One chain, whoever was killed while it was made, and a receipt for everything."""
    from server.receipts.chain import extend
    from server.receipts.checking import Objects, check_everything

    while extend(seconds=60):  # what came since the workers' last look
        pass
    report = check_everything(objects=Objects(every=True))
    yield from (f"receipts: {flaw}" for flaw in report.flaws)
    if waiting := report.counts["waiting for a receipt"]:
        yield f"receipts: {waiting} things have none"


CHECKS = (
    *(_documents, _photos, _findings, _notices, _visits, _reads, _changes, _work, _seen),
    _receipts,
)
"""What is compared, in the order of the report."""


def _differences(found: Counter[Any], wanted: Counter[Any]) -> Iterator[str]:
    yield from (f"missing {each}" for each in wanted - found)
    yield from (f"too many {each}" for each in found - wanted)


def _counts() -> dict[str, int]:
    from django_tasks_db.models import DBTaskResult

    from media_storage.models import MediaObject
    from server.activities.models import Submission
    from server.core.changes import Change
    from server.findings.models import Finding
    from server.messaging.models import Delivery, Notice
    from server.receipts.models import Receipt

    models = (Submission, MediaObject, Finding, Notice, Delivery, Change, Receipt, DBTaskResult)
    counts = {str(model._meta.model_name): model.objects.count() for model in models}
    return counts | {"files nobody refers to": len(_orphans())}


def _orphans() -> set[str]:
    """What requests left in the store that were killed before their commit: waste, not loss."""
    from media_storage import witness
    from media_storage.models import MediaObject, Rendition
    from media_storage.stores import get_store
    from media_storage.stores.folder import FolderStore

    store = get_store()
    if isinstance(store, FolderStore):
        files = [path for path in store.root.rglob("*") if path.is_file()]
        names = {str(path.relative_to(store.root)).removeprefix("objects/") for path in files}
    else:
        pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket)  # type: ignore[attr-defined]
        names = {each["Key"] for page in pages for each in page.get("Contents", ())}
    names.discard(witness.KEY)
    names -= set(MediaObject.objects.values_list("key", flat=True))
    return names - set(Rendition.objects.values_list("key", flat=True))


if __name__ == "__main__":
    main()
