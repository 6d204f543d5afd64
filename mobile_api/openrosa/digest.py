"""HTTP Digest (RFC 7616, MD5, qop=auth) and Basic for phones, against passwords that we generated.

Nothing is kept between requests: a nonce is its moment and an HMAC of it, so any process can check
what any other gave out. A nonce may be used again while it lives; what can be replayed with it is
one method on one address, and posts are idempotent.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import unquote, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from django.conf import settings
from django.http import HttpRequest

from server.core import clock
from server.core.errors import NotAuthenticated
from server.messaging.models import Device
from server.messaging.sessions import OPENROSA_REALM, device_for_basic, devices_with_digest

NONCE_SECONDS = 1800
"""Long: under ASGI the body of a slow upload is received before its nonce is looked at."""

CLOCK_SKEW_SECONDS = 60
"""How far ahead the clock of another server of ours may be."""

_NOBODY_HA1 = "0" * 32


class CredentialsNeeded(NotAuthenticated):
    """`stale`: the credentials are right, only the nonce is too old, so the client may just retry."""

    def __init__(self, *, stale: bool = False) -> None:
        super().__init__()
        self.stale = stale


def device_for_authorization(request: HttpRequest) -> Device:
    """The device whose credentials the request carries. Raises CredentialsNeeded, NotAuthenticated."""
    scheme, _space, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "digest":
        return _device_for_digest(request, rest)
    # Over plain HTTP a Basic password would be readable on the way.
    if scheme.lower() == "basic" and request.is_secure():
        return _device_for_basic(rest)
    raise CredentialsNeeded


def challenge(*, stale: bool, secure: bool) -> str:
    """The WWW-Authenticate header: Digest, and over HTTPS Basic too."""
    digest = (
        f'Digest realm="{OPENROSA_REALM}", qop="auth", algorithm=MD5, '
        f'nonce="{new_nonce()}", opaque="{_opaque()}"'
    )
    digest += ", stale=true" if stale else ""
    basic = f', Basic realm="{OPENROSA_REALM}", charset="UTF-8"' if secure else ""
    return digest + basic


def new_nonce() -> str:
    """The present second and an HMAC of it."""
    moment = f"{int(clock.now().timestamp()):x}"
    return f"{moment}.{_mac('nonce:' + moment)}"


def _device_for_digest(request: HttpRequest, parameters: str) -> Device:
    given = _parameters(parameters)
    if not (_fits_challenge(given) and _same_target(given["uri"], request)):
        raise CredentialsNeeded
    expected = {
        device.id: (device, _response(device.openrosa_ha1, given, str(request.method)))
        for device in devices_with_digest(given["username"])
    }
    # Somebody whom we don't know takes the same time as a wrong password.
    matches = [
        device
        for device, response in [
            *expected.values(),
            (None, _response(_NOBODY_HA1, given, str(request.method))),
        ]
        if hmac.compare_digest(response.encode(), given["response"].lower().encode()) and device
    ]
    if not matches:
        raise CredentialsNeeded
    if not _is_fresh(given["nonce"]):
        raise CredentialsNeeded(stale=True)
    return matches[0]


def _parameters(text: str) -> dict[str, str]:
    try:
        # WSGI gives headers as Latin-1; browsers and phones write UTF-8.
        given = parse_keqv_list(parse_http_list(text.encode("latin-1").decode()))
    except (ValueError, IndexError):
        raise CredentialsNeeded from None
    return {name.lower(): value for name, value in given.items()}


def _fits_challenge(given: dict[str, str]) -> bool:
    needed = ("username", "uri", "nonce", "nc", "cnonce", "response")
    return (
        all(given.get(name) for name in needed)
        and given.get("realm") == OPENROSA_REALM
        and given.get("qop") == "auth"
        and given.get("algorithm", "MD5").upper() == "MD5"
        and hmac.compare_digest(given.get("opaque", "").encode(), _opaque().encode())
    )


def _same_target(uri: str, request: HttpRequest) -> bool:
    """Whether the credentials were made for this address, and not taken from a request to another."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return unquote(parts.path) == request.path and parts.query == request.META.get(
        "QUERY_STRING", ""
    )


def _response(ha1: str, given: dict[str, str], method: str) -> str:
    ha2 = _md5(f"{method}:{given['uri']}")
    return _md5(f"{ha1}:{given['nonce']}:{given['nc']}:{given['cnonce']}:auth:{ha2}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _is_fresh(nonce: str) -> bool:
    moment, _dot, mac = nonce.partition(".")
    if not hmac.compare_digest(mac.encode(), _mac("nonce:" + moment).encode()):
        return False
    age = clock.now().timestamp() - int(moment, 16)
    return -CLOCK_SKEW_SECONDS <= age <= NONCE_SECONDS


def _opaque() -> str:
    return _mac("opaque")


def _mac(text: str) -> str:
    secret = settings.SECRET_KEY.encode()
    return hmac.digest(secret, b"openrosa-digest:" + text.encode(), "sha256").hex()[:32]


def _device_for_basic(encoded: str) -> Device:
    try:
        username, _colon, password = (
            base64.b64decode(encoded, validate=True).decode().partition(":")
        )
    except ValueError:
        raise CredentialsNeeded from None
    return device_for_basic(username, password)
