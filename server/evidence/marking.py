"""Who has to be checked again when a fact changes. In the transaction that changes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from media_storage.models import Facts, MediaObject
from media_storage.signals import media_processed
from server.activities.models import Submission, SubmissionAttachment, Visit, VisitAction
from server.activities.services.deriving import chain_joined, register_deriver
from server.activities.services.visits import visit_moved
from server.core import clock
from server.core.work import Work, wake
from server.evidence.models import PhotoCheck, VisitCheck
from server.findings.models import FindingAction
from server.findings.services import step_taken
from server.grid.services import schools_moved
from server.messaging.clocks import clock_read
from server.messaging.models import Device

_DUE = [field.name for field in Work._meta.get_fields()]
"""All columns of the work: what is marked begins anew, whatever became of it before."""


def mark_photos(media_ids: Iterable[UUID]) -> None:
    """Have these photos checked, whatever the state of their check: soon, by a worker."""
    # Sorted, so that two that mark the same photos at once wait for each other and no more.
    due = [PhotoCheck(media_id=pk, work_due_at=clock.now()) for pk in sorted(set(media_ids))]
    if due:
        PhotoCheck.objects.bulk_create(
            due, update_conflicts=True, unique_fields=["media"], update_fields=_DUE
        )
        wake("photo_checks")


def mark_visits(visit_ids: Iterable[UUID]) -> None:
    """Have these visits checked, and with them their photos where something has changed."""
    due = [VisitCheck(visit_id=pk, work_due_at=clock.now()) for pk in sorted(set(visit_ids))]
    if due:
        VisitCheck.objects.bulk_create(
            due, update_conflicts=True, unique_fields=["visit"], update_fields=_DUE
        )
        wake("visit_checks")


def photos_of_visit(visit_ids: Sequence[UUID]) -> list[UUID]:
    """The photos of the visits' submissions, and of the rectification of what was found there."""
    filled = SubmissionAttachment.objects.filter(
        submission__visit__in=visit_ids, media__isnull=False
    )
    return [*filled.values_list("media_id", flat=True), *_of_findings(visit__in=visit_ids)]


def _of_findings(**which: Any) -> list[UUID]:
    rows: Any = FindingAction.media.through.objects.filter(
        **{f"findingaction__finding__{name}": value for name, value in which.items()}
    )
    return list(rows.values_list("mediaobject_id", flat=True))


# ---- what happens to photos -------------------------------------------------------------------


def _processed(*, media: MediaObject, **_signal: Any) -> None:
    mark_photos([media.pk])


def _filled_in(submission: Submission) -> None:
    """A deriver: the submission arrived, or a file joined it, or it joined a visit."""
    rows = submission.attachments.filter(media__isnull=False)
    mark_photos(rows.values_list("media_id", flat=True))


def _joined(*, new_root: UUID, **_signal: Any) -> None:
    rows = SubmissionAttachment.objects.filter(
        submission__root_id=new_root, submission__visit=None, media__isnull=False
    )
    mark_photos(rows.values_list("media_id", flat=True))


def _stepped(*, action: FindingAction, **_signal: Any) -> None:
    mark_photos(action.media.values_list("pk", flat=True))


# ---- what happens to what they are held against -----------------------------------------------


def _moved(*, visit: Visit, **_signal: Any) -> None:
    mark_visits([visit.pk])


def _schools_moved(*, school_ids: Sequence[UUID], **_signal: Any) -> None:
    visits = Visit.objects.filter(school__in=school_ids)
    mark_visits(visits.exclude(state=Visit.State.ASSIGNED).values_list("pk", flat=True))
    mark_photos(_of_findings(school__in=school_ids))


def _clock_read(*, device: Device, since: datetime | None, **_signal: Any) -> None:
    """What was done by the phone's owner since the last reading may be told better now."""
    far = clock.now() - timedelta(days=settings.EVIDENCE_CLOCK_READING_DAYS + 1)
    begin = max(since, far) if since else far
    taken = PhotoCheck.objects.filter(media__owner=device.user_id, media__created_at__gte=begin)
    mark_photos(taken.values_list("pk", flat=True))
    steps = VisitAction.objects.filter(by=device.user_id, received_at__gte=begin)
    visits = set(steps.values_list("visit_id", flat=True))
    VisitCheck.objects.filter(pk__in=visits).update(seen="")
    mark_visits(visits)


def _facts_read(*, instance: Facts, **_signal: Any) -> None:
    mark_photos([instance.pk])


def start() -> None:
    """Listen to whatever changes a fact."""
    from django.db.models.signals import post_save

    media_processed.connect(_processed, dispatch_uid="evidence.processed")
    post_save.connect(_facts_read, sender=Facts, dispatch_uid="evidence.facts_read")
    register_deriver(_filled_in)
    chain_joined.connect(_joined, dispatch_uid="evidence.joined")
    step_taken.connect(_stepped, dispatch_uid="evidence.stepped")
    visit_moved.connect(_moved, dispatch_uid="evidence.moved")
    schools_moved.connect(_schools_moved, dispatch_uid="evidence.schools_moved")
    clock_read.connect(_clock_read, dispatch_uid="evidence.clock_read")
