"""The Redis layer on a real server: many groups at once, and what sockets hear after a restart."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from channels.layers import channel_layers

from server.messaging.channels import layer as layers
from server.messaging.channels import socket as socket_channel
from server.messaging.channels.layer import HINTS_LOST, LiveLayer
from server.messaging.services import notify
from tests.server.messaging.test_consumers import Open, address, heard, open_socket, silent, soon
from tests.services.base import free_port, listens, program

__all__ = ["address", "open_socket"]

CHANGED = {"type": "overview.changed"}


class OwnRedis:
    """A Redis of the test's own, which it can stop and start."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        server = program("redis-server", package="redis-server")
        command = [str(server), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        soon(lambda: listens(self.port))

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None


@pytest.fixture
def redis(tmp_path: Path, redis_url: str, settings) -> Iterator[OwnRedis]:
    """`redis_url` is not used: it skips where Redis is not installed."""
    own = OwnRedis(tmp_path)
    own.start()
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "server.messaging.channels.layer.LiveLayer",
            "CONFIG": {"hosts": [own.url]},
        }
    }
    yield own
    own.stop()


@pytest.fixture
def quick(monkeypatch) -> None:
    """Sockets are told at once, not spread over seconds."""
    monkeypatch.setattr("server.messaging.consumers.LOST_SPREAD_SECONDS", 0.0)
    monkeypatch.setattr(socket_channel, "_serving", None)


def run(story: Any) -> None:
    asyncio.run(story)


async def until(condition: Any, *, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def test_one_message_reaches_every_member_of_many_groups_once_and_no_other(redis):
    async def story() -> None:
        ours = LiveLayer(hosts=[redis.url])
        theirs = LiveLayer(hosts=[redis.url])  # as in another process
        got: dict[str, list[Any]] = {name: [] for name in ("a", "b", "apart")}
        for name, group in (("a", "g.0"), ("b", "g.19"), ("apart", "other")):
            channel = await ours.listen(got[name].append)
            await ours.group_add(group, channel)
        await theirs.group_send_many([f"g.{number}" for number in range(20)], CHANGED)
        await until(lambda: got["a"] and got["b"])
        await theirs.group_send_many(["g.0"], {"type": "few"})
        await until(lambda: len(got["a"]) == 2)
        assert got == {"a": [CHANGED, {"type": "few"}], "b": [CHANGED], "apart": []}
        await ours.flush()
        await theirs.flush()

    run(story())


def test_more_groups_than_one_message_holds_are_all_told(redis, monkeypatch):
    monkeypatch.setattr(layers, "IN_ONE", 10)

    async def story() -> None:
        layer = LiveLayer(hosts=[redis.url])
        got: list[Any] = []
        channel = await layer.listen(got.append)
        for number in (3, 14, 24):
            await layer.group_add(f"g.{number}", channel)
        await layer.group_send_many([f"g.{number}" for number in range(25)], CHANGED)
        await until(lambda: len(got) == 3)
        await layer.flush()

    run(story())


def test_a_listener_that_left_is_called_no_more_and_nothing_of_it_stays(redis):
    async def story() -> None:
        layer = LiveLayer(hosts=[redis.url])
        gone: list[Any] = []
        stays: list[Any] = []
        channel, other = await layer.listen(gone.append), await layer.listen(stays.append)
        for each in (channel, other):
            await layer.group_add("g", each)
        await layer.group_discard("g", channel)
        layer.forget(channel)
        await layer.group_send("g", CHANGED)
        await until(lambda: stays)
        assert gone == []
        await layer.group_discard("g", other)
        layer.forget(other)
        inner = layer._get_layer()
        assert (inner.channels, inner.groups, inner._listeners) == ({}, {}, {})
        await layer.flush()

    run(story())


def test_the_librarys_own_consumers_hear_as_before(redis):
    async def story() -> None:
        layer = LiveLayer(hosts=[redis.url])
        channel = await layer.new_channel()
        await layer.group_add("g", channel)
        await layer.group_send("g", CHANGED)
        assert await asyncio.wait_for(layer.receive(channel), 10) == CHANGED
        await layer.flush()

    run(story())


def test_after_a_restart_every_listener_is_told_and_hears_its_groups_again(redis):
    async def story() -> None:
        layer = LiveLayer(hosts=[redis.url])
        got: list[Any] = []
        channel = await layer.listen(got.append)
        await layer.group_add("g", channel)
        await asyncio.to_thread(redis.stop)
        with pytest.raises(layers.AWAY):
            await layer.group_send("g", CHANGED)
        await asyncio.to_thread(redis.start)
        await until(lambda: HINTS_LOST in got)
        await layer.group_send("g", CHANGED)
        await until(lambda: CHANGED in got)
        await layer.flush()

    run(story())


@pytest.mark.django_db(transaction=True)
def test_a_phone_keeps_its_socket_through_a_restart_of_redis_and_misses_nothing(
    redis, quick, cast, log_in, phone, open_socket: Open
):
    connection = open_socket(log_in(cast.ada)[0])
    ada = phone(cast.ada)
    redis.stop()
    missed = notify("announcement", recipients=[cast.ada], title="会议", body="周三")
    redis.start()
    assert heard(connection)["type"] == "inbox.changed"
    unread = ada.get("/notices", unread="true")["results"]
    assert [each["id"] for each in unread] == [str(missed.id)]
    socket_channel.hint([cast.ada.pk], {"type": "inbox.changed", "after": "1"})
    assert heard(connection) == {"type": "inbox.changed", "after": "1"}
    assert silent(connection)


@pytest.mark.django_db(transaction=True)
def test_while_redis_is_away_a_new_socket_is_asked_to_come_later_and_leaves_nothing(
    redis, quick, cast, log_in, open_socket: Open, caplog
):
    stays = open_socket(log_in(cast.ada)[0])
    redis.stop()
    soon(lambda: "Redis is away" in caplog.text)  # before, it is accepted, and told when it is back
    refused = open_socket(log_in(cast.bruno)[0])
    soon(lambda: refused.close_code or _closed(refused))
    assert refused.close_code == 1013
    redis.start()
    assert heard(stays)["type"] == "inbox.changed"
    again = open_socket(log_in(cast.bruno)[0])
    socket_channel.hint([cast.bruno.pk], {"type": "inbox.changed", "after": "2"})
    assert heard(again)["after"] == "2"
    layer = next(each for each in channel_layers["default"]._layers.values() if each._listeners)
    assert len(layer._listeners) == 2


def _closed(connection: Any) -> bool:
    from websockets.exceptions import ConnectionClosed

    try:
        connection.recv(timeout=0.1)
    except ConnectionClosed:
        return True
    except TimeoutError:
        return False
    return False
