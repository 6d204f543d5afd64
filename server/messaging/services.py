"""Telling people: notices with their deliveries, and the expansion of large audiences."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from server.core import clock
from server.core.changes import record_change
from server.core.errors import Invalid, Problem
from server.core.work import stopping, wake
from server.grid.models import Area, School, User
from server.messaging.events import event_kind
from server.messaging.models import Delivery, Hint, Notice
from server.messaging.models.wording import words_of
from server.messaging.ordering import expiry_of, plan
from server.messaging.outbox import commit_later, write_groups, write_inbox, write_pending
from server.messaging.queries import audience_of
from server.messaging.routes import groups_of
from server.messaging.watching import watch
from server.messaging.wording import version_for

DELIVERIES = "deliveries"
HINTS = "hints"
NOTICES = "notices"
HINTED_AT_ONCE = 500
AT_ONCE = 200
"""Up to so many recipients of an announcement are written with it; more are left to a worker."""
BATCH = 10_000
READ_AHEAD = 20 * BATCH
EXPAND_SECONDS = 20.0
"""Other work of the worker waits no longer."""
EVERYBODY = UUID(int=2**128 - 1)
"""After the last of all ids: the audience has been told. Who joins it later is admitted by name."""

Channel = Delivery.Channel


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
            # Sorted as numbers: comparing ids themselves is slow.
            told = {user.pk for user in recipients if user.is_active}
            deliver(notice, sorted(told, key=lambda user_id: user_id.int))
            watch(notice)
    return notice


def deliver(notice: Notice, user_ids: list[UUID]) -> None:
    """Write the deliveries of these people, and the hints to their sockets. Repeating it tells nobody
    twice. They come in the order of their ids, so that everybody takes locks in the same order.
    """
    if not user_ids:
        return
    moment = clock.now()
    write_inbox(notice.id, user_ids, moment)
    planned = plan(notice, user_ids, moment)
    write_pending(notice.id, planned, moment)
    groups = groups_of(notice, user_ids)
    write_groups(notice.id, groups, moment, expires_at=expiry_of(notice, moment))
    tell_phones(notice, user_ids)
    if planned or groups:
        wake(DELIVERIES)


def tell_phones(notice: Notice, user_ids: list[UUID]) -> None:
    """Let these people's phones find what is new with the notice, and their open sockets hear of it."""
    moment = clock.now()
    message = {"type": "inbox.changed", "after": str(notice.id)}
    Hint.objects.bulk_create(
        [
            Hint(
                message=message,
                user_ids=list(map(str, batch)),
                created_at=moment,
                work_due_at=moment,
            )
            for batch in batched(user_ids, HINTED_AT_ONCE)
        ],
        batch_size=1,  # two and more would go as an array, in which the driver escapes every quote
    )
    # A crowd is one row for everybody, whose readers look whether the notice is in their inbox: a row
    # for each would cost as much as the deliveries, and every reader of the feed would pass them all.
    record_change("notice", notice.id, user_ids=user_ids if len(user_ids) <= AT_ONCE else ())
    wake(HINTS)


def batched(ids: list[UUID], size: int) -> Iterable[list[UUID]]:
    """The ids in lists of `size` at most."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


# ---- large audiences ------------------------------------------------------------------------


def _reach(notice: Notice, people: QuerySet[User]) -> None:
    """Write the deliveries of a small audience, or leave a large one to the worker."""
    first = list(people.order_by("pk").values_list("pk", flat=True)[: AT_ONCE + 1])
    if not first:
        raise Invalid(problems=[Problem("/audience", "nobody", _("所选范围内没有可通知的人员"))])
    if len(first) <= AT_ONCE:
        deliver(notice, first)
        Notice.objects.filter(id=notice.id).update(expanded_to=EVERYBODY)
        return
    Notice.objects.filter(id=notice.id).update(work_due_at=clock.now())
    wake(NOTICES)


def expand(notice: Notice) -> None:
    """Write the deliveries of a large audience, a batch in a transaction, for a while.

    People are told in the order of their ids, and the last who was told is stored with the batch that
    told them: a crash repeats nobody, and a batch costs the same at the end as at the beginning.
    """
    people = audience_of(notice)
    until = time.monotonic() + EXPAND_SECONDS
    while ahead := _next_people(notice, people):
        all_read = len(ahead) < READ_AHEAD
        for batch in batched(ahead, BATCH):
            if not _tell_batch(notice, batch):
                return  # recalled meanwhile
            if all_read and batch[-1] == ahead[-1]:
                break
            if time.monotonic() >= until or stopping.is_set():
                Notice.objects.filter(id=notice.id).update(
                    work_due_at=clock.now(), work_attempts=0, work_lost=0
                )
                wake(NOTICES)
                return
        if all_read:
            break
    Notice.objects.filter(id=notice.id).update(expanded_to=EVERYBODY)


def _next_people(notice: Notice, people: QuerySet[User]) -> list[UUID]:
    """Those of the audience after the last who was told: finding them costs more than telling them,
    so they are read for many batches.
    """
    last = Notice.objects.values_list("expanded_to", flat=True).get(id=notice.id)
    if last == EVERYBODY:
        return []
    rest = people if last is None else people.filter(pk__gt=last)
    return list(rest.order_by("pk").values_list("pk", flat=True)[:READ_AHEAD])


@transaction.atomic
def _tell_batch(notice: Notice, batch: list[UUID]) -> bool:
    """Nobody twice: another worker may be at it too, where the lease of the first has ended. False:
    the notice is not to reach people any more.

    Nobody waits for the disk: should the server's power fail, the batch is lost whole, with the place
    that it moved on, and is told again.
    """
    commit_later()
    row = Notice.objects.select_for_update().only("expanded_to", "state").get(id=notice.id)
    if row.state != Notice.State.SENT:
        return False
    rest = batch[bisect_right(batch, row.expanded_to) :] if row.expanded_to else batch
    if rest:
        deliver(notice, rest)
        Notice.objects.filter(id=notice.id).update(expanded_to=batch[-1])
    return True
