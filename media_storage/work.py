"""What the worker does with a stored object: look at it, make its renditions, say ready or rejected."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from django.db import transaction
from django.db.models import QuerySet

from media_storage.errors import BadImage, StoreUnavailable
from media_storage.formats import format_of
from media_storage.models import MediaObject, Rendition
from media_storage.services import judge
from media_storage.signals import media_processed
from media_storage.stores import ObjectMissing, get_store
from server.core import clock, schedule, work

if TYPE_CHECKING:
    from media_storage.imaging import Picture, SmallPicture

IN_MEMORY = 8 * 1024 * 1024
DRAFT_TIME = timedelta(days=1)
"""No write takes so long: what is older was left behind."""
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
    except BadImage as bad:
        _finish(media, state=State.REJECTED, reject_code=bad.code)
    except ObjectMissing as missing:
        raise work.PermanentFailure(f"no bytes in the store: {media.key}") from missing
    except StoreUnavailable as down:
        raise work.TemporaryFailure(str(down)) from down


def _check_type(media: MediaObject) -> None:
    """Bytes that went past this server were looked at by nobody yet."""
    store = get_store()
    if store.direct and (rejection := judge(media, store)):
        raise BadImage(rejection, "by its beginning")


def _process(media: MediaObject) -> None:
    format_ = format_of(media.content_type)
    if format_ and format_.pillow:
        # Late: every process knows this pump, and only the worker needs Pillow.
        from media_storage.imaging import make_renditions

        with _local_copy(media) as file:
            picture, small = make_renditions(file, pillow_format=format_.pillow)
        _finish_picture(media, picture, small)
    elif format_ and format_.is_image:
        _finish(media, state=State.READY, note_code=MediaObject.Note.NO_RENDITION)
    elif format_ and format_.member:
        with _local_copy(media) as file:
            _check_office(file, format_.member)
        _finish(media, state=State.READY)
    else:
        _finish(media, state=State.READY)


@contextmanager
def _local_copy(media: MediaObject) -> Iterator[BinaryIO]:
    """The object as a file that can be searched; on disk where it is large."""
    with SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        for chunk in get_store().read(media.key):
            file.write(chunk)
        file.seek(0)
        yield cast(BinaryIO, file)


def _check_office(file: IO[bytes], member: str) -> None:
    """An Office file is a ZIP that lists its main part; nothing is unpacked."""
    try:
        with zipfile.ZipFile(file) as archive:
            listed = member in archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise BadImage(MediaObject.Rejection.BROKEN, str(error)) from error
    if not listed:
        raise BadImage(MediaObject.Rejection.TYPE_MISMATCH, f"no {member}")


def _finish_picture(media: MediaObject, picture: Picture, small: list[SmallPicture]) -> None:
    # Upload first: a row without bytes would show a broken picture. The keys follow from the
    # object's, so that a second run overwrites rather than leaves something behind.
    renditions = []
    for each in small:
        key = f"{media.key}-{each.name}.jpg"
        get_store().write(key, [each.data])
        renditions.append(
            Rendition(
                media=media,
                name=each.name,
                width=each.width,
                height=each.height,
                size=len(each.data),
                key=key,
            )
        )
    _finish(
        media,
        renditions,
        state=State.READY,
        width=picture.width,
        height=picture.height,
    )


@transaction.atomic
def _finish(
    media: MediaObject, renditions: list[Rendition] | None = None, **values: object
) -> None:
    if not rows().filter(id=media.id, state__in=UNFINISHED).update(**values):
        return  # another worker, after our lease ran out, was first
    Rendition.objects.bulk_create(renditions or [])
    media.refresh_from_db(fields=[*values])
    media_processed.send(MediaObject, media=media)


# Few at a time: the lease is for all of a batch, and a picture may take seconds. Many times: the
# store may be away for a night, and nobody should have to wake up the photos afterwards.
PUMP = work.Pump(
    name="media",
    rows=rows,
    handle=process,
    batch=2,
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
