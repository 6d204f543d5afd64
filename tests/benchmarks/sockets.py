"""Sockets of one live process: what an idle one costs, and how long a hint takes while the api is busy.

The product's live process with Redis as its layer, and beside it, in the same run, two references: uvicorn
with an application that only accepts, holding as many sockets; and Redis's own publish and subscribe,
with as many messages, between two processes that do nothing else.

The sockets are held by one process of raw asyncio protocols, from several addresses of the loopback.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import multiprocessing
import os
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from redis import Redis

from tests.benchmarks.load import GRACE, Load, run
from tests.benchmarks.processes import World, bare_sockets, memory_of
from tests.services import running

WARM = 200
"""Sockets that are open before the first look at the memory: what the first ones load is not theirs."""
AT_ONCE = 100
SOURCES = 8
"""Addresses of the loopback that the clients come from."""
PAUSE_SECONDS = 0.4
PLACE = "/ws/v1/inbox"
ALLOWED_KB = 60.0
ALLOWED_MS = 300.0


class Wrong(Exception):
    """A socket did not open, a hint did not arrive, or the product missed what it promises."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Kilobytes for each idle socket; milliseconds from the sending to the arrival."""

    sockets: int
    opened_per_second: float
    product_kb: float
    bare_kb: float
    told: int
    hints: int
    p50: float
    p99: float
    quiet_p99: float
    """While the api has nothing to do."""
    redis_p50: float
    redis_p99: float
    api_rate: float
    """Submissions a second that the api took meanwhile."""


def measure(running_world: World, *, sockets: int, told: int, hints: int) -> Figures:
    """Raises Wrong."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    world, live = running_world, running_world.part("live")
    with sender(world, sockets) as tell:
        tokens = tell.tokens
        with holder(int(live.url)) as clients:
            clients.open(tokens[:WARM])
            before, began = memory_of(live), time.perf_counter()
            clients.open(tokens[WARM:])
            opened = (sockets - WARM) / (time.perf_counter() - began)
            product_kb = 1024 * (memory_of(live) - before) / (sockets - WARM)
            tell.hint(told)  # connects to Redis
            clients.heard(told)
            quiet = arrivals(tell, clients, told, hints)
            busy, rate = while_busy(world, lambda: arrivals(tell, clients, told, hints), hints)
    redis_url = world.part("redis").url
    redis, _rate = while_busy(world, lambda: redis_alone(redis_url, told, hints), hints)
    with running(bare_sockets(redis_url)) as reference, holder(int(reference.url)) as clients:
        clients.open([""] * WARM)
        before = memory_of(reference)
        clients.open([""] * (sockets - WARM))
        bare_kb = 1024 * (memory_of(reference) - before) / (sockets - WARM)
    return Figures(
        sockets=sockets,
        opened_per_second=opened,
        product_kb=product_kb,
        bare_kb=bare_kb,
        told=told,
        hints=hints,
        p50=percentile(busy, 50),
        p99=percentile(busy, 99),
        quiet_p99=percentile(quiet, 99),
        redis_p50=percentile(redis, 50),
        redis_p99=percentile(redis, 99),
        api_rate=rate,
    )


def say(figures: Figures, write: Callable[[str], None]) -> None:
    each = figures
    write("")
    write(
        f"{each.sockets:,} idle sockets in one live process, {each.opened_per_second:.0f} opened a second"
    )
    write(f"{'KB for each':34}{'product':>10}{'bare':>10}{'allowed':>10}")
    write(f"{'':34}{each.product_kb:10.1f}{each.bare_kb:10.1f}{ALLOWED_KB:10.0f}")
    write(
        f"{f'a hint to {each.told:,}, ms, {each.hints} times':34}{'p50':>10}{'p99':>10}{'allowed':>10}"
    )
    busy = f"the api takes {each.api_rate:.0f} a second"
    write(f"{busy:34}{each.p50:10.0f}{each.p99:10.0f}{ALLOWED_MS:10.0f}")
    write(f"{'the api is idle':34}{'':10}{each.quiet_p99:10.0f}")
    write(f"{'Redis alone, the api as busy':34}{each.redis_p50:10.0f}{each.redis_p99:10.0f}")


def judge(figures: Figures) -> None:
    """Raises Wrong where the product needs more than it promises."""
    if figures.product_kb > ALLOWED_KB:
        raise Wrong(f"{figures.product_kb:.1f} KB for a socket, {ALLOWED_KB:.0f} are allowed")
    if figures.p99 > ALLOWED_MS:
        raise Wrong(f"a hint took {figures.p99:.0f} ms, {ALLOWED_MS:.0f} are allowed")


def percentile(values: Sequence[float], percent: int) -> float:
    """In milliseconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


# ---- who sends -------------------------------------------------------------------------------


@dataclass
class Sender:
    """The process that makes people and sends hints to them (hints.py)."""

    process: subprocess.Popen[str]
    tokens: list[str]

    def hint(self, people: int) -> float:
        """Send one, and return the moment before."""
        assert self.process.stdin
        self.process.stdin.write(f"{people}\n")
        self.process.stdin.flush()
        return float(self._heard()[0])

    def _heard(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise Wrong("the sender of hints ended")
        return json.loads(line)


@contextmanager
def sender(world: World, people: int) -> Iterator[Sender]:
    command = world.command(sys.executable, "-m", "tests.benchmarks.hints", str(people))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            made = Sender(process, [])
            made.tokens = made._heard()
            yield made
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(GRACE)


def arrivals(tell: Sender, clients: Clients, told: int, hints: int) -> list[float]:
    """For every person and every hint: the seconds from before the sending to the arrival."""
    times: list[float] = []
    for _number in range(hints):
        sent = tell.hint(told)
        times += [moment - sent for moment in clients.heard(told)]
        time.sleep(PAUSE_SECONDS)
    return times


def while_busy(
    world: World, do: Callable[[], list[float]], hints: int
) -> tuple[list[float], float]:
    """Do it while the api takes submissions. Returns what it gave, and the submissions a second."""
    load = Load(
        port=world.product_port,
        scenario="openrosa",
        clients=8,
        seconds=hints * (PAUSE_SECONDS + 0.2) + 1.0,
        most=1_000_000,
        version=world.plan["version"],
        phones=world.plan["phones"],
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as phones:
        phones.submit(os.getpid).result()
        outcome = phones.submit(run, load)
        time.sleep(0.5)
        found = do()
        if outcome.done():
            outcome.result()
        return found, outcome.result(timeout=load.seconds + 3 * GRACE).per_second


# ---- who listens -----------------------------------------------------------------------------


@dataclass
class Clients:
    """The process that holds the sockets."""

    line: Connection

    def open(self, tokens: Sequence[str]) -> None:
        self._ask("open", list(tokens))

    def heard(self, people: int) -> list[float]:
        """The moments at which so many hints arrived, all of them; waits for the last."""
        moments: list[float] = self._ask("heard", people)
        return moments

    def _ask(self, what: str, value: Any) -> Any:
        self.line.send((what, value))
        if not self.line.poll(3 * GRACE):
            raise Wrong(f"the clients do not answer: {what}")
        good, answer = self.line.recv()
        if not good:
            raise Wrong(answer)
        return answer


@contextmanager
def holder(port: int) -> Iterator[Clients]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(port, theirs))
    process.start()
    try:
        yield Clients(ours)
    finally:
        with suppress(OSError):
            ours.send(("end", None))
        process.join(GRACE)
        if process.is_alive():
            process.kill()
            process.join()


def hold(port: int, line: Connection) -> None:
    """The other process: opens sockets, notes when hints come, answers the server's pings."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(_Holding(port, line).serve())


@dataclass
class _Holding:
    port: int
    line: Connection
    moments: list[float] = field(default_factory=list)
    open_ones: list[_Socket] = field(default_factory=list)

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            what, value = await loop.run_in_executor(None, self.line.recv)
            if what == "end":
                return
            try:
                answer = await (self._open(value) if what == "open" else self._heard(value))
            except (OSError, TimeoutError, Wrong) as failure:
                self.line.send((False, f"{type(failure).__name__}: {failure}"))
            else:
                self.line.send((True, answer))

    async def _open(self, tokens: list[str]) -> None:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, token: str) -> None:
            async with turns, asyncio.timeout(GRACE):
                source = f"127.0.0.{2 + number % SOURCES}"
                _transport, made = await asyncio.get_running_loop().create_connection(
                    lambda: _Socket(token, self.moments),
                    "127.0.0.1",
                    self.port,
                    local_addr=(source, 0),
                )
                await made.opened
                self.open_ones.append(made)

        async with asyncio.TaskGroup() as group:
            for number, token in enumerate(tokens):
                group.create_task(one(number, token))
        gc.freeze()  # how long its own collections take is not what is measured

    async def _heard(self, count: int) -> list[float]:
        end = time.monotonic() + GRACE
        while len(self.moments) < count:
            if time.monotonic() > end:
                raise Wrong(f"{len(self.moments)} of {count} hints arrived")
            await asyncio.sleep(0.01)
        if any(each.lost for each in self.open_ones):
            raise Wrong("the server closed sockets")
        found, self.moments[:] = self.moments[:count], []
        return found


class _Socket(asyncio.Protocol):
    """As little of a web-socket client as will do."""

    __slots__ = ("lost", "moments", "opened", "received", "token", "transport")

    def __init__(self, token: str, moments: list[float]) -> None:
        self.token, self.moments = token, moments
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = b""
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        offer = f"Sec-WebSocket-Protocol: bearer, {self.token}\r\n" if self.token else ""
        transport.write(
            f"GET {PLACE} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.opened.done():
            head, end, rest = self.received.partition(b"\r\n\r\n")
            if not end:
                return
            self.received = rest
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(Wrong(head.decode(errors="replace")[:200]))
                return
            self.opened.set_result(None)
        while len(self.received) >= 2:
            length = self.received[1] & 0x7F  # ours are short: no longer lengths
            if len(self.received) < 2 + length:
                return
            kind, content = self.received[0] & 0x0F, self.received[2 : 2 + length]
            self.received = self.received[2 + length :]
            self._frame(kind, content)

    def _frame(self, kind: int, content: bytes) -> None:
        if kind == 1:
            self.moments.append(time.perf_counter())
        elif kind == 9:
            masked = struct.pack("!BB", 0x8A, 0x80 | len(content)) + bytes(4) + content
            self.transport.write(masked)
        elif kind == 8:
            self.lost = True

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self.opened.done():
            self.opened.set_exception(Wrong("the server closed the connection"))


# ---- Redis alone -----------------------------------------------------------------------------


def redis_alone(url: str, messages: int, times: int) -> list[float]:
    """The seconds from before a pipeline of messages to the arrival of each, at one subscriber."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_subscribe, args=(url, messages, theirs))
    process.start()
    found: list[float] = []
    try:
        if not ours.poll(GRACE):
            raise Wrong("Redis's subscriber did not begin")
        ours.recv()
        client = Redis.from_url(url)
        for _number in range(times):
            sent = time.perf_counter()
            pipeline = client.pipeline(transaction=False)
            for number in range(messages):
                pipeline.publish(f"bare.{number}", b"x" * 64)
            pipeline.execute()
            if not ours.poll(GRACE):
                raise Wrong("Redis's messages did not arrive")
            found += [moment - sent for moment in ours.recv()]
            time.sleep(PAUSE_SECONDS)
        client.close()
    finally:
        process.kill()
        process.join()
    return found


def _subscribe(url: str, messages: int, line: Connection) -> None:
    pubsub = Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(*[f"bare.{number}" for number in range(messages)])
    for _number in range(messages):
        pubsub.get_message(timeout=1)
    line.send("ready")
    while True:
        moments: list[float] = []
        while len(moments) < messages:
            if pubsub.get_message(timeout=1):
                moments.append(time.perf_counter())
        line.send(moments)
