"""The sockets: authenticate, join groups, relay hints. HTTP holds the truth.

A socket says nothing of content, so it may be closed at any time: the client opens another one and
fetches. Clients have nothing to say here either; one that talks is closed.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import urlsplit

from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie
from django.utils.module_loading import import_string

from server.core import clock
from server.core.errors import NotAuthenticated
from server.grid.models import User
from server.messaging.channels.layer import AWAY, LiveLayer
from server.messaging.channels.socket import EVERYWHERE, group_of, group_of_area, serve_here
from server.messaging.channels.still import socket_closed, socket_opened
from server.messaging.models import Device
from server.messaging.queries import overview_areas
from server.messaging.sessions import TokenUnknown, device_for_token

UNAUTHENTICATED = 4401
"""Close code: log in again. (WebSocket codes from 4000 are the application's; 401 is HTTP's.)"""
TOO_MANY = 4429
"""Close code: the person opened more sockets than PERSON_SOCKETS; this was the oldest."""
TALKATIVE = 1008
TOO_LONG = 1009
AGAIN_LATER = 1013
PROTOCOL = "bearer"

PERSON_SOCKETS = 12
"""Of one person, in one process, of one kind: a phone, a tablet, and what lost lines left behind."""
MESSAGE_BYTES = 1024
MESSAGES = 100
"""So many, and so long, may a client's messages be, though nobody reads them."""
AGAIN_SECONDS = 60.0
"""How often, at most, a socket that a cookie opened asks whether its session still stands."""
LOST_SPREAD_SECONDS = 3.0
"""Over so long the clients are told to fetch after Redis was away: not all in the same moment."""


_unfinished: set[asyncio.Task[None]] = set()


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc] # untyped library
    """What both sockets share: who it is, bounds, groups, relaying.

    An app opens one by `Sec-WebSocket-Protocol: bearer, <token>`, a page by its session's cookie. The
    cookie is sent by the browser whoever opens the socket, so a page must be of our own origin.
    """

    open_of: ClassVar[dict[Any, list[LiveConsumer]]]
    lost_hint: ClassVar[dict[str, str]]

    groups_joined: Sequence[str] = ()
    person_id: Any = None
    credentials: tuple[str, ...] = ()
    asked_at = 0.0
    heard = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """With Redis, one task for the client's messages, and hints come by a call."""
        layer = get_channel_layer()
        if not isinstance(layer, LiveLayer):
            await super().__call__(scope, receive, send)
            return
        self.scope, self.base_send, self.channel_layer = scope, send, layer
        try:
            self.channel_name = await layer.listen(self._heard)
        except AWAY:
            self.channel_name = ""
        socket_opened()
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass
        finally:
            layer.forget(self.channel_name)
            socket_closed()

    def _heard(self, message: dict[str, Any]) -> None:
        task = asyncio.create_task(self._relay(message))
        _unfinished.add(task)  # the loop itself keeps only weak references
        task.add_done_callback(_unfinished.discard)

    async def _relay(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # the client left in this moment
            await self.dispatch(message)

    async def admit(self, offered: list[str]) -> tuple[Any, Sequence[str]]:
        """The person's id and the groups of the hints that are theirs. Raises NotAuthenticated."""
        if offered:
            self.credentials = tuple(offered)
        elif _is_own_page(self.scope["headers"]):
            cookie = parse_cookie(_header(self.scope["headers"], b"cookie"))
            self.credentials = (cookie.get(settings.SESSION_COOKIE_NAME, ""),)
        else:
            raise NotAuthenticated
        return await self._ask()

    async def _ask(self) -> tuple[Any, Sequence[str]]:
        self.asked_at = time.monotonic()
        found: tuple[Any, Sequence[str]] = await database_sync_to_async(self._scope)()
        return found

    def _scope(self) -> tuple[Any, Sequence[str]]:
        by_cookie = len(self.credentials) == 1
        user = _of_session(self.credentials[0]) if by_cookie else _device(self.credentials).user
        return user.pk, self.groups_of(user)

    def groups_of(self, user: User) -> Sequence[str]:
        """The groups whose hints are this person's. Raises NotAuthenticated where there are none."""
        raise NotImplementedError

    async def still_admitted(self) -> bool:
        """Asked before each hint: whether the session or token still stands and opens the same groups;
        looked up once a minute.
        """
        if time.monotonic() - self.asked_at < AGAIN_SECONDS:
            return True
        try:
            return await self._ask() == (self.person_id, self.groups_joined)
        except NotAuthenticated:
            return False

    async def connect(self) -> None:
        """Accept before refusing: a close code travels only on an open socket."""
        offered: list[str] = self.scope["subprotocols"]
        protocol = PROTOCOL if PROTOCOL in offered else None
        try:
            person_id, groups = await self.admit(offered)
        except NotAuthenticated:
            await self.accept(protocol)
            await self.close(UNAUTHENTICATED)
            return
        serve_here()
        self.person_id, self.groups_joined = person_id, groups
        try:
            for group in groups:
                await self.channel_layer.group_add(group, self.channel_name)
        except (*AWAY, RuntimeError):  # Redis is away: the client comes again
            await self.accept(protocol)
            await self.close(AGAIN_LATER)
            return
        # The token and the cookie have done their part; nothing of them stays in memory.
        self.scope["headers"] = self.scope["subprotocols"] = ()
        await self.accept(protocol)
        await self._make_room()

    async def _make_room(self) -> None:
        mine = self.open_of.setdefault(self.person_id, [])
        mine.append(self)
        if len(mine) > PERSON_SOCKETS:
            await mine.pop(0).close(TOO_MANY)

    async def disconnect(self, code: int) -> None:
        """Leave the groups."""
        mine = self.open_of.get(self.person_id, [])
        if self in mine:
            mine.remove(self)
            if not mine:
                del self.open_of[self.person_id]
        for group in self.groups_joined:
            with suppress(*AWAY):  # nobody of this process hears for the group then
                await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Clients have nothing to say here; who says much is closed."""
        self.heard += 1
        if len(text_data or bytes_data or "") > MESSAGE_BYTES:
            await self.close(TOO_LONG)
        elif self.heard > MESSAGES:
            await self.close(TALKATIVE)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As the library's, less a trip through a thread for each message; hints are relayed."""
        handler = getattr(self, message["type"].replace(".", "_"), None)
        if handler is not None:
            await handler(message)
        elif await self.still_admitted():
            await self.send(json.dumps(message))
        else:
            await self.close(UNAUTHENTICATED)

    async def hints_lost(self, message: dict[str, Any]) -> None:
        """The layer was away: what was sent meanwhile is in the database, and the client may ask."""
        await asyncio.sleep(random.uniform(0, LOST_SPREAD_SECONDS))  # noqa: S311 - spread
        await self.dispatch(self.lost_hint)


class InboxConsumer(LiveConsumer):
    """Hints at what concerns one person. Of the thousands that phones keep open, only the token's end
    stays in memory: a session that ends says so by itself.
    """

    open_of: ClassVar[dict[Any, list[LiveConsumer]]] = {}
    lost_hint: ClassVar[dict[str, str]] = {"type": "inbox.changed", "after": ""}

    device_id: Any = None
    expires_at: Any = None

    async def admit(self, offered: list[str]) -> tuple[Any, Sequence[str]]:
        if not offered:
            return await super().admit(offered)
        device = await database_sync_to_async(_device)(offered)
        self.device_id, self.expires_at = device.pk, device.token_expires_at
        return device.user_id, [group_of(device.user_id)]

    def groups_of(self, user: User) -> Sequence[str]:
        return [group_of(user.pk)]

    async def still_admitted(self) -> bool:
        if self.device_id is None:
            return await super().still_admitted()
        return bool(self.expires_at and self.expires_at > clock.now())

    async def session_ended(self, message: dict[str, Any]) -> None:
        """A device's session ended: close if it is ours."""
        if message["device"] == str(self.device_id):
            await self.close(UNAUTHENTICATED)


class OverviewConsumer(LiveConsumer):
    """Hints that the figures of one's areas changed."""

    open_of: ClassVar[dict[Any, list[LiveConsumer]]] = {}
    lost_hint: ClassVar[dict[str, str]] = {"type": "overview.changed"}

    def groups_of(self, user: User) -> Sequence[str]:
        if user.is_superuser:
            return [EVERYWHERE]
        groups = [group_of_area(path) for path in overview_areas(user)]
        if not groups:
            raise NotAuthenticated
        return groups


# ---- who it is -------------------------------------------------------------------------------


def _device(offered: Sequence[str]) -> Device:
    if len(offered) != 2 or offered[0] != PROTOCOL:
        raise TokenUnknown
    return device_for_token(offered[1])


def _of_session(key: str) -> User:
    """The person whom a browser's session belongs to, checked as Django checks it."""
    request = HttpRequest()
    request.session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(key)
    user = get_user(request)
    if not isinstance(user, User) or not user.is_active:
        raise NotAuthenticated
    return user


def _is_own_page(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the page that asks came from here: by its Origin, which a script cannot change."""
    origin, host = _header(headers, b"origin"), _header(headers, b"host")
    return bool(origin) and (
        urlsplit(origin).netloc == host or origin in settings.CSRF_TRUSTED_ORIGINS
    )


def _header(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == wanted), "")
