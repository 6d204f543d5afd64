"""What the worker makes of stored objects."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from media_storage.models import MediaObject, Rendition
from media_storage.services import new_media_values, store_stream
from media_storage.signals import media_processed
from media_storage.stores import Store, get_store
from media_storage.work import PUMP
from server.core import work
from server.core.ids import new_id
from tests.media_storage import pictures

pytestmark = pytest.mark.django_db

OFFICE = "application/vnd.openxmlformats-officedocument."


@pytest.fixture
def heard() -> Iterator[list[MediaObject]]:
    """The objects that higher layers were told of."""
    told: list[MediaObject] = []

    def hear(media: MediaObject, **_kwargs: Any) -> None:
        told.append(media)

    media_processed.connect(hear)
    yield told
    media_processed.disconnect(hear)


def stored(content: bytes, content_type: str = "image/jpeg") -> MediaObject:
    stream = store_stream(filename="a", content_type=content_type, chunks=[content])
    values = new_media_values(media_id=new_id(), owner_id=None, filename="食堂.jpg", stored=stream)
    return MediaObject.objects.create(**values)


def processed(content: bytes, content_type: str = "image/jpeg") -> MediaObject:
    media = stored(content, content_type)
    assert work.drain(PUMP) == 1
    media.refresh_from_db()
    assert media.work_due_at is None
    return media


def read(rendition: Rendition) -> Image.Image:
    return Image.open(io.BytesIO(b"".join(get_store().read(rendition.key))))


def test_a_photo_becomes_ready_with_two_renditions(heard: list[MediaObject]) -> None:
    media = processed(pictures.jpeg_with_exif(2000, 1000, orientation=6))
    assert (media.state, media.width, media.height) == ("ready", 1000, 2000)
    found = {each.name: each for each in media.renditions.all()}
    assert {name: (each.width, each.height) for name, each in found.items()} == {
        "small": (160, 320),
        "large": (800, 1600),
    }
    for each in found.values():
        assert read(each).size == (each.width, each.height)
        assert get_store().size(each.key) == each.size
    assert found["small"].filename == "食堂-small.jpg"
    assert [(each.id, each.state) for each in heard] == [(media.id, "ready")]


@pytest.mark.django_db(transaction=True)
def test_renditions_are_made_on_every_store(store: Store) -> None:
    media = processed(pictures.jpeg(900, 600))
    assert sorted(read(each).size for each in media.renditions.all()) == [(320, 213), (900, 600)]


def test_processing_again_changes_nothing(heard: list[MediaObject]) -> None:
    media = processed(pictures.jpeg())
    keys = set(media.renditions.values_list("key", flat=True))
    PUMP.handle(media)
    assert set(media.renditions.values_list("key", flat=True)) == keys
    assert len(heard) == 1


def test_a_worker_that_died_half_way_is_no_harm() -> None:
    media = stored(pictures.jpeg())
    # As left by a crash after the bytes and before the row.
    get_store().write(f"{media.key}-small.jpg", [b"half"])
    MediaObject.objects.update(state="processing")
    assert work.drain(PUMP) == 1
    assert MediaObject.objects.get().state == "ready"
    assert read(media.renditions.get(name="small")).size == (320, 240)


def test_two_workers_on_one_object_leave_one_result(
    heard: list[MediaObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    media = stored(pictures.jpeg())
    other = MediaObject.objects.get(id=media.id)
    PUMP.handle(other)
    PUMP.handle(media)
    assert (len(heard), media.renditions.count()) == (1, 2)


@pytest.mark.parametrize(
    ("content", "content_type", "reason"),
    [
        (pictures.png_claiming(50_000, 50_000), "image/png", "too_many_pixels"),
        (pictures.jpeg(1200, 900)[:9000], "image/jpeg", "broken"),
        (b"\xff\xd8\xff\xe0" + bytes(500), "image/jpeg", "broken"),
        (pictures.office("xl/workbook.xml"), f"{OFFICE}wordprocessingml.document", "type_mismatch"),
        (b"PK\x03\x04" + bytes(500), f"{OFFICE}spreadsheetml.sheet", "broken"),
    ],
)
def test_a_hostile_or_broken_file_is_rejected_with_a_reason(
    heard: list[MediaObject], content: bytes, content_type: str, reason: str
) -> None:
    media = processed(content, content_type)
    assert (media.state, media.reject_code) == ("rejected", reason)
    assert media.reject_reason
    assert media.work_dead_at is None
    assert not media.renditions.exists()
    assert [each.state for each in heard] == ["rejected"]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"#!AMR\n", "audio/amr"),
        (pictures.office("word/document.xml"), f"{OFFICE}wordprocessingml.document"),
    ],
)
def test_a_document_or_recording_is_ready_as_it_is(content: bytes, content_type: str) -> None:
    media = processed(content, content_type)
    assert (media.state, media.note) == ("ready", "")


def test_a_heic_photo_is_ready_and_says_that_it_has_no_small_picture() -> None:
    media = processed(pictures.heic(), "image/heic")
    assert (media.state, media.renditions.count()) == ("ready", 0)
    assert media.note == "这种格式的图片暂时没有缩略图，请下载原图查看"


def test_a_store_that_is_away_is_tried_again(settings: Any) -> None:
    media = stored(pictures.jpeg())
    here = settings.MEDIA_STORE_URL
    settings.MEDIA_STORE_URL = "s3://KEY:SECRET@127.0.0.1:9/bucket?scheme=http&path_style=1"
    assert work.drain(PUMP) == 1
    media.refresh_from_db()
    assert (media.state, media.work_dead_at) == ("processing", None)
    assert media.work_error

    settings.MEDIA_STORE_URL = here
    MediaObject.objects.update(work_due_at=media.stored_at)
    work.drain(PUMP)
    media.refresh_from_db()
    assert media.state == "ready"


def test_lost_bytes_are_our_fault_and_a_dead_row() -> None:
    media = stored(pictures.jpeg())
    get_store().delete(media.key)
    work.drain(PUMP)
    media.refresh_from_db()
    assert media.work_dead_at is not None
    assert media.key in media.work_error
    assert media.state != "rejected"
