"""Many phones at once: each with one connection, and its next operation when the last one is done.

One process, one thread, sockets that do not block. It ends by itself: no operation begins after the
time or the count is used up, and what has begun has GRACE seconds.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.benchmarks.form import Documents
from tests.benchmarks.traffic import PHASES, SCENARIOS, Operation, Phone, Reply, Scenario, has_more

GRACE = 60.0
RECEIVE_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Load:
    """One run. `phones` are used up to `clients` of them. At most `most` operations."""

    port: int
    scenario: str
    clients: int
    seconds: float
    most: int
    version: str
    phones: list[dict[str, str]]


@dataclass
class Outcome:
    """What a run brought. `latencies` in seconds, `stored` the ids of answered submissions."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    stored: list[tuple[str, str]] = field(default_factory=list)
    """(id, visit_id)"""

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0


class Broken(Exception):
    """A connection ended, or a reply did not come, where a phone was waiting."""


class _Connection:
    """One phone's connection: sends what its operation yields, gives it what comes back."""

    def __init__(self, port: int, phone: Phone, begin: Callable[[Phone], Operation]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=GRACE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.phone = phone
        self.begin = begin
        self.operation: Operation | None = None
        self.began = 0.0
        self.unsent = memoryview(b"")
        self.received = bytearray()
        self.needed = 0
        """How long head and body of the reply are; 0 while the head is not whole."""

    def has_more(self) -> bool:
        return has_more(self.phone, self.begin)

    def start(self) -> None:
        self.began = time.perf_counter()
        self.operation = self.begin(self.phone)
        self._send(b"".join(next(self.operation)))

    def _send(self, request: bytes) -> None:
        self.unsent = memoryview(request)
        self.flush()

    def flush(self) -> None:
        while self.unsent:
            try:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
            except BlockingIOError:
                return

    def receive(self) -> str | None:
        """Read what is there. The operation's result when it is done, else None."""
        while True:
            try:
                chunk = self.socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return None
            if not chunk:
                raise Broken("the server closed a connection")
            self.received += chunk
            reply = self._reply()
            if reply is not None:
                return self._go_on(reply)

    def _go_on(self, reply: Reply) -> str | None:
        assert self.operation is not None
        try:
            self._send(b"".join(self.operation.send(reply)))
        except StopIteration as done:
            self.operation = None
            return str(done.value)
        return None

    def _reply(self) -> Reply | None:
        if not self.needed:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return None
            self.needed = end + 4 + _length(bytes(self.received[:end]))
        if len(self.received) < self.needed:
            return None
        head_end = self.received.find(b"\r\n\r\n") + 4
        reply = Reply(int(self.received[9:12]), bytes(self.received[head_end : self.needed]))
        del self.received[: self.needed]
        self.needed = 0
        return reply


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _colon, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise Broken(f"a reply without Content-Length: {head!r}")


def run(load: Load) -> Outcome:
    """Raises Unexpected and Broken at the first reply that is not what a phone needs."""
    scenario = SCENARIOS[load.scenario]
    phones = [
        Phone(
            Documents(load.version, each["visit_id"]),
            each["key"],
            each["token"],
            each.get("cursor", ""),
        )
        for each in load.phones[: load.clients]
    ]
    with _connected(load, phones, scenario) as connections:
        if load.scenario == "declare":
            return _drive_phases(connections, load)
        return _drive(connections, seconds=load.seconds, most=load.most)


@contextmanager
def _connected(
    load: Load, phones: Sequence[Phone], scenario: Scenario
) -> Iterator[list[_Connection]]:
    connections = [_Connection(load.port, phone, scenario) for phone in phones]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.socket.close()


def _drive_phases(connections: list[_Connection], load: Load) -> Outcome:
    """Declare for half of the time, upload all, complete all: counted are the first and the last."""
    outcomes = []
    for number, phase in enumerate(PHASES):
        for connection in connections:
            connection.begin = phase
        seconds = load.seconds / 2 if number == 0 else GRACE
        outcomes.append(_drive(connections, seconds=seconds, most=load.most))
    declaring, _uploading, completing = outcomes
    whole = Outcome(
        seconds=declaring.seconds + completing.seconds,
        cpu_seconds=declaring.cpu_seconds + completing.cpu_seconds,
        stored=completing.stored,
    )
    both = zip(sorted(declaring.latencies), sorted(completing.latencies), strict=True)
    whole.latencies = [one + other for one, other in both]
    return whole


def _drive(connections: list[_Connection], *, seconds: float, most: int) -> Outcome:
    outcome = Outcome()
    by_file = {each.socket.fileno(): each for each in connections}
    poll = select.epoll()
    for number in by_file:
        # Edge-triggered, so that nothing need be registered anew when a send is incomplete.
        poll.register(number, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
    began, cpu = time.perf_counter(), time.process_time()
    end = began + seconds
    left = most
    waiting = 0
    for connection in connections[:left]:
        if connection.has_more():
            connection.start()
            left -= 1
            waiting += 1
    while waiting:
        ready = poll.poll(GRACE)
        if not ready or time.perf_counter() > end + GRACE:
            raise Broken(f"{waiting} phones wait for a reply since {GRACE:.0f} s")
        for number, event in ready:
            connection = by_file[number]
            if event & select.EPOLLOUT:
                connection.flush()
            if not event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                continue
            stored = connection.receive()
            if stored is None:
                continue
            now = time.perf_counter()
            outcome.latencies.append(now - connection.began)
            if stored:
                outcome.stored.append((stored, connection.phone.documents.visit_id))
            if now < end and left > 0 and connection.has_more():
                left -= 1
                connection.start()
            else:
                waiting -= 1
    poll.close()
    outcome.seconds = time.perf_counter() - began
    outcome.cpu_seconds = time.process_time() - cpu
    return outcome
