"""What worker and child say to each other: msgpack over a socket, each message with its length.

Never pickle: what a child says that a file has taken over must remain data.
"""

from __future__ import annotations

import resource
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from media_storage.bounded.limits import MAX_MESSAGE

_LENGTH = struct.Struct("!I")


class Usage(msgspec.Struct, frozen=True):
    """Of the child: CPU time of this job, its programs included; the most memory it ever had, or 0."""

    cpu_seconds: float = 0.0
    peak_bytes: int = 0


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    with suppress(OSError, ValueError, IndexError):
        # getrusage's ru_maxrss would tell of the process too from which this one was forked.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Order(msgspec.Struct):
    """Worker to child, with the file's descriptor beside it."""

    function: str
    cpu_seconds: int
    options: dict[str, Any]


class Result(msgspec.Struct, tag="result"):
    value: Any


class Done(msgspec.Struct, tag="done"):
    usage: Usage


class Refusal(msgspec.Struct, tag="refusal"):
    code: str
    cause: str
    usage: Usage


class Failure(msgspec.Struct, tag="failure"):
    traceback: str
    usage: Usage


Answer = Result | Done | Refusal | Failure

_encode = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


class Closed(Exception):
    """The other side is gone."""


def send(line: socket.socket, message: Order | Answer, *, file: int | None = None) -> None:
    """Raises Closed, ValueError for a message that is too long."""
    content = _encode(message)
    if len(content) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(content)} bytes")
    head = _LENGTH.pack(len(content))
    try:
        if file is None:
            line.sendall(head)
        else:
            socket.send_fds(line, [head], [file])
        line.sendall(content)
    except (BrokenPipeError, ConnectionError) as error:
        raise Closed from error


def receive_order(line: socket.socket) -> tuple[Order, int]:
    """The next order and its file's descriptor, which is the caller's to close. Raises Closed."""
    head, files, _flags, _address = socket.recv_fds(line, _LENGTH.size, 1)
    if not files:
        raise Closed
    head += _exactly(line, _LENGTH.size - len(head))
    return decode_order(_exactly(line, _LENGTH.unpack(head)[0])), files[0]


def receive_answer(line: socket.socket, wait: Any) -> Answer:
    """The next answer; `wait()` is called before each read. Raises Closed, ValueError for nonsense."""
    length = _LENGTH.unpack(_exactly(line, _LENGTH.size, wait))[0]
    if length > MAX_MESSAGE:
        raise ValueError(f"a message of {length} bytes")
    try:
        answer: Answer = decode_answer(_exactly(line, length, wait))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return answer


def _exactly(line: socket.socket, count: int, wait: Any = None) -> bytearray:
    content = bytearray(count)
    view, have = memoryview(content), 0
    while have < count:
        if wait:
            wait()
        try:
            got = line.recv_into(view[have:])
        except ConnectionError as error:
            raise Closed from error
        if not got:
            raise Closed
        have += got
    return content
