"""Many messages to one address as one: after a quiet night, and where notices come thick and fast.

Which delivery carries which others is stored before anything is sent. After a crash the same one
carries the same others again, under the same tag, so that the phone still shows one message.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Min, Q

from server.core import clock, work
from server.core.ids import first_id_of
from server.messaging.channels import channel_for
from server.messaging.models import Delivery
from server.messaging.outbox import many
from server.messaging.providers import BATCH

Address = tuple[UUID | None, str]


@dataclass(slots=True)
class Bundle:
    """One message: the delivery that is sent, and those whose text it brings too."""

    carrier: Delivery
    rest: list[Delivery] = field(default_factory=list)


def can_carry(channel: str) -> bool:
    """Whether the channel's messages are made by `text_of`, which knows of several."""
    return bool(getattr(channel_for(channel), "carries_many", False))


def fetch_more(pump: work.Pump, rows: Sequence[Delivery]) -> list[Delivery]:
    """Claim what else is due for the addresses of these, where together it is more than a few."""
    channel = rows[0].channel
    claimed: dict[UUID | None, int] = defaultdict(int)
    for row in rows:
        claimed[row.recipient_id] += 1
    people = [person for person in claimed if person is not None]
    due = Delivery.objects.filter(
        recipient__in=many(people), channel=channel, work_due_at__lte=clock.now()
    )
    merged = {row.recipient_id for row in rows if row.merged_into_id}
    crowded = [
        person
        for person, count in due.order_by().values_list("recipient").annotate(count=Count("id"))
        if person in merged or count + claimed[person] > settings.DIGEST_ABOVE
    ]
    if not crowded:
        return []
    which = Q(recipient__in=crowded, channel=channel)
    found: list[Delivery] = work.claim_rows(pump, which, BATCH, apart=False)
    return found


def bundle(rows: Sequence[Delivery]) -> tuple[list[Bundle], dict[UUID, datetime]]:
    """What is sent as one message, and what waits, with the moment until when.

    Writes which delivery carries which.
    """
    alone = [Bundle(row) for row in rows if row.notice.is_urgent]
    by_id = {row.pk: row for row in rows if not row.notice.is_urgent}
    again = _as_before(by_id)
    by_address: dict[Address, list[Delivery]] = defaultdict(list)
    taken = {row.pk for each in again for row in (each.carrier, *each.rest)}
    for row in by_id.values():
        if row.pk not in taken:
            by_address[row.recipient_id, row.address].append(row)
    fresh, waiting = _fresh(by_address)
    for each in (*again, *fresh):
        each.carrier.carries = tuple(each.rest)
    return [*alone, *again, *fresh], waiting


def _as_before(by_id: dict[UUID, Delivery]) -> list[Bundle]:
    """What a worker that died had put together."""
    bundles: dict[UUID, Bundle] = {}
    for row in by_id.values():
        carrier = by_id.get(row.merged_into_id) if row.merged_into_id else None
        if carrier is None:
            row.merged_into_id = None  # the one that carried it is gone or not due: begin afresh
            continue
        bundles.setdefault(carrier.pk, Bundle(carrier)).rest.append(row)
    return list(bundles.values())


def _fresh(
    by_address: dict[Address, list[Delivery]],
) -> tuple[list[Bundle], dict[UUID, datetime]]:
    recent = _recently_sent(by_address)
    bundles, waiting, merged = [], {}, []
    for address, rows in by_address.items():
        count, first = recent.get(address, (0, None))
        if first is not None and count >= settings.DIGEST_ABOVE:
            until = first + timedelta(minutes=settings.DIGEST_MINUTES)
            waiting.update(dict.fromkeys([row.pk for row in rows], until))
        elif len(rows) > 1 and count + len(rows) > settings.DIGEST_ABOVE:
            *rest, carrier = sorted(rows, key=lambda row: row.pk)
            for row in rest:
                row.merged_into_id = carrier.pk
            merged += rest
            bundles.append(Bundle(carrier, rest))
        else:
            bundles += [Bundle(row) for row in rows]
    Delivery.objects.bulk_update(merged, ["merged_into"], batch_size=BATCH)
    return bundles, waiting


def _recently_sent(
    addresses: dict[Address, list[Delivery]],
) -> dict[Address, tuple[int, datetime | None]]:
    """By address, how many messages went there within the window, and when the first did.

    The range of ids keeps the cost to a few days of these people's messages.
    """
    rows = [row for each in addresses.values() for row in each]
    if not rows:
        return {}
    moment = clock.now()
    lives = timedelta(hours=settings.DELIVERY_HOURS)
    sent = Delivery.objects.filter(
        recipient__in=many([row.recipient_id for row in rows if row.recipient_id]),
        channel=rows[0].channel,
        id__gte=first_id_of(moment - lives),
        sent_at__gt=moment - timedelta(minutes=settings.DIGEST_MINUTES),
        merged_into=None,
    )
    return {
        (person, address): (count, first)
        for person, address, count, first in sent.order_by()
        .values_list("recipient", "address")
        .annotate(count=Count("id"), first=Min("sent_at"))
    }
