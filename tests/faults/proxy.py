"""A line to the store, on a port of its own, that can be slow, broken in the middle, or cut."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 64 * 1024


class Proxy:
    """Passes bytes on between its port and `target`. Set `delay` and `is_cut` from any thread."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.delay = 0.0
        self.is_cut = False
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._running: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Break every connection in the middle, and refuse new ones until `mend`."""
        self.is_cut = True
        self._loop.call_soon_threadsafe(self._break)

    def mend(self) -> None:
        self.is_cut, self.delay = False, 0.0

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        self._break()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _break(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._running.add(task)
        self._writers.add(near_out)
        try:
            if self.is_cut:
                return
            with suppress(OSError):
                far_in, far_out = await asyncio.open_connection("127.0.0.1", self.target)
                self._writers.add(far_out)
                await asyncio.gather(self._pass(near_in, far_out), self._pass(far_in, near_out))
                self._writers.discard(far_out)
        finally:
            self._writers.discard(near_out)
            self._running.discard(task)
            near_out.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                target.write(chunk)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()
