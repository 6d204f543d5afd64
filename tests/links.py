"""A phone's line to a server on loopback, which breaks at places that a seed chooses; and its client.

It counts what the phone gave it. Bytes that were on their way when it broke are lost, as on the air.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

CHUNK = 16 * 1024
_RESET = struct.pack("ii", 1, 0)
"""A linger of zero seconds: closing resets the connection, and what is on its way is lost."""


class WeakLink:
    """Listens on `port` and passes everything on to `target`; breaks after so many of the phone's bytes."""

    def __init__(self, target: int, breaks: list[int]) -> None:
        self.target = target
        self.breaks = sorted(breaks)
        self.broken = 0
        self.passed = 0
        """The phone's bytes that got onto the line, headers included."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stopping = False

    @contextlib.contextmanager
    def running(self) -> Iterator[WeakLink]:
        thread = threading.Thread(target=self._serve, name="weak link")
        thread.start()
        try:
            yield self
        finally:
            self._stopping = True
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()  # it looks up
            thread.join()
            self._listener.close()

    def _serve(self) -> None:
        """One connection after the other: a phone sends one thing at a time."""
        while not self._stopping:
            near, _address = self._listener.accept()
            with near, socket.create_connection(("127.0.0.1", self.target)) as far:
                for each in (near, far):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(OSError):
                    self._pass(near, far)

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        while not self._stopping:
            ready, _w, _x = select.select([near, far], [], [], 0.2)
            for source in ready:
                chunk = source.recv(CHUNK)
                if not chunk:
                    return
                if source is far:
                    near.sendall(chunk)
                    continue
                self.passed += len(chunk)
                if self.broken < len(self.breaks) and self.passed >= self.breaks[self.broken]:
                    self.broken += 1
                    for each in (near, far):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    return
                far.sendall(chunk)


def breaks(count: int, *, within: int, seed: int) -> list[int]:
    """So many moments, anywhere before `within` bytes were sent."""
    chance = random.Random(seed)
    return [chance.randrange(within) for _number in range(count)]


class Sender:
    """PUTs over one connection that is kept while it lasts; 0 for a request that got no answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection: http.client.HTTPConnection | None = None

    def put(self, url: str, content: bytes, headers: Mapping[str, str]) -> int:
        parts = urlsplit(url)
        try:
            connection = self._connected()
            connection.putrequest("PUT", f"{parts.path}?{parts.query}", skip_host=True)
            # The address is signed for the server's own name; the line is only the way there.
            for name, value in {"Host": parts.netloc, **headers}.items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(content)))
            connection.endheaders()
            for start in range(0, len(content), CHUNK):
                connection.send(content[start : start + CHUNK])
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0
        if answer.will_close:
            self.close()
        return answer.status

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            self._connection.connect()
            # Small buffers: what the phone has sent is soon on the air, and not in the kernel.
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
        return self._connection
