"""Declare, upload, verify: how a file becomes a media object that the rest of the product may trust.

    declared ──complete──▶ stored ──worker──▶ processing ──▶ ready
        │  └──▶ arrived ──worker──▲   └──────────────┴─────▶ rejected, with a reason
        │   any of them ──▶ deleted, by the rules of care (server.care): the row stays, the bytes go
        └── bytes that are not the declared ones: forgotten, still declared, to be uploaded again

`arrived`: all is there, and the store cannot say whether they are the declared bytes, so the worker
reads them (media_storage/receiving.py). Until then the phone must keep the file.

The store is never called inside a transaction: states move by compare-and-set afterwards.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext as _

from media_storage.errors import UploadMismatch, UploadMissing
from media_storage.formats import (
    HEAD_BYTES,
    Format,
    format_by_name,
    format_by_signature,
    format_of,
    saved_name,
    sniff,
)
from media_storage.models import MediaObject, Rendition, new_key
from media_storage.signals import media_processed
from media_storage.stores import (
    UPLOAD_TIME,
    Expected,
    Link,
    ObjectMissing,
    PartsMissing,
    Store,
    Upload,
    Written,
    get_store,
)
from server.core import clock, work
from server.core.errors import ContentConflict, Invalid, Problem, TooLarge
from server.core.standing import StandingInsert, StandingQuery, StandingUpdate

READ_TIME = timedelta(minutes=15)

State = MediaObject.State
Rejection = MediaObject.Rejection


@dataclass(frozen=True, slots=True)
class Location:
    """Where the phone says it was: WGS-84 degrees, accuracy in metres."""

    latitude: float
    longitude: float
    accuracy_m: float | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """A person of whom no more is known, or wanted, than the key."""

    pk: UUID


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """What `store_stream` put into the store. `content_type` and `rejection` by looking at the bytes."""

    key: str
    size: int
    sha256: str
    content_type: str
    rejection: str = ""


# ---- declared by a phone, uploaded to the store directly -------------------------------------


def declare_media(
    *,
    media_id: UUID,
    owner: AbstractBaseUser | Owner | None,
    filename: str,
    content_type: str,
    size: int,
    sha256: str,
    taken_at: datetime | None = None,
    location: Location | None = None,
    link: Link = "",
    origin: str = MediaObject.Origin.UNKNOWN.value,
    base_url: str,
) -> tuple[MediaObject, Upload, bool]:
    """Register a file that will be uploaded, and say where to. The bool: whether it is new.

    `link`: how the phone finds its line, which decides on the size of parts. `origin`: what it says of
    where it has the file from. The same declaration again gives the same object, with addresses for
    what is still missing. Raises Invalid (pointers /filename, /content_type, /size, /sha256,
    /location), ContentConflict.
    """
    values = _declared_values(
        filename=filename,
        content_type=content_type,
        size=size,
        sha256=sha256,
        taken_at=taken_at,
        location=location,
    )
    owner_id = owner.pk if owner else None
    media = MediaObject(
        id=media_id, owner_id=owner_id, state=State.DECLARED.value, origin=origin, **values
    )
    created = _INSERT(media)
    if not created:
        media = MediaObject.objects.get(id=media_id)
        # A phone whose app was renewed in between may say now what it did not say before.
        if origin and media.origin:
            values["origin"] = origin
        if _differs(media, owner_id, values):
            raise ContentConflict(_("这个编号已登记了另一个文件，请换一个编号重新登记"))
    return media, _next_step(media, base_url, link, fresh=created), created


_INSERT = StandingInsert(MediaObject)
_MARK = StandingUpdate(
    MediaObject,
    sets=("state", "reject_code", "stored_at", "work_due_at", "upload_id"),
    where=("id", "key", "state"),
)


def media_of(owner: AbstractBaseUser, media_id: UUID) -> MediaObject | None:
    """What this person declared under the id."""
    return _OWNED.first(media_id, owner.pk)


_OWNED = StandingQuery(
    lambda id, owner: MediaObject.objects.filter(id=id, owner=owner).order_by(), UUID, UUID
)


def resume_upload(*, media: MediaObject, link: Link = "", base_url: str) -> Upload:
    """Which parts have arrived, and addresses for those that are missing; none once all is there."""
    return _next_step(media, base_url, link, fresh=False)


def _next_step(media: MediaObject, base_url: str, link: Link, *, fresh: bool) -> Upload:
    if media.state != State.DECLARED:
        return Upload(strategy="single", expires_at=clock.now() + UPLOAD_TIME)
    store, expected = get_store(), expected_of(media, link)
    upload = store.upload_urls(expected, base_url=base_url, fresh=fresh)
    if upload.upload_id == media.upload_id:
        return upload
    rows = MediaObject.objects.filter(id=media.id, key=media.key, upload_id=media.upload_id)
    if rows.update(upload_id=upload.upload_id):
        media.upload_id = upload.upload_id
        return upload
    # Somebody else began an upload in between: theirs is the one that counts.
    media.refresh_from_db()
    if media.upload_id != upload.upload_id:
        store.abort_upload(expected.key, upload.upload_id)
    return _next_step(media, base_url, link, fresh=False)


def complete_media(*, media: MediaObject) -> MediaObject:
    """All was sent: `stored` where it is proven that these are the declared bytes, else `arrived`.

    Also `rejected`, where it is seen at once that they are not of the declared type. The same again
    gives the same. Raises UploadMissing, and UploadMismatch for other bytes than the declared: these
    are forgotten and the upload is open again.
    """
    if media.state != State.DECLARED:
        return media
    store = get_store()
    try:
        found = store.arrived(expected_of(media))
    except (ObjectMissing, PartsMissing):
        return _completed_elsewhere(media)
    if found is None:
        _mark_arrived(media)
    elif problems := mismatches(media, found):
        reopen(media)
        raise UploadMismatch(problems=problems)
    else:
        # What went past this server is looked at by the worker.
        rejection = "" if store.direct else judge(media, store)
        _mark_stored(media, rejection)
    return media


def _completed_elsewhere(media: MediaObject) -> MediaObject:
    """Another request may have completed it, or the worker have judged it, while this one looked."""
    media.refresh_from_db()
    if media.state != State.DECLARED:
        return media
    if media.upload_fault and not media.upload_id:  # and nothing of a new try has come
        raise UploadMismatch(problems=[_mismatch(media.upload_fault)])
    raise UploadMissing


def _mark_arrived(media: MediaObject) -> None:
    values = {
        "state": State.ARRIVED.value,
        "reject_code": "",
        "stored_at": None,
        "work_due_at": clock.now(),
        "upload_id": media.upload_id,
    }
    if _marked(media, values):
        work.wake("uploads")


def _mark_stored(media: MediaObject, rejection: str) -> None:
    """By one statement, whose own transaction it is: nobody listens to what is merely stored."""
    values = {**stored_values(rejection), "upload_id": ""}
    if rejection:
        _mark_rejected(media, values)
    elif _marked(media, values):
        work.wake("media")


@transaction.atomic
def _mark_rejected(media: MediaObject, values: dict[str, Any]) -> None:
    if _marked(media, values):
        media_processed.send(MediaObject, media=media)


def _marked(media: MediaObject, values: dict[str, Any]) -> bool:
    """False where another request was first. Raises UploadMissing where it opened the upload again."""
    if _MARK(values, {"id": media.id, "key": media.key, "state": State.DECLARED.value}):
        for name, value in values.items():
            setattr(media, name, value)
        return True
    media.refresh_from_db()
    if media.state == State.DECLARED:
        raise UploadMissing
    return False


def reopen(media: MediaObject, **values: Any) -> bool:
    """Give the object a new key, so that neither the wrong bytes nor their addresses matter again.

    False where somebody else did.
    """
    old, upload_id = media.key, media.upload_id
    rows = MediaObject.objects.filter(id=media.id, key=old, state=media.state)
    done = rows.update(**{**values, "key": new_key(), "upload_id": "", "state": State.DECLARED})
    if done:
        store = get_store()
        store.delete(old)
        if upload_id:
            store.abort_upload(old, upload_id)
    media.refresh_from_db()
    return bool(done)


# ---- bytes that pass through this server (OpenRosa) ------------------------------------------


def store_stream(
    *,
    filename: str,
    content_type: str,
    chunks: Iterable[bytes],
    limit: int | None = None,
) -> StoredBytes:
    """Write a stream to the store, durable when this returns; the caller inserts the row afterwards.

    `limit` in bytes, else the format's own. Raises TooLarge (nothing is left), StoreUnavailable.
    A file that is not what it claims is stored as well: `rejection` says why it is not to be used.
    """
    declared = format_of(content_type) or format_by_name(filename)
    meter = _Meter(chunks, limit or (declared or format_of("video/mp4")).max_bytes)  # type: ignore[union-attr]
    key = new_key()
    written = get_store().write(key, meter)
    head = bytes(meter.head)
    taken_for = declared or format_by_signature(sniff(head))
    return StoredBytes(
        key=key,
        size=written.size,
        sha256=written.sha256,
        content_type=taken_for.content_type if taken_for else "application/octet-stream",
        rejection=_judge(taken_for, head),
    )


def new_media_values(
    *,
    media_id: UUID,
    owner_id: UUID | None,
    filename: str,
    stored: StoredBytes,
    taken_at: datetime | None = None,
) -> dict[str, Any]:
    """Every column of the row for bytes that `store_stream` wrote, by column name.

    For `MediaObject(**values)` or a statement of the caller's own; call `work.wake("media")` in the
    same transaction. The columns left out (created_at) have defaults in the database.
    """
    return {
        "id": media_id,
        "owner_id": owner_id,
        "filename": clean_filename(filename) or "file",
        "content_type": stored.content_type,
        "size": stored.size,
        "sha256": stored.sha256,
        "key": stored.key,
        "upload_id": "",
        "note_code": "",
        "origin": MediaObject.Origin.UNKNOWN.value,
        "taken_at": taken_at,
        "latitude": None,
        "longitude": None,
        "accuracy_m": None,
        "width": None,
        "height": None,
        "work_attempts": 0,
        "work_error": "",
        "work_dead_at": None,
        **stored_values(stored.rejection),
    }


def discard(key: str) -> None:
    """Delete bytes that no row will refer to: a part that was sent twice, a refused request."""
    get_store().delete(key)


# ---- reading ----------------------------------------------------------------------------------


def readable_url(item: MediaObject | Rendition, *, base_url: str) -> str:
    """A short-lived address of the original or of a rendition. Ask only for what is uploaded.

    The same for some minutes, so that a page that is opened again finds its pictures in the cache.
    """
    content_type = served_type(item)
    name = PurePosixPath(item.filename)
    if isinstance(item, Rendition):
        name = name.with_suffix(PurePosixPath(item.key).suffix)
    return get_store().download_url(
        item.key,
        filename=saved_name(name.name, content_type),
        content_type=content_type,
        expires_in=READ_TIME,
        base_url=base_url,
    )


def served_type(item: MediaObject | Rendition) -> str:
    """What a browser is told that the bytes are: only what was verified, never what was claimed.

    The bytes of a rejected file are not what they claim: a browser may save them, not look at them.
    """
    if isinstance(item, Rendition):
        format_ = format_by_name(item.key)
        return format_.content_type if format_ else "image/jpeg"
    return "application/octet-stream" if item.state == State.REJECTED else item.content_type


# ---- the rules --------------------------------------------------------------------------------


def clean_filename(filename: str) -> str:
    """The last component without control characters, at most 255 characters, the extension kept."""
    name = PurePosixPath(filename.replace("\\", "/")).name
    name = "".join(each for each in name if unicodedata.category(each)[0] != "C").strip()
    if name in (".", ".."):
        return ""
    suffix = PurePosixPath(name).suffix[:16]
    return name if len(name) <= 255 else name[: 255 - len(suffix)] + suffix


def _declared_values(
    *,
    filename: str,
    content_type: str,
    size: int,
    sha256: str,
    taken_at: datetime | None,
    location: Location | None,
) -> dict[str, Any]:
    name = clean_filename(filename)
    format_ = format_of(content_type)
    problems = [
        *_name_problems(name),
        *_type_problems(format_, size),
        *_hash_problems(sha256),
        *_location_problems(location),
        *_moment_problems(taken_at),
    ]
    if problems or format_ is None:
        raise Invalid(problems=problems)
    return {
        "filename": name,
        "content_type": format_.content_type,
        "size": size,
        "sha256": sha256.lower(),
        "taken_at": taken_at,
        "latitude": location.latitude if location else None,
        "longitude": location.longitude if location else None,
        "accuracy_m": location.accuracy_m if location else None,
    }


def _moment_problems(taken_at: datetime | None) -> Iterator[Problem]:
    if taken_at and not clock.is_possible(taken_at):
        yield Problem("/taken_at", "out_of_range", _("这个时间不可能，请检查手机的时钟。"))


def _name_problems(name: str) -> Iterator[Problem]:
    if not name:
        yield Problem("/filename", "required", _("请给出文件名"))


def _type_problems(format_: Format | None, size: int) -> Iterator[Problem]:
    if format_ is None:
        yield Problem("/content_type", "unsupported_type", Rejection.UNSUPPORTED.label)
    if size <= 0:
        yield Problem("/size", "empty", Rejection.EMPTY.label)
    elif format_ and size > format_.max_bytes:
        limit = format_.max_bytes // (1024 * 1024)
        yield Problem(
            "/size", "too_large", _("文件不能超过 %(limit)d MB，请压缩后再传") % {"limit": limit}
        )


def _hash_problems(sha256: str) -> Iterator[Problem]:
    if len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef"):
        yield Problem("/sha256", "invalid", _("应为 64 位十六进制的 SHA-256 校验值"))


def _location_problems(location: Location | None) -> Iterator[Problem]:
    # Written so that NaN is refused as well: it is within no bounds.
    if location is None:
        return
    if not (-90 <= location.latitude <= 90 and -180 <= location.longitude <= 180):
        yield Problem("/location", "invalid", _("经纬度超出范围"))
    if location.accuracy_m is not None and not 0 <= location.accuracy_m <= 1e8:
        yield Problem("/location/accuracy_m", "invalid", _("定位精度应为不小于 0 的米数"))


def _differs(media: MediaObject, owner_id: Any, values: dict[str, Any]) -> bool:
    return media.owner_id != owner_id or any(
        getattr(media, name) != value for name, value in values.items()
    )


def expected_of(media: MediaObject, link: Link = "") -> Expected:
    """The object in the store's words."""
    return Expected(
        key=media.key,
        size=media.size,
        sha256=media.sha256,
        content_type=media.content_type,
        upload_id=media.upload_id,
        link=link,
    )


class _Meter:
    """Passes chunks on, keeping the head, and stops a stream that goes over its limit."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self.chunks = chunks
        self.limit = limit
        self.size = 0
        self.head = bytearray()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            self.size += len(chunk)
            if self.size > self.limit:
                raise TooLarge(
                    _("文件不能超过 %d MB，请压缩后再传") % (self.limit // (1024 * 1024))
                )
            if len(self.head) < HEAD_BYTES:
                self.head += chunk[: HEAD_BYTES - len(self.head)]
            yield chunk


def mismatches(media: MediaObject, found: Written) -> list[Problem]:
    """In what these bytes are not the declared ones."""
    if found.size != media.size:
        detail = _("登记为 %(declared)d 字节，收到 %(found)d 字节，请重新上传")
        return [
            Problem("/size", "mismatch", detail % {"declared": media.size, "found": found.size})
        ]
    return [_mismatch("sha256")] if found.sha256 != media.sha256 else []


def _mismatch(field: str) -> Problem:
    return Problem(f"/{field}", "mismatch", _("内容与登记的校验值不符，请重新上传"))


def judge(media: MediaObject, store: Store) -> str:
    """Why stored bytes are refused, by their beginning; empty where they may be what they claim."""
    return _judge(format_of(media.content_type), store.head(media.key, HEAD_BYTES))


def _judge(format_: Format | None, head: bytes) -> str:
    if not head:
        return Rejection.EMPTY
    if format_ is None:
        return Rejection.UNSUPPORTED
    return "" if sniff(head) == format_.signature else Rejection.TYPE_MISMATCH


def stored_values(rejection: str) -> dict[str, Any]:
    """The columns of an object whose bytes have just been stored."""
    moment = clock.now()
    return {
        "state": (State.REJECTED if rejection else State.STORED).value,
        "reject_code": rejection,
        "stored_at": moment,
        "work_due_at": None if rejection else moment,
    }
