"""The pumps: expand large audiences, give hints, send what is due, record how far it got.

A worker claims a batch of one provider's deliveries, judges each (read meanwhile, too late, quiet
hours), puts together what goes as one message, sends, tells the provider's breaker, and records the
batch in one statement. Killed between sending and recording it leaves rows that come due again: they
are sent again with the same tag, and the phone shows one message.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from server.core import clock, schedule, work
from server.core.work import PermanentFailure, TemporaryFailure, WorkFailure
from server.grid.models import User
from server.messaging import digest, ordering, providers
from server.messaging.addressees import address
from server.messaging.channels import (
    AddressGone,
    ManyChannel,
    NotAsked,
    Sent,
    Unavailable,
    channel_for,
)
from server.messaging.channels.socket import hint
from server.messaging.composing import progress, send_again_if_changed
from server.messaging.judging import Verdict, judge
from server.messaging.models import ChatGroup, Delivery, Device, Hint, Newcomer, Notice
from server.messaging.newcomers import NEWCOMERS, admit_newcomer
from server.messaging.outbox import Result, many, record
from server.messaging.services import DELIVERIES, HINTS, NOTICES

logger = logging.getLogger(__name__)

SEND_SECONDS = 20.0
"""No message of a batch is begun later: what is left goes back, well before the lease ends."""
AGAIN_SECONDS = 5.0
"""After the provider's own trouble: the breaker says when its lane is open again."""
HINT_LIVES = timedelta(minutes=5)

State = Delivery.State
Outcome = Sent | WorkFailure


def send_together(pump: work.Pump, rows: list[Delivery]) -> None:
    """Send a claimed batch of one provider and record what became of each."""
    rows, results = _without_killers(pump, rows)
    if rows and digest.can_carry(rows[0].channel):
        rows += digest.fetch_more(pump, rows)
    _load(rows)
    verdicts = judge(rows)
    results += [_judged(row, verdicts[row.pk]) for row in rows if row.pk in verdicts]
    rows = [row for row in rows if row.pk not in verdicts]
    bundles, waiting = _bundles(rows)
    results += [
        _judged(row, Verdict("wait", until=waiting[row.pk])) for row in rows if row.pk in waiting
    ]
    results += _sent(pump, bundles)
    record(results)
    send_again_if_changed(row for each in bundles for row in (each.carrier, *each.rest))
    _call_the_next(results, rows)


def _without_killers(pump: work.Pump, rows: list[Delivery]) -> tuple[list[Delivery], list[Result]]:
    """Rows that took one worker after another with them are given up."""
    killers = [row for row in rows if row.work_lost > pump.max_lost]
    reason = f"{pump.max_lost} workers in a row died while they were at it"
    return [row for row in rows if row not in killers], [_dead(row, reason) for row in killers]


def _load(rows: Sequence[Delivery]) -> None:
    """Notices and recipients of a batch: many rows of one notice read it once."""
    notices = Notice.objects.select_related("office").in_bulk({row.notice_id for row in rows})
    recipients = [row.recipient_id for row in rows if row.recipient_id]
    people = {user.pk: user for user in User.objects.filter(pk__in=many(recipients))}
    groups = ChatGroup.objects.select_related("school__area", "area").in_bulk(
        {row.group_id for row in rows if row.group_id}
    )
    for row in rows:
        row.notice = notices[row.notice_id]
        row.recipient = people[row.recipient_id] if row.recipient_id else None
        row.group = groups[row.group_id] if row.group_id else None
    address(rows)


def _bundles(rows: list[Delivery]) -> tuple[list[digest.Bundle], Mapping[UUID, datetime]]:
    if rows and digest.can_carry(rows[0].channel):
        return digest.bundle(rows)
    return [digest.Bundle(row) for row in rows], {}


# ---- sending --------------------------------------------------------------------------------


def _sent(pump: work.Pump, bundles: Sequence[digest.Bundle]) -> list[Result]:
    if not bundles:
        return []
    carriers = [each.carrier for each in bundles]
    provider = providers.provider_of(carriers[0])
    outcomes = _outcomes(carriers)
    troubles = [each for each in outcomes.values() if isinstance(each, TemporaryFailure)]
    answers = sum(isinstance(each, Sent | PermanentFailure) for each in outcomes.values())
    answers -= sum(isinstance(each, NotAsked) for each in outcomes.values())
    closed = providers.note(provider, answers=answers, troubles=troubles)
    if not (answers or troubles):
        providers.forget_trial(provider)
    for failure in outcomes.values():
        if isinstance(failure, AddressGone):
            _disable_push(failure.address, str(failure))
    results = []
    for each in bundles:
        outcome = outcomes.get(each.carrier.pk)
        blameless = not closed or (isinstance(outcome, Unavailable) and not answers)
        results += [
            _result(pump, row, outcome, counts=not blameless) for row in (each.carrier, *each.rest)
        ]
    return results


def _outcomes(rows: Sequence[Delivery]) -> Mapping[UUID, Outcome]:
    """What became of each; what is missing was not begun."""
    try:
        channel = channel_for(rows[0].channel)
        if isinstance(channel, ManyChannel) and len(rows) > 1:
            return channel.send_all(rows, seconds=SEND_SECONDS)
    except Exception as failure:  # whatever a vendor's library raises must not stop the others
        logger.exception("delivery: %s failed as a whole", rows[0].channel)
        return {row.pk: TemporaryFailure(f"{type(failure).__name__}: {failure}") for row in rows}
    until, outcomes = time.monotonic() + SEND_SECONDS, {}
    for row in rows:
        outcomes[row.pk] = _outcome_of_one(row)
        if work.stopping.is_set() or time.monotonic() >= until or _is_away(outcomes.values()):
            break
    return outcomes


def _outcome_of_one(row: Delivery) -> Outcome:
    try:
        return channel_for(row.channel).send(row)
    except WorkFailure as failure:
        return failure
    except Exception as failure:  # as above
        logger.exception("delivery failed: %s %s", row.channel, row.pk)
        return TemporaryFailure(f"{type(failure).__name__}: {failure}")


def _is_away(outcomes: Iterable[Outcome]) -> bool:
    """So many failures and nothing else: the breaker will open, and each more may cost a time-out."""
    outcomes = list(outcomes)
    return len(outcomes) >= providers.OPENS_AFTER and all(
        isinstance(each, TemporaryFailure) for each in outcomes
    )


# ---- what became of it ----------------------------------------------------------------------


def _result(pump: work.Pump, row: Delivery, outcome: Outcome | None, *, counts: bool) -> Result:
    if isinstance(outcome, Sent):
        moment = clock.now()
        return Result(
            id=row.pk,
            lease=row.work_due_at,
            state=outcome.state,
            reason=outcome.note,
            provider_id=outcome.provider_id,
            merged_into=row.merged_into_id,
            sent_at=moment,
            delivered_at=moment if outcome.state == "delivered" else None,
            attempts=0,
        )
    if outcome is None:
        return _pending(row, due_in=timedelta(), tried=False)
    if isinstance(outcome, PermanentFailure):
        return _dead(row, str(outcome))
    if counts and row.work_attempts >= pump.max_attempts:
        return _dead(row, str(outcome))
    retry_after = getattr(outcome, "retry_after", None)
    if counts:
        wait = work.backoff(pump, row.work_attempts, retry_after)
    else:
        seconds = AGAIN_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        wait = timedelta(seconds=max(seconds, min(retry_after or 0, 86_400)))
    return _pending(row, due_in=wait, tried=counts, error=str(outcome))


def _pending(row: Delivery, *, due_in: timedelta, tried: bool, error: str = "") -> Result:
    """It comes again; a try that does not count leaves no trace in the number of tries."""
    return Result(
        id=row.pk,
        lease=row.work_due_at,
        state=State.PENDING,
        merged_into=row.merged_into_id,
        due_at=clock.now() + due_in,
        attempts=row.work_attempts if tried else row.work_attempts - 1,
        error=error or row.work_error,
    )


def _dead(row: Delivery, reason: str) -> Result:
    return Result(
        id=row.pk,
        lease=row.work_due_at,
        state=State.DEAD,
        reason=reason or _("原因不明"),
        attempts=row.work_attempts,
        error=reason,
        dead_at=clock.now(),
    )


def _judged(row: Delivery, verdict: Verdict) -> Result:
    if verdict.kind == "drop":
        return _dead(row, verdict.reason)
    if verdict.until is not None:
        return _pending(row, due_in=verdict.until - clock.now(), tried=False)
    return Result(
        id=row.pk, lease=row.work_due_at, state=State.SKIPPED, reason=verdict.reason, attempts=0
    )


def _call_the_next(results: Sequence[Result], rows: Sequence[Delivery]) -> None:
    """Where nothing of a person's first channel got through, the next need not wait for its hour."""
    dead = {each.id for each in results if each.state == State.DEAD}
    failed = {(row.notice_id, row.recipient_id) for row in rows if row.pk in dead}
    for notice_id, recipient_id in failed:
        theirs = Delivery.objects.filter(notice=notice_id, recipient=recipient_id).exclude(
            channel=Delivery.Channel.INBOX
        )
        if theirs.filter(state__in=[State.SENT, State.DELIVERED]).exists():
            continue
        waiting = theirs.filter(state=State.PENDING, work_attempts=0, work_due_at__gt=clock.now())
        if first := waiting.order_by("work_due_at").first():
            waiting.filter(work_due_at=first.work_due_at).update(work_due_at=clock.now())


def _disable_push(address: str, reason: str) -> None:
    """The device that still has this address; one that reported a new one meanwhile keeps it."""
    Device.objects.filter(push_address=address).update(
        push_disabled_at=clock.now(), push_disabled_reason=reason[:200]
    )


# ---- dead letters ---------------------------------------------------------------------------


def retry_deliveries(rows: QuerySet[Delivery]) -> int:
    """Give dead deliveries a new life, with time to be sent in. Returns how many there were."""
    keys = list(rows.filter(work_dead_at__isnull=False).values_list("pk", flat=True))
    dead = Delivery.objects.filter(pk__in=keys, state=State.DEAD)
    hours = timedelta(hours=settings.DELIVERY_HOURS)
    dead.update(state=State.PENDING, reason="", expires_at=clock.now() + hours, merged_into=None)
    count = work.retry_dead(Delivery.objects.filter(pk__in=keys))
    work.wake(DELIVERIES)
    return count


# ---- hints ----------------------------------------------------------------------------------


def give_hint(row: Hint) -> None:
    """Tell the open sockets of these people. Raises TemporaryFailure when the layer is away.

    A hint that is late is worth nothing: who was away meanwhile fetches when the socket opens.
    """
    if clock.now() - row.created_at < HINT_LIVES:
        try:
            hint([UUID(each) for each in row.user_ids], row.message)
        except Exception as failure:
            # The layer's driver raises its own kinds; none of them is worth more than a later try.
            raise TemporaryFailure(f"{type(failure).__name__}: {failure}") from failure
    row.delete()


def forget_hint(row: Hint, reason: str) -> None:
    """Given up: nobody waits for it any more."""
    logger.warning("hint to %d people given up: %s", len(row.user_ids), reason)
    row.delete()


# ---- the pumps ------------------------------------------------------------------------------


def register() -> None:
    """Make the pumps known to the worker, and the periodic work to the schedule."""
    work.register(work.Pump(name=NOTICES, rows=_notices, handle=progress))
    work.register(work.Pump(name=NEWCOMERS, rows=Newcomer.objects.all, handle=admit_newcomer))
    work.register(
        work.Pump(
            name=HINTS,
            rows=Hint.objects.all,
            handle=give_hint,
            given_up=forget_hint,
            backoff_limit_seconds=30,
        )
    )
    work.register(
        work.Pump(
            name=DELIVERIES,
            rows=Delivery.objects.all,
            together=send_together,
            lanes=providers.lanes,
            batch=providers.BATCH,
        )
    )
    schedule.every("habits", timedelta(hours=1), ordering.learn)


def _notices() -> QuerySet[Notice]:
    return Notice.objects.select_related("created_by", "office", "reminder_of")
