"""Hints on real sockets over a real Redis, which goes away and comes back: nobody misses a message."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from django.test import RequestFactory
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from server.config.asgi import application
from server.conversations import telling
from server.conversations.models import Conversation
from server.core import clock, work
from server.grid.models import User
from server.messaging.channels import socket as socket_channel
from server.messaging.sessions import open_session
from tests.cast import PASSWORD
from tests.clients import Phone
from tests.conversations import say
from tests.services.base import free_port, listens

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = 10.0


def soon(condition: Callable[[], Any]) -> Any:
    """What the condition gives once it is true; fails when it does not become so."""
    end = time.monotonic() + WAIT
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


class Redis:
    """A server on one port that is stopped and started again; it keeps nothing."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed: make services")
        self.port = free_port()
        self.command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(folder)),
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        soon(lambda: listens(self.port))

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def redis(tmp_path: Path, settings) -> Iterator[Redis]:
    server = Redis(tmp_path)
    server.start()
    settings.CHANNEL_LAYERS = {
        "default": {
            **settings.CHANNEL_LAYERS["default"],
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [f"redis://127.0.0.1:{server.port}/0"]},
        }
    }
    yield server
    server.stop()


@pytest.fixture
def address() -> Iterator[str]:
    """A live server on a free port."""
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=0,
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    soon(lambda: server.started)
    yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/ws/v1/inbox"
    server.should_exit = True
    thread.join(WAIT)
    assert not thread.is_alive()


class Reader:
    """A phone as docs/conversations.md tells it to be: a hint is a reason to fetch, and so is a socket
    that was opened anew; what it has is known by the last number."""

    def __init__(self, user: User, address: str, path: str) -> None:
        self.token, _device = open_session(
            username=user.username,
            password=PASSWORD,
            device_id=uuid4(),
            device_name="手机",
            platform="android",
            request=RequestFactory().post("/api/v1/auth/sessions"),
        )
        self.address, self.path = address, path
        self.phone = Phone(token=self.token)
        self.numbers: list[int] = []
        self.hints: list[dict[str, Any]] = []
        self.held = contextlib.ExitStack()
        self.socket: ClientConnection | None = None

    def open(self) -> None:
        opening = connect(self.address, subprotocols=["bearer", self.token], proxy=None)
        self.socket = self.held.enter_context(opening)
        self.fetch()

    def close(self) -> None:
        self.held.close()
        self.socket = None

    def fetch(self) -> None:
        page = {"has_more": True}
        while page["has_more"]:
            last = self.numbers[-1] if self.numbers else 0
            page = self.phone.get(self.path, after=last, limit=3)
            self.numbers += [each["number"] for each in page["results"]]

    def listen(self, until: int) -> None:
        """Follow hints until this number is there; a socket that broke is opened again."""
        end = time.monotonic() + WAIT
        while not self.numbers or self.numbers[-1] < until:
            assert time.monotonic() < end, f"at {self.numbers[-1:]}, waiting for {until}"
            if self.socket is None:
                self.open()
                continue
            with contextlib.suppress(TimeoutError):
                try:
                    self.hints.append(json.loads(self.socket.recv(timeout=0.2)))
                    self.fetch()
                except ConnectionClosed:
                    self.close()


@pytest.fixture
def reader(cast, address, of_school) -> Iterator[Callable[[User], Reader]]:
    made: list[Reader] = []

    def reader(user: User) -> Reader:
        one = Reader(user, address, f"/conversations/{of_school.pk}/messages")
        made.append(one)
        one.open()
        return one

    yield reader
    for one in made:
        one.close()


def the_worker_hints_again() -> None:
    """Until the channel layer takes it, as the pump would with its pauses."""

    def told() -> bool:
        Conversation.objects.update(work_due_at=clock.now())
        work.drain(telling.PUMP)
        row = Conversation.objects.get()
        return row.told_number == row.last_number

    soon(told)


def test_every_open_socket_of_the_members_hears_of_a_message_at_once(
    redis, cast, of_school, reader, monkeypatch
):
    monkeypatch.setattr(socket_channel, "_serving", None)
    principal = reader(cast.principal)
    with pytest.raises(AssertionError):
        reader(cast.carla)  # who gets 404 for the messages
    began = time.monotonic()
    say(of_school, cast.ada, "听得到吗")
    principal.listen(until=1)
    assert time.monotonic() - began < 2.0
    assert principal.hints[0] == {
        "type": "conversation.changed",
        "conversation": str(of_school.pk),
        "number": 1,
    }


def test_no_hole_and_no_double_when_redis_goes_away_and_comes_back(
    redis, cast, of_school, reader, monkeypatch, settings
):
    settings.CONVERSATION_NOTICE_SECONDS = 3600
    monkeypatch.setattr(socket_channel, "_serving", None)
    principal, office = reader(cast.principal), reader(cast.office)
    for _ in range(3):
        say(of_school, cast.ada)
    principal.listen(until=3)
    redis.stop()
    for _ in range(4):  # the messages arrive, the hints do not
        say(of_school, cast.ada)
    redis.start()
    the_worker_hints_again()
    say(of_school, cast.ada)
    the_worker_hints_again()
    for each in (principal, office):
        each.listen(until=8)
        assert each.numbers == [1, 2, 3, 4, 5, 6, 7, 8]


def test_who_was_away_resumes_where_they_were(redis, cast, of_school, reader, monkeypatch):
    monkeypatch.setattr(socket_channel, "_serving", None)
    principal = reader(cast.principal)
    say(of_school, cast.ada)
    principal.listen(until=1)
    principal.close()
    for _ in range(5):
        say(of_school, cast.ada)
    principal.listen(until=6)
    say(of_school, cast.ada)
    principal.listen(until=7)
    assert principal.numbers == list(range(1, 8))
