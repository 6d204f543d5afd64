"""The store's broom: what no row names, what lost its bytes, what was never uploaded to its end.

    objects   listed in the order of their keys, a page at a time, beside the rows of the same range:
              an object without a row goes to trash/ after a grace, a row without its object is
              named as lost, or gets it back from trash/
    trash     deleted after a second grace; back to its key where a row names it again
    uploads   half-done ones are forgotten when nobody can want them any more

Each turn is short and goes on where the last one ended; a pass begins once a day. A database that may
have been restored, or a store that is not the known one, stops everything (media_storage/witness.py).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django_tasks import task

from media_storage import keys, witness
from media_storage.errors import StoreUnavailable
from media_storage.keys import KeySource
from media_storage.models import Housekeeping, MediaObject, Rendition
from media_storage.stores import (
    TRASH,
    HalfDone,
    ObjectMissing,
    Store,
    StoredObject,
    exists,
    get_store,
)
from server.core import clock, schedule, work

logger = logging.getLogger(__name__)

PAGE = 1000
MOST_ROWS = 5 * PAGE
TURN = timedelta(minutes=10)
TURN_SECONDS = 20.0
PASS = timedelta(days=1)
LEASE = timedelta(minutes=5)
"""For how long a turn may be silent before another worker takes it for dead."""
ABANDONED = timedelta(days=1)
"""So long an upload lies there for which no row waits: its row may be just being written."""

State = MediaObject.State
MADE_BY_US = (Rendition.Name.SMALL, Rendition.Name.LARGE)
HAVING_BYTES = (State.STORED, State.PROCESSING, State.READY, State.REJECTED)

Say = Callable[[str, str], None]
"""What is done, and to what."""


class NotOurs(Exception):
    """The database and the store do not belong together, as far as they know."""


class Busy(Exception):
    """Another process sweeps at this moment."""


@dataclass
class Broom:
    """One sweep of a store. Without `is_dry` it acts; it tells `say` either way."""

    store: Store
    kept_before: Any = None
    is_dry: bool = False
    say: Say = lambda _what, _which: None
    counts: Counter[str] = field(default_factory=Counter)

    def page(self, after: str) -> str | None:
        """Look at the next objects and the rows beside them; where to go on, None at the end."""
        found = list(islice(self.store.listed(after=after), PAGE))
        until = found[-1].key if len(found) == PAGE else None
        # Where many objects are gone, the rows are more than a page.
        for source in keys.sources():
            until = source.nearest(after, until, MOST_ROWS) or until
        found = [each for each in found if until is None or each.key <= until]
        there = {each.key for each in found}
        # After the listing: a row is written after its object, so what is listed has its row by now
        # or within the grace.
        orphans = keys.unnamed(there)
        for source in keys.sources():
            self._beside(source, source.between(after, until), there)
        old = clock.now() - timedelta(days=settings.MEDIA_SWEEP_GRACE_DAYS)
        for each in found:
            self.counts["looked at"] += 1
            if each.key.startswith(TRASH):
                self._trashed(each)
            elif each.key in orphans:
                self._orphan(each, is_old=each.modified < old)
        return until

    def uploads(self) -> None:
        """Forget what phones have begun and will not go on with."""
        begun = self.store.uploads()
        while some := list(islice(begun, PAGE)):
            waiting = _waited_for(some)
            for each in some:
                age = clock.now() - each.modified
                wanted = each.key in waiting or bool(each.upload_id and each.upload_id in waiting)
                kept = timedelta(days=settings.MEDIA_UPLOAD_KEPT_DAYS) if wanted else ABANDONED
                if age > kept:
                    self._do("forgot an upload", each.key or each.upload_id, each.forget)

    def _beside(self, source: KeySource, named: dict[str, Any], there: set[str]) -> None:
        missing = [key for key in named if key not in there and not self._is_there(key)]
        lost = [key for key in missing if not self._brought_back(key)]
        for key in lost:
            self._do(f"lost ({source.name})", key, None)
        if not self.is_dry:
            source.lost([named[key] for key in lost])
            source.found([pk for key, pk in named.items() if key not in lost])

    def _is_there(self, key: str) -> bool:
        """It may have come since the listing."""
        return exists(self.store, key)

    def _brought_back(self, key: str) -> bool:
        if not exists(self.store, f"{TRASH}{key}"):
            return False
        self._do("brought back", key, lambda: self.store.move(f"{TRASH}{key}", key))
        return True

    def _orphan(self, found: StoredObject, *, is_old: bool) -> None:
        if not is_old:
            self.counts["young"] += 1
        elif self.kept_before and found.modified < self.kept_before:
            self._do("kept from before the restore", found.key, None)
        else:
            self.counts["bytes to trash"] += found.size
            self._do("to trash", found.key, lambda: self._to_trash(found.key))

    def _to_trash(self, key: str) -> None:
        if keys.unnamed([key]):  # it was all along, or a row has just named it
            self.store.move(key, f"{TRASH}{key}")

    def _trashed(self, found: StoredObject) -> None:
        key = found.key.removeprefix(TRASH)
        gone = clock.now() - timedelta(days=settings.MEDIA_TRASH_DAYS)
        if not keys.unnamed([key]):
            if not self._is_there(key):
                self._brought_back(key)
        elif found.modified < gone:
            self.counts["bytes deleted"] += found.size
            self._do("deleted", key, lambda: self.store.delete(found.key))
        else:
            self.counts["in trash"] += 1

    def _do(self, what: str, which: str, act: Callable[[], None] | None) -> None:
        self.counts[what] += 1
        self.say(what, which)
        if act is None or self.is_dry:
            return
        try:
            act()
        except ObjectMissing:
            logger.info("sweep: %s: somebody was first: %s", what, which)


def _waited_for(begun: Sequence[HalfDone]) -> set[str]:
    """Keys and upload ids of those that a phone may go on with."""
    ids = {each.upload_id for each in begun if each.upload_id}
    rows = MediaObject.objects.filter(state__in=[State.DECLARED, State.ARRIVED]).filter(
        Q(key__in={each.key for each in begun if each.key}) | Q(upload_id__in=ids)
    )
    return {name for row in rows.values_list("key", "upload_id") for name in row if name}


# ---- by turns ---------------------------------------------------------------------------------


def take_turn(*, seconds: float = TURN_SECONDS) -> Counter[str]:
    """Go on with the pass of the day for a while. Does nothing while a store is being moved."""
    if settings.MEDIA_STORE_OLD_URL:
        return Counter()
    try:
        with _claimed() as ours:
            store = get_store()
            check_witness(store, ours)
            witness.renew(store, ours)
            if ours.pass_ended_at is None or ours.pass_ended_at < clock.now() - PASS:
                return _go_on(ours, Broom(store, kept_before=ours.kept_before), seconds)
    except Busy:
        pass
    except NotOurs as refusal:
        logger.error("sweep: %s", refusal)
    except StoreUnavailable as down:
        logger.warning("sweep: %s", down)
    return Counter()


def sweep_now(*, say: Say, is_dry: bool = False) -> Counter[str]:
    """A whole pass at once. Raises NotOurs, Busy. A dry one only says what it would do."""
    store = get_store()
    if is_dry:
        ours = Housekeeping.ours()
        return _sweep_all(Broom(store, kept_before=ours.kept_before, is_dry=True, say=say), None)
    with _claimed() as ours:
        check_witness(store, ours)
        witness.renew(store, ours)
        return _sweep_all(Broom(store, kept_before=ours.kept_before, say=say), ours)


def adopt() -> None:
    """See media_storage.witness.adopt. Raises Busy."""
    with _claimed() as ours:
        witness.adopt(get_store(), ours)


def _sweep_all(broom: Broom, ours: Housekeeping | None) -> Counter[str]:
    place: str | None = ""
    while place is not None:
        place = broom.page(place)
        if ours:
            _remember(ours)
    broom.uploads()
    return broom.counts


def check_witness(store: Store, ours: Housekeeping) -> None:
    """Raises NotOurs, which is remembered until somebody adopts the store."""
    if not ours.refused_at and not witness.agree(store, ours):
        ours.refused_at = clock.now()
        ours.save(update_fields=["refused_at"])
    if ours.refused_at:
        raise NotOurs(
            "the store's mark is not the database's: was either restored or exchanged? "
            "See docs/stores.md; then `media_store sweep --adopt`."
        )


@contextmanager
def _claimed() -> Iterator[Housekeeping]:
    """The state, for nobody else to change meanwhile. Raises Busy."""
    now = clock.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    rows = Housekeeping.objects.filter(pk=Housekeeping.ours().pk)
    if not rows.filter(free).update(lease_until=now + LEASE):
        raise Busy("A worker is at it; try again in a few minutes.")
    try:
        yield Housekeeping.ours()
    finally:
        rows.update(lease_until=None)


def _go_on(ours: Housekeeping, broom: Broom, seconds: float) -> Counter[str]:
    stop = time.monotonic() + seconds
    if ours.pass_ended_at or not ours.pass_began_at:
        ours.pass_began_at, ours.pass_ended_at = clock.now(), None
        ours.cursor, ours.counts = "", {}
    place: str | None = ours.cursor
    while place is not None and time.monotonic() < stop and not work.stopping.is_set():
        place = broom.page(place)
        if place is not None:
            _remember(ours, cursor=place)
    if place is None:
        broom.uploads()
        ours.pass_ended_at = clock.now()
        place = ""
    counts = Counter(ours.counts) + broom.counts
    _remember(ours, cursor=place, counts=dict(counts))
    return broom.counts


def _remember(ours: Housekeeping, **values: Any) -> None:
    """So that the next turn goes on here, whatever happens to this one."""
    for name, value in {**values, "lease_until": clock.now() + LEASE}.items():
        setattr(ours, name, value)
    ours.save(update_fields=[*_OF_A_PASS, "lease_until"])


_OF_A_PASS = ("cursor", "counts", "pass_began_at", "pass_ended_at")


@task(takes_context=False)
def sweep_task() -> None:
    """Django's task: the schedule's own thread has shorter things to do."""
    take_turn()


# ---- what our own rows say --------------------------------------------------------------------


def lose_originals(ids: Sequence[Any]) -> None:
    """Never deleted: the record stays, and the office sees that its file is gone."""
    rows = MediaObject.objects.filter(pk__in=ids, lost_at=None)
    if count := rows.update(lost_at=clock.now()):
        logger.error("%d media objects have lost their bytes: `media_store lost` names them", count)


def find_originals(ids: Sequence[Any]) -> None:
    lost = MediaObject.objects.filter(lost_at__isnull=False)
    if lost.exists():  # as a rule there is none, and an index says so
        for some in _batches(ids):
            lost.filter(pk__in=some).update(lost_at=None)


def lose_renditions(ids: Sequence[Any]) -> None:
    """They are made again from the original. Shared copies are another package's."""
    for some in _batches(ids):
        media = set(Rendition.objects.filter(pk__in=some).values_list("media_id", flat=True))
        with transaction.atomic():
            ready = MediaObject.objects.filter(pk__in=media, state=State.READY, lost_at=None)
            again = list(ready.select_for_update(of=("self",)).values_list("pk", flat=True))
            _renditions().filter(media__in=again).delete()
            MediaObject.objects.filter(pk__in=again).update(
                state=State.STORED, work_due_at=clock.now(), work_attempts=0
            )
            work.wake("media")


def _batches(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(ids), PAGE):
        yield ids[start : start + PAGE]


def _kept() -> QuerySet[MediaObject]:
    """A deleted one names its key no more: should its bytes come back, they are nobody's."""
    return MediaObject.objects.exclude(state=State.DELETED)


def _renditions() -> QuerySet[Rendition]:
    return Rendition.objects.filter(name__in=MADE_BY_US)


def _uploaded(rows: QuerySet[MediaObject]) -> QuerySet[MediaObject]:
    return rows.filter(state__in=HAVING_BYTES)


def start() -> None:
    """Make the keys and the periodic work known; called when the app is ready."""
    keys.register(
        KeySource(
            name="originals",
            rows=_kept,
            stored=_uploaded,
            lost=lose_originals,
            found=find_originals,
        )
    )
    keys.register(KeySource(name="renditions", rows=_renditions, lost=lose_renditions))
    schedule.every("media.sweep", TURN, sweep_task.enqueue)
