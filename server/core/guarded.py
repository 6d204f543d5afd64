"""The connections of `server.core.outbound`: to addresses that were looked at, and with an end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError

from server.core.hosts import NoAnswer, public_addresses
from server.core.outbound import ANSWER_LIMIT, TIMEOUT_SECONDS, Answer, AnswerTooLong


def _connected(connection: HTTPConnection) -> socket.socket:
    last: OSError | None = None
    for family, kind, protocol, _name, where in public_addresses(
        connection._dns_host, connection.port or connection.default_port
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(connection.timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(where)
        except OSError as error:
            last = error
            sock.close()
        else:
            return sock
    raise NewConnectionError(connection, f"cannot connect: {last}") from last


class _Guarded(HTTPConnection):
    """Connects to addresses that were looked at, and waits for an answer's head only so long."""

    def _new_conn(self) -> socket.socket:
        return _connected(self)

    def getresponse(self) -> Any:
        # Each byte that drips in begins the socket's own timeout anew; this clock does not.
        over = threading.Event()
        alarm = threading.Timer(_seconds(self.timeout), _cut, [self.sock, over])
        alarm.daemon = True
        alarm.start()
        try:
            response = super().getresponse()
        finally:
            alarm.cancel()
        if over.is_set():  # a head that was cut off looks like one that ended
            response.close()
            raise TimeoutError
        return response


class _GuardedTls(_Guarded, HTTPSConnection):
    pass


def _seconds(timeout: object) -> float:
    return float(timeout) if isinstance(timeout, int | float) else TIMEOUT_SECONDS


def _cut(sock: socket.socket, over: threading.Event) -> None:
    over.set()
    with suppress(OSError):  # it ended by itself
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTls


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


@cache
def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy would resolve names in our place
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    for prefix in ("http://", "https://"):
        session.mount(prefix, _Adapter(max_retries=0, pool_connections=64, pool_maxsize=32))
    return session


def exchange(
    method: str, url: str, content: bytes | None, headers: Mapping[str, str], timeout: float
) -> Answer:
    """Send and read the answer. Raises AddressRefused, AnswerTooLong, NoAnswer."""
    ends = time.monotonic() + 2 * timeout
    try:
        response = _session().request(
            method,
            url,
            data=content,
            headers={"User-Agent": "Duxue", **headers},
            timeout=timeout,
            allow_redirects=False,
            stream=True,
        )
        with response:
            body = _body_of(response, ends)
    except NoAnswer:
        raise
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        raise NoAnswer(_reason(error)) from None
    return Answer(response.status_code, response.headers, body)


def _body_of(response: requests.Response, ends: float) -> bytes:
    body = b""
    # By the single read, not by the full chunk: a chunk that drips in would not come back to us.
    while piece := response.raw.read1(8192, decode_content=False):
        body += piece
        if len(body) > ANSWER_LIMIT:
            raise AnswerTooLong(f"the answer is longer than {ANSWER_LIMIT} bytes")
        if time.monotonic() > ends:
            raise NoAnswer("the answer takes too long")
    return body


def _reason(error: Exception) -> str:
    """What happened, without the address: it may be a secret itself, and errors repeat it."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "the other side's certificate is not valid"
    if isinstance(error, requests.ConnectionError | HTTPError):
        return "no connection, or it broke off"
    return f"unusable answer ({type(error).__name__})"
