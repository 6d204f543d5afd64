"""The text of one message: a notice's, or that of several which go out as one."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from server.messaging.models import Delivery

LISTED = 5
"""So many titles are named in a message that carries several notices."""


@dataclass(frozen=True, slots=True)
class MessageText:
    """What the recipient reads."""

    title: str
    body: str


def text_of(delivery: Delivery, *, language: str = "") -> MessageText:
    """In this language, else the recipient's; a group's is the house's."""
    own = delivery.recipient.language if delivery.recipient else translation.get_language()
    with translation.override(language or own):
        if not delivery.carries:
            return MessageText(delivery.title, delivery.body)
        return _several(delivery)


def _several(delivery: Delivery) -> MessageText:
    rows = [delivery, *delivery.carries]
    titles = [row.title for row in rows[:LISTED]]
    if rest := len(rows) - LISTED:
        titles += [_("另有 %(n)s 条") % {"n": rest}] if rest > 0 else []
    count = len(rows)
    title = ngettext("%(n)s 条新通知", "%(n)s 条新通知", count) % {"n": count}
    return MessageText(title, "\n".join(titles))


def shortened(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, ending in … where something is missing."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: limit - len("…".encode())].decode(errors="ignore") + "…"
