"""The folder store's addresses, as strangers and broken phones use them."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient, Client

from media_storage.models import new_key
from media_storage.stores import Expected, get_store
from media_storage.stores.folder import Grant
from server.core import clock

CONTENT = b"0123456789" * 1000


class Counting(io.BytesIO):
    """A body that knows how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        got = super().read(size)
        self.taken += len(got)
        return got


def put_url(key: str = "a/b", size: int = len(CONTENT), sha256: str = "0" * 64) -> str:
    expected = Expected(key=key, size=size, sha256=sha256, content_type="image/jpeg")
    return get_store().upload_urls(expected, base_url="", fresh=True).parts[0].url


def get_url(key: str, content_type: str = "image/jpeg") -> str:
    return get_store().download_url(
        key,
        filename="照片.jpg",
        content_type=content_type,
        expires_in=timedelta(minutes=15),
        base_url="",
    )


def put(client: Client, url: str, content: bytes, **extra: Any) -> Any:
    return client.put(url, content, content_type="image/jpeg", **extra)


def files(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file()]


def test_an_upload_is_stored_where_its_address_says(client: Client, media_folder: Path) -> None:
    assert put(client, put_url(), CONTENT).status_code == 200
    assert (media_folder / "incoming/a/b").read_bytes() == CONTENT
    assert files(media_folder) == [media_folder / "incoming/a/b"]


def test_the_declared_bytes_go_straight_to_their_key(client: Client, media_folder: Path) -> None:
    url = put_url(sha256=hashlib.sha256(CONTENT).hexdigest())
    for _time in range(2):
        assert put(client, url, CONTENT).status_code == 200
        assert files(media_folder) == [media_folder / "objects/a/b"]
    assert put(client, url, CONTENT[::-1]).status_code == 200
    assert (media_folder / "objects/a/b").read_bytes() == CONTENT
    assert (media_folder / "incoming/a/b").read_bytes() == CONTENT[::-1]


def test_a_body_over_the_signed_size_is_refused_unread(client: Client, media_folder: Path) -> None:
    body = Counting(CONTENT)
    answer = client.generic(
        "PUT",
        put_url(size=100),
        b"",
        content_type="image/jpeg",
        **{"wsgi.input": body, "CONTENT_LENGTH": str(len(CONTENT))},
    )
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert body.taken == 0
    assert files(media_folder) == []


@pytest.mark.parametrize("length", ["", "abc", "99"])
def test_a_body_without_its_right_length_is_refused(
    client: Client, media_folder: Path, length: str
) -> None:
    answer = put(client, put_url(), CONTENT, CONTENT_LENGTH=length)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert files(media_folder) == []


def test_a_body_that_ends_early_leaves_nothing(client: Client, media_folder: Path) -> None:
    answer = client.generic(
        "PUT",
        put_url(),
        b"",
        content_type="image/jpeg",
        **{"wsgi.input": io.BytesIO(CONTENT[:500]), "CONTENT_LENGTH": str(len(CONTENT))},
    )
    assert answer.status_code == 400
    assert files(media_folder) == []


def test_a_full_disk_tells_the_phone_to_come_again(client: Client, media_folder: Path) -> None:
    media_folder.parent.mkdir(parents=True, exist_ok=True)
    media_folder.touch()  # no folder can be made below a file
    response = put(client, put_url(), CONTENT)
    assert response.status_code == 503
    assert response["Retry-After"] == "5"


def test_an_upload_is_read_in_pieces(client: Client, media_folder: Path) -> None:
    class Piecewise(Counting):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert 0 <= size <= 64 * 1024
            return super().read(size)

    content = bytes(1_000_000)
    answer = client.generic(
        "PUT",
        put_url(size=len(content)),
        b"",
        content_type="image/jpeg",
        **{"wsgi.input": Piecewise(content), "CONTENT_LENGTH": str(len(content))},
    )
    assert answer.status_code == 200
    assert (media_folder / "incoming/a/b").stat().st_size == len(content)


def test_an_address_is_for_one_method_only(client: Client) -> None:
    get_store().write("a/b", [CONTENT])
    assert client.get(put_url(key="c/d")).status_code == 403
    assert put(client, get_url("a/b"), CONTENT).status_code == 403
    assert client.post(get_url("a/b")).status_code == 405


@pytest.mark.django_db  # closing a streamed answer looks after the connection
def test_an_expired_address_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    get_store().write("a/b", [CONTENT])
    url = get_url("a/b")
    answer = client.get(url)
    answer.close()
    assert answer.status_code == 200
    later = clock.now() + timedelta(minutes=31)
    monkeypatch.setattr(clock, "now", lambda: later)
    answer = client.get(url)
    assert answer.status_code == 403
    assert answer.json()["detail"] == "链接无效或已过期，请重新获取"


@pytest.mark.parametrize("token", ["x", "x:y", "x.y:z", "%00", "督学"])
def test_a_made_up_address_is_refused(client: Client, token: str) -> None:
    assert client.get(f"/store/{token}").status_code == 403


@pytest.mark.django_db  # closing a streamed answer looks after the connection
def test_a_download_cannot_run_as_a_page_of_ours(client: Client) -> None:
    get_store().write("a/b", [b"<script>"])
    answer = client.get(get_url("a/b", "text/csv"))
    assert answer.getvalue() == b"<script>"
    answer.close()
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["Content-Length"] == "8"


@pytest.mark.django_db  # closing a streamed answer looks after the connection
def test_a_browser_keeps_a_picture_and_nobody_between(client: Client) -> None:
    get_store().write("a/b", [b"picture"])
    answer = client.get(get_url("a/b"))
    answer.close()
    assert answer["Cache-Control"].startswith("private, max-age=")
    assert answer["Cache-Control"].endswith("immutable")
    assert answer["Content-Type"] == "image/jpeg"
    assert answer["Content-Disposition"].startswith("inline; filename=")


def test_a_missing_file_is_not_found(client: Client) -> None:
    assert client.get(get_url("a/gone")).status_code == 404


def test_with_another_store_the_addresses_are_gone(client: Client, settings: Any) -> None:
    url = put_url()
    settings.MEDIA_STORE_URL = "s3://KEY:SECRET@127.0.0.1:9/bucket?scheme=http"
    assert put(client, url, CONTENT).status_code == 404


def ranged(client: Client, url: str, **headers: str) -> tuple[int, bytes, str | None]:
    answer = client.get(url, headers=headers)
    content = b"".join(answer) if answer.streaming else answer.content
    answer.close()
    return answer.status_code, content, answer.headers.get("Content-Range")


@pytest.mark.django_db  # closing a streamed answer looks after the connection
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=2-4", (206, b"234", "bytes 2-4/10000")),
        ("bytes=9990-20000", (206, b"0123456789", "bytes 9990-9999/10000")),
        ("bytes=-5", (206, b"56789", "bytes 9995-9999/10000")),
        ("bytes=-20000", (206, CONTENT, "bytes 0-9999/10000")),
        ("bytes=10000-", (416, b"", "bytes */10000")),
        ("bytes=-0", (416, b"", "bytes */10000")),
        ("bytes=5-2", (200, CONTENT, None)),
        ("bytes=0-1,4-5", (200, CONTENT, None)),
        ("bytes=-", (200, CONTENT, None)),
        ("lines=1-2", (200, CONTENT, None)),
        ("bytes=1" + "0" * 20 + "-", (200, CONTENT, None)),
    ],
)
def test_a_range_is_served_or_refused_or_overlooked(
    client: Client, asked: str, expected: tuple[int, bytes, str | None]
) -> None:
    get_store().write("a/b", [CONTENT])
    assert ranged(client, get_url("a/b"), Range=asked) == expected


@pytest.mark.django_db  # closing a streamed answer looks after the connection
def test_a_range_goes_on_only_with_the_same_content(client: Client) -> None:
    get_store().write("a/b", [CONTENT])
    url = get_url("a/b")
    head = client.head(url)
    head.close()
    etag = head["ETag"]
    assert (head["Accept-Ranges"], head["Content-Length"]) == ("bytes", "10000")
    asked = {"Range": "bytes=0-1"}
    assert ranged(client, url, **asked, **{"If-Range": etag})[:2] == (206, b"01")
    assert ranged(client, url, **asked, **{"If-Range": '"other"'})[:2] == (200, CONTENT)
    yesterday = "Wed, 21 Oct 2026 07:28:00 GMT"  # a weaker promise than we can keep
    assert ranged(client, url, **asked, **{"If-Range": yesterday})[:2] == (200, CONTENT)
    assert ranged(client, url, **{"If-None-Match": f'"other", {etag}'})[:2] == (304, b"")
    get_store().write("a/b", [CONTENT[::-1]])
    assert ranged(client, url, **asked, **{"If-Range": etag})[:2] == (200, CONTENT[::-1])


def test_a_body_that_was_spoiled_on_its_way_leaves_nothing(
    client: Client, media_folder: Path
) -> None:
    wrong = base64.b64encode(bytes(16)).decode()
    assert put(client, put_url(), CONTENT, headers={"Content-MD5": wrong}).status_code == 400
    assert files(media_folder) == []
    right = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    assert put(client, put_url(), CONTENT, headers={"Content-MD5": right}).status_code == 200


async def collected(answer: Any) -> bytes:
    return b"".join([chunk async for chunk in answer.streaming_content])


def test_a_download_under_asgi_is_streamed() -> None:
    from asgiref.sync import async_to_sync

    content = bytes(600_000)
    get_store().write("a/b", [content])

    async def fetch() -> tuple[Any, bytes]:
        answer = await AsyncClient().get(get_url("a/b"))
        return answer, await collected(answer)

    answer, got = async_to_sync(fetch)()
    assert (answer.status_code, answer["Content-Length"]) == (200, "600000")
    assert got == content


def test_a_range_under_asgi_is_streamed_too() -> None:
    from asgiref.sync import async_to_sync

    content = os.urandom(600_000)
    get_store().write("a/b", [content])

    async def fetch() -> tuple[Any, bytes]:
        answer = await AsyncClient().get(get_url("a/b"), headers={"Range": "bytes=5-500004"})
        return answer, await collected(answer)

    answer, got = async_to_sync(fetch)()
    assert (answer.status_code, answer["Content-Length"]) == (206, "500000")
    assert got == content[5:500_005]


def test_a_grant_reads_back_only_as_signed() -> None:
    expires = int(clock.now().timestamp()) + 60
    grant = Grant(method="PUT", place=f"incoming/{new_key()}", size=3, expires=expires)
    assert Grant.read(grant.sign(), method="PUT") == grant
    assert Grant.read(grant.sign(), method="GET") is None
    assert Grant.read(grant.sign() + "x", method="PUT") is None
