"""Making shared copies: a worker compares what a copy should be with what it is, and makes it.

Runs any number of times, in any order, with the same result. Keys are noted before their bytes are
written, and forgotten after these are gone: nothing is left in the store that no row knows of.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Annotated, Any, Literal

import msgspec
from django.db import transaction

from media_storage import bounded
from media_storage.errors import StoreUnavailable
from media_storage.models import MediaObject, Rendition
from media_storage.refusals import Reason, Refused
from media_storage.stores import ObjectMissing, get_store
from server.activities.services.attaching import announce_processed as tell_of_submissions
from server.core import clock, work
from server.findings.evidence import announce_processed as tell_of_findings
from server.sharing.captions import caption_of
from server.sharing.models import SharedCopy
from server.sharing.uses import uses_of

VERSION = 1
"""Of drawing and detector. A new one makes copies anew where somebody asks for it, not all at once."""
SHARED = (Rendition.Name.SHARED, Rendition.Name.SHARED_SMALL)
DISTURBED_TRIES = 3

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Side = Annotated[int, msgspec.Meta(ge=1, le=20_000)]


class Picture(msgspec.Struct):
    """A JPEG that the bounded process made."""

    name: Literal["shared", "shared_small"]
    width: Side
    height: Side
    data: bytes


class Made(msgspec.Struct):
    """What the bounded process answers. A child that a file has taken over may say anything."""

    faces: list[tuple[Share, Share, Share, Share]]
    pictures: list[Picture]


@dataclass(frozen=True)
class Wanted:
    """What a copy should be, from what is stored now."""

    source: Rendition
    lines: Sequence[tuple[str, str]]
    blur: bool
    boxes: Sequence[Sequence[float]]

    @property
    def digest(self) -> str:
        parts = [VERSION, self.source.key, self.lines, self.blur, self.boxes]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def wanted_copy(copy: SharedCopy) -> Wanted | None:
    """What the copy should be; None where there is nothing to share: not ready, no picture, no use."""
    media = MediaObject.objects.select_related("facts", "owner").get(pk=copy.pk)
    source = media.renditions.filter(name=Rendition.Name.LARGE).first()
    if media.state != MediaObject.State.READY or source is None:
        return None
    uses = uses_of(media.pk)
    if not uses:
        return None
    return Wanted(
        source=source,
        lines=caption_of(media, uses),
        blur=any(use.blur for use in uses),
        boxes=copy.boxes,
    )


def make(copy: SharedCopy) -> None:
    """Bring one copy to what it should be."""
    wanted = wanted_copy(copy)
    try:
        if wanted is None:
            if copy.digest:
                _without_pictures(copy, digest="")
        elif copy.digest != wanted.digest:
            _make(copy, wanted)
        clear_stale(copy.pk)
    except StoreUnavailable as down:
        raise work.TemporaryFailure(str(down)) from down


def _make(copy: SharedCopy, wanted: Wanted) -> None:
    try:
        made = _made(wanted)
    except Refused as refused:
        _without_pictures(copy, digest=wanted.digest, failed_code=refused.code)
    except bounded.Disturbed as disturbed:
        if copy.work_attempts < DISTURBED_TRIES:
            raise work.TemporaryFailure(str(disturbed)) from disturbed
        _without_pictures(copy, digest=wanted.digest, failed_code=disturbed.code)
    except bounded.Unstartable as unstartable:
        raise work.TemporaryFailure(str(unstartable)) from unstartable
    except ObjectMissing as missing:
        raise work.PermanentFailure(f"no bytes in the store: {wanted.source.key}") from missing
    else:
        _finish(copy, wanted, made, _stored(copy, made))


def _made(wanted: Wanted) -> Made:
    with _local_copy(wanted.source) as file:
        answer = bounded.run(
            "shared",
            file,
            lines=[list(line) for line in wanted.lines],
            blur=wanted.blur,
            boxes=[list(box) for box in wanted.boxes],
        )
    try:
        made = msgspec.convert(answer, type=Made)
    except msgspec.ValidationError as nonsense:
        raise Refused(Reason.CRASHED, str(nonsense)) from nonsense
    if sorted(picture.name for picture in made.pictures) != sorted(SHARED):
        raise Refused(Reason.CRASHED, "not the pictures that were asked for")
    return made


@contextmanager
def _local_copy(source: Rendition) -> Iterator[IO[bytes]]:
    with _new_file() as file:
        for chunk in get_store().read(source.key):
            file.write(chunk)
        file.flush()
        yield file


def _new_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("shared"), "w+b", buffering=0)
    return tempfile.TemporaryFile()


def _stored(copy: SharedCopy, made: Made) -> list[Rendition]:
    """Bytes under keys that were never used before, so that no cache holds an older copy."""
    base, version = copy.media.key, secrets.token_hex(6)
    rows = [
        Rendition(
            media_id=copy.pk,
            name=picture.name,
            width=picture.width,
            height=picture.height,
            size=len(picture.data),
            key=f"{base}-{picture.name}-{version}.jpg",
        )
        for picture in made.pictures
    ]
    # Noted first: should this process die, the next one knows what to take away.
    _note_stale(copy.pk, [row.key for row in rows])
    for row, picture in zip(rows, made.pictures, strict=True):
        get_store().write(row.key, [picture.data])
    return rows


@transaction.atomic
def _finish(copy: SharedCopy, wanted: Wanted, made: Made, rows: list[Rendition]) -> None:
    locked = _still_wanted(copy)
    if locked is None:
        return
    new = [row.key for row in rows]
    locked.stale_keys = [key for key in locked.stale_keys if key not in new]
    _take_down(locked)
    Rendition.objects.bulk_create(rows)
    locked.digest, locked.made_at, locked.failed_code = wanted.digest, clock.now(), ""
    locked.blurred, locked.faces = wanted.blur, [list(face) for face in made.faces]
    _save(locked)
    _tell(locked.media)


@transaction.atomic
def _without_pictures(copy: SharedCopy, *, digest: str, failed_code: str = "") -> None:
    """There is no copy: none is wanted, or none can be made."""
    locked = _still_wanted(copy, ready=bool(digest))
    if locked is None:
        return
    had = _take_down(locked)
    locked.digest, locked.made_at, locked.failed_code = digest, None, failed_code
    locked.blurred, locked.faces = False, []
    _save(locked)
    if had or failed_code:
        _tell(locked.media)


def _still_wanted(copy: SharedCopy, *, ready: bool = True) -> SharedCopy | None:
    """The row, locked; None where somebody has asked for something else since it was claimed."""
    # The media first: who makes it ready holds it while it marks its copy.
    media = MediaObject.objects.select_for_update(of=("self",)).get(pk=copy.pk)
    locked = SharedCopy.objects.select_for_update(of=("self",)).get(pk=copy.pk)
    if locked.work_due_at != copy.work_due_at:
        return None
    if ready and media.state != MediaObject.State.READY:
        return None  # deleted in the meantime
    locked.media = media
    return locked


def _save(locked: SharedCopy) -> None:
    fields = ["digest", "made_at", "failed_code", "blurred", "faces", "stale_keys"]
    locked.save(update_fields=fields)


def _tell(media: MediaObject) -> None:
    """Phones that show the picture fetch it again."""
    tell_of_submissions(media=media)
    tell_of_findings(media=media)


def _take_down(locked: SharedCopy) -> int:
    """Show the pictures to nobody any more; their bytes go when the transaction has been committed."""
    old = Rendition.objects.filter(media=locked.pk, name__in=SHARED)
    keys = list(old.values_list("key", flat=True))
    locked.stale_keys = [*locked.stale_keys, *keys]
    old.delete()
    return len(keys)


@transaction.atomic
def _note_stale(media_id: Any, keys: Sequence[str]) -> None:
    locked = SharedCopy.objects.select_for_update(of=("self",)).get(pk=media_id)
    locked.stale_keys = [*locked.stale_keys, *keys]
    locked.save(update_fields=["stale_keys"])


def take_down(copies: Iterable[SharedCopy]) -> None:
    """Withdraw copies that are locked by the caller, who marks them to be made anew."""
    for locked in copies:
        if _take_down(locked):
            locked.digest, locked.made_at = "", None
            locked.save(update_fields=["digest", "made_at", "stale_keys"])


def clear_stale(media_id: Any) -> None:
    """Delete what nobody may get any more. Raises StoreUnavailable: then again later."""
    stale = SharedCopy.objects.values_list("stale_keys", flat=True).get(pk=media_id)
    if not stale:
        return
    for key in stale:
        get_store().delete(key)
    with transaction.atomic():
        locked = SharedCopy.objects.select_for_update(of=("self",)).get(pk=media_id)
        locked.stale_keys = [key for key in locked.stale_keys if key not in stale]
        locked.save(update_fields=["stale_keys"])


# One at a time: a lease is for all of a batch, and a picture may take a while. Many times: the store may
# be away for a night.
PUMP = work.Pump(
    name="shared_copies",
    rows=lambda: SharedCopy.objects.select_related("media"),
    handle=make,
    lease_seconds=120,
    batch=1,
    max_attempts=40,
    backoff_limit_seconds=900.0,
)
