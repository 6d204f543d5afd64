"""What the worker does with an upload that has arrived: read it, and call it stored only then.

The phone keeps the file until it reads `stored`, so no byte needs to pass the api process, and no
store needs to be believed.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet

from media_storage.errors import StoreUnavailable
from media_storage.models import MediaObject
from media_storage.services import expected_of, judge, mismatches, reopen, stored_values
from media_storage.signals import media_processed
from media_storage.stores import ObjectMissing, PartsMissing, get_store
from server.core import work

State = MediaObject.State


def rows() -> QuerySet[MediaObject]:
    return MediaObject.objects.filter(state=State.ARRIVED)


def take_in(media: MediaObject) -> None:
    """Verify one upload and put it under its key. Runs any number of times with the same result."""
    if media.state != State.ARRIVED:
        return
    store = get_store()
    try:
        found = store.take_in(expected_of(media))
        wrong = mismatches(media, found)
        rejection = "" if wrong else judge(media, store)
    except (ObjectMissing, PartsMissing):
        # The phone is told what is missing when it asks next.
        _ours(media).update(state=State.DECLARED, work_due_at=None, work_attempts=0)
    except StoreUnavailable as down:
        raise work.TemporaryFailure(str(down)) from down
    else:
        if wrong:
            fault = wrong[0].pointer.removeprefix("/")
            reopen(media, work_due_at=None, work_attempts=0, upload_fault=fault)
        else:
            _call_stored(media, rejection)


@transaction.atomic
def _call_stored(media: MediaObject, rejection: str) -> None:
    values = {**stored_values(rejection), "upload_id": "", "upload_fault": "", "work_attempts": 0}
    if not _ours(media).update(**values):
        return  # another worker, after our lease ran out, was first
    if rejection:
        media.refresh_from_db()
        media_processed.send(MediaObject, media=media)
    else:
        work.wake("media")


def _ours(media: MediaObject) -> QuerySet[MediaObject]:
    return rows().filter(id=media.id, key=media.key)


# A phone waits for the answer, and an upload may have a hundred megabytes: one at a time.
PUMP = work.Pump(
    name="uploads",
    rows=rows,
    handle=take_in,
    batch=1,
    lease_seconds=300,
    max_attempts=40,
    backoff_limit_seconds=900.0,
)


def start() -> None:
    """Make the pump known; called when the app is ready."""
    work.register(PUMP)
