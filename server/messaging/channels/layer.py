"""The Redis channel layer of channels_redis, fitted to ten thousand sockets that only listen.

- A socket has no channel of its own in Redis: nobody sends to one, all hints go to groups.
- A hint to many groups is one trip to Redis.
- After Redis was away, every socket of this process is told that hints may have been lost, so that its
  client fetches what it missed. Pub/sub keeps nothing for those who were not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

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

AWAY = (OSError, RedisError)
"""What a call of the layer raises while Redis is away."""
HINTS_LOST = {"type": "hints.lost"}
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
    """The connection: publishes in one trip, and outlives Redis quietly."""

    _redis: Any
    _pubsub: Any

    async def publish_many(self, channels: Iterable[str], message: bytes) -> None:
        async with self._lock:
            self._ensure_redis()
            pipeline = self._redis.pipeline(transaction=False)
            for channel in channels:
                pipeline.publish(channel, message)
            await pipeline.execute()

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
                    self._receive_message(message)
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

    async def _subscribe_to_channel(self, channel: str) -> None:
        self.channels[channel] = asyncio.Queue()

    async def group_send_many(self, groups: Iterable[str], message: dict[str, Any]) -> None:
        """Send the message to all subscribers of all groups."""
        names: dict[_Shard, list[str]] = {}
        for group in groups:
            name = self._get_group_channel_name(group)
            names.setdefault(self._get_shard(name), []).append(name)
        content = self.channel_layer.serialize(message)
        for shard, channels in names.items():
            await shard.publish_many(channels, content)

    def hints_lost(self) -> None:
        """Tell every socket of this process."""
        logger.warning("live: Redis is back; %d sockets are told to fetch", len(self.channels))
        content = self.channel_layer.serialize(HINTS_LOST)
        for queue in self.channels.values():
            queue.put_nowait(content)


class LiveLayer(RedisPubSubChannelLayer):  # type: ignore[misc] # untyped library
    """What `CHANNEL_LAYERS` names where CHANNEL_URL is Redis."""

    async def group_send_many(self, groups: Iterable[str], message: dict[str, Any]) -> None:
        """Send the message to all subscribers of all groups, in one trip."""
        await self._get_layer().group_send_many(groups, message)

    def _get_layer(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._layers:
            # The library's own way: makes the layer's closing a part of the loop's.
            super()._get_layer()
            self._layers[loop] = _LoopLayer(*self._args, **self._kwargs, channel_layer=self)
        return self._layers[loop]
