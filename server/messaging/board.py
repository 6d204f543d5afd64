"""Receipts of a notice: how far it got, who has not done what it asks, and reminding them.

Figures are asked of the rows each time, in one query; lists are pages in the order of people's ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from server.core import clock
from server.core.audit import record_audit
from server.core.errors import Conflict, ContentConflict, NotFound, WrongState
from server.grid.models import Appointment, Membership, User, in_term
from server.messaging import services
from server.messaging.actions import NOTICE_REMINDED
from server.messaging.addressees import addressees
from server.messaging.models import ClockReading, Delivery, Notice, NoticeAnswer
from server.messaging.queries import INBOX, audience_of, notices_overseen_by, undone
from server.messaging.variables import Addressee

REMINDER = "announcement.reminder"
REMIND_EVERY = timedelta(hours=1)
CLOCK_IS_OFF = 60_000
"""Milliseconds: less than that nobody minds."""

State = Delivery.State
Channel = Delivery.Channel


class RemindedRecently(Conflict):
    code = "reminded_recently"
    title = _("刚刚提醒过，请稍后再提醒")


class NobodyToRemind(Conflict):
    code = "nobody_to_remind"
    title = _("所有人都已完成，无需提醒")


# ---- figures ----------------------------------------------------------------------------------


@dataclass(kw_only=True)
class ChannelFigures:
    """How many deliveries of a channel are in which state."""

    channel: str
    pending: int = 0
    sent: int = 0
    delivered: int = 0
    dead: int = 0
    skipped: int = 0


@dataclass(kw_only=True)
class Figures:
    """How far a notice got. `failed`: messages that did not arrive, and still lie in the inbox.

    `expanding`: more recipients may be added at this moment.
    """

    recipients: int = 0
    read: int = 0
    acknowledged: int = 0
    answered: int = 0
    done: int = 0
    failed: int = 0
    expanding: bool = False
    channels: list[ChannelFigures] = field(default_factory=list)

    @property
    def undone(self) -> int:
        return self.recipients - self.done


def figures_of(notice: Notice, *, within: QuerySet[User] | None = None) -> Figures:
    """One query, however many recipients; `within` narrows them to these people."""
    told = Q(acknowledged_at__isnull=False)
    answered = Q(answered_at__isnull=False)
    if notice.asked_since is not None:
        told = Q(acknowledged_at__gte=notice.asked_since)
        answered = Q(answered_at__gte=notice.asked_since)
    deliveries = Delivery.objects.filter(notice=notice)
    if within is not None:
        deliveries = deliveries.filter(recipient__in=within.values("pk"))
    rows = (
        deliveries.order_by()
        .values_list("channel", "state")
        .annotate(
            n=Count("pk"),
            was_read=Count("read_at"),
            was_told=Count("pk", filter=told),
            was_answered=Count("pk", filter=answered),
        )
    )
    working = notice.work_due_at is not None and notice.state == Notice.State.SENT
    figures = Figures(expanding=working and not notice.change_untold)
    channels: dict[str, ChannelFigures] = {}
    for channel, state, n, was_read, was_told, was_answered in rows:
        if channel == INBOX:
            figures.recipients += n
            figures.read += was_read
            figures.acknowledged += was_told
            figures.answered += was_answered
        else:
            each = channels.setdefault(channel, ChannelFigures(channel=channel))
            setattr(each, state, n)
            figures.failed += n if state == State.DEAD else 0
    figures.done = {"acknowledge": figures.acknowledged, "answer": figures.answered}.get(
        notice.asks, figures.read
    )
    figures.channels = [channels[name] for name in Channel.values if name in channels]
    return figures


# ---- lists ------------------------------------------------------------------------------------

STANDINGS = {
    "undone": _("未完成"),
    "unread": _("未读"),
    "read": _("已读"),
    "done": _("已完成"),
    "failed": _("消息未送到"),
}


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """One recipient: what they did, on which device, and what became of the messages to them.

    `clock_offset_ms`: what the device's clock was ahead of ours when they read it, where it was off.
    """

    delivery: Delivery
    addressee: Addressee
    ways: list[Delivery]
    answers: dict[str, Any] | None
    clock_offset_ms: int | None

    @property
    def person(self) -> User:
        return self.delivery.person


def notice_overseen(notice_id: UUID, by: User) -> Notice:
    """Raises NotFound for whoever neither made it nor speaks for an office that oversees it."""
    rows = notices_overseen_by(by).select_related("created_by", "office", "school", "reminder_of")
    notice = rows.filter(id=notice_id).first()
    if notice is None:
        raise NotFound
    return notice


def recipients_by(notice: Notice, *, standing: str = "", words: str = "") -> QuerySet[Delivery]:
    """Inbox rows of those in this standing; `words` of a name, a phone number or a school."""
    rows = Delivery.objects.filter(notice=notice, channel=INBOX)
    others = Delivery.objects.filter(notice=notice, recipient=OuterRef("recipient"))
    if standing == "undone":
        rows = undone(notice)
    elif standing == "done":
        rows = rows.exclude(pk__in=undone(notice).values("pk"))
    elif standing in ("unread", "read"):
        rows = rows.filter(read_at__isnull=standing == "unread")
    elif standing == "failed":
        rows = rows.filter(Exists(others.filter(state=State.DEAD)))
    if words:
        rows = rows.filter(_named(words))
    return rows.select_related("recipient", "read_by_device", "acknowledged_by_device").order_by(
        "recipient_id"  # "recipient" would be the order of log-ins
    )


def _named(words: str) -> Q:
    contacts = Membership.objects.filter(in_term(), user=OuterRef("recipient"))
    appointed = Appointment.objects.filter(in_term(), inspector=OuterRef("recipient"))
    return (
        Q(recipient__name__icontains=words)
        | Q(recipient__phone__contains=words)
        | Q(Exists(contacts.filter(school__name__icontains=words)))
        | Q(Exists(appointed.filter(school__name__icontains=words)))
    )


def receipts_of(notice: Notice, rows: Sequence[Delivery]) -> list[Receipt]:
    """The recipients of one page with all that a board shows: six queries at most."""
    ids = [row.recipient_id for row in rows if row.recipient_id]
    known = addressees(ids)
    ways: dict[UUID, list[Delivery]] = {pk: [] for pk in ids}
    others = Delivery.objects.filter(notice=notice, recipient__in=ids).exclude(channel=INBOX)
    for row in others.order_by("channel", "pk"):
        ways[row.recipient_id].append(row)  # type: ignore[index]  # it is one of the ids
    answers: dict[UUID, dict[str, Any]] = {}
    if notice.form is not None:
        answered = NoticeAnswer.objects.filter(notice=notice, person__in=ids, replaced_at=None)
        answers = dict(answered.values_list("person", "answers"))
    offsets = _offsets(rows)
    return [
        Receipt(
            delivery=row,
            addressee=known.get(row.recipient_id, Addressee()),
            ways=ways[row.recipient_id],
            answers=answers.get(row.recipient_id),
            clock_offset_ms=offsets.get(row.pk),
        )
        for row in rows
        if row.recipient_id
    ]


def _offsets(rows: Sequence[Delivery]) -> dict[UUID, int]:
    """By how much the clock of the device that read was off then, where it was."""
    devices = {row.read_by_device_id for row in rows if row.read_by_device_id}
    if not devices:
        return {}
    readings: dict[UUID, list[tuple[datetime, int]]] = {}
    known = ClockReading.objects.filter(device__in=devices).order_by("since")
    for device, since, offset in known.values_list("device", "since", "offset_ms"):
        readings.setdefault(device, []).append((since, offset))
    found = {}
    for row in rows:
        if row.read_by_device_id is None or row.read_at is None:
            continue
        of_then = [
            offset
            for since, offset in readings.get(row.read_by_device_id, [])
            if since <= row.read_at
        ]
        if of_then and abs(of_then[-1]) >= CLOCK_IS_OFF:
            found[row.pk] = of_then[-1]
    return found


# ---- reminding --------------------------------------------------------------------------------


def remind(*, notice_id: UUID, reminder_id: UUID, by: User) -> Notice:
    """Remind those who have not done what the notice asks, once an hour at most.

    The same id again is the same reminder. Raises NotFound, WrongState of a notice that was not sent or
    was recalled, RemindedRecently, NobodyToRemind, ContentConflict.
    """
    with transaction.atomic():
        rows = notices_overseen_by(by).select_for_update(of=("self",))
        notice = rows.select_related("created_by", "office", "school").filter(id=notice_id).first()
        if notice is None:
            raise NotFound
        known = Notice.objects.filter(id=reminder_id).first()
        if known is not None:
            if known.reminder_of_id != notice.id:
                raise ContentConflict
            return known
        if notice.state != Notice.State.SENT or notice.reminder_of_id is not None:
            raise WrongState(_("这条通知不能提醒"))
        _not_too_often(notice)
        count = undone(notice).count()
        if not count:
            raise NobodyToRemind
        title = notice.params["title"] if notice.templated else notice.title
        reminder = Notice.objects.create(
            id=reminder_id,
            event=REMINDER,
            params={"title": title},
            templated=notice.templated,
            subject_type="notice",
            subject_id=notice.id,
            school=notice.school,
            created_by=by,
            office=notice.office,
            urgent=notice.urgent,
            sent_at=clock.now(),
            audience={},
            reminder_of=notice,
        )
        services._reach(reminder, audience_of(reminder))
        record_audit(
            NOTICE_REMINDED,
            by=by,
            subject=("notice", notice.id),
            details={"title": title, "people": count, "reminder": str(reminder.id)},
        )
    return reminder


def next_reminder(notice: Notice) -> datetime | None:
    """From when one may remind again; None: now."""
    last = notice.reminders.order_by("-created_at").first()
    if last is None or last.created_at + REMIND_EVERY <= clock.now():
        return None
    moment: datetime = last.created_at + REMIND_EVERY
    return moment


def _not_too_often(notice: Notice) -> None:
    moment = next_reminder(notice)
    if moment is not None:
        raise RemindedRecently(
            _("刚刚提醒过，%(time)s 之后可以再次提醒") % {"time": f"{localtime(moment):%H:%M}"}
        )
