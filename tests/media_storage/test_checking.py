"""Every finding of `media_store check`, provoked on a real server where it can be; and the set-up."""

from __future__ import annotations

import http.client
import http.server
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import httpx
import pytest
from botocore.compat import get_current_datetime
from django.core.management import CommandError, call_command
from django.utils import translation

from media_storage import checking, housekeeping
from media_storage.checking import FATAL, FINDINGS, check
from media_storage.models import Housekeeping
from media_storage.stores import Store, get_store, open_store
from media_storage.stores.folder import FolderStore
from media_storage.stores.s3 import S3Store
from server.core import clock
from tests.media_storage.conftest import bucket_url
from tests.services.ceph import ACCESS_KEY, READER_KEY, READER_SECRET, SECRET_KEY

pytestmark = pytest.mark.django_db

PAGES = "https://duxue.example"


def codes(store: Store) -> list[str]:
    return [finding.code for finding in check(store)]


def opened(url: str) -> S3Store:
    store = open_store(url)
    assert isinstance(store, S3Store)
    return store


@pytest.fixture(autouse=True)
def pages(settings: Any) -> None:
    settings.PUBLIC_URL = PAGES


@pytest.fixture
def ceph(ceph_url: str, settings: Any) -> Iterator[S3Store]:
    """A bucket as `create` makes it."""
    store = made(bucket_url(ceph_url, checksum="content-sha256"), settings)
    yield store
    # Its server looks at one lifecycle after the other, and a test waits for that.
    store.ask("delete_bucket_lifecycle")


@pytest.fixture
def swift(s3_url: str, settings: Any) -> S3Store:
    return made(bucket_url(s3_url, checksum="content-sha256"), settings)


def made(url: str, settings: Any) -> S3Store:
    settings.MEDIA_STORE_URL = url
    call_command("media_store", "create", stdout=io.StringIO())
    return opened(url)


def test_a_bucket_as_create_makes_it_is_fine(ceph: S3Store, swift: S3Store) -> None:
    assert codes(ceph) == []
    # Swift has no lifecycle, and its CORS is the operator's.
    assert codes(swift) == ["lifecycle_unknown"]
    for store in (ceph, swift):
        assert list(store.listed()) == []
        assert list(store.uploads()) == []


@pytest.mark.parametrize("server", ["s3_url", "ceph_url"])
class TestWhereNothingWorks:
    def test_wrong_keys(self, server: str, request: pytest.FixtureRequest) -> None:
        url = bucket_url(request.getfixturevalue(server))
        assert codes(opened(url.replace(SECRET_KEY, "another"))) == ["credentials"]
        assert codes(opened(url.replace("://", "://x", 1))) == ["credentials"]

    def test_no_such_bucket(self, server: str, request: pytest.FixtureRequest) -> None:
        assert codes(opened(bucket_url(request.getfixturevalue(server)))) == ["no_bucket"]

    def test_a_clock_that_is_refused(self, server: str, request: pytest.FixtureRequest) -> None:
        store = opened(bucket_url(request.getfixturevalue(server)))
        store.create()
        late = get_current_datetime() + timedelta(minutes=20)
        with mock.patch("botocore.auth.get_current_datetime", return_value=late):
            assert codes(store) == ["clock"]

    def test_a_clock_that_will_be(
        self, server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = opened(bucket_url(request.getfixturevalue(server)))
        store.create()
        now = clock.now
        monkeypatch.setattr(clock, "now", lambda: now() + timedelta(minutes=6))
        assert "clock" in codes(store)


def test_a_server_that_is_not_there() -> None:
    url = "s3://KEY:SECRET@127.0.0.1:9/bucket?scheme=http&path_style=1"
    assert codes(opened(url)) == ["unreachable"]


def test_a_wrong_region(swift: S3Store, settings: Any) -> None:
    # The server's own requests are led to the right one; a phone's address is refused.
    url = settings.MEDIA_STORE_URL.replace("region=us-east-1", "region=cn-north-9")
    found = {finding.code: finding for finding in check(opened(url))}
    assert "us-east-1" in found["region"].detail


class TestRights:
    @pytest.fixture
    def reader(self, ceph: S3Store, settings: Any) -> Callable[..., S3Store]:
        """A store for somebody whom the bucket's policy lets do only these."""

        def reader(*actions: str, never: str = "PutBucketAcl") -> S3Store:
            who = {
                "Principal": {"AWS": [f"arn:aws:iam:::user/{READER_KEY}"]},
                "Resource": [f"arn:aws:s3:::{ceph.bucket}", f"arn:aws:s3:::{ceph.bucket}/*"],
            }
            allowed = {**who, "Effect": "Allow", "Action": [f"s3:{name}" for name in actions]}
            denied = {**who, "Effect": "Deny", "Action": [f"s3:{never}"]}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed, denied]})
            ceph.ask("put_bucket_policy", Policy=policy)
            keys = f"{READER_KEY}:{READER_SECRET}@"
            return opened(settings.MEDIA_STORE_URL.replace(f"{ACCESS_KEY}:{SECRET_KEY}@", keys))

        return reader

    def test_none_to_write(self, reader: Callable[..., S3Store]) -> None:
        assert "no_write" in codes(reader("ListBucket", "GetObject"))

    def test_none_to_read(self, reader: Callable[..., S3Store]) -> None:
        # Who wrote an object may read it, so the policy has to say no.
        rights = ("ListBucket", "PutObject", "DeleteObject")
        assert "no_read" in codes(reader(*rights, never="GetObject"))

    def test_none_to_delete(self, reader: Callable[..., S3Store]) -> None:
        assert "no_delete" in codes(reader("ListBucket", "GetObject", "PutObject"))

    def test_none_to_list(self, reader: Callable[..., S3Store]) -> None:
        assert codes(reader("GetObject", "PutObject", "DeleteObject"))[0] == "no_list"

    def test_none_at_all(self, reader: Callable[..., S3Store]) -> None:
        found = codes(reader("GetBucketLocation"))
        assert found[:1] == ["no_list"]
        assert "no_write" in found


class TestWhatIsStated:
    def test_a_checksum_that_nobody_checks(self, ceph_url: str, settings: Any) -> None:
        store = made(bucket_url(ceph_url, checksum="sha256"), settings)
        assert codes(store) == ["checksum"]
        store.ask("delete_bucket_lifecycle")

    def test_a_checksum_that_could_be_used(self, ceph_url: str, settings: Any) -> None:
        store = made(bucket_url(ceph_url), settings)
        [finding] = check(store)
        assert (finding.code, finding.detail) == ("checksum_unused", "&checksum=content-sha256")
        store.ask("delete_bucket_lifecycle")

    def test_both_kinds_work_where_they_do(self, s3_url: str, settings: Any) -> None:
        store = made(bucket_url(s3_url, checksum="sha256"), settings)
        assert codes(store) == ["lifecycle_unknown"]


class TestTheBucket:
    def test_strangers_read_it(self, ceph: S3Store) -> None:
        ceph.ask("put_bucket_acl", ACL="public-read")
        assert codes(ceph) == ["public"]

    def test_strangers_read_what_is_in_it(self, ceph: S3Store) -> None:
        everybody = {
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{ceph.bucket}/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
        ceph.ask("put_bucket_policy", Policy=policy)
        assert codes(ceph) == ["public"]

    def test_pages_may_not_upload(self, ceph: S3Store) -> None:
        ceph.ask("delete_bucket_cors")
        assert codes(ceph) == ["cors"]

    def test_pages_are_unknown(self, ceph: S3Store, settings: Any) -> None:
        settings.PUBLIC_URL = ""
        assert codes(ceph) == ["cors_unknown"]

    def test_a_lifecycle_deletes_photos(self, ceph: S3Store) -> None:
        rules = ceph.ask("get_bucket_lifecycle_configuration")["Rules"]
        theirs = {
            "ID": "old-things",
            "Status": "Enabled",
            "Filter": {"Prefix": "2026"},
            "Expiration": {"Days": 365},
        }
        ceph.ask(
            "put_bucket_lifecycle_configuration",
            LifecycleConfiguration={"Rules": [*rules, theirs]},
        )
        [finding] = check(ceph)
        assert (finding.code, finding.detail) == ("lifecycle_deletes", "old-things")

    def test_no_lifecycle(self, ceph: S3Store) -> None:
        ceph.ask("delete_bucket_lifecycle")
        assert codes(ceph) == ["lifecycle_missing"]

    def test_a_lifecycle_archives_photos(
        self, ceph: S3Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # This server has no other storage class to be moved to, so only its answer is made up.
        rule = {
            "ID": "cold",
            "Status": "Enabled",
            "Filter": {},
            "Transitions": [{"Days": 30, "StorageClass": "DEEP_ARCHIVE"}],
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }
        ask = S3Store.ask

        def answer(store: S3Store, operation: str, **parameters: Any) -> dict[str, Any]:
            if operation == "get_bucket_lifecycle_configuration":
                return {"Rules": [rule]}
            return ask(store, operation, **parameters)

        monkeypatch.setattr(S3Store, "ask", answer)
        assert codes(ceph) == ["lifecycle_archives"]

    def test_versions_stay_of_what_is_deleted(self, ceph: S3Store) -> None:
        ceph.ask("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})
        assert codes(ceph) == ["versions"]


class _Front(http.server.BaseHTTPRequestHandler):
    """Passes requests on to a real server, save what a test has it do."""

    protocol_version = "HTTP/1.1"
    target: ClassVar[int]
    mend: ClassVar[Callable[[_Front, bytes], tuple[int, bytes] | None]]

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (instead := type(self).mend(self, body)) is not None:
            status, content = instead
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        far = http.client.HTTPConnection("127.0.0.1", self.target, timeout=30)
        far.request(self.command, self.path, body, dict(self.headers))
        answer = far.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "date"):
                self.send_header(name, value)
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        far.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_OPTIONS = _pass  # noqa: N815 - its names

    def log_message(self, *_args: Any) -> None:
        pass


Front = Callable[..., Any]


@contextmanager
def front_of(store_url: str, mend: Callable[[_Front, bytes], Any]) -> Iterator[str]:
    """The store behind a server that does one thing differently."""
    port = int(store_url.partition("@")[2].partition("/")[0].rpartition(":")[2])
    handler = type("Handler", (_Front,), {"target": port, "mend": staticmethod(mend)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield store_url.replace(f":{port}/", f":{server.server_address[1]}/")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def no_multipart(front: _Front, _body: bytes) -> tuple[int, bytes] | None:
    refusal = b"<Error><Code>NotImplemented</Code></Error>"
    return (501, refusal) if front.command == "POST" and "uploads" in front.path else None


def no_ranges(front: _Front, _body: bytes) -> None:
    del front.headers["Range"]


def no_copies(front: _Front, _body: bytes) -> tuple[int, bytes] | None:
    refusal = b"<Error><Code>AccessDenied</Code></Error>"
    return (403, refusal) if front.headers.get("x-amz-copy-source") else None


def another_host(front: _Front, _body: bytes) -> None:
    """As a proxy that puts its own name for the server's: the signature of an address is void."""
    if "X-Amz-Signature" in front.path:
        front.headers.replace_header("Host", "proxy.example")


def refused(front: _Front, _body: bytes) -> tuple[int, bytes] | None:
    """As a provider that has locked an account."""
    return (403, b"<Error><Code>UserDisable</Code></Error>")


def other_bytes(front: _Front, _body: bytes) -> tuple[int, bytes] | None:
    is_object = front.command == "GET" and "check/" in front.path
    return (200, b"cached for somebody else") if is_object else None


@pytest.mark.parametrize(
    ("mend", "code"),
    [
        (no_multipart, "no_multipart"),
        (no_ranges, "no_ranges"),
        (no_copies, "no_copy"),
        (another_host, "no_address"),
        (other_bytes, "other_bytes"),
        (refused, "refused"),
    ],
)
def test_what_stands_between_is_found(
    ceph: S3Store, settings: Any, mend: Callable[..., Any], code: str
) -> None:
    with front_of(settings.MEDIA_STORE_URL, mend) as url:
        assert code in codes(opened(url))
    assert list(ceph.listed()) == []


def test_a_server_that_takes_any_length_is_found(ceph: S3Store, settings: Any) -> None:
    def any_length(front: _Front, body: bytes) -> tuple[int, bytes] | None:
        return (200, b"") if body == checking.CONTENT[:-1] else None

    with front_of(settings.MEDIA_STORE_URL, any_length) as url:
        assert "length" in codes(opened(url))


class TestFolders:
    @pytest.fixture
    def folder(self, settings: Any, tmp_path: Path) -> FolderStore:
        settings.MEDIA_STORE_URL = f"folder://{tmp_path}/media"
        store = get_store()
        store.create()
        assert isinstance(store, FolderStore)
        return store

    def test_one_that_works(self, folder: FolderStore) -> None:
        assert codes(folder) == []

    def test_one_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert codes(open_store(f"folder://{tmp_path}/file/media")) == ["no_write"]

    def test_one_that_others_read(self, folder: FolderStore) -> None:
        folder.root.chmod(0o755)
        assert codes(folder) == ["open_folder"]

    def test_a_full_disk(self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checking, "LITTLE", 1.0)  # every disk has something on it
        assert codes(folder) == ["little_space"]

    def test_another_database(self, folder: FolderStore) -> None:
        housekeeping.sweep_now(say=lambda _what, _which: None)
        assert codes(folder) == []
        Housekeeping.objects.update(mark="another", next_mark="")
        assert codes(folder) == ["not_ours"]


class TestTheCommand:
    def test_it_says_what_is_wrong_and_ends_with_an_error(
        self, ceph: S3Store, settings: Any
    ) -> None:
        ceph.ask("delete_bucket_cors")
        out = io.StringIO()
        with pytest.raises(CommandError, match="1 wrong"):
            call_command("media_store", "check", stdout=out)
        assert "✗ [cors] 网页不能直接上传" in out.getvalue()
        out = io.StringIO()
        with pytest.raises(CommandError):
            call_command("media_store", "check", "--language", "en", stdout=out)
        assert "✗ [cors] Pages cannot upload" in out.getvalue()
        assert PAGES in out.getvalue()

    def test_what_only_hints_is_no_error(self, ceph: S3Store) -> None:
        ceph.ask("delete_bucket_lifecycle")
        out = io.StringIO()
        call_command("media_store", "check", stdout=out)
        assert "· [lifecycle_missing]" in out.getvalue()
        assert "works" in out.getvalue()

    def test_create_mends_what_it_can_and_starts_with_what_it_cannot(
        self, ceph: S3Store, settings: Any
    ) -> None:
        ceph.ask("delete_bucket_cors")
        ceph.ask("put_bucket_acl", ACL="public-read")
        out = io.StringIO()
        call_command("media_store", "create", stdout=out)  # an error, but photos can be taken in
        assert "[public]" in out.getvalue()
        assert "[cors]" not in out.getvalue()
        settings.MEDIA_STORE_URL = settings.MEDIA_STORE_URL.replace(SECRET_KEY, "another")
        with pytest.raises(CommandError, match="does not work"):
            call_command("media_store", "create", stdout=out)

    def test_create_leaves_the_operators_rules(self, ceph: S3Store) -> None:
        theirs = {
            "ID": "theirs",
            "Status": "Enabled",
            "Filter": {"Prefix": "incoming/x"},
            "Expiration": {"Days": 3},
        }
        ceph.ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [theirs]})
        rule = {"AllowedOrigins": ["https://other.example"], "AllowedMethods": ["GET"]}
        ceph.ask("put_bucket_cors", CORSConfiguration={"CORSRules": [rule]})
        for _time in range(2):
            call_command("media_store", "create", stdout=io.StringIO())
        rules = ceph.ask("get_bucket_lifecycle_configuration")["Rules"]
        assert {each["ID"] for each in rules} == {"theirs", "duxue-uploads", "duxue-parts"}
        origins = [each["AllowedOrigins"] for each in ceph.ask("get_bucket_cors")["CORSRules"]]
        assert sorted(origins) == [[PAGES], ["https://other.example"]]

    def test_what_a_store_has_not_is_said(self, swift: S3Store) -> None:
        out = io.StringIO()
        call_command("media_store", "create", stdout=out)
        assert "CORS: 501 NotImplemented" in out.getvalue()
        assert "lifecycle: 400 MalformedXML" in out.getvalue()


def test_a_browsers_upload_passes_the_preflight_that_create_made(ceph: S3Store) -> None:
    answer = httpx.options(
        f"{ceph.signer.base}/x",
        headers={
            "Origin": PAGES,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "content-type, x-amz-content-sha256",
        },
    )
    assert answer.headers["Access-Control-Allow-Origin"] == PAGES
    assert answer.headers["Access-Control-Expose-Headers"].startswith("ETag")


def test_the_lifecycle_clears_uploads_and_nothing_else(ceph_url: str, settings: Any) -> None:
    settings.MEDIA_UPLOAD_KEPT_DAYS = -5  # two days in all, which are two seconds on this server
    # With days of a second, its server never comes to the end of many buckets: the first is served.
    url = bucket_url(ceph_url, checksum="content-sha256").replace("/test-", "/0-lifecycle-")
    store = made(url, settings)
    store.write("202611/25/photo", [b"bytes"])
    store.write("incoming/202611/25/piece/part-1", [b"bytes"])
    upload_id = store._begin("incoming/202611/25/video", "video/mp4")
    deadline = time.monotonic() + 60
    while list(store.uploads()):
        assert time.monotonic() < deadline, upload_id
        time.sleep(0.5)  # between two looks; the deadline is above
    assert [each.key for each in store.listed()] == ["202611/25/photo"]
    store.ask("delete_bucket_lifecycle")


def test_every_finding_has_words_in_both_languages_and_a_test() -> None:
    tests = Path(__file__).read_text()
    for code, (_severity, text, mend) in FINDINGS.items():
        assert f'"{code}"' in tests or f"[{code}]" in tests, code
        for words in (text, mend):
            with translation.override("zh-hans"):
                chinese = str(words)
            with translation.override("en"):
                assert str(words) != chinese, code
    assert FINDINGS.keys() >= FATAL
