"""What the worker makes of stored objects."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from PIL import Image

from media_storage import bounded
from media_storage import work as media_work
from media_storage.models import Facts, MediaObject, Rendition
from media_storage.refusals import Reason, Refused
from media_storage.services import new_media_values, store_stream
from media_storage.signals import media_processed, media_shown
from media_storage.stores import Store, exists, get_store
from media_storage.work import PUMP
from server.core import clock, work
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
        assert each.content_type == "image/webp"
    assert found["small"].filename == "食堂-small.webp"
    assert [(each.id, each.state) for each in heard] == [(media.id, "ready")]


def test_the_thumbnail_is_there_before_the_large_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, list[str], str]] = []
    media = stored(pictures.jpeg_with_exif(2000, 1000, orientation=6))

    def hear(media: MediaObject, **_kwargs: Any) -> None:
        row = MediaObject.objects.select_related("facts").get(id=media.id)
        names = [each.name for each in row.renditions.all()]
        assert get_store().size(row.renditions.get(name="small").key)
        assert (row.width, row.height) == (media.width, media.height) == (1000, 2000)
        seen.append((row.state, names, row.facts.camera_maker))

    media_shown.connect(hear)
    media_processed.connect(hear)
    try:
        work.drain(PUMP)
    finally:
        media_shown.disconnect(hear)
        media_processed.disconnect(hear)
    assert seen == [
        ("processing", ["small"], "Camera of the test"),
        ("ready", ["small", "large"], "Camera of the test"),
    ]
    assert media.renditions.count() == 2


def test_what_was_shown_of_a_file_that_is_refused_after_all_goes(
    heard: list[MediaObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = media_work._looking
    keys = []

    def half(*args: Any) -> Iterator[Any]:
        with closing(real(*args)) as results:
            yield next(results)
            yield next(results)
            keys.extend(Rendition.objects.values_list("key", flat=True))
        raise Refused("crashed", "at the large one")

    monkeypatch.setattr(media_work, "_looking", half)
    media = processed(pictures.jpeg())
    assert (media.state, media.reject_code) == ("rejected", "crashed")
    assert not media.renditions.exists()
    [key] = keys
    assert not exists(get_store(), key)
    assert [each.state for each in heard] == ["rejected"]


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
    get_store().write(f"{media.key}-small.webp", [b"half"])
    MediaObject.objects.update(state="processing")
    assert work.drain(PUMP) == 1
    assert MediaObject.objects.get().state == "ready"
    assert read(media.renditions.get(name="small")).size == (320, 240)


def test_two_workers_on_one_object_leave_one_result(
    heard: list[MediaObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    media = stored(pictures.jpeg())
    [first] = work.claim(PUMP)
    MediaObject.objects.update(work_due_at=media.stored_at)  # its lease ends
    [second] = work.claim(PUMP)
    work.run(PUMP, second)
    work.run(PUMP, first)
    media.refresh_from_db()
    assert (len(heard), media.renditions.count()) == (1, 2)
    assert (media.state, media.work_due_at, media.work_error) == ("ready", None, "")


def test_a_worker_whose_lease_went_to_another_leaves_the_file_to_it(
    heard: list[MediaObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    media = stored(pictures.jpeg())
    [first] = work.claim(PUMP)
    MediaObject.objects.update(work_due_at=media.stored_at)
    [second] = work.claim(PUMP)
    monkeypatch.setattr(media_work, "LONGEST_STEP", timedelta(hours=1))  # so that it looks
    work.run(PUMP, first)
    row = MediaObject.objects.get()
    assert (heard, row.work_due_at, row.renditions.count()) == ([], second.work_due_at, 0)


def test_a_long_step_has_a_whole_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    media = stored(pictures.jpeg())
    left = []
    real = media_work._stored

    def late(row: MediaObject, made: Any) -> Any:
        left.append(MediaObject.objects.get().work_due_at - clock.now())
        return real(row, made)

    monkeypatch.setattr(media_work, "_stored", late)
    [claimed] = work.claim(PUMP)
    MediaObject.objects.update(work_due_at=clock.now() + timedelta(seconds=5))
    claimed.refresh_from_db()
    work.run(PUMP, claimed)
    assert min(left) > media_work.LONGEST_STEP
    media.refresh_from_db()
    assert (media.state, media.work_due_at) == ("ready", None)


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
        (pictures.office("word/document.xml"), f"{OFFICE}wordprocessingml.document"),
        (b"a,b\n1,2\n", "text/csv"),
    ],
)
def test_a_document_without_pictures_is_ready_as_it_is(content: bytes, content_type: str) -> None:
    media = processed(content, content_type)
    assert (media.state, media.note, media.renditions.count()) == ("ready", "", 0)
    assert not Facts.objects.exists()


def test_a_heic_photo_has_renditions_and_facts() -> None:
    media = processed(pictures.heic(1000, 500, orientation=6), "image/heic")
    assert (media.state, media.note, media.width, media.height) == ("ready", "", 500, 1000)
    assert sorted(read(each).size for each in media.renditions.all()) == [(160, 320), (500, 1000)]
    assert media.facts.camera_maker == "Camera of the test"
    assert media.facts.perceptual_hash is not None


def test_a_heic_photo_of_before_there_was_a_decoder_is_looked_at_again() -> None:
    media = stored(pictures.heic(), "image/heic")
    values = {"state": "ready", "note_code": "no_rendition", "work_due_at": None}
    MediaObject.objects.filter(id=media.id).update(**values)
    migration = import_module("media_storage.migrations.0005_renditions")
    migration.look_again(apps, None)
    assert work.drain(PUMP) == 1
    media.refresh_from_db()
    assert (media.state, media.note_code, media.renditions.count()) == ("ready", "", 2)


def test_a_pdf_has_its_pages_counted_and_the_first_one_drawn() -> None:
    media = processed(pictures.pdf(pages=3), "application/pdf")
    assert (media.state, media.note, media.facts.pages) == ("ready", "", 3)
    assert sorted(read(each).size for each in media.renditions.all()) == [(226, 320), (1131, 1600)]
    assert (media.width, media.height) == (None, None)


def test_a_pdf_with_a_password_is_kept_with_a_note() -> None:
    media = processed(pictures.pdf(password=True), "application/pdf")
    assert (media.state, media.note_code, media.renditions.count()) == ("ready", "locked", 0)
    assert media.note == "文件有密码，没有预览图和页数"


def test_a_file_that_may_be_innocent_is_tried_again_and_then_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(*args: Any) -> Iterator[Any]:
        raise bounded.Disturbed("too_slow", "more than 40 seconds")
        yield

    monkeypatch.setattr(media_work, "_looking", late)
    media = stored(pictures.jpeg())
    MediaObject.objects.update(work_attempts=20, work_error="the store was away for a night")
    for attempt in (1, 2):
        MediaObject.objects.update(work_due_at=media.stored_at)
        assert work.drain(PUMP) == 1
        media.refresh_from_db()
        assert (media.state, media.work_dead_at) == ("processing", None)
        assert media.work_error.startswith(f"try {attempt}: too_slow")
    MediaObject.objects.update(work_due_at=media.stored_at)
    work.drain(PUMP)
    media.refresh_from_db()
    assert (media.state, media.reject_code) == ("rejected", "too_slow")


def test_a_child_that_talks_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = [{"type": "told", "width": -5}]
    monkeypatch.setattr(bounded, "stream", lambda *args, **options: (each for each in told))
    media = processed(pictures.jpeg())
    assert (media.state, media.reject_code) == ("rejected", "crashed")


def test_a_machine_without_processes_is_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    bounded.close()
    media = stored(pictures.jpeg())
    work.drain(PUMP)
    media.refresh_from_db()
    assert (media.state, media.work_dead_at) == ("processing", None)
    assert "/nowhere/python" in media.work_error


def test_every_reason_of_a_job_has_its_sentence() -> None:
    assert {str(each) for each in Reason} == set(MediaObject.Rejection.values)


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
