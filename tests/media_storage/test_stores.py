"""The contract that every store keeps: the folder, and S3 on a real server."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, unquote, urlsplit

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured

from media_storage.errors import StoreUnavailable
from media_storage.stores import (
    MULTIPART_ABOVE,
    Expected,
    ObjectMissing,
    PartsMissing,
    Store,
    disposition,
    exists,
    missing_parts,
    open_store,
    reading_window,
    slices,
)
from media_storage.stores.folder import FolderStore
from server.core import clock
from tests.media_storage.conftest import put

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = os.urandom(MULTIPART_ABOVE + 3_000_000)


def expected(content: bytes, key: str = "202611/23/abc", upload_id: str = "") -> Expected:
    return Expected(
        key=key,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        content_type="image/jpeg",
        upload_id=upload_id,
    )


def begun(store: Store, base_url: str) -> Expected:
    """A multipart upload that has an id."""
    upload = store.upload_urls(expected(LARGE), base_url=base_url, fresh=True)
    assert upload.upload_id
    return expected(LARGE, upload_id=upload.upload_id)


def download(store: Store, base_url: str, **options: str) -> httpx.Response:
    names = {"filename": "照片 1.jpg", "content_type": "image/jpeg", **options}
    url = store.download_url(
        "202611/23/abc", expires_in=timedelta(minutes=5), base_url=base_url, **names
    )
    return httpx.get(url)


@pytest.mark.parametrize("size", [0, 1, 70_000, 12_000_001])
def test_what_is_written_is_read_back_with_its_hash(store: Store, size: int) -> None:
    content = os.urandom(size)
    chunks = (content[start : start + 65_536] for start in range(0, size, 65_536))
    written = store.write("202611/23/abc", chunks)
    assert (written.size, written.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert b"".join(store.read("202611/23/abc")) == content
    assert store.size("202611/23/abc") == size


def test_writing_again_replaces(store: Store) -> None:
    store.write("a/b", [b"first"])
    store.write("a/b", [b"second"])
    assert b"".join(store.read("a/b")) == b"second"


def test_what_a_killed_process_had_begun_to_write_is_cleared_and_nothing_else(
    store: Store, base_url: str
) -> None:
    upload = begun(store, base_url)
    store.write("a/b", [b"whole"])
    if isinstance(store, FolderStore):
        (store.root / "tmp" / "draft").write_bytes(b"half")
    else:
        store._begin("c/d", "image/jpeg")  # type: ignore[attr-defined]
    assert store.clear_drafts(before=clock.now() - timedelta(hours=1)) == 0
    assert store.clear_drafts(before=clock.now() + timedelta(hours=1)) == 1
    assert store.clear_drafts(before=clock.now() + timedelta(hours=1)) == 0
    assert b"".join(store.read("a/b")) == b"whole"
    again = store.upload_urls(upload, base_url=base_url)
    assert again.upload_id == upload.upload_id


@pytest.mark.parametrize("sent", [b"x" * 1000, b"x" * 6_000_000])
def test_a_stream_that_breaks_leaves_nothing(store: Store, sent: bytes) -> None:
    def breaking() -> Iterator[bytes]:
        yield sent
        yield sent
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.write("a/b", breaking())
    assert not exists(store, "a/b")


def test_a_missing_object_is_missing_and_deleting_it_is_fine(store: Store) -> None:
    with pytest.raises(ObjectMissing):
        store.size("a/b")
    with pytest.raises(ObjectMissing):
        list(store.read("a/b"))
    store.delete("a/b")


def test_a_deleted_object_is_gone(store: Store) -> None:
    store.write("a/b", [b"bytes"])
    store.delete("a/b")
    assert not exists(store, "a/b")


def test_creating_twice_is_fine(store: Store) -> None:
    store.create()


def test_a_small_object_is_one_signed_put(store: Store, base_url: str) -> None:
    content = b"small picture"
    upload = store.upload_urls(expected(content), base_url=base_url, fresh=True)
    assert upload.strategy == "single"
    [part] = upload.parts
    assert (part.number, part.offset, part.size) == (1, 0, len(content))
    assert put(part, content).status_code == 200

    resumed = store.upload_urls(expected(content), base_url=base_url)
    assert (resumed.parts, [each.number for each in resumed.received]) == ((), [1])
    store.complete_upload(expected(content))
    store.complete_upload(expected(content))
    assert b"".join(store.read("202611/23/abc")) == content
    assert store.upload_urls(expected(content), base_url=base_url).parts == ()


def test_an_address_does_not_reach_a_completed_object(store: Store, base_url: str) -> None:
    [part] = store.upload_urls(expected(b"verified"), base_url=base_url, fresh=True).parts
    put(part, b"verified")
    store.complete_upload(expected(b"verified"))
    assert put(part, b"replaced").status_code == 200
    store.complete_upload(expected(b"verified"))
    assert b"".join(store.read("202611/23/abc")) == b"verified"


@pytest.mark.parametrize("other", [b"longer than was signed", b"short"])
def test_another_length_than_the_signed_one_is_refused(
    store: Store, base_url: str, other: bytes
) -> None:
    [part] = store.upload_urls(expected(b"ten bytes!"), base_url=base_url, fresh=True).parts
    answer = httpx.put(part.url, content=other, headers=dict(part.headers))
    assert 400 <= answer.status_code < 500
    with pytest.raises(ObjectMissing):
        store.complete_upload(expected(b"ten bytes!"))


def test_a_tampered_address_is_refused(store: Store, base_url: str) -> None:
    [part] = store.upload_urls(expected(b"bytes"), base_url=base_url, fresh=True).parts
    changed = part.url[:-1] + ("0" if part.url[-1] != "0" else "1")
    assert httpx.put(changed, content=b"bytes", headers=dict(part.headers)).status_code == 403
    assert httpx.get(part.url).status_code == 403


def test_completing_what_never_arrived_is_refused(store: Store) -> None:
    with pytest.raises(ObjectMissing):
        store.complete_upload(expected(b"bytes"))


def test_a_large_object_goes_in_parts_and_resumes(store: Store, base_url: str) -> None:
    upload = store.upload_urls(expected(LARGE), base_url=base_url, fresh=True)
    assert (upload.strategy, len(upload.parts)) == ("multipart", 3)
    # The last one first, and one twice: a phone may send in any order and again.
    for part in (upload.parts[2], upload.parts[0], upload.parts[0]):
        assert put(part, LARGE).status_code == 200

    known = expected(LARGE, upload_id=upload.upload_id)
    with pytest.raises(PartsMissing) as missing:
        store.complete_upload(known)
    assert missing.value.numbers == (2,)
    resumed = store.upload_urls(known, base_url=base_url)
    assert resumed.upload_id == upload.upload_id
    assert [each.number for each in resumed.received] == [1, 3]
    [rest] = resumed.parts
    assert put(rest, LARGE).status_code == 200

    store.complete_upload(known)
    store.complete_upload(known)
    assert hashlib.sha256(b"".join(store.read(known.key))).digest() == (
        hashlib.sha256(LARGE).digest()
    )


def test_the_parts_of_a_completed_upload_are_no_way_in(store: Store, base_url: str) -> None:
    upload = store.upload_urls(expected(LARGE), base_url=base_url, fresh=True)
    for part in upload.parts:
        put(part, LARGE)
    known = expected(LARGE, upload_id=upload.upload_id)
    store.complete_upload(known)
    put(upload.parts[0], bytes(len(LARGE)))
    store.complete_upload(known)
    assert next(store.read(known.key))[:100] == LARGE[:100]


def test_an_aborted_upload_begins_anew(store: Store, base_url: str) -> None:
    known = begun(store, base_url)
    [first, *_] = store.upload_urls(known, base_url=base_url).parts
    put(first, LARGE)
    store.abort_upload(known.key, known.upload_id)
    store.abort_upload(known.key, known.upload_id)
    assert len(store.upload_urls(known, base_url=base_url).parts) == 3


def test_a_download_has_its_name_and_type(store: Store, base_url: str) -> None:
    store.write("202611/23/abc", [b"picture"])
    answer = download(store, base_url)
    assert (answer.status_code, answer.content) == (200, b"picture")
    assert answer.headers["Content-Type"] == "image/jpeg"
    name = quote("照片 1.jpg")
    shown = answer.headers["Content-Disposition"]
    assert shown == f"inline; filename=\"_ 1.jpg\"; filename*=UTF-8''{name}"
    kept = re.fullmatch(r"private, max-age=(\d+), immutable", answer.headers["Cache-Control"])
    assert kept
    assert 290 < int(kept[1]) <= 600  # no longer than the address lasts


def test_an_address_stays_the_same_for_a_while_and_lasts_longer(
    store: Store, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a browser that opens a page again has its pictures already."""
    store.write("202611/23/abc", [b"picture"])
    begins = reading_window(timedelta(minutes=5))
    addresses = []
    for seconds in (1, 299, 301):
        moment = begins + timedelta(seconds=seconds)
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        addresses.append(
            store.download_url(
                "202611/23/abc",
                filename="a.jpg",
                content_type="image/jpeg",
                expires_in=timedelta(minutes=5),
                base_url=base_url,
            )
        )
    monkeypatch.undo()
    assert addresses[0] == addresses[1] != addresses[2]
    assert httpx.get(addresses[0]).content == b"picture"


def test_an_upload_is_signed_as_of_now(store: Store, base_url: str) -> None:
    """Its time is for a phone on a weak link: no window may cut it short."""
    if not store.direct:
        pytest.skip("the folder signs the moment of its end")
    [part] = store.upload_urls(expected(b"bytes"), base_url=base_url, fresh=True).parts
    signed = parse_qs(urlsplit(part.url).query)["X-Amz-Date"][0]
    began = datetime.strptime(signed, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs((clock.now() - began).total_seconds()) < 60


def test_a_document_is_saved_rather_than_shown(store: Store, base_url: str) -> None:
    store.write("202611/23/abc", [b"a,b"])
    answer = download(store, base_url, filename="a.csv", content_type="text/csv")
    assert answer.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("filename", "plain"),
    [
        ("kitchen 1.jpg", "kitchen 1.jpg"),
        ("食堂“留样”.jpg", "_.jpg"),
        ('a"; filename="b.exe', "a_; filename=_b.exe"),
        ("100%.jpg", "100_.jpg"),
    ],
)
def test_a_name_travels_whole_and_cannot_end_its_header(filename: str, plain: str) -> None:
    header = disposition(filename, "image/jpeg")
    assert header.startswith(f'inline; filename="{plain}"')
    assert header.isascii()
    if plain != filename:
        assert unquote(header.rpartition("filename*=UTF-8''")[2]) == filename


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("image/jpeg", "inline"),
        ("application/pdf", "inline"),
        ("video/mp4", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html", "attachment"),
        ("text/csv", "attachment"),
        ("application/octet-stream", "attachment"),
        ("", "attachment"),
    ],
)
def test_only_what_runs_nothing_is_shown_in_place(content_type: str, kind: str) -> None:
    assert disposition("a", content_type).partition(";")[0] == kind


def test_parts_cover_the_object_without_gap() -> None:
    for size in (1, 5_242_880, 8_388_609, 104_857_600, 20_000_000_000):
        cut = slices(size)
        assert [each.number for each in cut] == list(range(1, len(cut) + 1))
        assert [each.offset for each in cut[1:]] == [each.offset + each.size for each in cut[:-1]]
        assert cut[-1].offset + cut[-1].size == size
        assert len(cut) <= 1000
        assert missing_parts(size, []) == cut


@pytest.mark.parametrize(
    "url",
    [
        "folder://relative/path",
        "folder:///",
        "s3://host/bucket",
        "s3://KEY:SECRET@host",
        "s3://KEY:SECRET@host/bucket/folder",
        "ftp://host/path",
        "",
    ],
)
def test_a_wrong_address_of_a_store_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        open_store(url)


def test_a_server_that_is_away_is_unavailable() -> None:
    store = open_store("s3://KEY:SECRET@127.0.0.1:9/bucket?scheme=http&path_style=1")
    with pytest.raises(StoreUnavailable):
        store.size("a/b")


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: object) -> None:
    (tmp_path / "file").touch()  # type: ignore[operator]
    with pytest.raises(StoreUnavailable):
        open_store(f"folder://{tmp_path}/file").write("a/b", [b"bytes"])


@pytest.mark.parametrize("key", ["../secret", "a/../../b", "/etc/passwd", "a//b", ".hidden", ""])
def test_a_folder_never_leaves_its_root(tmp_path: object, key: str) -> None:
    with pytest.raises(ValueError, match="not a place"):
        open_store(f"folder://{tmp_path}/store").write(key, [b"bytes"])


def test_a_folder_that_cannot_take_an_upload_in_is_unavailable(tmp_path: object) -> None:
    store = open_store(f"folder://{tmp_path}/store")
    store.write_at("incoming/a/b", [b"bytes"])  # type: ignore[attr-defined]
    (tmp_path / "store" / "objects").touch()  # type: ignore[operator]
    with pytest.raises(StoreUnavailable):
        store.complete_upload(expected(b"bytes", key="a/b"))
