"""One HTTP request over a weak network: some break off, some are half-closed, some get no answer."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

TIMEOUT = 45.0
PIECE = 8 * 1024

Mishap = Literal["cut", "half", "deaf", "slow"]
MISHAPS: tuple[Mishap, ...] = ("cut", "half", "deaf", "slow")
"""The connection is reset in mid-body; our side of it is closed in mid-body; everything is sent and
nobody waits for the answer; the body pauses on its way."""


@dataclass(frozen=True)
class Answer:
    """`status` 0: none came. `cut_short`: the body was not sent whole, on purpose."""

    status: int
    body: bytes = b""
    retry_after: str = ""
    cut_short: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def ask(
    method: str,
    url: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    mishap: Mishap | None = None,
    chance: random.Random | None = None,
) -> Answer:
    """Send one request on a connection of its own."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders()
        cut_short = _send(connection, body, mishap, chance or random.Random(0))
        return _answer(connection, mishap, cut_short)
    except (OSError, http.client.HTTPException):
        return Answer(0)
    finally:
        connection.close()


def _send(
    connection: http.client.HTTPConnection,
    body: bytes,
    mishap: Mishap | None,
    chance: random.Random,
) -> bool:
    """Whether less was sent than was announced."""
    turn = chance.randrange(len(body)) if mishap and body else len(body)
    _send_pieces(connection, body[:turn])
    if turn == len(body):
        return False
    assert connection.sock
    if mishap == "cut":
        # Closing with a linger of zero seconds resets the connection.
        linger = struct.pack("ii", 1, 0)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise ConnectionResetError
    if mishap == "half":
        connection.sock.shutdown(socket.SHUT_WR)
        return True
    if mishap == "slow":
        time.sleep(chance.uniform(0.1, 0.8))
    _send_pieces(connection, body[turn:])
    return False


def _send_pieces(connection: http.client.HTTPConnection, body: bytes) -> None:
    for start in range(0, len(body), PIECE):
        connection.send(body[start : start + PIECE])


def _answer(
    connection: http.client.HTTPConnection, mishap: Mishap | None, cut_short: bool
) -> Answer:
    if mishap == "deaf":
        raise ConnectionResetError
    response = connection.getresponse()
    return Answer(
        response.status,
        response.read(),
        retry_after=response.headers.get("Retry-After", ""),
        cut_short=cut_short,
    )
