"""Photos of a rectification: told to the phones that show the finding when they have been processed."""

from __future__ import annotations

from typing import Any

from media_storage.models import MediaObject
from media_storage.signals import media_processed, media_shown
from server.core.changes import record_change
from server.findings.models import Finding


def announce_processed(*, media: MediaObject, **_signal: Any) -> None:
    """A finding's photo has a thumbnail, became ready or was rejected."""
    rows = Finding.objects.filter(actions__media=media).distinct()
    for pk, school_id in rows.values_list("pk", "school_id"):
        record_change("finding", pk, school_id=school_id)


def start() -> None:
    """Listen to the media's worker."""
    media_processed.connect(announce_processed, dispatch_uid="findings.announce_processed")
    media_shown.connect(announce_processed, dispatch_uid="findings.announce_processed")
