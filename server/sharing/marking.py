"""Which shared copies have to be made, or made anew. In the transaction that gives the reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from media_storage.models import MediaObject, Rendition
from media_storage.signals import media_processed
from server.activities.models import Submission
from server.activities.services.deriving import register_deriver
from server.core import clock
from server.core.work import wake
from server.findings.models import FindingAction
from server.findings.services import step_taken
from server.sharing.models import SharedCopy

_DUE = ["work_due_at", "work_attempts", "work_lost", "work_error", "work_dead_at"]


def mark_copies(media_ids: Iterable[UUID]) -> int:
    """Have these pictures' copies looked at by a worker: made where they are not what they should be."""
    # Sorted, so that two that mark the same at once wait for each other and no more.
    ids = sorted(set(media_ids))
    due = [SharedCopy(media_id=pk, work_due_at=clock.now()) for pk in ids]
    if due:
        SharedCopy.objects.bulk_create(
            due, update_conflicts=True, unique_fields=["media"], update_fields=_DUE
        )
        wake("shared_copies")
    return len(due)


def _processed(*, media: MediaObject, **_signal: Any) -> None:
    """Whether it is used by then or not: a use that is being written now cannot be seen from here."""
    if media.state == MediaObject.State.READY and has_picture(media.pk):
        mark_copies([media.pk])


def has_picture(media_id: UUID) -> bool:
    """Whether there is something to be seen of it."""
    return Rendition.objects.filter(media=media_id, name=Rendition.Name.LARGE).exists()


def _filled_in(submission: Submission) -> None:
    """A deriver: it arrived, or a file joined it, or it joined a visit."""
    files = submission.attachments.filter(media__renditions__name=Rendition.Name.LARGE)
    mark_copies(files.values_list("media_id", flat=True))


def _stepped(*, action: FindingAction, **_signal: Any) -> None:
    shown = action.media.filter(renditions__name=Rendition.Name.LARGE)
    mark_copies(shown.values_list("pk", flat=True))


def start() -> None:
    """Listen to whatever makes a picture, or brings it somewhere."""
    media_processed.connect(_processed, dispatch_uid="sharing.processed")
    register_deriver(_filled_in)
    step_taken.connect(_stepped, dispatch_uid="sharing.stepped")
