"""What the worker makes of uploads that have arrived and that no store vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from media_storage import receiving
from media_storage.errors import StoreUnavailable, UploadMismatch, UploadMissing
from media_storage.models import MediaObject
from media_storage.receiving import PUMP
from media_storage.services import complete_media, declare_media, resume_upload
from media_storage.signals import media_processed
from media_storage.stores import PIECE_SIZE, exists, get_store
from media_storage.work import PUMP as MEDIA_PUMP
from server.core import work
from server.core.ids import new_id
from tests.media_storage import pictures

pytestmark = pytest.mark.django_db

PHOTO = pictures.jpeg(640, 480) + bytes(3 * PIECE_SIZE)


def declared(content: bytes = PHOTO) -> MediaObject:
    media, _upload, _created = declare_media(
        media_id=new_id(),
        owner=None,
        filename="食堂.jpg",
        content_type="image/jpeg",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        link="weak",
        base_url="",
    )
    return media


def send(media: MediaObject, content: bytes) -> None:
    """As signed PUTs leave the pieces in the folder store."""
    for part in resume_upload(media=media, base_url="").parts:
        piece = content[part.offset : part.offset + part.size]
        place = f"parts/{media.upload_id}/{part.number}"
        get_store().write_at(place, [piece])  # type: ignore[attr-defined]


def arrived(content: bytes = PHOTO, sent: bytes | None = None) -> MediaObject:
    media = declared(content)
    send(media, content if sent is None else sent)
    return complete_media(media=media)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    told: list[str] = []

    def hear(media: MediaObject, **_kwargs: Any) -> None:
        told.append(media.state)

    media_processed.connect(hear)
    yield told
    media_processed.disconnect(hear)


def test_what_arrived_is_not_called_stored_before_it_was_read() -> None:
    media = arrived()
    assert (media.state, media.is_uploaded, media.stored_at) == ("arrived", False, None)
    assert not exists(get_store(), media.key)
    # Nor does the pump that makes renditions touch it.
    assert work.drain(MEDIA_PUMP) == 0


def test_the_declared_bytes_are_stored_and_go_on_to_be_processed(heard: list[str]) -> None:
    media = arrived()
    assert work.drain(PUMP) == 1
    media.refresh_from_db()
    assert (media.state, media.upload_id, media.work_attempts) == ("stored", "", 0)
    assert media.stored_at is not None
    assert b"".join(get_store().read(media.key)) == PHOTO
    assert work.drain(MEDIA_PUMP) == 1
    media.refresh_from_db()
    assert (media.state, heard) == ("ready", ["ready"])


def test_other_bytes_open_the_upload_again_and_the_phone_is_told() -> None:
    media = arrived(sent=PHOTO[:-1] + b"?")
    old = media.key
    work.drain(PUMP)
    media.refresh_from_db()
    assert (media.state, media.key == old, media.work_due_at) == ("declared", False, None)
    assert not exists(get_store(), old)
    with pytest.raises(UploadMismatch) as refusal:
        complete_media(media=media)
    assert [each.pointer for each in refusal.value.problems] == ["/sha256"]

    send(media, PHOTO)
    assert complete_media(media=media).state == "arrived"
    work.drain(PUMP)
    media.refresh_from_db()
    assert (media.state, media.upload_fault) == ("stored", "")


def test_a_part_that_vanished_is_asked_for_again() -> None:
    media = arrived()
    for each in list(get_store().uploads()):
        each.forget()
    work.drain(PUMP)
    media.refresh_from_db()
    assert (media.state, media.work_due_at) == ("declared", None)
    with pytest.raises(UploadMissing):
        complete_media(media=media)
    send(media, PHOTO)
    assert complete_media(media=media).state == "arrived"


def test_a_file_that_is_not_what_it_says_is_rejected(heard: list[str]) -> None:
    media = arrived("文".encode() * PIECE_SIZE)
    work.drain(PUMP)
    media.refresh_from_db()
    assert (media.state, media.reject_code, heard) == ("rejected", "type_mismatch", ["rejected"])
    assert media.work_due_at is None


def test_a_store_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    media = arrived()

    def away(*_args: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(type(get_store()), "take_in", away)
        work.drain(PUMP)
    media.refresh_from_db()
    assert (media.state, media.work_attempts) == ("arrived", 1)
    MediaObject.objects.update(work_due_at=media.created_at)
    work.drain(PUMP)
    media.refresh_from_db()
    assert media.state == "stored"


def test_a_worker_that_died_in_the_middle_is_followed_by_another() -> None:
    media = arrived()
    receiving.take_in(MediaObject.objects.get(id=media.id))
    # The first one had done it all, and not written it down.
    MediaObject.objects.filter(id=media.id).update(
        state="arrived", stored_at=None, upload_id=media.upload_id
    )
    receiving.take_in(MediaObject.objects.get(id=media.id))
    media.refresh_from_db()
    assert media.state == "stored"
