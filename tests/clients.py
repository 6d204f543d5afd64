"""A phone: a client of the JSON API that logs in as the app does.

ada = phone(cast.ada)
visits = ada.get("/visits")["results"]
ada.post(f"/visits/{visits[0]['id']}/check-in", {"id": new(), "at": now(), "location": None})
ada.get("/visits/…", status=404)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.test import Client
from django.utils import timezone

from mobile_api import feed
from server.core import changes
from server.grid.models import User
from tests.cast import PASSWORD

BASE = "/api/v1"


def new() -> str:
    """An id of the phone's making."""
    return str(uuid4())


def now() -> str:
    """The phone's clock."""
    return timezone.now().isoformat()


class Phone:
    """JSON in, JSON out; a status other than the expected one fails the test with the answer."""

    def __init__(self, token: str = "", device_id: str = "") -> None:
        self.client = Client(raise_request_exception=False)
        self.token = token
        self.device_id = device_id

    def log_in(self, username: str, password: str = PASSWORD) -> dict[str, Any]:
        """As the app's first screen does; later calls carry the token."""
        self.device_id = self.device_id or new()
        device = {"id": self.device_id, "name": "测试手机", "platform": "android"}
        body = {"username": username, "password": password, "device": device}
        session = self.post("/auth/sessions", body, status=201)
        self.token = session["token"]
        return session

    def get(self, path: str, *, status: int = 200, **query: Any) -> Any:
        return self.call("GET", path, status=status, query=query)

    def post(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        return self.call("POST", path, body, status=status)

    def put(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        return self.call("PUT", path, body, status=status)

    def delete(self, path: str, *, status: int = 204) -> Any:
        return self.call("DELETE", path, status=status)

    def call(
        self, method: str, path: str, body: Any = None, *, status: int = 200, query: Any = None
    ) -> Any:
        """Call and return the answer's JSON; None where there is none."""
        content = b"" if body is None else json.dumps(body, cls=DjangoJSONEncoder).encode()
        response = self.raw(method, path, content, query=query)
        assert response.status_code == status, response.content.decode()
        return response.json() if response.content else None

    def raw(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        *,
        content_type: str = "application/json",
        query: Any = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> Any:
        """Call with these very bytes and return Django's response."""
        return self.client.generic(
            method,
            path if path.startswith("/api/") else BASE + path,
            content,
            content_type=content_type,
            query_params=query or {},
            headers=self._headers() | (headers or {}),
            **extra,
        )

    def upload(self, path: str, fields: dict[str, Any], *, status: int = 201) -> Any:
        """POST multipart/form-data; files are file objects or lists of them."""
        response = self.client.post(BASE + path, fields, headers=self._headers())
        assert response.status_code == status, response.content.decode()
        return response.json()

    def every(self, path: str, **query: Any) -> list[Any]:
        """All results of a list, page after page."""
        results: list[Any] = []
        cursor = None
        while True:
            page = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            results += page["results"]
            cursor = page["next"]
            if cursor is None:
                return results

    def sync(self, cursor: str | None = None, **query: Any) -> tuple[list[Any], str]:
        """All changes after the cursor, and the next cursor."""
        found: list[Any] = []
        while True:
            page = self.get("/sync", **query, **({"cursor": cursor} if cursor else {}))
            found += page["changes"]
            cursor = page["cursor"]
            if not page["has_more"]:
                return found, cursor

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


PhoneOf = Callable[[User], Phone]


@pytest.fixture
def settled(monkeypatch) -> Iterator[None]:
    """The change feed shows what this test has written: its transaction, and those of tests beside
    it on the same PostgreSQL, never end. tests/server/core/test_changes.py is about the real thing.
    """
    monkeypatch.setattr(changes, "_settled", lambda rows: rows)
    # The query that is written once a day must not carry this into other tests, nor theirs into this.
    feed._standing_query.cache_clear()
    yield
    feed._standing_query.cache_clear()


@pytest.fixture
def phone(cast, settled) -> PhoneOf:
    """A phone on which this person of the cast has logged in."""

    def phone(user: User, device_id: UUID | None = None) -> Phone:
        device = Phone(device_id=str(device_id or uuid4()))
        device.log_in(user.username)
        return device

    return phone
