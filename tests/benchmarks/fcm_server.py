"""An FCM that costs next to nothing: it answers each message at once, and logs everybody in.

    python -m tests.benchmarks.fcm_server [DELAY_MS]      prints its port

What errors mean is tested against tests/fakes/fcm.py; this one is for speed alone. It counts messages
and tells the number at GET /count.
"""

from __future__ import annotations

import asyncio
import json
import sys

import httptools

NAME = b'{"name": "projects/duxue-test/messages/0:1"}'
TOKEN = json.dumps({"access_token": "access", "expires_in": 3600, "token_type": "Bearer"}).encode()


def _answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


class Talk(asyncio.Protocol):
    """One connection; what httptools calls are the `on_…`."""

    count = 0
    delay = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.authorized = b"", False

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self.authorized = value == b"Bearer access"

    def on_message_complete(self) -> None:
        url, self.url = self.url, b""
        if url == b"/token":
            self._say(_answer(TOKEN))
        elif url == b"/count":
            self._say(_answer(b"%d" % Talk.count))
        elif not self.authorized:
            self._say(_answer(b"{}", b"401 Unauthorized"))
        else:
            Talk.count += 1
            self._say(_SENT, Talk.delay)

    def _say(self, answer: bytes, delay: float = 0.0) -> None:
        if delay:
            asyncio.get_running_loop().call_later(delay, self.transport.write, answer)
        else:
            self.transport.write(answer)


_SENT = _answer(NAME)


async def main() -> None:
    Talk.delay = float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0
    server = await asyncio.get_running_loop().create_server(Talk, "127.0.0.1", 0, backlog=1000)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
