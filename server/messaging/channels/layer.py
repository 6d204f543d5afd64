"""The Redis channel layer of channels_redis, fitted to ten thousand sockets that only listen.

- A socket has no channel of its own in Redis: nobody sends to one, all hints go to groups.
- A socket that listens is called, without a queue and a waiting task of its own.
- A hint to many groups is one message, which every process takes and looks through for its own: to parse
  a thousand messages takes longer than all the rest.
- After Redis was away, every socket of this process is told that hints may have been lost, so that its
  client fetches what it missed. Pub/sub keeps nothing for those who were not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from channels_redis.pubsub import (
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from channels_redis.utils import create_pool
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Listener = Callable[[Message], None]

AWAY = (OSError, RedisError)
"""What a call of the layer raises while Redis is away."""
HINTS_LOST: Message = {"type": "hints.lost"}
MANY = 8
"""To more groups than this a hint goes as one message for all processes."""
IN_ONE = 2000
"""So many groups, at most, in such a message."""
AWAY_SECONDS = 0.5
"""How long to wait for Redis that is away before the next try."""


class _PubSub(PubSub):
    """Says when it had to connect anew."""

    def __init__(self, *args: Any, reconnected: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reconnected = reconnected

    async def on_connect(self, connection: Any) -> None:
        """Called by redis-py for every connection but the first; the groups are subscribed again."""
        await super().on_connect(connection)
        self._reconnected()


class _Shard(RedisSingleShardConnection):  # type: ignore[misc] # untyped library
    """The connection: hands on what comes, and outlives Redis quietly."""

    _redis: Any
    _pubsub: Any

    def _ensure_redis(self) -> None:
        if self._redis is None:
            self._redis = Redis(connection_pool=create_pool(self.host))
            self._pubsub = _PubSub(
                self._redis.connection_pool, reconnected=self.channel_layer.hints_lost
            )

    async def _do_receiving(self) -> None:
        away = False
        while True:
            try:
                if self._pubsub and self._pubsub.subscribed:
                    message = await self._pubsub.get_message(
                        ignore_subscribe_messages=True, timeout=1.0
                    )
                    if message is not None:
                        self.channel_layer.take(message["channel"].decode(), message["data"])
                    away = False
                else:
                    await asyncio.sleep(0.1)
            except AWAY as error:
                if not away:
                    logger.warning("live: Redis is away: %s", error)
                away = True
                await asyncio.sleep(AWAY_SECONDS)
            except Exception:
                logger.exception("live: a message from Redis")
                await asyncio.sleep(AWAY_SECONDS)


class _LoopLayer(RedisPubSubLoopLayer):  # type: ignore[misc] # untyped library
    _shards: list[Any]

    def __init__(self, hosts: Any = None, **kwargs: Any) -> None:
        super().__init__(hosts, **kwargs)
        self._shards = [_Shard(shard.host, self) for shard in self._shards]

        self._listeners: dict[str, Listener] = {}
        self._many = f"{self.prefix}__many"

    async def _subscribe_to_channel(self, channel: str) -> None:
        self.channels[channel] = asyncio.Queue()

    async def listen(self, listener: Listener) -> str:
        """Call the listener with what is sent to the groups that the channel returned here joins."""
        await self._shards[0].subscribe(self._many)
        channel = f"{self.prefix}.{uuid4().hex}"
        # The library asks whether a channel is known here before it lets it join.
        self.channels[channel] = None
        self._listeners[channel] = listener
        return channel

    def forget(self, channel: str) -> None:
        """Call no more."""
        self.channels.pop(channel, None)
        self._listeners.pop(channel, None)

    async def group_send_many(self, groups: Sequence[str], message: Message) -> None:
        """Send the message to all subscribers of all groups."""
        if len(groups) <= MANY:
            for group in groups:
                await self.group_send(group, message)
            return
        for start in range(0, len(groups), IN_ONE):
            some = list(groups[start : start + IN_ONE])
            content = self.channel_layer.serialize({"groups": some, "message": message})
            await self._shards[0].publish(self._many, content)

    def take(self, name: str, data: bytes) -> None:
        """Hand a message from Redis to those of this process whom it is for."""
        message = self.channel_layer.deserialize(data)
        if name != self._many:
            self._hand_to(name, message, data)
            return
        content = self.channel_layer.serialize(message["message"])
        for group in message["groups"]:
            self._hand_to(self._get_group_channel_name(group), message["message"], content)

    def _hand_to(self, group_channel: str, message: Message, data: bytes) -> None:
        for channel in self.groups.get(group_channel, ()):
            listener = self._listeners.get(channel)
            if listener is not None:
                listener(message)
            elif self.channels.get(channel) is not None:
                self.channels[channel].put_nowait(data)

    def hints_lost(self) -> None:
        """Tell every socket of this process."""
        logger.warning("live: Redis is back; %d sockets are told to fetch", len(self.channels))
        for listener in list(self._listeners.values()):
            listener(HINTS_LOST)


class LiveLayer(RedisPubSubChannelLayer):  # type: ignore[misc] # untyped library
    """What `CHANNEL_LAYERS` names where CHANNEL_URL is Redis."""

    async def listen(self, listener: Listener) -> str:
        """See `_LoopLayer.listen`."""
        channel: str = await self._get_layer().listen(listener)
        return channel

    def forget(self, channel: str) -> None:
        """See `_LoopLayer.forget`."""
        self._get_layer().forget(channel)

    async def group_send_many(self, groups: Sequence[str], message: Message) -> None:
        """Send the message to all subscribers of all groups."""
        await self._get_layer().group_send_many(groups, message)

    def _get_layer(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._layers:
            # The library's own way: makes the layer's closing a part of the loop's.
            super()._get_layer()
            self._layers[loop] = _LoopLayer(*self._args, **self._kwargs, channel_layer=self)
        return self._layers[loop]
