"""Providers of channels: how many messages each takes a second, and whether it answers at all.

Both are shared by all workers through one row for each provider. A rate is a bucket of tokens, of
which a worker takes what it needs for a whole batch, so that no message waits for a lock. A circuit
breaker opens after `OPENS_AFTER` failures in a row: nothing is claimed from its lane then, so a
provider that is down for an hour uses up nobody's tries. When its time is over, one delivery goes as a
trial, by one worker; an answer, whichever, closes the breaker, and what waited is sent.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from server.core import clock
from server.core.work import Lane, TemporaryFailure
from server.messaging.models import ChatGroup, Delivery, Provider

BATCH = 500
OPENS_AFTER = 5
COOL_SECONDS = 30.0
COOL_LIMIT_SECONDS = 600.0
RETRY_AFTER_LIMIT_SECONDS = 3600.0
TRIAL_SECONDS = 60
"""So long a worker has for its trial before another may try: a lease's length."""
SEEN_EVERY = timedelta(minutes=1)

Channel = Delivery.Channel


def _lanes() -> dict[str, Q]:
    """The deliveries of each provider. Robots are three companies' under one name."""
    lanes = {str(name): Q(channel=name) for name in Channel.values if name != Channel.ROBOT}
    for kind in ChatGroup.Kind.values:
        lanes[f"robot.{kind}"] = Q(channel=Channel.ROBOT, group__kind=kind)
    return lanes


LANES = _lanes()
_turns = itertools.count()


def provider_of(delivery: Delivery) -> str:
    """The name of the provider that carries it."""
    if delivery.channel == Channel.ROBOT and delivery.group is not None:
        return f"{delivery.channel}.{delivery.group.kind}"
    return delivery.channel


def lanes() -> Iterator[Lane]:
    """What may be claimed now; each time another one comes first, so that none starves the rest."""
    known, moment = Provider.objects.in_bulk(), clock.now()
    names = list(LANES)
    turn = next(_turns) % len(names)
    for name in names[turn:] + names[:turn]:
        lane = _lane(name, known.get(name), moment)
        if lane is not None:
            yield lane


def _lane(name: str, provider: Provider | None, moment: datetime) -> Lane | None:
    rate = _rate(name, provider)
    if provider is not None:
        if provider.paused_at or (provider.open_until and provider.open_until > moment):
            return None
        if provider.failures >= OPENS_AFTER:
            trial = partial(_take_trial, name, provider.open_until)
            return Lane(name=name, rows=LANES[name], limit=1, granted=trial)
    if rate is None:
        return Lane(name=name, rows=LANES[name], limit=BATCH)
    return Lane(
        name=name,
        rows=LANES[name],
        limit=BATCH,
        granted=partial(take, name),
        unused=partial(give_back, name),
    )


# ---- the rate -------------------------------------------------------------------------------


def _rate(name: str, provider: Provider | None) -> float | None:
    """Messages a second: an operator's figure, else DELIVERY_RATES; None: without bound."""
    if provider is not None and provider.per_second:
        return provider.per_second
    given = settings.DELIVERY_RATES.get(name)
    return float(given) if given else None


@transaction.atomic
def take(name: str, wanted: int) -> int:
    """Take up to `wanted` tokens. The bucket holds what a second brings, one at least."""
    provider = _locked(name)
    rate = _rate(name, provider)
    if rate is None:
        return wanted
    moment, full = clock.now(), max(rate, 1.0)
    # A clock that was set back must not empty the bucket for as long.
    passed = max((moment - provider.tokens_at).total_seconds(), 0) if provider.tokens_at else None
    held = full if passed is None else min(provider.tokens + passed * rate, full)
    granted = min(wanted, int(held))
    Provider.objects.filter(pk=name).update(tokens=held - granted, tokens_at=moment)
    return granted


def give_back(name: str, count: int) -> None:
    """Tokens of rows that were somebody else's after all."""
    Provider.objects.filter(pk=name).update(tokens=F("tokens") + count)


def _locked(name: str) -> Provider:
    Provider.objects.get_or_create(pk=name)
    return Provider.objects.select_for_update().get(pk=name)


# ---- the breaker ----------------------------------------------------------------------------


def note(name: str, *, answers: int, troubles: Sequence[TemporaryFailure]) -> bool:
    """Take note of a batch: so many answers, whichever they were, and these troubles.

    True: the breaker was closed, so the failures are tries of the messages. False: the provider
    alone is to blame.
    """
    if answers:
        _note_answers(name)
        return True
    return _note_troubles(name, troubles) if troubles else True


def _note_answers(name: str) -> None:
    moment = clock.now()
    stale = Q(last_success_at=None) | Q(last_success_at__lt=moment - SEEN_EVERY)
    row = Provider.objects.filter(pk=name)
    changed = row.filter(Q(failures__gt=0) | stale).update(
        failures=0, trips=0, open_until=None, last_success_at=moment
    )
    if not changed and not row.exists():
        Provider.objects.get_or_create(pk=name, defaults={"last_success_at": moment})


@transaction.atomic
def _note_troubles(name: str, troubles: Sequence[TemporaryFailure]) -> bool:
    provider, moment = _locked(name), clock.now()
    closed = provider.failures < OPENS_AFTER
    provider.failures += len(troubles)
    provider.last_failure_at, provider.last_error = moment, str(troubles[-1])[:500]
    if provider.failures >= OPENS_AFTER:
        asked = max(failure.retry_after or 0 for failure in troubles)
        pause = max(_cool(provider.trips), min(asked, RETRY_AFTER_LIMIT_SECONDS))
        provider.open_until = moment + timedelta(seconds=pause)
        provider.trips += 1
    provider.save(
        update_fields=["failures", "trips", "open_until", "last_failure_at", "last_error"]
    )
    return closed


def _cool(trips: int) -> float:
    seconds: float = min(COOL_SECONDS * 2 ** min(trips, 10), COOL_LIMIT_SECONDS)
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def _take_trial(name: str, seen: datetime | None, _wanted: int) -> int:
    """One, to the first worker that asks; the others see a breaker that is open again."""
    until = clock.now() + timedelta(seconds=TRIAL_SECONDS)
    return Provider.objects.filter(pk=name, open_until=seen).update(open_until=until)


def forget_trial(name: str) -> None:
    """The trial said nothing about the provider: the next may be made at once."""
    Provider.objects.filter(pk=name, failures__gte=OPENS_AFTER).update(open_until=clock.now())


# ---- an operator's hand ---------------------------------------------------------------------


def pause(name: str) -> None:
    """Send nothing until somebody resumes."""
    Provider.objects.update_or_create(pk=name, defaults={"paused_at": clock.now()})


def resume(name: str) -> None:
    """End a pause, and an open breaker too: somebody knows that the provider is back."""
    Provider.objects.filter(pk=name).update(paused_at=None, failures=0, trips=0, open_until=None)


# ---- for people -----------------------------------------------------------------------------


def waiting_for(name: str) -> int:
    """How many deliveries of it are due or will be."""
    return Delivery.objects.filter(LANES[name], work_due_at__isnull=False).count()
