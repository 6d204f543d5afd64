"""Requests to addresses that somebody gave us: never into our own network, never without an end.

A name is resolved here, each address that it gives is looked at, and the connection goes to the
address that was looked at: a name that answers otherwise the second time (DNS rebinding) gains
nothing. Redirects are not followed, proxies of the environment not used, answers read up to a limit,
and the whole exchange has an end, however slowly the other side drips.

Which addresses those are, `server.core.hosts` says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from server.core import clock
from server.core.hosts import NoAnswer

TIMEOUT_SECONDS = 10.0
ANSWER_LIMIT = 64 * 1024


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


# What it takes to speak is loaded by the first who does: most processes never do.


def post(
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    *,
    timeout: float | None = None,
) -> Answer:
    """Send and read the answer. Raises AddressRefused, AnswerTooLong, NoAnswer."""
    from server.core.guarded import exchange

    return exchange("POST", url, content, headers, timeout or TIMEOUT_SECONDS)


def get(url: str, headers: Mapping[str, str], *, timeout: float | None = None) -> Answer:
    """Ask. Raises AddressRefused, AnswerTooLong, NoAnswer."""
    from server.core.guarded import exchange

    return exchange("GET", url, None, headers, timeout or TIMEOUT_SECONDS)
