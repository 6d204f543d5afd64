"""Subscriptions of browsers to Web Push, as they come from PushSubscription.toJSON()."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import urlsplit

from server.core.hosts import AddressRefused, NoAnswer, check_host, is_own_address

LONGEST = 2048


class NoSubscription(Exception):
    """Not what a browser gives: no https endpoint, or keys that cannot be ones."""


class EndpointRefused(Exception):
    """The endpoint leads into a private network."""


def parse_subscription(address: str) -> tuple[str, dict[str, str]]:
    """The endpoint and its keys. Raises NoSubscription."""
    try:
        subscription = json.loads(address)
        endpoint, keys = subscription["endpoint"], subscription["keys"]
        sound = _is_endpoint(endpoint) and _is_key_pair(keys)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise NoSubscription
    return endpoint, {"p256dh": keys["p256dh"], "auth": keys["auth"]}


def checked_subscription(subscription: Any) -> str:
    """The subscription as it is stored: always the same text for the same one, and nothing besides.

    Raises NoSubscription, EndpointRefused.
    """
    endpoint, keys = parse_subscription(json.dumps(subscription))
    parts = urlsplit(endpoint)
    try:
        check_host(parts.hostname or "", parts.port or 443)
    except AddressRefused:
        raise EndpointRefused from None
    except NoAnswer:
        pass  # no name service just now: every sending looks again
    document = {"endpoint": endpoint, "keys": keys}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _is_endpoint(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    parts.port  # noqa: B018 - raises for what is none
    if not parts.hostname or parts.username is not None or not endpoint.isascii():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_own_address(parts.hostname))


def _is_key_pair(keys: dict[str, str]) -> bool:
    """A point of P-256, uncompressed, and 16 bytes of shared secret (RFC 8291)."""
    point, shared = _bytes_of(keys["p256dh"]), _bytes_of(keys["auth"])
    return len(point) == 65 and point[0] == 4 and len(shared) == 16


def _bytes_of(text: str) -> bytes:
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return b""
