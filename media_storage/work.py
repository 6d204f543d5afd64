"""What the worker does with a stored object: look at it, make its renditions, say ready or rejected.

Looking happens in a bounded process (media_storage.bounded): nothing here opens what strangers sent.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import IO, Any

import msgspec
from django.db import transaction
from django.db.models import QuerySet

from media_storage import bounded
from media_storage.errors import StoreUnavailable
from media_storage.facts import facts_of
from media_storage.formats import Format, format_of
from media_storage.models import Facts, MediaObject, Rendition, extension_of
from media_storage.refusals import Reason, Refused
from media_storage.results import SmallPicture, Told, understood
from media_storage.services import judge
from media_storage.signals import media_processed, media_shown
from media_storage.stores import ObjectMissing, get_store
from server.core import clock, schedule, work

logger = logging.getLogger(__name__)

IN_MEMORY = 8 * 1024 * 1024
DRAFT_TIME = timedelta(days=1)
"""No write takes so long: what is older was left behind."""
DISTURBED_TRIES = 3
"""So often a file is looked at that ran out of time or was killed from outside, then it is refused."""
LONGEST_STEP = timedelta(seconds=90)
"""Two tries of a bounded process, and storing what it gave."""
POSTER_SIDE = 1600

_DISTURBED = re.compile(r"try (\d+): ")

State = MediaObject.State
UNFINISHED = (State.STORED, State.PROCESSING)


def rows() -> QuerySet[MediaObject]:
    """Every object save those that media_storage.receiving looks at."""
    return MediaObject.objects.exclude(state=State.ARRIVED)


def process(media: MediaObject) -> None:
    """Make one stored object ready, or reject it. Runs any number of times with the same result."""
    if media.state not in UNFINISHED:
        return
    rows().filter(id=media.id, state=State.STORED).update(state=State.PROCESSING)
    try:
        _check_type(media)
        _process(media)
    except Refused as refused:
        _reject(media, refused.code, refused.cause)
    except bounded.Disturbed as disturbed:
        tries = _disturbed_tries(media) + 1
        if tries < DISTURBED_TRIES:
            raise work.TemporaryFailure(f"try {tries}: {disturbed}") from disturbed
        _reject(media, disturbed.code, disturbed.cause)
    except bounded.Unstartable as unstartable:
        raise work.TemporaryFailure(str(unstartable)) from unstartable
    except ObjectMissing as missing:
        raise work.PermanentFailure(f"no bytes in the store: {media.key}") from missing
    except StoreUnavailable as down:
        raise work.TemporaryFailure(str(down)) from down


def _check_type(media: MediaObject) -> None:
    """Bytes that went past this server were looked at by nobody yet."""
    store = get_store()
    if store.direct and (rejection := judge(media, store)):
        raise Refused(rejection, "by its beginning")


def _disturbed_tries(media: MediaObject) -> int:
    """How often it was disturbed just before: the row's last error says so, its attempts count more."""
    said = _DISTURBED.match(media.work_error)
    return int(said[1]) if said else 0


def _process(media: MediaObject) -> None:
    format_ = format_of(media.content_type)
    if format_ is None or not format_.job:
        _finish(media, None, [], state=State.READY)
        return
    told, made, shown = Told(), [], False
    with _local_copy(media) as file, closing(_looking(file, format_)) as results:
        for each in results:
            _keep(media)
            if isinstance(each, Told):
                told = each
                continue
            made.append(_stored(media, each))
            if not shown:
                shown = _show(media, told, made.pop())
    sizes = {"width": told.width, "height": told.height}
    _finish(media, None if shown else told, made, state=State.READY, note_code=told.note, **sizes)


def _looking(file: IO[bytes], format_: Format) -> Generator[Told | SmallPicture, None, None]:
    """What the format's job says, each as it comes."""
    with closing(bounded.stream(format_.job, file, **_options(format_))) as results:
        for each in results:
            try:
                yield understood(each)
            except msgspec.ValidationError as nonsense:
                raise Refused(Reason.CRASHED, str(nonsense)) from nonsense


def _options(format_: Format) -> dict[str, Any]:
    if format_.job == "picture":
        return {"pillow_format": format_.pillow, "signature": format_.signature}
    if format_.job == "recording":
        kind = format_.content_type.partition("/")[0]
        return {"signature": format_.signature, "kind": kind, "side": POSTER_SIDE}
    return {"member": format_.member} if format_.job == "office" else {}


@contextmanager
def _local_copy(media: MediaObject) -> Iterator[IO[bytes]]:
    """The object as a file with a descriptor; in memory where it is small and the system can."""
    with _new_file(media.size) as file:
        for chunk in get_store().read(media.key):
            file.write(chunk)
            _keep(media)
        file.flush()
        yield file


def _new_file(size: int) -> IO[bytes]:
    if size <= IN_MEMORY and hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("media"), "w+b", buffering=0)
    return tempfile.TemporaryFile()


def _keep(media: MediaObject) -> None:
    """Between two steps: let the lease be long enough for the next one.

    Raises TemporaryFailure where the row went to another worker: it is theirs now.
    """
    if media.work_due_at is None or media.work_due_at - clock.now() > LONGEST_STEP:
        return
    if not work.renew(PUMP, media):
        raise work.TemporaryFailure("the lease ended")


def _stored(media: MediaObject, made: SmallPicture) -> Rendition:
    """Upload first: a row without bytes would show a broken picture.

    The keys follow from the object's, so that a second run overwrites rather than leaves something.
    """
    key = f"{media.key}-{made.name}{extension_of(made.content_type)}"
    get_store().write(key, [made.data])
    return Rendition(
        media=media,
        name=made.name,
        width=made.width,
        height=made.height,
        size=len(made.data),
        key=key,
        content_type=made.content_type,
    )


@transaction.atomic
def _show(media: MediaObject, told: Told, small: Rendition) -> bool:
    """The thumbnail is there: phones and pages need not wait for the rest."""
    unfinished = rows().filter(id=media.id, state__in=UNFINISHED)
    if not unfinished.update(width=told.width, height=told.height):
        return False
    _write(media, told, [small])
    media.refresh_from_db(fields=["state", "width", "height"])
    media_shown.send(MediaObject, media=media)
    return True


@transaction.atomic
def _finish(media: MediaObject, told: Told | None, made: list[Rendition], **values: object) -> None:
    if not rows().filter(id=media.id, state__in=UNFINISHED).update(**values):
        return  # another worker, after our lease ran out, was first
    _write(media, told, made)
    media.refresh_from_db(fields=[*values])
    media_processed.send(MediaObject, media=media)


def _write(media: MediaObject, told: Told | None, made: list[Rendition]) -> None:
    """Rows for what is known; those that are there already are written anew."""
    if told is not None and told != Told():
        facts = facts_of(media, told)
        columns = [field.name for field in Facts._meta.concrete_fields if not field.primary_key]
        Facts.objects.bulk_create(
            [facts], update_conflicts=True, unique_fields=["media"], update_fields=columns
        )
    Rendition.objects.bulk_create(
        made,
        update_conflicts=True,
        unique_fields=["media", "name"],
        update_fields=["width", "height", "size", "key", "content_type"],
    )


def _reject(media: MediaObject, code: str, cause: str) -> None:
    """The record stays, with its reason; what was shown of it goes."""
    logger.warning("media %s refused: %s %s", media.id, code, cause)
    keys = list(media.renditions.values_list("key", flat=True))
    with transaction.atomic():
        _finish(media, None, [], state=State.REJECTED, reject_code=code)
        if media.state != State.REJECTED:
            return
        media.renditions.all().delete()
    for key in keys:
        get_store().delete(key)


# One at a time: a lease is for all of a batch, and a file may take half a minute. Many times: the
# store may be away for a night, and nobody should have to wake up the photos afterwards.
PUMP = work.Pump(
    name="media",
    rows=rows,
    handle=process,
    lease_seconds=120,
    batch=1,
    max_attempts=40,
    backoff_limit_seconds=900.0,
)


def clear_drafts() -> int:
    """Remove what processes that were killed had begun to write. Returns how many."""
    return get_store().clear_drafts(before=clock.now() - DRAFT_TIME)


def start() -> None:
    """Make the pump known; called when the app is ready."""
    work.register(PUMP)
    schedule.every("media.drafts", timedelta(hours=6), clear_drafts)
