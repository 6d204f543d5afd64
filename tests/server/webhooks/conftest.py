"""Endpoints of the county office, and receivers that do what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import pytest

from server.activities.models import Visit
from server.activities.services.visits import check_in, complete_visit
from server.core import clock, following
from server.grid.models import Area, User
from server.webhooks import sending
from server.webhooks.catalogue import event_types
from server.webhooks.models import WebhookDelivery, WebhookEndpoint
from server.webhooks.services import create_endpoint
from tests.cast import Cast

Reply = Callable[["_Handler"], None]


def answering(status: int, body: bytes = b"", **headers: str) -> Reply:
    """An ordinary answer."""

    def reply(handler: _Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver: Receiver = self.server.receiver
        receiver.got.append((self.headers["webhook-id"], json.loads(body)))
        receiver.headers.append(dict(self.headers))
        receiver.reply(self)

    def log_message(self, *_words: Any) -> None:
        pass


@dataclass
class Receiver:
    """A server on loopback: what it got, and what it answers."""

    url: str = ""
    reply: Reply = field(default_factory=lambda: answering(204))
    got: list[tuple[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        return [body["type"] for _id, body in self.got]


@pytest.fixture
def receiver(inside: None) -> Iterator[Receiver]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    made = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook")
    server.receiver = made  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def inside(settings) -> None:
    """Loopback is a network of one's own, where http is allowed."""
    settings.OUTBOUND_PRIVATE_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch, settled) -> None:
    """Backoff is what the table says; the feed shows what this test has written."""
    monkeypatch.setattr(sending.random, "uniform", lambda low, high: high)
    monkeypatch.setattr(following, "_resting", {})


def add_endpoint(
    by: User, url: str, area: Area, *, events: list[str] | None = None, **more: Any
) -> tuple[WebhookEndpoint, str]:
    """An endpoint for everything, and its secret."""
    chosen = list(event_types()) if events is None else events
    made = create_endpoint(
        endpoint_id=uuid4(), by=by, area_id=area.pk, url=url, events=chosen, **more
    )
    assert made.secret
    return made.endpoint, made.secret


@pytest.fixture
def endpoint(cast: Cast, receiver: Receiver) -> WebhookEndpoint:
    """Of the county, for everything."""
    return add_endpoint(cast.office, receiver.url, cast.county)[0]


def enter(visit: Visit, person: User) -> UUID:
    action = uuid4()
    check_in(visit_id=visit.pk, action_id=action, by=person, at=clock.now(), place=None)
    return action


def finish(visit: Visit, person: User, summary: str = "总体规范") -> None:
    complete_visit(visit_id=visit.pk, action_id=uuid4(), by=person, at=clock.now(), summary=summary)


def derive() -> None:
    """What the worker's feed thread does."""
    following.look()


def send() -> None:
    """Derive, and send what is due, as the worker does."""
    derive()
    sending.send_due()


def due_again() -> None:
    """All waiting is over."""
    WebhookDelivery.objects.filter(next_at__isnull=False).update(next_at=clock.now())
    WebhookEndpoint.objects.filter(work_due_at__isnull=False).update(work_due_at=clock.now())


def states(endpoint: WebhookEndpoint) -> list[str]:
    return list(endpoint.deliveries.order_by("id").values_list("state", flat=True))
