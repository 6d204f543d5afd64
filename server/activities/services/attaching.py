"""What joins a submission later: its visit, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from media_storage.services import media_of
from media_storage.signals import media_processed, media_shown
from server.activities.machine import FILLABLE_STATES
from server.activities.models import Activity, Submission, Visit
from server.activities.queries import submissions_visible_to
from server.activities.services.accepting import BroughtFile
from server.core import clock
from server.core.changes import record_change
from server.core.errors import Conflict, Invalid, NotFound, Problem
from server.core.work import wake
from server.grid.models import User

FEW = 3
"""So many media cost less one by one than Django takes to write their query."""


@transaction.atomic
def attach_submission(*, submission_id: UUID, visit_id: UUID, by: User) -> Submission:
    """Say which visit a submission that stands alone belongs to; its findings follow.

    The sender or an office may, to a visit of the sender's that uses the form. The same again changes
    nothing. Raises NotFound; Conflict for one that belongs to another visit.
    """
    rows = submissions_visible_to(by).select_related("version")
    submission = rows.select_for_update(of=("self",)).filter(pk=submission_id).first()
    if submission is None:
        raise NotFound
    if submission.visit_id == visit_id:
        return submission
    if submission.visit_id is not None:
        raise Conflict(_("这份填报已属于另一个任务。"))
    visit = visits_to_attach_to(submission).filter(pk=visit_id).first()
    if visit is None:
        raise NotFound(_("找不到这个任务，或填报人不在其中，或它不使用这个表单。"))
    submission.visit = visit
    submission.work_due_at = clock.now()
    submission.save(update_fields=["visit", "work_due_at"])
    record_change("submission", submission.pk, school_id=visit.school_id)
    wake("submissions")
    return submission


def visits_to_attach_to(submission: Submission) -> QuerySet[Visit]:
    """The sender's visits that use the form and still take documents."""
    return Visit.objects.filter(
        team=submission.sender_id,
        state__in=FILLABLE_STATES,
        activity__state=Activity.State.PUBLISHED,
        activity__instruments=submission.version.instrument_id,
    ).select_related("school", "activity")


def brought_files(*, owner: User, named: Sequence[tuple[str, UUID]]) -> list[BroughtFile]:
    """The sender's declared media for a document's files. Raises Invalid for unknown ones."""
    if not named:
        return []
    found = _declared({media_id for _name, media_id in named}, owner)
    problems = [
        Problem(f"/attachments/{index}/media_id", "unknown", _("找不到这份材料，请先登记并上传。"))
        for index, (_name, media_id) in enumerate(named)
        if media_id not in found
    ]
    if problems:
        raise Invalid(problems=problems)
    return [BroughtFile(name, found[media_id]) for name, media_id in named]


def _declared(ids: set[UUID], owner: User) -> dict[UUID, MediaObject]:
    """The person's media by id. Few are asked for one by one, in words that are ready."""
    if len(ids) > FEW:
        return MediaObject.objects.filter(owner=owner).in_bulk(ids)
    found = (media_of(owner, media_id) for media_id in ids)
    return {media.pk: media for media in found if media}


def announce_processed(*, media: MediaObject, **_signal: Any) -> None:
    """Tell phones of submissions whose file has a thumbnail, became ready or was rejected."""
    rows = Submission.objects.filter(attachments__media=media).distinct()
    for pk, sender_id, school_id in rows.values_list("pk", "sender_id", "visit__school_id"):
        record_change(
            "submission", pk, school_id=school_id, user_ids=() if school_id else [sender_id]
        )


def start() -> None:
    """Listen to the media's worker."""
    media_processed.connect(announce_processed, dispatch_uid="activities.announce_processed")
    media_shown.connect(announce_processed, dispatch_uid="activities.announce_processed")
