"""Signatures by Standard Webhooks (https://www.standardwebhooks.com): who sent it, when, and unchanged."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """`whsec_` and the base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(
    event_id: str, moment: datetime, body: bytes, keys: Sequence[str]
) -> dict[str, str]:
    """The three headers; one signature for each secret, while a new one takes an old one's place."""
    timestamp = str(int(moment.timestamp()))
    signatures = [_signature(key, f"{event_id}.{timestamp}.".encode() + body) for key in keys]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
