"""The product in processes of its own, as production runs it: pages and API, live, worker, Redis.

The database is SQLite and the store a folder, which all processes of one machine can share. A small proxy
in front, as nginx is: sockets to `live`, everything else to `api`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.services.base import free_port, listens, program

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
WAIT_SECONDS = 60.0
LIVE_OPTIONS = (
    *("--lifespan", "off", "--no-access-log", "--ws", "websockets-sansio"),
    *("--ws-max-size", "4096", "--ws-per-message-deflate", "false"),
)


@dataclass
class Process:
    """One program that can be ended and started again."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    port: int = 0
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.running = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + WAIT_SECONDS
        while self.port and not listens(self.port):
            if self.running.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{self.name} did not start\n{self.log()}")
            time.sleep(0.05)  # between two looks; the deadline is above

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.running is None:
            return
        with suppress(ProcessLookupError):
            self.running.send_signal(number)
        try:
            self.running.wait(20)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait()
        self.running = None

    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text(errors="replace")[-4000:]


@dataclass
class Product:
    """Everything that runs, by name; `url` is the proxy's."""

    url: str
    folder: Path
    environment: Mapping[str, str]
    processes: dict[str, Process] = field(default_factory=dict)

    def manage(self, *command: str) -> None:
        """A management command of the product."""
        subprocess.run(
            [sys.executable, "-m", "server", *command],
            cwd=ROOT,
            env=dict(self.environment),
            check=True,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def product(folder: Path) -> Iterator[Product]:
    """Start everything with the demo county, and end everything."""
    ports = {name: free_port() for name in ("redis", "api", "live", "proxy")}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    (folder / "static").mkdir(parents=True)
    environment = {
        **kept,
        "VAR_DIR": str(folder),
        "CHANNEL_URL": f"redis://127.0.0.1:{ports['redis']}/0",
        "DJANGO_SETTINGS_MODULE": "server.config.settings",
        "CSRF_TRUSTED_ORIGINS": f"http://127.0.0.1:{ports['proxy']}",
    }
    redis = str(program("redis-server", package="redis-server"))
    here = ("--host", "127.0.0.1", "--port")
    server = (sys.executable, "-m", "server")
    commands: dict[str, Sequence[str]] = {
        "redis": (redis, "--port", str(ports["redis"]), "--bind", "127.0.0.1", "--save", ""),
        "api": (*server, "api", "--workers", "1", "--port", str(ports["api"])),
        "live": (
            *(str(BIN / "uvicorn"), *here, str(ports["live"]), *LIVE_OPTIONS),
            "server.config.asgi:application",
        ),
        "worker": (*server, "worker"),
    }
    made = Product(f"http://127.0.0.1:{ports['proxy']}", folder, environment)
    with ExitStack() as stack:
        made.manage("migrate", "--verbosity", "0")
        made.manage("load_demo", "--verbosity", "0")
        for name, command in commands.items():
            process = Process(name, command, environment, folder, ports.get(name, 0))
            stack.callback(process.stop)
            process.start()
            made.processes[name] = process
        stack.enter_context(_proxy(ports["proxy"], api=ports["api"], live=ports["live"]))
        yield made


@contextmanager
def _proxy(port: int, *, api: int, live: int) -> Iterator[None]:
    """Bytes in both directions; which way is the first line's."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            to_live = head.split(b" ", 2)[1].startswith(b"/ws/")
            # One request for each connection: the next may go the other way.
            kept = b"upgrade" if to_live else b"close"
            lines = head.split(b"\r\n")[:-2]
            lines = [line for line in lines if not line.lower().startswith(b"connection:")]
            upstream = await asyncio.open_connection("127.0.0.1", live if to_live else api)
            upstream[1].write(b"\r\n".join([*lines, b"Connection: " + kept, b"", b""]))
            await asyncio.gather(pipe(reader, upstream[1]), pipe(upstream[0], writer))
            return
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", port))
    thread = threading.Thread(target=loop.run_forever, name="proxy")
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
