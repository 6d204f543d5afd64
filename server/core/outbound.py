"""Requests to addresses that somebody gave us: never into our own network, never without an end.

A name is resolved here, each address that it gives is looked at, and the connection goes to the
address that was looked at: a name that answers otherwise the second time (DNS rebinding) gains
nothing. Redirects are not followed, proxies of the environment not used, answers read up to a limit,
and the whole exchange has an end, however slowly the other side drips.

OUTBOUND_PRIVATE_NETWORKS names networks of one's own that may be reached all the same.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError

from server.core import clock

TIMEOUT_SECONDS = 10.0
ANSWER_LIMIT = 64 * 1024
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NoAnswer(Exception):
    """Nobody there, no answer in time, or one that broke off. What was sent may have arrived."""


class AddressRefused(NoAnswer):
    """The name leads into a network that we do not call."""


class AnswerTooLong(NoAnswer):
    """More than we were ready to read."""


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object of the body; empty for anything else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def retry_after(self) -> float | None:
        """Seconds that the other side asks us to wait, as a number or as a date (RFC 9110)."""
        told = self.headers.get("Retry-After", "").strip()
        if told.isascii() and told.isdigit():
            return float(told[:9])
        try:
            moment = parsedate_to_datetime(told)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None
        return max(0.0, (moment - clock.now()).total_seconds())

    @property
    def start(self) -> str:
        """The first words of the body, for a reason that people read."""
        return " ".join(self.body[:300].decode("utf-8", "replace").split())[:120]


def post(
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    *,
    timeout: float | None = None,
) -> Answer:
    """Send and read the answer. Raises AddressRefused, AnswerTooLong, NoAnswer."""
    return _exchange("POST", url, content, headers, timeout or TIMEOUT_SECONDS)


def get(url: str, headers: Mapping[str, str], *, timeout: float | None = None) -> Answer:
    """Ask. Raises AddressRefused, AnswerTooLong, NoAnswer."""
    return _exchange("GET", url, None, headers, timeout or TIMEOUT_SECONDS)


def check_host(host: str, port: int) -> None:
    """Raises AddressRefused where the name leads into our own network, NoAnswer where nowhere."""
    _public_addresses(host, port)


# ---- addresses -------------------------------------------------------------------------------


def is_public(address: Address) -> bool:
    """Whether the whole world reaches this address, and not only our own network."""
    inner = _inner(address)
    return is_own_address(str(inner)) or (inner.is_global and not inner.is_multicast)


def is_own_address(host: str) -> bool:
    """Whether this is an address, not a name, in one of OUTBOUND_PRIVATE_NETWORKS."""
    try:
        address = _inner(ipaddress.ip_address(host))
    except ValueError:
        return False
    return any(
        address in network for network in _own_networks() if network.version == address.version
    )


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


def _own_networks() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(each) for each in settings.OUTBOUND_PRIVATE_NETWORKS]


def _public_addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NoAnswer(f"{host}: the name cannot be resolved") from error
    for *_kind, where in found:
        # One that leads inside spoils them all: a name for both is a trick.
        if not is_public(ipaddress.ip_address(str(where[0]).partition("%")[0])):
            raise AddressRefused(f"{host} leads into a private network")
    return found


def _connected(connection: HTTPConnection) -> socket.socket:
    last: OSError | None = None
    for family, kind, protocol, _name, where in _public_addresses(
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


# ---- the exchange ----------------------------------------------------------------------------


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


def _exchange(
    method: str, url: str, content: bytes | None, headers: Mapping[str, str], timeout: float
) -> Answer:
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
