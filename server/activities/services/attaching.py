"""Files of submissions: found by what the phone declared, announced when they have been processed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from media_storage.signals import media_processed
from server.activities.models import Submission
from server.activities.services.accepting import BroughtFile
from server.core.changes import record_change
from server.core.errors import Invalid, Problem
from server.grid.models import User


def brought_files(*, owner: User, named: Sequence[tuple[str, UUID]]) -> list[BroughtFile]:
    """The sender's declared media for a document's files. Raises Invalid for unknown ones."""
    if not named:
        return []
    found = MediaObject.objects.filter(owner=owner).in_bulk([media_id for _name, media_id in named])
    problems = [
        Problem(f"/attachments/{index}/media_id", "unknown", _("找不到这份材料，请先登记并上传。"))
        for index, (_name, media_id) in enumerate(named)
        if media_id not in found
    ]
    if problems:
        raise Invalid(problems=problems)
    return [BroughtFile(name, found[media_id]) for name, media_id in named]


def announce_processed(*, media: MediaObject, **_signal: Any) -> None:
    """Tell phones of submissions whose file became ready or was rejected."""
    rows = Submission.objects.filter(attachments__media=media).distinct()
    for pk, sender_id, school_id in rows.values_list("pk", "sender_id", "visit__school_id"):
        record_change(
            "submission", pk, school_id=school_id, user_ids=() if school_id else [sender_id]
        )


def start() -> None:
    """Listen to the media's worker."""
    media_processed.connect(announce_processed, dispatch_uid="activities.announce_processed")
