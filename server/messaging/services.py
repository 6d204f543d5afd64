"""Telling people: notices with their deliveries, and the expansion of large audiences."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from server.core import clock
from server.core.changes import record_change
from server.core.errors import Invalid, Problem
from server.core.ids import new_id
from server.core.work import wake
from server.grid.models import Area, School, User
from server.messaging.events import event_kind
from server.messaging.models import Delivery, Device, Notice
from server.messaging.models.wording import words_of
from server.messaging.queries import audience_of
from server.messaging.watching import watch
from server.messaging.wording import version_for

DELIVERIES = "deliveries"
NOTICES = "notices"
AT_ONCE = 200
"""Up to so many recipients of an announcement are written with it; more are left to a worker."""
BATCH = 1000

Channel = Delivery.Channel
State = Delivery.State


# ---- telling --------------------------------------------------------------------------------


def notify(
    event: str,
    *,
    recipients: Iterable[User] | QuerySet[User],
    subject: tuple[str, UUID] | None = None,
    school: School | None = None,
    area: Area | None = None,
    created_by: User | None = None,
    requires_ack: bool | None = None,
    **params: str,
) -> Notice:
    """Tell these people that something happened, in the caller's transaction, each person once.

    `event` and `params` are those of `server.messaging.events`; a missing or unknown parameter is a
    TypeError at once; `school` gives the parameter of its name. `subject` is what the reader opens:
    ("visit", id), ("finding", id), ….
    The wording in force for the `school`, or the `area` where there is none, goes with the notice. An
    event that the office switched off is kept and reaches nobody.
    Recipients who cannot log in any more are passed over.
    """
    kind = event_kind(event)
    place = area or (school.area if school else None)
    wording = version_for(kind, place.path if place else "")
    if wording:
        kind = words_of(wording).kind()
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
            wording=wording,
        )
        if wording is None or wording.enabled:
            _deliver(notice, {user.pk for user in recipients if user.is_active})
            watch(notice)
    return notice


def _deliver(notice: Notice, user_ids: set[UUID]) -> None:
    """Write the deliveries of these people. Repeating it adds nothing."""
    if not user_ids:
        return
    ordered = sorted(user_ids)  # the order of locks is the same for everybody
    rows = [_inbox_row(notice, user_id) for user_id in ordered]
    rows += [_pending_row(notice, user_id, Channel.SOCKET) for user_id in ordered]
    rows += [
        _pending_row(notice, user_id, Channel.FCM, address=str(device_id))
        for user_id, device_id in _push_devices(ordered)
    ]
    Delivery.objects.bulk_create(rows, ignore_conflicts=True, batch_size=BATCH)
    record_change("notice", notice.id, user_ids=ordered)
    wake(DELIVERIES)


def _inbox_row(notice: Notice, user_id: UUID) -> Delivery:
    moment = clock.now()
    return Delivery(
        id=new_id(),
        notice=notice,
        recipient_id=user_id,
        channel=Channel.INBOX,
        state=State.DELIVERED,
        sent_at=moment,
        delivered_at=moment,
    )


def _pending_row(notice: Notice, user_id: UUID, channel: str, *, address: str = "") -> Delivery:
    return Delivery(
        id=new_id(),
        notice=notice,
        recipient_id=user_id,
        channel=channel,
        address=address,
        work_due_at=clock.now(),
    )


def _push_devices(user_ids: list[UUID]) -> Iterable[tuple[UUID, UUID]]:
    """(person, device) of every device of theirs that a push can reach now."""
    return Device.objects.filter(
        user__in=user_ids,
        push_provider=Device.PushProvider.FCM,
        push_disabled_at=None,
        revoked_at=None,
        token_expires_at__gt=clock.now(),
    ).values_list("user_id", "id")


# ---- large audiences ------------------------------------------------------------------------


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
    """Write the deliveries of the next batch of a large audience; the row stays due until all are.

    Whoever has an inbox row has had their turn, in the transaction that wrote it: after a crash the
    rest is found by looking, and nobody is told twice.
    """
    told = Delivery.objects.filter(notice=notice, recipient=OuterRef("pk"), channel=Channel.INBOX)
    people = audience_of(notice)
    rest = people.filter(~Exists(told)).order_by("pk").values_list("pk", flat=True)
    with transaction.atomic():
        if not _is_sent(notice):
            return  # recalled meanwhile
        batch = set(rest[:BATCH])
        _deliver(notice, batch)
        if len(batch) == BATCH:
            Notice.objects.filter(id=notice.id).update(
                work_due_at=clock.now(), work_attempts=0, work_lost=0
            )
            wake(NOTICES)


def _is_sent(notice: Notice) -> bool:
    """Whether the notice is to reach people, with the row locked until the transaction ends."""
    return Notice.objects.select_for_update().get(id=notice.id).state == Notice.State.SENT
