"""The pumps: expand large audiences, send what is due, record how far it got."""

from __future__ import annotations

from django.db.models import QuerySet

from server.core import clock, work
from server.messaging.channels import AddressGone, channel_for
from server.messaging.composing import progress, send_again_if_changed, withdraw
from server.messaging.models import Delivery, Device, Newcomer, Notice
from server.messaging.newcomers import NEWCOMERS, admit_newcomer
from server.messaging.services import DELIVERIES, NOTICES

State = Delivery.State


def send(delivery: Delivery) -> None:
    """Send one claimed delivery and record it. Raises WorkFailure for the pump to judge."""
    if withdraw(delivery):
        return
    try:
        sent = channel_for(delivery.channel).send(delivery)
    except AddressGone as failure:
        _disable_push(failure.address, str(failure))
        raise
    moment = clock.now()
    Delivery.objects.filter(pk=delivery.pk).update(
        state=sent.state,
        sent_at=moment,
        delivered_at=moment if sent.state == "delivered" else None,
        reason=sent.note[:500],
    )
    send_again_if_changed([delivery])


def give_up(delivery: Delivery, reason: str) -> None:
    """The delivery is dead: say why."""
    Delivery.objects.filter(pk=delivery.pk).update(
        state=State.DEAD, reason=reason[:500] or "unknown"
    )


def _disable_push(address: str, reason: str) -> None:
    """The device that still has this address; one that reported a new one meanwhile keeps it."""
    Device.objects.filter(push_address=address).update(
        push_disabled_at=clock.now(), push_disabled_reason=reason[:200]
    )


def _deliveries() -> QuerySet[Delivery]:
    return Delivery.objects.select_related("notice__office", "recipient")


def register() -> None:
    """Make the pumps known to the worker."""
    work.register(work.Pump(name=NOTICES, rows=_notices, handle=progress))
    work.register(work.Pump(name=NEWCOMERS, rows=Newcomer.objects.all, handle=admit_newcomer))
    work.register(
        work.Pump(name=DELIVERIES, rows=_deliveries, handle=send, given_up=give_up, batch=50)
    )


def _notices() -> QuerySet[Notice]:
    return Notice.objects.select_related("created_by", "office", "reminder_of")
