"""What a message says on channels that carry text: title, body, link, cut to what the channel takes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from server.messaging import message_text
from server.messaging.models import Delivery, Notice

ELLIPSIS = "…"
_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)

Measure = Callable[[str], int]


@dataclass(frozen=True)
class Text:
    """One message. `link` opens the thing after login; empty where nobody knows our address."""

    title: str
    body: str
    link: str


def text_of(delivery: Delivery, *, language: str) -> Text:
    """The words of a delivery in this language."""
    said = message_text.text_of(delivery, language=language)
    return Text(clean(said.title), clean(said.body), link_of(delivery))


def link_of(delivery: Delivery) -> str:
    """Of a message that carries several notices, the inbox."""
    if delivery.carries and settings.PUBLIC_URL:
        return f"{settings.PUBLIC_URL.rstrip('/')}/inbox/"
    return link_to(delivery.notice)


def link_to(notice: Notice) -> str:
    """The address behind which the notice's subject waits, else the notice itself."""
    base = settings.PUBLIC_URL.rstrip("/")
    if not base:
        return ""
    if notice.subject_id is not None:
        return f"{base}/go/{notice.subject_type}/{notice.subject_id}"
    return f"{base}/go/notice/{notice.pk}"


def clean(text: str) -> str:
    """Without what no channel carries: control characters and halves of pairs."""
    kept = (
        each for each in text if each in "\n\t" or unicodedata.category(each) not in ("Cc", "Cs")
    )
    return "".join(kept).strip()


def utf8(text: str) -> int:
    """The length that platforms mean which count bytes."""
    return len(text.encode())


def in_json(text: str) -> int:
    """The bytes that the text takes inside a JSON document."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def utf16(text: str) -> int:
    """The length that text messages mean (UCS-2: what is beyond counts twice)."""
    return len(text.encode("utf-16-le")) // 2


def cut(text: str, limit: int, measure: Measure = utf8) -> str:
    """As much of the text as the limit takes, an ellipsis where it was cut, no character broken."""
    if measure(text[: limit + 1]) <= limit and len(text) <= limit:
        return text
    room = limit - measure(ELLIPSIS)
    if room < 0:
        return ""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(text[:middle]) <= room else (low, middle - 1)
    return text[: _whole(text, low)].rstrip() + ELLIPSIS


def fitted(
    text: Text, limit: int, *, measure: Measure = utf8, before: str = "", after: str = ""
) -> str:
    """`before`, title, body, `after` and link, each on lines of its own, within the limit.

    The body gives way first, then the title; the link stays whole.
    """
    tail = "".join(f"\n{line}" for line in (after, text.link) if line)
    head = f"{before}\n" if before else ""
    room = limit - measure(tail) - measure(head)
    title = cut(text.title, room, measure)
    left = room - measure(title) - 1
    body = cut(text.body, left, measure) if left > 8 and text.body != text.title else ""
    return f"{head}{title}{chr(10) if body else ''}{body}{tail}".strip()


def _whole(text: str, end: int) -> int:
    """Where to cut at `end` or before it, so that what people see as one character stays one."""
    while 0 < end < len(text) and (_joins(text[end]) or text[end - 1] == _JOINER):
        end -= 1
    return end


def _joins(letter: str) -> bool:
    return (
        letter == _JOINER
        or unicodedata.category(letter) in ("Mn", "Me", "Mc")
        or ord(letter) in _SKIN_TONES
    )
