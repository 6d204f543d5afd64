"""Stores for tests: each behind its own real HTTP address."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from media_storage.stores import Expected, Part, Store, Written, get_store, open_store

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper
    from pytest_django.live_server_helper import LiveServer


# Swift is told to check what is sent to it, Ceph is not: the worker reads it.
@pytest.fixture(params=["folder", "swift", "ceph"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Runs the test once with every store."""
    if request.param == "folder":
        return f"folder://{request.getfixturevalue('tmp_path')}/store"
    if request.param == "swift":
        return bucket_url(request.getfixturevalue("s3_url"), checksum="content-sha256")
    return bucket_url(request.getfixturevalue("ceph_url"))


def bucket_url(server_url: str, **options: str) -> str:
    """A bucket of a new name on this server."""
    address, _, given = server_url.partition("?")
    more = "".join(f"&{name}={value}" for name, value in options.items())
    return f"{address.rpartition('/')[0]}/test-{secrets.token_hex(8)}?{given}{more}"


@pytest.fixture
def store(store_url: str, settings: SettingsWrapper) -> Iterator[Store]:
    """An empty store, which is also the product's."""
    settings.MEDIA_STORE_URL = store_url
    made = get_store()
    made.create()
    yield made
    open_store.cache_clear()


@pytest.fixture
def base_url(store: Store, request: pytest.FixtureRequest) -> str:
    """Where signed addresses lead: this server for the folder, nowhere of ours for S3."""
    if store.direct:
        return "http://unused.example"
    server: LiveServer = request.getfixturevalue("live_server")
    return server.url


def put(part: Part, content: bytes, **headers: str) -> httpx.Response:
    """What a phone does with one part."""
    piece = content[part.offset : part.offset + part.size]
    return httpx.put(part.url, content=piece, headers={**part.headers, **headers})


def finish(store: Store, expected: Expected) -> Written:
    """What the api and, where that cannot say, the worker do when all was sent."""
    return store.arrived(expected) or store.take_in(expected)
