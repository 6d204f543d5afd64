"""Stores for tests: each behind its own real HTTP address."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from media_storage.stores import Part, Store, get_store, open_store

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper
    from pytest_django.live_server_helper import LiveServer


@pytest.fixture(params=["folder", "s3"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Runs the test once with every store."""
    if request.param == "folder":
        return f"folder://{request.getfixturevalue('tmp_path')}/store"
    address, _, options = request.getfixturevalue("s3_url").partition("?")
    server = address.rpartition("/")[0]
    return f"{server}/test-{secrets.token_hex(8)}?{options}"


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


def put(part: Part, content: bytes) -> httpx.Response:
    """What a phone does with one part."""
    piece = content[part.offset : part.offset + part.size]
    return httpx.put(part.url, content=piece, headers=dict(part.headers))
