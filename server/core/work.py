"""Background work whose queue is the state row itself.

A row that needs work has `work_due_at`; a worker claims it by pushing that moment to the end of a
lease, does the work, and clears it. A worker that dies leaves a row that comes due again; each claim
counts, so that a row whose work kills its worker every time ends as a dead row too. A failure says
whether trying again can help: temporary ones back off with jitter, permanent ones and the last of too
many temporary ones leave a dead row with its reason, which the admin shows and can retry.

Django's tasks carry the hints: `wake()` enqueues a drain after commit, at most one per process and
`HINT_SECONDS`; the schedule enqueues what a lost hint left (see server.core.schedule).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, TypeVar

from django.db import connection, models, transaction
from django.db.models import F, Q, QuerySet
from django_tasks import task

from server.core import clock

logger = logging.getLogger(__name__)

HINT_SECONDS = 0.5
DRAIN_SECONDS = 20.0
HINT_KEPT = timedelta(days=1)

stopping = threading.Event()
"""Set when this process is to end: drains finish the row at hand and give the others back."""


class WorkFailure(Exception):
    """Root of failures that say what to do next."""


class TemporaryFailure(WorkFailure):
    """Trying again may help; `retry_after` in seconds where the other side said when."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class PermanentFailure(WorkFailure):
    """Trying again cannot help."""


class Interrupted(WorkFailure):
    """This process is to end: whoever comes begins the row again, and the try does not count."""


class LeaseLost(TemporaryFailure):
    """Another worker has the row by now."""


class Work(models.Model):
    """A row that may need work. `work_due_at` null: nothing to do.

    `work_attempts` counts all claims since the row was last done; `work_lost` the latest ones of which
    nothing was heard again, because their worker died.
    """

    work_due_at = models.DateTimeField(null=True, editable=False)
    work_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    work_lost = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    work_error = models.TextField(blank=True, default="", editable=False)
    work_dead_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True


def due_index(name: str) -> models.Index:
    """The partial index that keeps the claim's cost free of finished rows."""
    return models.Index(fields=["work_due_at"], name=name, condition=Q(work_due_at__isnull=False))


R = TypeVar("R", bound=Work)


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A part of a pump's rows that is claimed by itself: what is slow in one does not hold up another.

    `rows` narrows the pump's rows; at most `limit` are claimed at once. `granted`, asked when there
    are due rows, says how many of them may be (a rate that all workers share); `unused` takes back
    what was granted for rows that somebody else had claimed.
    """

    name: str
    rows: Q
    limit: int
    granted: Callable[[int], int] | None = None
    unused: Callable[[int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Pump:
    """One kind of work: which rows, and what to do with one of them, or with a claimed batch at once.

    `handle` must be idempotent: it runs at least once. `given_up` is called for a row that died.
    `together` takes the place of `handle`: it does the work of all rows of a claim and records how
    each ended, in whatever way is quickest. `lanes`: those that may be claimed from now.
    `slow`: a row takes minutes; such pumps have a thread of their own in each worker process, so that
    deliveries do not wait for them, and `handle` calls `extend` from time to time.
    `max_lost`: how many workers in a row may die with a row in their hands before it is given up.
    """

    name: str
    rows: Callable[[], QuerySet[Any]]
    handle: Callable[[Any], None] | None = None
    together: Callable[[Pump, list[Any]], None] | None = None
    lanes: Callable[[], Iterable[Lane]] | None = None
    given_up: Callable[[Any, str], None] | None = None
    lease_seconds: int = 60
    batch: int = 20
    max_attempts: int = 8
    max_lost: int = 5
    backoff_seconds: float = 2.0
    backoff_limit_seconds: float = 3600.0
    slow: bool = False


_pumps: dict[str, Pump] = {}


def register(pump: Pump) -> Pump:
    """Make the pump known to the drain task and the schedule; call it when the app is ready."""
    _pumps[pump.name] = pump
    return pump


def pumps() -> list[Pump]:
    """All registered pumps, in order of registration."""
    return list(_pumps.values())


def due(pump: Pump) -> QuerySet[Any]:
    """Rows whose moment has come."""
    return pump.rows().filter(work_due_at__lte=clock.now())


def is_due(pump: Pump) -> bool:
    """Whether there is a row to claim now."""
    return any(due(pump).filter(lane.rows).exists() for lane in _lanes(pump))


def claim(pump: Pump) -> list[Any]:
    """Take up to a batch of due rows of one lane for the length of the lease. Each row goes to one
    claimer.

    A row that was with a worker that died may have killed it, so it goes alone: its neighbours shall
    not be given up with it.
    """
    for lane in _lanes(pump):
        if claimed := _claim_from(pump, lane):
            return claimed
    return []


def _lanes(pump: Pump) -> Iterable[Lane]:
    return pump.lanes() if pump.lanes else [Lane(name="", rows=Q(), limit=pump.batch)]


def _claim_from(pump: Pump, lane: Lane) -> list[Any]:
    limit = lane.limit
    if lane.granted:
        limit = lane.granted(limit) if due(pump).filter(lane.rows).exists() else 0
    claimed = claim_rows(pump, lane.rows, limit) if limit else []
    if lane.unused and len(claimed) < limit:
        lane.unused(limit - len(claimed))
    return claimed


def claim_rows(pump: Pump, which: Q, limit: int, *, apart: bool = True) -> list[Any]:
    """Claim up to `limit` due rows of these, whatever the lanes; `apart`: suspects go alone."""
    lease_end = clock.now() + timedelta(seconds=pump.lease_seconds)
    with transaction.atomic():
        rows = due(pump).filter(which).order_by("work_due_at")
        if connection.features.has_select_for_update_skip_locked:
            rows = rows.select_for_update(skip_locked=True, of=("self",))
        claimed = list(rows[:limit])
        if apart:
            claimed = _suspects_apart(claimed)
        for row in claimed:
            row.work_due_at = lease_end
            row.work_attempts += 1
            row.work_lost += 1
        pump.rows().filter(pk__in=[row.pk for row in claimed]).update(
            work_due_at=lease_end,
            work_attempts=F("work_attempts") + 1,
            work_lost=F("work_lost") + 1,
        )
    return claimed


def _suspects_apart(rows: list[Any]) -> list[Any]:
    if rows and rows[0].work_lost:
        return rows[:1]
    return list(takewhile(lambda row: not row.work_lost, rows))


def renew(pump: Pump, row: Any) -> bool:
    """Begin a claimed row's lease anew, for work of several long steps. False: it is ours no more."""
    lease_end = clock.now() + timedelta(seconds=pump.lease_seconds)
    if not _still_ours(pump, row).update(work_due_at=lease_end):
        return False
    row.work_due_at = lease_end
    return True


def run(pump: Pump, row: Any) -> None:
    """Do one claimed row's work and record how it ended. Never raises for the work's own failure."""
    if pump.together:
        pump.together(pump, [row])
        return
    if pump.handle is None:
        raise TypeError(f"{pump.name} has neither handle nor together")
    if row.work_lost > pump.max_lost:
        _die(pump, row, f"{pump.max_lost} workers in a row died while they were at it")
        return
    try:
        pump.handle(row)
    except PermanentFailure as failure:
        _die(pump, row, str(failure))
    except Interrupted:
        release(pump, [row])
    except TemporaryFailure as failure:
        _retry(pump, row, str(failure), failure.retry_after)
    except Exception as failure:  # whatever a handler's library raises must not stop the others
        logger.exception("work failed: %s %s", pump.name, row.pk)
        _retry(pump, row, f"{type(failure).__name__}: {failure}", None)
    else:
        _still_ours(pump, row).update(work_due_at=None, work_error="", work_attempts=0, work_lost=0)


def drain(pump: Pump, *, seconds: float = DRAIN_SECONDS) -> int:
    """Claim and run until nothing is due or the time is up. Returns how many rows were run."""
    stop = time.monotonic() + seconds
    count = 0
    while not stopping.is_set() and time.monotonic() < stop and (rows := claim(pump)):
        if pump.together:
            pump.together(pump, rows)
            count += len(rows)
            continue
        for index, row in enumerate(rows):
            if stopping.is_set():
                release(pump, rows[index:])
                break
            run(pump, row)
            count += 1
    return count


def release(pump: Pump, rows: list[Any]) -> None:
    """Give claimed rows back untried: they are due at once, for whoever comes."""
    for row in rows:
        _still_ours(pump, row).update(
            work_due_at=clock.now(),
            work_attempts=row.work_attempts - 1,
            work_lost=row.work_lost - 1,
        )


def extend(pump: Pump, row: Any) -> None:
    """Prolong the lease of a row that is being handled. Raises LeaseLost; Interrupted at the end."""
    if stopping.is_set():
        raise Interrupted
    if not renew(pump, row):
        raise LeaseLost(f"lost the lease of {pump.name} {row.pk}")


def drain_all() -> int:
    """Run everything that is due, and what becomes due by it, until nothing is."""
    total = 0
    while count := sum(drain(pump) for pump in pumps()):
        total += count
    return total


def retry_dead(rows: QuerySet[Any]) -> int:
    """Give dead rows a new life. Returns how many there were."""
    return rows.filter(work_dead_at__isnull=False).update(
        work_due_at=clock.now(), work_dead_at=None, work_attempts=0, work_lost=0
    )


@task(takes_context=False)
def drain_task(pump_name: str) -> None:
    """Django's task behind a hint."""
    pump = _pumps[pump_name]
    drain(pump)
    if is_due(pump):
        drain_task.enqueue(pump_name)


def forget_hints() -> int:
    """Delete the tasks of earlier days, done or taken by a worker that died. Returns how many."""
    from django_tasks_db.models import DBTaskResult  # a model: the apps must be ready

    return DBTaskResult.objects.filter(enqueued_at__lt=clock.now() - HINT_KEPT).delete()[0]


_last_hint: dict[str, float] = {}


def wake(pump_name: str) -> None:
    """Hint, after commit, that the pump has rows due. Coalesced: the schedule finds what is left.

    Slow pumps need no hint: their thread looks by itself.
    """
    pump = _pumps.get(pump_name)
    if pump is None or not pump.slow:
        transaction.on_commit(lambda: _enqueue_hint(pump_name), robust=True)


def _enqueue_hint(pump_name: str) -> None:
    moment = time.monotonic()
    if moment - _last_hint.get(pump_name, -HINT_SECONDS) < HINT_SECONDS:
        return
    _last_hint[pump_name] = moment
    drain_task.enqueue(pump_name)


def _still_ours(pump: Pump, row: Any) -> QuerySet[Any]:
    """The row, unless its lease ran out and another worker claimed it."""
    return pump.rows().filter(pk=row.pk, work_due_at=row.work_due_at)


def _retry(pump: Pump, row: Any, reason: str, retry_after: float | None) -> None:
    if row.work_attempts >= pump.max_attempts:
        _die(pump, row, reason)
        return
    _still_ours(pump, row).update(
        work_due_at=clock.now() + backoff(pump, row.work_attempts, retry_after),
        work_error=reason[:2000],
        work_lost=0,
    )


def backoff(pump: Pump, attempts: int, retry_after: float | None) -> timedelta:
    """How long to wait after so many tries: longer each time, with jitter, and as long as was told."""
    seconds = min(pump.backoff_seconds * 2 ** (attempts - 1), pump.backoff_limit_seconds)
    seconds = max(seconds * random.uniform(0.5, 1.0), min(retry_after or 0, 86_400))  # noqa: S311 - jitter
    return timedelta(seconds=seconds)


def _die(pump: Pump, row: Any, reason: str) -> None:
    moment: datetime = clock.now()
    ours = _still_ours(pump, row).update(
        work_due_at=None, work_dead_at=moment, work_error=reason[:2000]
    )
    if ours and pump.given_up:
        pump.given_up(row, reason)
