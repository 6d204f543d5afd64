"""Readers of our own that follow the change feed: each has its place, kept in a row.

Services write into the feed in their own transaction, so what follows from it costs an accepting request
nothing. Any number of workers may look; whoever has the place's row goes on from there, the others leave.

A durable follower is called in the transaction that moves its place: what it writes and how far it has
read are kept together or not at all. Any other is called after that, for hints that may be lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import Error, close_old_connections, connection, models, transaction

from server.core import work
from server.core.changes import Change, Cursor, latest_cursor, newest_settled, settled_after

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
CHANGES = 500
"""Rows of the feed in one step."""
STEPS = 20
"""In one turn of one follower, before the others have theirs."""


class FeedPlace(models.Model):
    """How far a follower has read."""

    name = models.CharField(max_length=32, primary_key=True)
    txid = models.BigIntegerField()
    sequence = models.BigIntegerField()

    def __str__(self) -> str:
        return self.name

    @property
    def cursor(self) -> Cursor:
        return self.txid, self.sequence


@dataclass(frozen=True, kw_only=True)
class Follower:
    """Somebody to tell of changes. `rest_seconds`: the least time between two turns that told something."""

    name: str
    tell: Callable[[Sequence[Change]], None]
    durable: bool = False
    rest_seconds: float = 0.0


_followers: dict[str, Follower] = {}
_resting: dict[str, float] = {}


def follow(follower: Follower) -> None:
    """Make the follower known; call it when the app is ready."""
    _followers[follower.name] = follower


def take_place(name: str) -> None:
    """Follow from here on, if it does not follow yet. In the transaction that makes it necessary."""
    txid, sequence = latest_cursor()
    FeedPlace.objects.get_or_create(name=name, defaults={"txid": txid, "sequence": sequence})


def look() -> int:
    """Give every follower its turn. Returns how many changes were told."""
    last = newest_settled().values_list("txid", "id").first()
    if last is None:
        return 0
    places = {place.name: place.cursor for place in FeedPlace.objects.all()}
    told = 0
    for follower in _followers.values():
        if follower.name not in places:
            take_place(follower.name)
        elif places[follower.name] < last and _resting.get(follower.name, 0.0) <= time.monotonic():
            told += _turn(follower)
    return told


def _turn(follower: Follower) -> int:
    try:
        changes = _read_durably(follower) if follower.durable else _read(follower)
    except Error:
        raise
    except Exception:  # the mistake of one follower must not stop the others
        logger.exception("feed: %s failed", follower.name)
        changes = 0
        _resting[follower.name] = time.monotonic() + max(follower.rest_seconds, 5.0)
    else:
        _resting[follower.name] = time.monotonic() + follower.rest_seconds
    return changes


def _read_durably(follower: Follower) -> int:
    total = 0
    for _number in range(STEPS):
        with transaction.atomic():
            changes = _next(follower)
            if changes:
                follower.tell(changes)
        total += len(changes)
        if len(changes) < CHANGES or work.stopping.is_set():
            break
    return total


def _read(follower: Follower) -> int:
    """All steps first: what is told of many changes at once is told less often."""
    changes: list[Change] = []
    for _number in range(STEPS):
        with transaction.atomic():
            more = _next(follower)
        changes += more
        if len(more) < CHANGES:
            break
    if changes:
        follower.tell(changes)
    return len(changes)


def _next(follower: Follower) -> list[Change]:
    """The next changes, and the place moved behind them; none where another worker is at it."""
    rows = FeedPlace.objects.filter(name=follower.name)
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    place = rows.first()
    if place is None:
        return []
    changes = settled_after(place.cursor, limit=CHANGES)
    if changes:
        place.txid, place.sequence = changes[-1].txid, changes[-1].id
        place.save()
    return changes


def run_until(stop: threading.Event, *, interval: float = LOOK_SECONDS) -> None:
    """Look every `interval` seconds until `stop` is set."""
    while not stop.wait(interval):
        close_old_connections()
        try:
            look()
        except Error as error:  # the database may be away for a moment: a later look tries again
            logger.warning("feed: %s", error)
            close_old_connections()
    close_old_connections()
