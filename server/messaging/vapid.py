"""The key that Web Push is signed with (VAPID, RFC 8292): given, or made once by the embedded world.

It is 32 bytes in base64url, as every VAPID tool writes it; `python -m server vapid keygen` makes one.
Browsers subscribe with its public half: with another key they must subscribe anew.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.signals import setting_changed

from server.core.keyfiles import make_once

if TYPE_CHECKING:
    from py_vapid import Vapid02

TOKEN_SECONDS = 12 * 3600
"""RFC 8292 allows a day."""


class VapidUnusable(Exception):
    """What VAPID_PRIVATE_KEY or its file gives is no key. It is not repeated: it is a secret."""


def new_private_key() -> str:
    """A new key, as it is written into VAPID_PRIVATE_KEY."""
    # Every number from 1 to the order of the curve, which begins with 32 ones, is a key.
    return base64.urlsafe_b64encode(b"\x00" + secrets.token_bytes(31)).rstrip(b"=").decode()


def given_key(*, make: bool = False) -> str:
    """The private key; empty where there is none, and so no Web Push. Raises VapidUnusable.

    `make`: where there is none, the embedded world makes one.
    """
    key: str = settings.VAPID_PRIVATE_KEY
    file: str = settings.VAPID_PRIVATE_KEY_FILE
    if not key and file:
        if settings.VAPID_KEY_MADE and not Path(file).exists():
            if not make:
                return ""
            make_once(Path(file), f"{new_private_key()}\n")
        try:
            key = Path(file).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise VapidUnusable(f"VAPID_PRIVATE_KEY_FILE: {type(error).__name__}") from None
    key = key.strip()
    if key and not _is_key(key):
        raise VapidUnusable("a VAPID key is 32 bytes in base64url")
    return key


def public_key() -> str:
    """What browsers subscribe with: 65 bytes in base64url; empty where there is no Web Push."""
    return _public() if _signer() else ""


def authorization(audience: str) -> str:
    """The Authorization header for a push service (its origin). Raises VapidUnusable."""
    return _authorization(audience, int(time.time() // (TOKEN_SECONDS // 2)))


def _is_key(text: str) -> bool:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == 32 and any(raw)


@cache
def _signer() -> Vapid02 | None:
    # Late: every process knows this module, and few of them push.
    from py_vapid import Vapid02

    key = given_key(make=True)
    if not key:
        return None
    try:
        return Vapid02.from_raw(key.encode())
    except ValueError:
        raise VapidUnusable("VAPID_PRIVATE_KEY is not on its curve") from None


@cache
def _public() -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    signer = _signer()
    if signer is None:
        return ""
    raw = signer.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@cache
def _authorization(audience: str, _period: int) -> str:
    """Signed once per push service and half a token's life: a signature costs more than a message."""
    from py_vapid import VapidException

    signer = _signer()
    if signer is None:
        raise VapidUnusable("VAPID_PRIVATE_KEY is not set")
    claims = {
        "aud": audience,
        "exp": int(time.time()) + TOKEN_SECONDS,
        "sub": settings.VAPID_SUBJECT,
    }
    try:
        header: str = signer.sign(claims)["Authorization"]
    except VapidException as error:
        raise VapidUnusable(f"VAPID_SUBJECT or the endpoint: {error}") from None
    return header


def _forget(*, setting: str, **_: object) -> None:
    if setting.startswith("VAPID_"):
        for cached in (_signer, _public, _authorization):
            cached.cache_clear()


setting_changed.connect(_forget)
