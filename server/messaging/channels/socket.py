"""Web-socket hints: tell the open sockets of a person that there is something to fetch.

A hint is sent from any thread: a worker's, a request's. Channel layers belong to an event loop, and
the in-memory one reaches only sockets of the loop on which they are served, so hints run on that
loop (`serve_here`); with Redis they run on a loop of their own, kept so that its connection is too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from channels.layers import InMemoryChannelLayer, get_channel_layer

from server.core.work import TemporaryFailure
from server.messaging.channels import Sent

if TYPE_CHECKING:
    from server.messaging.models import Delivery

logger = logging.getLogger(__name__)

HINT_TIMEOUT_SECONDS = 5.0

Message = dict[str, Any]


class SocketChannel:
    """Hints at the notice; whether a socket is open is nobody's knowledge, so the most is "sent"."""

    name = "socket"

    def send(self, delivery: Delivery) -> Sent:
        """Raises TemporaryFailure when the channel layer is away."""
        message = {"type": "inbox.changed", "after": str(delivery.notice_id)}
        try:
            hint([delivery.person.pk], message)
        except Exception as failure:
            # The layer's driver raises its own kinds; none of them is worth more than a later try.
            raise TemporaryFailure(f"{type(failure).__name__}: {failure}") from failure
        return Sent("sent")


def group_of(user_id: UUID) -> str:
    """The name of the group that a person's sockets join."""
    return f"inbox.{user_id.hex}"


EVERYWHERE = "overview.all"
"""The group of those who see every area."""


def group_of_area(path: str) -> str:
    """The name of the group of an area's pages, by its path: codes are unique, the last is its own."""
    return f"overview.{path.rstrip('/').rpartition('/')[2]}"


def hint(user_ids: Iterable[UUID], message: Message) -> None:
    """Send `message` to every open socket of these persons; callable from every thread.

    Many persons at once cost one trip to the layer: give them all in one call.
    """
    hint_groups([group_of(user_id) for user_id in user_ids], message)


def hint_groups(groups: Sequence[str], message: Message) -> None:
    """The same to the sockets of these groups."""
    loop = _loop()
    if loop is None:
        return  # in memory and no socket was ever opened here: there is nobody to tell
    _run_on(loop, _send_all(groups, message))


def end_connections(user_id: UUID, device_id: UUID) -> None:
    """Close the sockets of a device whose session ended. Best effort: the token is dead anyway."""
    try:
        hint([user_id], {"type": "session.ended", "device": str(device_id)})
    except Exception:
        logger.exception("socket: could not end the connections of device %s", device_id)


async def _send_all(groups: Sequence[str], message: Message) -> None:
    layer = get_channel_layer()
    if hasattr(layer, "group_send_many"):  # LiveLayer, whose libraries are loaded where it is used
        await layer.group_send_many(groups, message)
        return
    for group in groups:
        await layer.group_send(group, message)


def _run_on(loop: asyncio.AbstractEventLoop, sending: Coroutine[Any, Any, None]) -> None:
    if loop is _running_loop():  # waiting here for our own loop would never end
        task = loop.create_task(sending)
        _unfinished.add(task)
        task.add_done_callback(_unfinished.discard)
        return
    asyncio.run_coroutine_threadsafe(sending, loop).result(HINT_TIMEOUT_SECONDS)


_unfinished: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references


# ---- which loop -----------------------------------------------------------------------------

_serving: asyncio.AbstractEventLoop | None = None
_own: tuple[int, asyncio.AbstractEventLoop] | None = None
_own_lock = threading.Lock()


def serve_here() -> None:
    """Called by every consumer: this loop serves sockets."""
    global _serving  # noqa: PLW0603 - one server loop per process is a fact of the process
    _serving = asyncio.get_running_loop()


def _loop() -> asyncio.AbstractEventLoop | None:
    if isinstance(get_channel_layer(), InMemoryChannelLayer):
        return None if _serving is None or _serving.is_closed() else _serving
    return _own_loop()


def _own_loop() -> asyncio.AbstractEventLoop:
    """A loop in a thread of this process; a forked child makes its own."""
    global _own  # noqa: PLW0603 - as above
    with _own_lock:
        if _own is None or _own[0] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="socket-hints", daemon=True).start()
            _own = (os.getpid(), loop)
        return _own[1]


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
