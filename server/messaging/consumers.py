"""The inbox socket: authenticates, joins its person's group, relays hints. HTTP holds the truth."""

from __future__ import annotations

import json
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from server.core import clock
from server.core.errors import NotAuthenticated
from server.messaging.channels.socket import group_of, serve_here
from server.messaging.models import Device
from server.messaging.sessions import TokenUnknown, device_for_token

UNAUTHENTICATED = 4401
"""Close code: log in again. (WebSocket codes from 4000 are the application's; 401 is HTTP's.)"""
PROTOCOL = "bearer"


class InboxConsumer(AsyncWebsocketConsumer):  # type: ignore[misc] # untyped library
    """`Sec-WebSocket-Protocol: bearer, <token>`; browsers can set no other header."""

    device: Device | None = None

    async def connect(self) -> None:
        """Accept before refusing: a close code travels only on an open socket."""
        offered: list[str] = self.scope["subprotocols"]
        protocol = PROTOCOL if PROTOCOL in offered else None
        try:
            self.device = await database_sync_to_async(_device)(offered)
        except NotAuthenticated:
            await self.accept(protocol)
            await self.close(UNAUTHENTICATED)
            return
        serve_here()
        await self.channel_layer.group_add(group_of(self.device.user_id), self.channel_name)
        await self.accept(protocol)

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        if self.device is not None:
            await self.channel_layer.group_discard(group_of(self.device.user_id), self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Clients have nothing to say here."""

    async def inbox_changed(self, message: dict[str, Any]) -> None:
        """Relay the hint, unless the token ran out while the socket was open."""
        if self.device is None or self.device.token_expires_at <= clock.now():
            await self.close(UNAUTHENTICATED)
            return
        await self.send(json.dumps(message))

    async def conversation_changed(self, message: dict[str, Any]) -> None:
        """The same for a conversation's hint."""
        await self.inbox_changed(message)

    async def session_ended(self, message: dict[str, Any]) -> None:
        """A device's session ended: close if it is ours."""
        if self.device is not None and message["device"] == str(self.device.id):
            await self.close(UNAUTHENTICATED)


def _device(offered: list[str]) -> Device:
    if len(offered) != 2 or offered[0] != PROTOCOL:
        raise TokenUnknown
    return device_for_token(offered[1])
