"""What the pages of a notice show: a preview of its readers, and the board of its receipts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from server.console.states import AMBER, BLUE, GREEN, GREY, RED, Shown
from server.core.errors import Text
from server.grid.models import Membership, User
from server.messaging.board import (
    STANDINGS,
    Figures,
    Receipt,
    figures_of,
    next_reminder,
    receipts_of,
    recipients_by,
)
from server.messaging.models import Delivery, Notice
from server.messaging.preview import Reached, inbox_only, preview_of, reached
from server.messaging.queries import Audience, recipients_of
from server.messaging.questions import shown_answer

PER_PAGE = 30
STATES: dict[str, str] = {
    "scheduled": BLUE,
    "sent": GREEN,
    "recalled": AMBER,
    "cancelled": GREY,
}


def notice_shown(notice: Notice) -> Shown:
    """Where a notice stands, as a word in its colour."""
    return Shown(STATES[notice.state], Notice.State(notice.state).label)


# ---- preview ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PreviewShown:
    """A preview with its words, and one page of names."""

    preview: Any
    roles: Sequence[tuple[Text, int]]
    channels: Sequence[tuple[Text, int, bool]]
    page: Any
    names: Sequence[tuple[Reached, Sequence[Text]]]
    only_inbox: bool


def preview_shown(
    audience: Audience, by: User, *, urgent: bool, page: str, only_inbox: bool
) -> PreviewShown:
    """Whom the audience reaches, and by what."""
    people = recipients_of(audience, by, whole=True)
    if only_inbox:
        people = inbox_only(people, urgent=urgent)
    names = Paginator(people.order_by("name", "pk"), PER_PAGE).get_page(page)
    found = preview_of(audience, by, urgent=urgent)
    label = dict(Delivery.Channel.choices)
    return PreviewShown(
        preview=found,
        roles=[(Membership.Role(role).label, n) for role, n in found.roles],
        channels=[(label[name], n, name == "robot") for name, n in found.channels],
        page=names,
        names=[
            (each, [label[name] for name in each.channels])
            for each in reached(list(names), urgent=urgent)
        ],
        only_inbox=only_inbox,
    )


# ---- the board --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReceiptShown:
    """One line of the board."""

    receipt: Receipt
    standing: Shown
    answers: Sequence[tuple[str, str]]
    clock: str


class BoardShown:
    """Figures and one page of recipients, as the address asks; for those who do not oversee the notice
    clipped to `within`, the people whom they see.
    """

    def __init__(
        self, notice: Notice, request: HttpRequest, *, within: QuerySet[User] | None
    ) -> None:
        self.notice, self.within = notice, within
        self.standing = request.GET.get("standing", "")
        if self.standing not in STANDINGS:
            self.standing = ""
        self.words = request.GET.get("q", "").strip()[:80]
        self._page = request.GET.get("page", "1")

    @cached_property
    def figures(self) -> Figures:
        return figures_of(self.notice, within=self.within)

    @cached_property
    def remind_after(self) -> Any:
        return next_reminder(self.notice)

    @cached_property
    def page(self) -> Any:
        rows = recipients_by(self.notice, standing=self.standing, words=self.words)
        if self.within is not None:
            rows = rows.filter(recipient__in=self.within.values("pk"))
        return _Counted(rows, PER_PAGE, self._total()).get_page(self._page)

    def _total(self) -> int | None:
        """Of what is not searched, the figures know it already."""
        if self.words:
            return None
        counts = {
            "": self.figures.recipients,
            "undone": self.figures.undone,
            "done": self.figures.done,
            "read": self.figures.read,
            "unread": self.figures.recipients - self.figures.read,
        }
        return counts.get(self.standing)

    @cached_property
    def lines(self) -> list[ReceiptShown]:
        rows = list(self.page)
        for row in rows:
            row.notice = self.notice
        return [
            ReceiptShown(
                receipt=each,
                standing=_standing(each, self.notice),
                answers=[
                    (question["label"], shown_answer((each.answers or {}).get(question["id"])))
                    for question in self.notice.form or ()
                ],
                clock=clock_words(each.clock_offset_ms),
            )
            for each in receipts_of(self.notice, rows)
        ]

    @property
    def tabs(self) -> list[tuple[str, Text, int | None]]:
        """Key, word and number of every standing."""
        counts = {
            "undone": self.figures.undone,
            "done": self.figures.done,
            "read": self.figures.read,
            "unread": self.figures.recipients - self.figures.read,
        }
        tabs = [("", _("全部"), self.figures.recipients)]
        return [*tabs, *((key, word, counts.get(key)) for key, word in STANDINGS.items())]

    @property
    def percent(self) -> int:
        """Of recipients who are done."""
        total = self.figures.recipients
        return self.figures.done * 100 // total if total else 0


class _Counted(Paginator):  # type: ignore[type-arg]  # of whatever rows
    def __init__(self, rows: Any, per_page: int, total: int | None) -> None:
        super().__init__(rows, per_page)
        if total is not None:
            self.count = total


def etag_of(content: bytes) -> str:
    """A strong validator of what a page shows."""
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def clock_words(offset_ms: int | None) -> str:
    """How far a phone's clock was off, in words; empty where it was right."""
    if offset_ms is None:
        return ""
    minutes = max(abs(offset_ms) // 60_000, 1)
    if offset_ms > 0:
        return _("手机时钟快 %(n)s 分钟") % {"n": minutes}
    return _("手机时钟慢 %(n)s 分钟") % {"n": minutes}


def _standing(receipt: Receipt, notice: Notice) -> Shown:
    row = receipt.delivery
    if notice.asks == Notice.Requires.ANSWER and row.answered_since:
        return Shown(GREEN, _("已填写"))
    if notice.asks == Notice.Requires.ACKNOWLEDGE and row.acknowledged_since:
        return Shown(GREEN, _("已确认"))
    if row.read_at is None:
        return Shown(RED if notice.asks else GREY, _("未读"))
    if notice.asks == Notice.Requires.ACKNOWLEDGE:
        return Shown(AMBER, _("已读，未确认"))
    if notice.asks == Notice.Requires.ANSWER:
        return Shown(AMBER, _("已读，未填写"))
    return Shown(GREEN, _("已读"))
