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
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlparse

import pytest
import uvicorn
from channels.layers import channel_layers
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.sessions.models import Session
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from server.config.asgi import application
from server.core import clock, work
from server.grid.models import Membership, User
from server.messaging import consumers
from server.messaging.channels import socket as socket_channel
from server.messaging.channels.socket import EVERYWHERE, group_of_area, hint_groups
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


# ---- the overview's socket -------------------------------------------------------------------


@pytest.fixture
def overview(address: str) -> Iterator[Open]:
    """Open the overview's socket as a page does: with a cookie and an origin, or as an app."""
    place = address.replace("inbox", "overview")
    own = place.replace("ws://", "http://").partition("/ws/")[0]
    with ExitStack() as opened:

        def open_overview(
            person: Any = None, *, origin: str | None = own, token: str = ""
        ) -> ClientConnection:
            headers = {"Cookie": f"sessionid={session_of(person)}"} if person else {}
            return opened.enter_context(
                connect(
                    place,
                    origin=origin,  # type: ignore[arg-type]
                    additional_headers=headers,
                    subprotocols=["bearer", token] if token else None,  # type: ignore[list-item]
                    proxy=None,
                )
            )

        yield open_overview


def session_of(person: Any) -> str:
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client.cookies["sessionid"].value


CHANGED = {"type": "overview.changed"}


def test_a_page_hears_of_its_own_areas_and_of_no_other(cast, overview):
    town = overview(cast.town_group)
    county = overview(cast.office)
    hint_groups([group_of_area(cast.far_town.path), group_of_area(cast.county.path)], CHANGED)
    assert heard(county) == CHANGED
    assert silent(town)
    hint_groups([group_of_area(cast.town.path)], CHANGED)
    assert heard(town) == CHANGED


def test_who_sees_everything_hears_of_everything(cast, overview):
    User.objects.filter(pk=cast.office.pk).update(is_superuser=True)
    page = overview(cast.office)
    hint_groups([EVERYWHERE], CHANGED)
    assert heard(page) == CHANGED


def test_a_page_of_another_origin_gets_nothing_by_the_cookie(cast, overview, settings):
    assert closed_with(overview(cast.office, origin="https://elsewhere.example")) == 4401
    assert closed_with(overview(cast.office, origin=None)) == 4401


def test_in_production_a_foreign_origin_is_refused_in_the_handshake(cast):
    """There ALLOWED_HOSTS lists the hosts; the embedded world's is `*`."""
    validator = AllowedHostsOriginValidator(None)
    validator.allowed_origins = ["duxue.example"]
    assert validator.valid_origin(urlparse("https://duxue.example"))
    assert not validator.valid_origin(urlparse("https://elsewhere.example"))
    assert not validator.valid_origin(None)


def test_an_origin_that_the_settings_trust_gets_in(cast, overview, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://portal.example"]
    page = overview(cast.office, origin="https://portal.example")
    hint_groups([group_of_area(cast.county.path)], CHANGED)
    assert heard(page) == CHANGED


def test_without_an_office_or_a_session_the_overviews_socket_closes(cast, overview, log_in):
    assert closed_with(overview()) == 4401
    for person in (cast.ada, cast.carla, cast.principal):
        assert closed_with(overview(person)) == 4401
        assert closed_with(overview(token=log_in(person)[0])) == 4401
    User.objects.filter(pk=cast.office.pk).update(is_active=False)
    assert closed_with(overview(cast.office)) == 4401


def test_an_offices_app_opens_it_by_its_token_from_anywhere(cast, overview, log_in):
    app = overview(token=log_in(cast.office)[0], origin=None)
    assert app.subprotocol == "bearer"
    hint_groups([group_of_area(cast.county.path)], CHANGED)
    assert heard(app) == CHANGED


def test_a_page_whose_role_ended_or_who_logged_out_is_closed_at_the_next_hint(
    cast, overview, monkeypatch
):
    monkeypatch.setattr(consumers, "AGAIN_SECONDS", 0.0)
    key = session_of(cast.office)
    monkeypatch.setattr(f"{__name__}.session_of", lambda person: key)
    stays = overview(cast.office)
    hint_groups([group_of_area(cast.county.path)], CHANGED)
    assert heard(stays) == CHANGED
    Session.objects.all().delete()
    hint_groups([group_of_area(cast.county.path)], CHANGED)
    assert closed_with(stays) == 4401


def test_a_page_whose_office_ended_is_closed_at_the_next_hint(cast, overview, monkeypatch):
    monkeypatch.setattr(consumers, "AGAIN_SECONDS", 0.0)
    page = overview(cast.town_group)
    Membership.objects.filter(user=cast.town_group).update(ends=clock.today() - timedelta(days=1))
    hint_groups([group_of_area(cast.town.path)], CHANGED)
    assert closed_with(page) == 4401


# ---- one's own socket, of a page ---------------------------------------------------------------


@pytest.fixture
def page_socket(address: str) -> Iterator[Open]:
    """Open one's own socket as a page does."""
    own = address.replace("ws://", "http://").partition("/ws/")[0]
    with ExitStack() as opened:

        def open_page(key: str, origin: str | None = own) -> ClientConnection:
            headers = {"Cookie": f"sessionid={key}"}
            return opened.enter_context(
                connect(
                    address,
                    origin=origin,  # type: ignore[arg-type] # the library's own kind of text
                    additional_headers=headers,
                    proxy=None,
                )
            )

        yield open_page


def test_a_page_of_anybody_who_is_logged_in_hears_what_their_phone_hears(
    cast, page_socket, log_in, open_socket
):
    page = page_socket(session_of(cast.principal))
    others = page_socket(session_of(cast.ada))
    phone = open_socket(log_in(cast.principal)[0])
    message = {"type": "conversation.changed", "conversation": "1", "number": 1}
    socket_channel.hint([cast.principal.pk], message)
    assert heard(page) == heard(phone) == message
    assert silent(others)


def test_a_page_of_ones_own_is_of_our_origin_and_of_a_session_that_stands(
    cast, page_socket, monkeypatch
):
    key = session_of(cast.principal)
    assert closed_with(page_socket(key, origin="https://elsewhere.example")) == 4401
    assert closed_with(page_socket(key, origin=None)) == 4401
    assert closed_with(page_socket("")) == 4401
    monkeypatch.setattr(consumers, "AGAIN_SECONDS", 0.0)
    page = page_socket(key)
    Session.objects.all().delete()
    socket_channel.hint([cast.principal.pk], CHANGED)
    assert closed_with(page) == 4401


# ---- bounds ----------------------------------------------------------------------------------


def test_a_client_that_talks_too_much_or_too_long_is_closed(cast, log_in, open_socket):
    long = open_socket(log_in(cast.ada)[0])
    long.send("x" * 1025)
    assert closed_with(long) == 1009
    much = open_socket(log_in(cast.ada)[0])
    with suppress(ConnectionClosed):
        for _number in range(101):
            much.send("x")
    assert closed_with(much) == 1008


def test_of_too_many_sockets_of_one_person_the_oldest_closes(
    cast, log_in, open_socket, monkeypatch
):
    monkeypatch.setattr(consumers, "PERSON_SOCKETS", 2)
    token = log_in(cast.ada)[0]
    brunos = open_socket(log_in(cast.bruno)[0])
    first, second, third = (open_socket(token) for _number in range(3))
    assert closed_with(first) == 4429
    assert silent(second)
    assert silent(third)
    assert silent(brunos)
    second.close()
    third.close()
    soon(lambda: cast.ada.pk not in consumers.InboxConsumer.open_of)


def test_any_kind_of_hint_is_relayed(cast, log_in, open_socket):
    phone = open_socket(log_in(cast.ada)[0])
    message = {"type": "something.changed", "id": "1"}
    socket_channel.hint([cast.ada.pk], message)
    assert heard(phone) == message


# ---- Redis ----------------------------------------------------------------------------------


@pytest.fixture
def redis(redis_url: str, settings) -> None:
    """Redis as the channel layer."""
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "server.messaging.channels.layer.LiveLayer",
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
