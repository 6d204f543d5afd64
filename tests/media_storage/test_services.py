"""From a declared file to a stored one, with every way of not being what was declared."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from media_storage import receiving
from media_storage import work as looking
from media_storage.errors import UploadMismatch, UploadMissing
from media_storage.models import MediaObject, Rendition
from media_storage.services import (
    Location,
    clean_filename,
    complete_media,
    declare_media,
    discard,
    new_media_values,
    readable_url,
    resume_upload,
    store_stream,
)
from media_storage.signals import media_processed
from media_storage.stores import (
    MULTIPART_ABOVE,
    PIECE_SIZE,
    Link,
    Store,
    Upload,
    exists,
    get_store,
)
from server.core import work
from server.core.errors import ContentConflict, Invalid, TooLarge
from server.core.ids import new_id
from tests.cast import Cast
from tests.media_storage import pictures
from tests.media_storage.conftest import put

PHOTO = pictures.jpeg(640, 480)
BASE = "http://testserver"


def declare(
    content: bytes = PHOTO, *, media_id: UUID | None = None, **changes: Any
) -> tuple[MediaObject, Upload, bool]:
    values: dict[str, Any] = {
        "media_id": media_id or new_id(),
        "owner": None,
        "filename": "食堂.jpg",
        "content_type": "image/jpeg",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "base_url": BASE,
    }
    return declare_media(**{**values, **changes})


def arrive(media: MediaObject, content: bytes) -> None:
    """The bytes as a signed PUT leaves them in the folder store, whatever was signed."""
    get_store().write_at(f"incoming/{media.key}", [content])  # type: ignore[attr-defined]


def uploaded(content: bytes, **changes: Any) -> MediaObject:
    media, _upload, _created = declare(content, **changes)
    arrive(media, content)
    return media


pytestmark = pytest.mark.django_db


class TestDeclaring:
    def test_a_declaration_is_kept_and_answered_with_an_address(self, cast: Cast) -> None:
        moment = timezone.now()
        place = Location(latitude=33.02, longitude=108.4, accuracy_m=12.5)
        media, upload, created = declare(owner=cast.ada, taken_at=moment, location=place)
        assert created
        media.refresh_from_db()
        assert (media.state, media.owner, media.taken_at) == ("declared", cast.ada, moment)
        assert (media.latitude, media.longitude, media.accuracy_m) == (33.02, 108.4, 12.5)
        assert "食堂" not in media.key
        assert str(media.id) not in media.key
        [part] = upload.parts
        assert part.url.startswith(f"{BASE}/store/")
        assert part.headers == {"Content-Type": "image/jpeg"}

    def test_the_same_declaration_again_is_the_same_object(self, cast: Cast) -> None:
        media, _upload, _created = declare(owner=cast.ada, location=Location(33.0, 108.0))
        again, upload, created = declare(
            owner=cast.ada, location=Location(33.0, 108.0), media_id=media.id
        )
        assert (again.key, created, len(upload.parts)) == (media.key, False, 1)

    @pytest.mark.parametrize(
        "change",
        [{"size": 7}, {"sha256": "0" * 64}, {"filename": "b.jpg"}, {"taken_at": timezone.now()}],
    )
    def test_other_content_under_the_same_id_is_a_conflict(self, change: dict[str, Any]) -> None:
        media, _upload, _created = declare()
        with pytest.raises(ContentConflict):
            declare(media_id=media.id, **change)

    def test_somebody_elses_id_is_a_conflict(self, cast: Cast) -> None:
        media, _upload, _created = declare(owner=cast.ada)
        with pytest.raises(ContentConflict):
            declare(owner=cast.carla, media_id=media.id)

    @pytest.mark.parametrize(
        ("change", "pointer", "code"),
        [
            ({"size": 0}, "/size", "empty"),
            ({"size": -1}, "/size", "empty"),
            ({"size": 30 * 1024 * 1024 + 1}, "/size", "too_large"),
            ({"content_type": "text/html"}, "/content_type", "unsupported_type"),
            ({"sha256": "abc"}, "/sha256", "invalid"),
            ({"sha256": "g" * 64}, "/sha256", "invalid"),
            ({"filename": "a/../"}, "/filename", "required"),
            ({"location": Location(91, 0)}, "/location", "invalid"),
            ({"location": Location(float("nan"), 0)}, "/location", "invalid"),
            ({"location": Location(1, 1, -1)}, "/location/accuracy_m", "invalid"),
        ],
    )
    def test_a_wrong_field_is_named(self, change: dict[str, Any], pointer: str, code: str) -> None:
        with pytest.raises(Invalid) as refusal:
            declare(**change)
        assert [(each.pointer, each.code) for each in refusal.value.problems] == [(pointer, code)]
        assert not MediaObject.objects.exists()

    def test_a_video_may_be_larger_than_a_photo(self) -> None:
        media, upload, _created = declare(
            content_type="video/mp4", filename="v.mp4", size=60 * 1024 * 1024
        )
        assert media.state == "declared"
        assert len(upload.parts) == 240


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("食堂 后厨.jpg", "食堂 后厨.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\照片\\a.jpg", "a.jpg"),
        ("a\r\nSet-Cookie: x.jpg", "aSet-Cookie: x.jpg"),
        ("x" * 300 + ".jpeg", "x" * 250 + ".jpeg"),
        ("/", ""),
    ],
)
def test_a_file_name_is_only_a_name(given: str, kept: str) -> None:
    assert clean_filename(given) == kept


class TestCompleting:
    def test_the_declared_bytes_are_stored_and_due_for_processing(self) -> None:
        media = complete_media(media=uploaded(PHOTO))
        media.refresh_from_db()
        assert media.state == "stored"
        assert media.stored_at is not None
        assert media.work_due_at is not None
        assert b"".join(get_store().read(media.key)) == PHOTO

    def test_completing_again_is_the_same_answer(self) -> None:
        media = complete_media(media=uploaded(PHOTO))
        stored_at = media.stored_at
        again = complete_media(media=MediaObject.objects.get(id=media.id))
        assert (again.state, again.stored_at) == ("stored", stored_at)
        assert resume_upload(media=again, base_url=BASE).parts == ()

    def test_a_request_that_looked_before_another_completed_gets_its_answer(self) -> None:
        media = uploaded(PHOTO)
        late = MediaObject.objects.get(id=media.id)
        complete_media(media=media)
        assert complete_media(media=late).state == "stored"

    def test_without_bytes_it_stays_open(self) -> None:
        media, _upload, _created = declare()
        with pytest.raises(UploadMissing):
            complete_media(media=media)
        assert MediaObject.objects.get().state == "declared"

    @pytest.mark.parametrize(
        ("content", "pointer"), [(PHOTO[:-1], "/size"), (PHOTO[:-1] + b"?", "/sha256")]
    )
    def test_other_bytes_are_forgotten_and_the_upload_is_open_again(
        self, content: bytes, pointer: str
    ) -> None:
        media, _upload, _created = declare()
        old = media.key
        arrive(media, content)
        with pytest.raises(UploadMismatch) as refusal:
            complete_media(media=media)
        assert [each.pointer for each in refusal.value.problems] == [pointer]
        assert not exists(get_store(), old)

        media = MediaObject.objects.get()
        assert (media.state, media.key == old) == ("declared", False)
        assert len(resume_upload(media=media, base_url=BASE).parts) == 1
        arrive(media, PHOTO)
        assert complete_media(media=media).state == "stored"

    @pytest.mark.parametrize(
        "content", ["这是文本".encode() * 99, pictures.encoded(pictures.quarters(9, 9), "PNG")]
    )
    def test_a_file_that_is_not_what_it_says_is_rejected_and_its_record_kept(
        self, content: bytes
    ) -> None:
        heard: list[str] = []

        def hear(media: MediaObject, **_kwargs: Any) -> None:
            heard.append(media.state)

        media_processed.connect(hear)
        try:
            media = complete_media(media=uploaded(content))
        finally:
            media_processed.disconnect(hear)
        assert (media.state, media.reject_code) == ("rejected", "type_mismatch")
        assert media.reject_reason == "文件内容与声明的类型不符，请检查文件"
        assert media.work_due_at is None
        assert heard == ["rejected"]
        assert complete_media(media=MediaObject.objects.get()).state == "rejected"


class TestStreaming:
    """Bytes that pass through this server, as OpenRosa's do."""

    def stream(self, content: bytes, **changes: Any) -> Any:
        values = {"filename": "a.jpg", "content_type": "image/jpeg", "chunks": [content]}
        return store_stream(**{**values, **changes})

    def saved(self, content: bytes, **changes: Any) -> MediaObject:
        stored = self.stream(content, **changes)
        values = new_media_values(media_id=new_id(), owner_id=None, filename="a.jpg", stored=stored)
        MediaObject(**values).save(force_insert=True)
        return MediaObject.objects.get(id=values["id"])

    def test_a_stream_is_hashed_and_becomes_a_stored_object(self) -> None:
        media = self.saved(PHOTO)
        assert (media.state, media.size) == ("stored", len(PHOTO))
        assert media.sha256 == hashlib.sha256(PHOTO).hexdigest()
        assert media.work_due_at is not None
        assert b"".join(get_store().read(media.key)) == PHOTO

    def test_the_values_are_every_column_that_has_no_default(self) -> None:
        values = new_media_values(
            media_id=new_id(), owner_id=None, filename="a.jpg", stored=self.stream(PHOTO)
        )
        columns = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        given = [str(each) if isinstance(each, UUID) else each for each in values.values()]
        if connection.vendor == "sqlite":
            given[0] = values["id"].hex
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO media_storage_mediaobject ({columns}) VALUES ({marks})", given
            )
        assert MediaObject.objects.get().created_at is not None

    @pytest.mark.parametrize(
        ("content", "changes", "content_type", "reason"),
        [
            (PHOTO, {"content_type": "application/octet-stream"}, "image/jpeg", ""),
            (PHOTO, {"content_type": "*/*", "filename": "unnamed"}, "image/jpeg", ""),
            (b"", {}, "image/jpeg", "empty"),
            ("文本".encode(), {}, "image/jpeg", "type_mismatch"),
            ("文本".encode(), {"content_type": "", "filename": "x"}, "text/csv", ""),
            (b"MZ\x90\x00", {"content_type": "", "filename": "x.exe"}, "application/octet-stream",
             "unsupported_type"),
        ],
    )  # fmt: skip
    def test_the_type_is_what_is_declared_or_found(
        self, content: bytes, changes: dict[str, str], content_type: str, reason: str
    ) -> None:
        media = self.saved(content, **changes)
        assert (media.content_type, media.reject_code) == (content_type, reason)
        assert media.state == ("rejected" if reason else "stored")

    def test_a_stream_over_the_limit_leaves_nothing(self, media_folder: Any) -> None:
        def chunks() -> Iterator[bytes]:
            yield PHOTO[:100]
            yield bytes(1000)
            pytest.fail("read on after the limit")

        with pytest.raises(TooLarge):
            self.stream(b"", chunks=chunks(), limit=500)
        assert [each for each in media_folder.rglob("*") if each.is_file()] == []

    def test_a_discarded_stream_is_gone(self) -> None:
        stored = self.stream(PHOTO)
        discard(stored.key)
        assert not exists(get_store(), stored.key)


# ---- over HTTP, with every store --------------------------------------------------------------


def send(upload: Upload, content: bytes) -> None:
    for part in upload.parts:
        assert put(part, content).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_phone_uploads_straight_to_the_store(store: Store, base_url: str) -> None:
    media, upload, _created = declare(base_url=base_url)
    send(upload, PHOTO)
    complete_media(media=media)
    assert settled(media) == "stored"
    answer = httpx.get(readable_url(media, base_url=base_url))
    assert (answer.status_code, answer.content) == (200, PHOTO)


def settled(media: MediaObject) -> str:
    """The state once the worker has read what the store could not vouch for."""
    work.drain(receiving.PUMP)
    media.refresh_from_db()
    return media.state


@pytest.mark.django_db(transaction=True)
def test_a_file_is_read_under_its_own_type_and_name(store: Store, base_url: str) -> None:
    media, upload, _created = declare(base_url=base_url, filename="食堂.html")
    send(upload, PHOTO)
    assert complete_media(media=media).state in ("arrived", "stored")
    assert settled(media) == "stored"
    answer = httpx.get(readable_url(media, base_url=base_url))
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert quote("食堂.html.jpg") in answer.headers["Content-Disposition"]


@pytest.mark.django_db(transaction=True)
def test_bytes_that_are_not_what_they_claim_are_never_shown(store: Store, base_url: str) -> None:
    page = b"<html><script>alert(1)</script></html>"
    media, upload, _created = declare(page, base_url=base_url)
    send(upload, page)
    complete_media(media=media)
    work.drain(receiving.PUMP)
    work.drain(looking.PUMP)
    media.refresh_from_db()
    assert media.state == "rejected"
    answer = httpx.get(readable_url(media, base_url=base_url))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("key", "content_type", "name"),
    [
        ("a/b-small.jpg", "image/jpeg", "食堂-small.jpg"),
        ("a/b-small.webp", "image/webp", "食堂-small.webp"),
    ],
)
def test_a_rendition_is_of_the_type_that_its_key_names(
    client: Client, key: str, content_type: str, name: str
) -> None:
    get_store().write(key, [b"picture"])
    rendition = Rendition(media=MediaObject(filename="食堂.png"), name="small", key=key)
    answer = client.get(readable_url(rendition, base_url=""))
    answer.close()
    assert answer["Content-Type"] == content_type
    assert quote(name) in answer["Content-Disposition"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("link", "missing"), [("", list(range(2, 34))), ("weak", list(range(2, 34))), ("good", [2])]
)
def test_a_large_file_resumes_by_asking_what_is_missing(
    store: Store, base_url: str, link: Link, missing: list[int]
) -> None:
    content = b"\x00\x00\x00\x18ftypmp42" + bytes(MULTIPART_ABOVE)
    video = {"content_type": "video/mp4", "filename": "v.mp4", "base_url": base_url, "link": link}
    media, upload, _created = declare(content, **video)
    assert put(upload.parts[0], content).status_code == 200
    with pytest.raises(UploadMissing):
        complete_media(media=media)
    media, rest, created = declare(content, media_id=media.id, **video)
    assert not created
    assert [part.number for part in rest.parts] == missing
    send(rest, content)
    assert resume_upload(media=media, base_url=base_url).parts == ()
    assert complete_media(media=media).state == "arrived"
    assert complete_media(media=media).state == "arrived"
    assert resume_upload(media=media, base_url=base_url).parts == ()
    assert settled(media) == "stored"
    assert complete_media(media=media).state == "stored"
    assert b"".join(get_store().read(media.key)) == content
    assert list(store.uploads()) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("link", ["", "weak", "good"])
def test_no_byte_of_a_photo_passes_whoever_completes_it(
    store: Store, base_url: str, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = PHOTO + bytes(3 * PIECE_SIZE)
    media, upload, _created = declare(content, base_url=base_url, link=link)
    send(upload, content)

    def read(*_args: object) -> None:
        pytest.fail("bytes of the photo were read")

    if store.direct:
        for name in ("read", "head", "take_in"):
            monkeypatch.setattr(type(store), name, read)
    assert complete_media(media=media).state in ("stored", "arrived")
    monkeypatch.undo()
    assert settled(media) == "stored"


@pytest.mark.django_db(transaction=True)
def test_what_went_past_this_server_is_judged_by_the_worker(store: Store, base_url: str) -> None:
    text = "这是文本".encode() * 99
    media, upload, _created = declare(text, base_url=base_url)
    send(upload, text)
    complete_media(media=media)
    work.drain_all()
    media.refresh_from_db()
    assert (media.state, media.reject_code) == ("rejected", "type_mismatch")


@pytest.mark.django_db(transaction=True)
def test_two_requests_that_complete_at_once_agree(store: Store, base_url: str) -> None:
    media, upload, _created = declare(base_url=base_url)
    send(upload, PHOTO)
    states: list[str] = []
    complete = in_thread(
        lambda: states.append(complete_media(media=MediaObject.objects.get(id=media.id)).state)
    )
    together([complete] * 4)
    assert len(states) == 4
    assert set(states) in ({"stored"}, {"arrived"})
    assert settled(media) == "stored"


@pytest.mark.django_db(transaction=True)
def test_two_devices_resume_and_send_the_same_file_at_once(store: Store, base_url: str) -> None:
    content = PHOTO + bytes(4 * PIECE_SIZE)
    media, _upload, _created = declare(content, base_url=base_url)

    def resume_and_send() -> None:
        ours = MediaObject.objects.get(id=media.id)
        send(resume_upload(media=ours, base_url=base_url), content)
        complete_media(media=ours)

    together([in_thread(resume_and_send)] * 2)
    assert settled(media) == "stored"
    assert b"".join(get_store().read(media.key)) == content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("link", ["weak", "good"])
def test_an_upload_whose_parts_are_gone_begins_anew(
    store: Store, base_url: str, link: Link
) -> None:
    content = b"\x00\x00\x00\x18ftypmp42" + bytes(MULTIPART_ABOVE)
    media, upload, _created = declare(
        content, content_type="video/mp4", filename="v.mp4", base_url=base_url, link=link
    )
    put(upload.parts[0], content)
    for each in list(store.uploads()):  # as a bucket's lifecycle or an operator does
        each.forget()
    with pytest.raises(UploadMissing):
        complete_media(media=media)
    again = resume_upload(media=media, link=link, base_url=base_url)
    assert len(again.parts) == len(upload.parts)
    send(again, content)
    assert complete_media(media=media).state == "arrived"
    assert settled(media) == "stored"


def together(targets: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_thread(do: Callable[[], None]) -> Callable[[], None]:
    def target() -> None:
        try:
            do()
        finally:
            connection.close()

    return target
