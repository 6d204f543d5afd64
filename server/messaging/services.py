"""Telling people: notices with their deliveries, announcements of offices, reading, acknowledging."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from server.core import clock
from server.core.changes import record_change
from server.core.errors import ContentConflict, Invalid, NotAllowed, NotFound, Problem
from server.core.work import PermanentFailure, stopping, wake
from server.grid.models import School, User
from server.grid.queries import OFFICES, has_role
from server.messaging.events import event_kind
from server.messaging.models import Delivery, Device, Hint, Notice
from server.messaging.ordering import plan
from server.messaging.outbox import commit_later, write_inbox, write_pending
from server.messaging.queries import Audience, recipients_of

DELIVERIES = "deliveries"
HINTS = "hints"
NOTICES = "notices"
HINTED_AT_ONCE = 500
AT_ONCE = 200
"""Up to so many recipients of an announcement are written with it; more are left to a worker."""
BATCH = 4000
READ_AHEAD = 10 * BATCH
EXPAND_SECONDS = 20.0
"""Other work of the worker waits no longer."""

Channel = Delivery.Channel


# ---- telling --------------------------------------------------------------------------------


def notify(
    event: str,
    *,
    recipients: Iterable[User] | QuerySet[User],
    subject: tuple[str, UUID] | None = None,
    school: School | None = None,
    created_by: User | None = None,
    requires_ack: bool | None = None,
    **params: str,
) -> Notice:
    """Tell these people that something happened, in the caller's transaction, each person once.

    `event` and `params` are those of `server.messaging.events`; a missing or unknown parameter is a
    TypeError at once; `school` gives the parameter of its name. `subject` is what the reader opens:
    ("visit", id), ("finding", id), ….
    Recipients who cannot log in any more are passed over.
    """
    kind = event_kind(event)
    if school and "school" in kind.params:
        params["school"] = school.name
    kind.check(params)
    subject_type, subject_id = subject or ("", None)
    with transaction.atomic():
        notice = Notice.objects.create(
            event=event,
            params=params,
            subject_type=subject_type,
            subject_id=subject_id,
            school=school,
            created_by=created_by,
            requires_ack=kind.requires_ack if requires_ack is None else requires_ack,
        )
        _deliver(notice, {user.pk for user in recipients if user.is_active})
    return notice


def _deliver(notice: Notice, user_ids: set[UUID]) -> None:
    """Write the deliveries of these people, and the hints to their sockets. Repeating it tells nobody
    twice.
    """
    if not user_ids:
        return
    # The order of locks is the same for everybody. Comparing ids as numbers is quicker.
    ordered = sorted(user_ids, key=lambda user_id: user_id.int)
    moment = clock.now()
    write_inbox(notice.id, ordered, moment)
    planned = plan(notice, ordered, moment)
    write_pending(notice.id, planned, moment)
    message = {"type": "inbox.changed", "after": str(notice.id)}
    Hint.objects.bulk_create(
        Hint(
            message=message,
            user_ids=list(map(str, batch)),
            created_at=moment,
            work_due_at=moment,
        )
        for batch in batched(ordered, HINTED_AT_ONCE)
    )
    record_change("notice", notice.id, user_ids=ordered)
    wake(HINTS)
    if planned:
        wake(DELIVERIES)


def batched(ids: list[UUID], size: int) -> Iterable[list[UUID]]:
    """The ids in lists of `size` at most."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


# ---- announcements --------------------------------------------------------------------------


def announce(
    *,
    notice_id: UUID,
    by: User,
    title: str,
    body: str,
    audience: Audience,
    requires_ack: bool = False,
) -> Notice:
    """Send a hand-written notice to those of the audience whom the office reaches.

    The same id with the same content is the same notice. Raises NotAllowed, Invalid (no text, or
    nobody to tell), ContentConflict.
    """
    if not (by.is_superuser or has_role(by, *OFFICES)):
        raise NotAllowed
    content = {
        "event": "announcement",
        "params": {"title": title.strip(), "body": body.strip()},
        "audience": audience.as_json(),
        "requires_ack": requires_ack,
    }
    _check_announcement(title, body)
    with transaction.atomic():
        notice, created = Notice.objects.get_or_create(
            id=notice_id, defaults={**content, "created_by": by}
        )
        if created:
            _reach(notice, recipients_of(audience, by))
        elif _differs(notice, content, by):
            raise ContentConflict(_("此编号的通知已发出，内容不同；请使用新的编号重新发送"))
    return notice


def _check_announcement(title: str, body: str) -> None:
    problems = [
        Problem(f"/{name}", "blank", _("请填写标题和正文"))
        for name, text in (("title", title), ("body", body))
        if not text.strip()
    ]
    if problems:
        raise Invalid(problems=problems)


def _differs(notice: Notice, content: dict[str, object], by: User) -> bool:
    same = all(getattr(notice, name) == value for name, value in content.items())
    return not same or notice.created_by_id != by.pk


def _reach(notice: Notice, people: QuerySet[User]) -> None:
    """Write the deliveries of a small audience, or leave a large one to the worker."""
    first = list(people.order_by("pk").values_list("pk", flat=True)[: AT_ONCE + 1])
    if not first:
        raise Invalid(problems=[Problem("/audience", "nobody", _("所选范围内没有可通知的人员"))])
    if len(first) <= AT_ONCE:
        _deliver(notice, set(first))
        return
    Notice.objects.filter(id=notice.id).update(work_due_at=clock.now())
    wake(NOTICES)


def expand(notice: Notice) -> None:
    """Write the deliveries of a large audience, a batch in a transaction, for a while.

    People are told in the order of their ids, and the last who was told is stored with the batch that
    told them: a crash repeats nobody, and a batch costs the same at the end as at the beginning.
    """
    if notice.audience is None or notice.created_by is None:
        raise PermanentFailure("nobody's audience: its author is gone")
    people = recipients_of(Audience.from_json(notice.audience), notice.created_by)
    until = time.monotonic() + EXPAND_SECONDS
    while ahead := _next_people(notice, people):
        for batch in batched(ahead, BATCH):
            _tell_batch(notice, batch)
            if batch[-1] == ahead[-1] and len(ahead) < READ_AHEAD:
                return
            if time.monotonic() >= until or stopping.is_set():
                Notice.objects.filter(id=notice.id).update(
                    work_due_at=clock.now(), work_attempts=0, work_lost=0
                )
                wake(NOTICES)
                return


def _next_people(notice: Notice, people: QuerySet[User]) -> list[UUID]:
    """Those of the audience after the last who was told: finding them costs more than telling them,
    so they are read for many batches.
    """
    last = Notice.objects.values_list("expanded_to", flat=True).get(id=notice.id)
    rest = people if last is None else people.filter(pk__gt=last)
    return list(rest.order_by("pk").values_list("pk", flat=True)[:READ_AHEAD])


@transaction.atomic
def _tell_batch(notice: Notice, batch: list[UUID]) -> None:
    """Nobody twice: another worker may be at it too, where the lease of the first has ended.

    Nobody waits for the disk: should the server's power fail, the batch is lost whole, with the place
    that it moved on, and is told again.
    """
    commit_later()
    row = Notice.objects.select_for_update().only("expanded_to").get(id=notice.id)
    rest = {user_id for user_id in batch if row.expanded_to is None or user_id > row.expanded_to}
    if rest:
        _deliver(notice, rest)
        Notice.objects.filter(id=notice.id).update(expanded_to=batch[-1])


# ---- reading --------------------------------------------------------------------------------


def mark_read(
    *, notice_id: UUID, by: User, device: Device | None = None, at: datetime | None = None
) -> Delivery:
    """The person has read the notice; `at` is their device's clock. Repeating it changes nothing."""
    return _mark(notice_id, by, device, at, acknowledge=False)


def acknowledge(
    *, notice_id: UUID, by: User, device: Device | None = None, at: datetime | None = None
) -> Delivery:
    """The person confirms the notice, which reads it too. Repeating it changes nothing."""
    return _mark(notice_id, by, device, at, acknowledge=True)


@transaction.atomic
def _mark(
    notice_id: UUID, by: User, device: Device | None, at: datetime | None, *, acknowledge: bool
) -> Delivery:
    row = (
        Delivery.objects.select_for_update(of=("self",))
        .select_related("notice__school")
        .filter(notice_id=notice_id, recipient=by, channel=Channel.INBOX)
        .first()
    )
    if row is None:
        raise NotFound
    moment = clock.now()
    changed: list[str] = []
    if row.read_at is None:
        row.read_at, row.read_device_time, row.read_by_device = moment, at, device
        changed += ["read_at", "read_device_time", "read_by_device"]
    if acknowledge and row.acknowledged_at is None:
        row.acknowledged_at, row.acknowledged_device_time = moment, at
        changed += ["acknowledged_at", "acknowledged_device_time"]
    if changed:
        row.save(update_fields=changed)
        record_change("notice", notice_id, user_ids=[by.pk])
    return row
