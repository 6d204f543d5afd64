"""The contract that every store keeps: the folder, and S3 on two real servers."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, unquote, urlsplit

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured

from media_storage.errors import StoreUnavailable
from media_storage.stores import (
    MIN_PART_SIZE,
    MULTIPART_ABOVE,
    PIECE_SIZE,
    UPLOAD_TIME,
    Expected,
    Link,
    ObjectMissing,
    PartsMissing,
    Store,
    Upload,
    disposition,
    exists,
    missing_parts,
    open_store,
    part_size,
    reading_window,
    slices,
)
from media_storage.stores.folder import FolderStore
from server.core import clock
from tests.media_storage.conftest import bucket_url, finish, put

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = os.urandom(MULTIPART_ABOVE + 3_000_000)
PICTURE = os.urandom(4 * PIECE_SIZE + 1000)


def expected(
    content: bytes, key: str = "202611/23/abc", upload_id: str = "", link: Link = ""
) -> Expected:
    return Expected(
        key=key,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        content_type="image/jpeg",
        upload_id=upload_id,
        link=link,
    )


def begun(store: Store, base_url: str, content: bytes, link: Link) -> tuple[Expected, Upload]:
    """An upload in parts, and what it is from then on."""
    upload = store.upload_urls(expected(content, link=link), base_url=base_url, fresh=True)
    assert (upload.strategy, bool(upload.upload_id)) == ("multipart", True)
    return expected(content, upload_id=upload.upload_id, link=link), upload


def address(store: Store, base_url: str, **options: str) -> str:
    names = {"filename": "照片 1.jpg", "content_type": "image/jpeg", **options}
    return store.download_url(
        "202611/23/abc", expires_in=timedelta(minutes=5), base_url=base_url, **names
    )


def download(store: Store, base_url: str, **options: str) -> httpx.Response:
    return httpx.get(address(store, base_url, **options))


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


def test_the_beginning_is_read_alone(store: Store) -> None:
    store.write("a/b", [b"0123456789"])
    assert store.head("a/b", 4) == b"0123"
    assert store.head("a/b", 400) == b"0123456789"
    store.write("a/empty", [])
    assert store.head("a/empty", 4) == b""
    with pytest.raises(ObjectMissing):
        store.head("a/c", 4)


def test_what_a_killed_process_had_begun_to_write_is_cleared_and_nothing_else(
    store: Store, base_url: str
) -> None:
    known, upload = begun(store, base_url, LARGE, "good")
    store.write("a/b", [b"whole"])
    if isinstance(store, FolderStore):
        (store.root / "tmp" / "draft").write_bytes(b"half")
    else:
        store._begin("c/d", "image/jpeg")  # type: ignore[attr-defined]
    assert store.clear_drafts(before=clock.now() - timedelta(hours=1)) == 0
    assert store.clear_drafts(before=clock.now() + timedelta(hours=1)) == 1
    assert store.clear_drafts(before=clock.now() + timedelta(hours=1)) == 0
    assert b"".join(store.read("a/b")) == b"whole"
    assert store.upload_urls(known, base_url=base_url).upload_id == upload.upload_id


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
    for _time in range(2):
        assert finish(store, expected(content)) == expected(content).declared
    assert b"".join(store.read("202611/23/abc")) == content
    assert store.upload_urls(expected(content), base_url=base_url).parts == ()


def test_an_address_does_not_reach_a_completed_object(store: Store, base_url: str) -> None:
    [part] = store.upload_urls(expected(b"verified"), base_url=base_url, fresh=True).parts
    put(part, b"verified")
    finish(store, expected(b"verified"))
    put(part, b"replaced")
    finish(store, expected(b"verified"))
    assert b"".join(store.read("202611/23/abc")) == b"verified"


def test_other_bytes_of_the_right_length_never_pass_for_the_declared(
    store: Store, base_url: str
) -> None:
    [part] = store.upload_urls(expected(b"declared"), base_url=base_url, fresh=True).parts
    answer = put(part, b"replaced")
    if answer.status_code == 200:
        assert (
            finish(store, expected(b"declared")).sha256 == hashlib.sha256(b"replaced").hexdigest()
        )
    else:
        with pytest.raises(ObjectMissing):
            store.arrived(expected(b"declared"))


@pytest.mark.parametrize("other", [b"longer than was signed", b"short"])
def test_another_length_than_the_signed_one_is_refused(
    store: Store, base_url: str, other: bytes
) -> None:
    [part] = store.upload_urls(expected(b"ten bytes!"), base_url=base_url, fresh=True).parts
    answer = httpx.put(part.url, content=other, headers=dict(part.headers))
    assert 400 <= answer.status_code < 500
    with pytest.raises(ObjectMissing):
        finish(store, expected(b"ten bytes!"))


def test_a_tampered_address_is_refused(store: Store, base_url: str) -> None:
    [part] = store.upload_urls(expected(b"bytes"), base_url=base_url, fresh=True).parts
    changed = part.url[:-1] + ("0" if part.url[-1] != "0" else "1")
    assert httpx.put(changed, content=b"bytes", headers=dict(part.headers)).status_code == 403
    assert httpx.get(part.url).status_code == 403


def test_an_expired_address_is_refused_and_a_new_one_is_given(
    store: Store, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = clock.now() - UPLOAD_TIME - timedelta(minutes=1)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: earlier)
        [late] = store.upload_urls(expected(b"bytes"), base_url=base_url, fresh=True).parts
    assert put(late, b"bytes").status_code == 403
    [part] = store.upload_urls(expected(b"bytes"), base_url=base_url).parts
    assert put(part, b"bytes").status_code == 200


def test_completing_what_never_arrived_is_refused(store: Store) -> None:
    with pytest.raises(ObjectMissing):
        store.arrived(expected(b"bytes"))
    with pytest.raises(ObjectMissing):
        store.take_in(expected(b"bytes"))


@pytest.mark.parametrize(
    ("link", "content", "count"),
    [("good", LARGE, 3), ("weak", PICTURE, 5)],
    ids=["parts", "pieces"],
)
class TestUploadsInParts:
    def test_it_goes_in_parts_and_resumes(
        self, store: Store, base_url: str, link: Link, content: bytes, count: int
    ) -> None:
        known, upload = begun(store, base_url, content, link)
        assert len(upload.parts) == count
        # The last one first, and one twice: a phone may send in any order and again.
        for part in (upload.parts[-1], upload.parts[0], upload.parts[0]):
            assert put(part, content).status_code == 200

        with pytest.raises(PartsMissing) as missing:
            store.arrived(known)
        assert missing.value.numbers == tuple(range(2, count))
        with pytest.raises(PartsMissing):
            store.take_in(known)
        resumed = store.upload_urls(known, base_url=base_url)
        assert resumed.upload_id == upload.upload_id
        assert [each.number for each in resumed.received] == [1, count]
        for part in resumed.parts:
            assert put(part, content).status_code == 200

        for _time in range(2):
            assert finish(store, known) == known.declared
        assert b"".join(store.read(known.key)) == content

    def test_its_addresses_are_no_way_in_afterwards(
        self, store: Store, base_url: str, link: Link, content: bytes, count: int
    ) -> None:
        known, upload = begun(store, base_url, content, link)
        for part in upload.parts:
            put(part, content)
        finish(store, known)
        put(upload.parts[0], bytes(len(content)))
        finish(store, known)
        assert b"".join(store.read(known.key)) == content

    def test_one_wrong_part_is_found(
        self, store: Store, base_url: str, link: Link, content: bytes, count: int
    ) -> None:
        known, upload = begun(store, base_url, content, link)
        for part in upload.parts[1:]:
            put(part, content)
        put(upload.parts[0], b"?" + content[1:])
        assert store.arrived(known) is None
        assert store.take_in(known) != known.declared
        if link == "weak" or isinstance(store, FolderStore):
            assert not exists(store, known.key)

    def test_a_part_whose_checksum_is_sent_is_checked(
        self, store: Store, base_url: str, link: Link, content: bytes, count: int
    ) -> None:
        known, upload = begun(store, base_url, content, link)
        part = upload.parts[0]
        right = base64.b64encode(hashlib.md5(content[: part.size]).digest()).decode()
        wrong = base64.b64encode(bytes(16)).decode()
        assert put(part, content, **{"Content-MD5": wrong}).status_code == 400
        assert store.upload_urls(known, base_url=base_url).received == ()
        assert put(part, content, **{"Content-MD5": right}).status_code == 200

    def test_an_aborted_upload_begins_anew(
        self, store: Store, base_url: str, link: Link, content: bytes, count: int
    ) -> None:
        known, upload = begun(store, base_url, content, link)
        put(upload.parts[0], content)
        for _time in range(2):
            store.abort_upload(known.key, known.upload_id)
        again = store.upload_urls(known, base_url=base_url)
        assert len(again.parts) == count
        # Parts of the old addresses and of the new ones: two devices, or one that was told twice.
        for part in (upload.parts[0], *again.parts):
            put(part, content)
        finished = expected(content, upload_id=again.upload_id)
        assert finish(store, finished) == known.declared

    def test_two_devices_send_at_once(
        self, store: Store, base_url: str, link: Link, content: bytes, count: int
    ) -> None:
        known, upload = begun(store, base_url, content, link)
        other = store.upload_urls(known, base_url=base_url)
        with ThreadPoolExecutor(4) as devices:
            sent = [*upload.parts, *reversed(other.parts)]
            answers = devices.map(lambda part: put(part, content).status_code, sent)
            assert set(answers) == {200}
        assert finish(store, known) == known.declared


def test_many_pieces_are_only_put_together_as_the_declared_bytes(
    store: Store, base_url: str
) -> None:
    known, upload = begun(store, base_url, LARGE, "")
    assert len(upload.parts) == 44
    with ThreadPoolExecutor(4) as senders:
        list(senders.map(lambda part: put(part, LARGE), upload.parts))
    put(upload.parts[30], bytes(len(LARGE)))
    assert store.take_in(known) != known.declared
    assert not exists(store, known.key)

    # Nor does what was refused stand in the way of the right ones.
    again, upload = begun(store, base_url, LARGE, "")
    for part in upload.parts:
        put(part, LARGE)
    assert store.take_in(again) == again.declared
    assert b"".join(store.read(again.key)) == LARGE


def test_a_photo_that_was_not_sent_at_once_goes_on_in_pieces(store: Store, base_url: str) -> None:
    first = store.upload_urls(expected(PICTURE), base_url=base_url, fresh=True)
    assert (first.strategy, len(first.parts)) == ("single", 1)
    resumed = store.upload_urls(expected(PICTURE), base_url=base_url)
    assert (resumed.strategy, resumed.parts[0].size) == ("multipart", PIECE_SIZE)
    assert put(resumed.parts[0], PICTURE).status_code == 200
    # Another device still has the first address, and its line is better.
    assert put(first.parts[0], PICTURE).status_code == 200
    known = expected(PICTURE, upload_id=resumed.upload_id)
    rest = store.upload_urls(known, base_url=base_url).parts
    for part in rest:
        put(part, PICTURE)
    assert finish(store, known) == known.declared


@pytest.mark.parametrize("checksum", ["none", "sha256", "content-sha256"])
@pytest.mark.parametrize("server", ["s3_url", "ceph_url"])
def test_the_checksum_that_is_named_travels_with_the_request(
    request: pytest.FixtureRequest, server: str, checksum: str
) -> None:
    store = open_store(bucket_url(request.getfixturevalue(server), checksum=checksum))
    store.create()
    [part] = store.upload_urls(expected(b"declared"), base_url="", fresh=True).parts
    assert put(part, b"declared").status_code == 200
    assert finish(store, expected(b"declared")) == expected(b"declared").declared

    other = expected(b"declared", key="202611/23/other")
    [part] = store.upload_urls(other, base_url="", fresh=True).parts
    # Ceph 16 knows no x-amz-checksum-sha256, which is why nothing is believed that is not told.
    enforced = checksum == "content-sha256" or (checksum, server) == ("sha256", "s3_url")
    assert put(part, b"replaced").status_code == (400 if enforced else 200)


def test_what_is_stored_is_listed_in_order_from_any_place(store: Store, base_url: str) -> None:
    keys = ["a/b", "a/b-small.jpg", "a/b.x", "a/c/d", "b/a", "incomings/x", "z"]
    for key in reversed(keys):
        store.write(key, [b"bytes"])
    # What is being uploaded is not stored.
    _known, upload = begun(store, base_url, PICTURE, "weak")
    put(upload.parts[0], PICTURE)
    found = list(store.listed())
    assert [each.key for each in found] == sorted(keys)
    assert {each.size for each in found} == {5}
    assert all(abs(each.modified - clock.now()) < timedelta(minutes=1) for each in found)
    for place, key in enumerate(sorted(keys)):
        assert [each.key for each in store.listed(after=key)] == sorted(keys)[place + 1 :]
    assert [each.key for each in store.listed("a/b")] == ["a/b", "a/b-small.jpg", "a/b.x"]
    assert [each.key for each in store.listed("a/", after="a/b.x")] == ["a/c/d"]


@pytest.mark.parametrize(("link", "content"), [("", b"small"), ("good", LARGE), ("weak", PICTURE)])
def test_what_lies_beside_its_key_is_listed_and_forgotten(
    store: Store, base_url: str, link: Link, content: bytes
) -> None:
    # Undeclared bytes, where the store takes them: the others are under their key at once.
    declared = expected(content, key="202611/24/def", link=link)
    upload = store.upload_urls(declared, base_url=base_url, fresh=True)
    took = put(upload.parts[0], bytes(len(content))).status_code == 200
    found = list(store.uploads())
    assert bool(found) == took
    for each in found:
        assert each.key == declared.key or each.upload_id == upload.upload_id
        assert abs(each.modified - clock.now()) < timedelta(minutes=1)
        each.forget()
    assert list(store.uploads()) == []


def test_an_object_moves_to_another_key(store: Store) -> None:
    store.write("a/b", [b"bytes"])
    store.move("a/b", "trash/a/b")
    assert not exists(store, "a/b")
    assert b"".join(store.read("trash/a/b")) == b"bytes"
    store.write("a/b", [b"newer"])
    store.move("a/b", "trash/a/b")
    assert b"".join(store.read("trash/a/b")) == b"newer"
    with pytest.raises(ObjectMissing):
        store.move("a/b", "trash/a/b")


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
    ("asked", "status", "got", "told"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=4-400", 206, b"456789", "bytes 4-9/10"),
        ("bytes=10-", 416, None, None),
        ("", 200, b"0123456789", None),
    ],
)
def test_a_download_goes_on_from_any_byte(
    store: Store, base_url: str, asked: str, status: int, got: bytes | None, told: str | None
) -> None:
    store.write("202611/23/abc", [b"0123456789"])
    answer = httpx.get(address(store, base_url), headers={"Range": asked} if asked else {})
    assert answer.status_code == status
    if got is not None:
        assert (answer.content, answer.headers.get("Content-Range")) == (got, told)
        assert int(answer.headers["Content-Length"]) == len(got)


def test_a_download_is_not_sent_again_to_who_has_it(store: Store, base_url: str) -> None:
    store.write("202611/23/abc", [b"picture"])
    url = address(store, base_url)
    first = httpx.get(url)
    assert "immutable" in first.headers["Cache-Control"]
    again = httpx.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert address(store, base_url) == url


@pytest.mark.parametrize(
    ("size", "link", "resumed", "each"),
    [
        (2 * PIECE_SIZE, "weak", True, 0),
        (2 * PIECE_SIZE + 1, "weak", False, PIECE_SIZE),
        (5_000_000, "", False, 0),
        (5_000_000, "", True, PIECE_SIZE),
        (5_000_000, "good", True, 0),
        (MULTIPART_ABOVE + 1, "", False, PIECE_SIZE),
        (MULTIPART_ABOVE + 1, "good", False, MIN_PART_SIZE),
    ],
)
def test_parts_are_as_large_as_the_line_allows(
    size: int, link: Link, resumed: bool, each: int
) -> None:
    assert part_size(size, link=link, resumed=resumed) == each


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


@pytest.mark.parametrize("each", [PIECE_SIZE, MIN_PART_SIZE])
def test_parts_cover_the_object_without_gap(each: int) -> None:
    for size in (1, 5_242_880, 8_388_609, 104_857_600, 20_000_000_000):
        cut = slices(size, each)
        assert [part.number for part in cut] == list(range(1, len(cut) + 1))
        assert [part.offset for part in cut[1:]] == [part.offset + part.size for part in cut[:-1]]
        assert cut[-1].offset + cut[-1].size == size
        assert len(cut) <= 1000
        assert missing_parts(cut, []) == cut


@pytest.mark.parametrize(
    "url",
    [
        "folder://relative/path",
        "folder:///",
        "s3://host/bucket",
        "s3://KEY:SECRET@host",
        "s3://KEY:SECRET@host/bucket/folder",
        "s3://KEY:SECRET@host/bucket?checksum=md5",
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
        store.arrived(expected(b"bytes", key="a/b"))
