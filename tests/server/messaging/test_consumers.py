"""The inbox socket on a real server: who gets in, what is relayed, when it closes.

The server runs in a thread of its own, as the worker does in the embedded world: every hint of these
tests is sent from another thread than the server's.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from channels.layers import channel_layers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from server.config.asgi import application
from server.core import clock, work
from server.messaging.channels import socket as socket_channel
from server.messaging.models import Device, Hint
from server.messaging.services import notify
from server.messaging.sessions import close_session

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = 5.0
Open = Callable[..., ClientConnection]


def soon(condition: Callable[[], Any]) -> Any:
    """What the condition gives once it is true; fails when it does not become so."""
    end = time.monotonic() + WAIT
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return value


@pytest.fixture
def address() -> Iterator[str]:
    """A real server on a free port."""
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
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"ws://127.0.0.1:{port}/ws/v1/inbox"
    server.should_exit = True
    thread.join(WAIT)
    assert not thread.is_alive()


@pytest.fixture
def open_socket(address: str) -> Iterator[Open]:
    """Open a socket with a token, or with subprotocols of any kind."""
    with ExitStack() as opened:

        def open_socket(
            token: str = "", *, offer: list[str] | None = None, **options: Any
        ) -> ClientConnection:
            offered = ["bearer", token] if offer is None else offer
            return opened.enter_context(
                connect(address, subprotocols=offered or None, proxy=None, **options)
            )

        yield open_socket


def heard(connection: ClientConnection) -> dict[str, Any]:
    return json.loads(connection.recv(timeout=WAIT))


def silent(connection: ClientConnection) -> bool:
    """Nothing came, and a ping still comes back: all that was on its way has arrived."""
    assert connection.ping().wait(WAIT)
    try:
        connection.recv(timeout=0.05)
    except TimeoutError:
        return True
    return False


def closed_with(connection: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        connection.recv(timeout=WAIT)
    return connection.close_code


def tell(person) -> str:
    """A notice, and what the worker does with it."""
    notice = notify("announcement", recipients=[person], title="会议", body="周三")
    work.drain_all()
    assert not Hint.objects.exists()
    return str(notice.id)


def test_a_hint_from_the_workers_thread_reaches_every_socket_of_the_person(
    cast, log_in, open_socket
):
    phone, tablet = (open_socket(log_in(cast.ada)[0]) for _ in range(2))
    carlas = open_socket(log_in(cast.carla)[0])
    notice = tell(cast.ada)
    for connection in (phone, tablet):
        assert heard(connection) == {"type": "inbox.changed", "after": notice}
    assert silent(carlas)


def test_the_server_picks_bearer_and_never_echoes_the_token(cast, log_in, open_socket):
    connection = open_socket(log_in(cast.ada)[0])
    assert connection.subprotocol == "bearer"


@pytest.mark.parametrize(
    "offer", [["bearer", "unknown"], ["bearer"], ["unknown"], [], ["bearer", "a", "b"]]
)
def test_without_a_valid_token_the_socket_closes_with_4401(cast, open_socket, offer):
    assert closed_with(open_socket(offer=offer)) == 4401


def test_an_expired_or_revoked_token_closes_with_4401(cast, log_in, open_socket):
    expired, device = log_in(cast.ada)
    Device.objects.filter(pk=device.pk).update(token_expires_at=clock.now())
    revoked, device = log_in(cast.ada)
    close_session(device)
    for token in (expired, revoked):
        assert closed_with(open_socket(token)) == 4401


def test_a_native_app_without_origin_and_a_page_with_any_origin_get_in(cast, log_in, open_socket):
    token, _device = log_in(cast.ada)
    sockets = [open_socket(token), open_socket(token, origin="https://elsewhere.example")]
    notice = tell(cast.ada)
    assert [heard(connection)["after"] for connection in sockets] == [notice] * 2


def test_ending_a_session_closes_its_sockets_and_no_others(cast, log_in, open_socket):
    token, device = log_in(cast.ada)
    phone, tablet = open_socket(token), open_socket(log_in(cast.ada)[0])
    close_session(device)
    assert closed_with(phone) == 4401
    assert silent(tablet)


def test_another_persons_login_on_the_device_closes_the_firsts_socket(cast, log_in, open_socket):
    token, device = log_in(cast.ada)
    phone = open_socket(token)
    log_in(cast.bruno, device.id)
    assert closed_with(phone) == 4401


def test_a_socket_whose_token_ran_out_gets_no_more_hints(
    cast, log_in, open_socket, settings, monkeypatch
):
    settings.DEVICE_TOKEN_DAYS = 1
    phone = open_socket(log_in(cast.ada)[0])
    tomorrow = clock.now() + timedelta(days=1, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: tomorrow)
    tell(cast.ada)
    assert closed_with(phone) == 4401


def test_what_a_client_says_is_ignored(cast, log_in, open_socket):
    phone = open_socket(log_in(cast.ada)[0])
    phone.send("{not json")
    phone.send(b"\x00\xff")
    notice = tell(cast.ada)
    assert heard(phone)["after"] == notice


def test_a_socket_that_closed_leaves_its_group(cast, log_in, open_socket):
    phone = open_socket(log_in(cast.ada)[0])
    group = socket_channel.group_of(cast.ada.pk)
    groups = channel_layers["default"].groups
    assert group in groups
    phone.close()
    soon(lambda: group not in groups)


def test_another_address_is_refused(address):
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(address.replace("inbox", "nowhere"), proxy=None),
    ):
        pass


def test_a_hint_when_no_socket_was_ever_opened_is_nothing(cast, monkeypatch):
    monkeypatch.setattr(socket_channel, "_serving", None)
    socket_channel.hint([cast.ada.pk], {"type": "inbox.changed", "after": ""})


@pytest.fixture
def idle_loop(monkeypatch) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own that serves sockets and sleeps until something wakes it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    monkeypatch.setattr(socket_channel, "_serving", loop)
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(WAIT)
    loop.close()


def test_a_hint_from_another_thread_wakes_the_loop_that_serves(cast, idle_loop):
    layer = channel_layers["default"]
    group, message = socket_channel.group_of(cast.ada.pk), {"type": "inbox.changed", "after": "1"}

    async def listen() -> dict[str, Any]:
        await layer.group_add(group, "here")
        return await layer.receive("here")

    received = asyncio.run_coroutine_threadsafe(listen(), idle_loop)
    soon(lambda: "here" in layer.channels)  # waiting, and the loop with it
    socket_channel.hint([cast.ada.pk], message)
    assert received.result(WAIT) == message


def test_a_hint_from_the_servers_own_loop_does_not_wait_for_itself(cast, monkeypatch):
    sent = []

    class Layer:
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            sent.append((group, message))

    async def on_the_loop() -> None:
        monkeypatch.setattr(socket_channel, "_loop", asyncio.get_running_loop)
        socket_channel.hint([cast.ada.pk], {"type": "inbox.changed"})
        await asyncio.gather(*socket_channel._unfinished)

    monkeypatch.setattr(socket_channel, "get_channel_layer", Layer)
    asyncio.run(on_the_loop())
    assert sent == [(socket_channel.group_of(cast.ada.pk), {"type": "inbox.changed"})]


# ---- Redis ----------------------------------------------------------------------------------


@pytest.fixture
def redis(redis_url: str, settings) -> None:
    """Redis as the channel layer."""
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis_url]},
        }
    }


def test_with_redis_hints_go_from_any_process_to_any_other(
    redis, cast, log_in, open_socket, monkeypatch
):
    monkeypatch.setattr(socket_channel, "_serving", None)
    phone = open_socket(log_in(cast.ada)[0])
    for _ in range(2):  # the second goes over the connection of the first
        notice = tell(cast.ada)
        assert heard(phone)["after"] == notice
