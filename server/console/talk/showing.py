"""Messages as bubbles: by day, with mentions marked, and files as what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localdate, localtime
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from media_storage.models import MediaObject, Rendition
from media_storage.services import readable_url
from server.conversations.models import Message, MessageFile
from server.conversations.services import WITHDRAWAL
from server.core import clock
from server.grid.models import User

State, Kind = MediaObject.State, Message.Kind
THUMB = 240
"""Pixels of the longer side of a picture in a bubble."""


@dataclass(frozen=True)
class File:
    """A file of a bubble. `kind`: picture, audio or file; `pending`: it is not to be had yet."""

    kind: str
    name: str
    url: str = ""
    large: str = ""
    width: int = 0
    height: int = 0
    about: str = ""
    pending: bool = False


@dataclass(frozen=True)
class Bubble:
    """A message as somebody sees it, or a line of the log (`line`)."""

    message: Message
    mine: bool
    text: SafeString
    files: Sequence[File]
    may_withdraw: bool
    first_unread: bool = False
    line: str = ""

    @property
    def pending(self) -> bool:
        return any(file.pending for file in self.files)

    @property
    def pictures(self) -> list[File]:
        return [file for file in self.files if file.kind == "picture"]

    @property
    def others(self) -> list[File]:
        return [file for file in self.files if file.kind != "picture"]


@dataclass(frozen=True)
class Day:
    day: date
    words: str
    bubbles: Sequence[Bubble]


def days_of(messages: Iterable[Message], reader: User, *, read_number: int = -1) -> list[Day]:
    """The messages under their days. `read_number`: where the reader's unread ones begin."""
    bubbles = list(_bubbles(messages, reader, read_number))
    return [
        Day(day, _day_words(day), list(group))
        for day, group in groupby(bubbles, key=lambda each: localdate(each.message.created_at))
    ]


def _bubbles(messages: Iterable[Message], reader: User, read_number: int) -> Iterator[Bubble]:
    marked = read_number < 0
    for message in messages:
        mine = message.sender_id == reader.pk
        unread = not (marked or mine or message.gone) and message.number > read_number
        unread = unread and message.kind == Kind.MESSAGE
        marked = marked or unread
        yield _bubble(message, mine, first_unread=unread)


def _bubble(message: Message, mine: bool, *, first_unread: bool) -> Bubble:
    young = clock.now() - message.created_at < WITHDRAWAL
    there = message.kind == Kind.MESSAGE and not message.gone
    return Bubble(
        message=message,
        mine=mine,
        text=_text_of(message) if there else SafeString(""),
        files=[_file_of(each) for each in message.files.all()] if there else [],
        may_withdraw=there and mine and young,
        first_unread=first_unread,
        line=_line_of(message),
    )


def _line_of(message: Message) -> str:
    """What stands in place of a message that is gone; the entries that took them away say nothing."""
    if message.kind == Kind.EXPIRED:
        return str(Message.Gone.EXPIRED.label)
    if message.kind != Kind.MESSAGE:
        return ""
    if message.gone:
        who = message.sender.name if message.sender else ""
        return f"{who}：{message.get_gone_display()}"
    return ""


def _text_of(message: Message) -> SafeString:
    """Escaped; what names a mentioned person is marked, and who is not named in it stands before it."""
    text, before = str(escape(message.text)), []
    for person in message.mentions.all():
        name = f"@{escape(person.name)}"
        mark = str(format_html('<mark class="dx-mention">@{}</mark>', person.name))
        if name in text:
            text = text.replace(name, mark)
        else:
            before.append(mark)
    return mark_safe(" ".join([*before, text]))  # noqa: S308 - escaped above


def _file_of(file: MessageFile) -> File:
    media = file.media
    if media.state in (State.REJECTED, State.DELETED):
        return File("file", media.filename, about=media.reject_reason)
    if media.content_type.startswith("image/"):
        return _picture_of(media)
    facts: Any = getattr(media, "facts", None)
    about = _length(facts.duration_ms) if facts and facts.duration_ms is not None else ""
    if media.state != State.READY:
        return _pending(media)
    plays = media.content_type.startswith("audio/") and media.content_type != "audio/amr"
    if plays:
        return File("audio", media.filename, readable_url(media, base_url=""), about=about)
    # An original of any other kind is opened by asking, and each time is in the audit log.
    opens = reverse("conversation-file", args=[file.message.conversation_id, media.pk])
    return File("file", media.filename, opens, about=about)


def _pending(media: MediaObject) -> File:
    words = str(State(media.state).label)
    return File("file", media.filename, about=words, pending=media.state != State.READY)


def _picture_of(media: MediaObject) -> File:
    made = {each.name: each for each in media.renditions.all()}
    small, large = made.get(Rendition.Name.SMALL), made.get(Rendition.Name.LARGE)
    if small is None:
        return _pending(media)
    # The place is kept before the picture is there: the page must not move under its reader.
    scale = min(1.0, THUMB / max(small.width, small.height, 1))
    return File(
        "picture",
        media.filename,
        readable_url(small, base_url=""),
        readable_url(large or small, base_url=""),
        round(small.width * scale),
        round(small.height * scale),
    )


def _length(duration_ms: int) -> str:
    minutes, seconds = divmod(round(duration_ms / 1000), 60)
    return f"{minutes}:{seconds:02}"


def _day_words(day: date) -> str:
    if day == clock.today():
        return _("今天")
    words = date_format(day, "l")
    return f"{day.month}月{day.day}日 {words}" if _is_chinese() else f"{day.isoformat()} {words}"


def _is_chinese() -> bool:
    return (get_language() or "").startswith("zh")


def time_of(moment: datetime) -> str:
    """Hours and minutes at the county."""
    return f"{localtime(moment):%H:%M}"
