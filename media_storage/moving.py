"""Moving a store's objects to another one while everything runs: copy, read back, compare, go on.

    for counts in Move(source, target, name="folder:///var/media").run(): …

The first pass reads every object from both sides and compares their SHA-256, an original's also with
its row's. It keeps its place in the target, so that a killed move goes on there. Passes after it bring
what came meanwhile, until one finds nothing; so does a later move from the same source. Nothing is
deleted from the source.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, TypeVar

from media_storage import witness
from media_storage.errors import StoreUnavailable
from media_storage.housekeeping import HAVING_BYTES
from media_storage.models import MediaObject
from media_storage.stores import ObjectMissing, Store, StoredObject, Written

logger = logging.getLogger(__name__)

PLACE = f"{witness.PREFIX}move"
BATCH = 50
MOST_PASSES = 10
TRIES = 6
PAUSE_SECONDS = 1.0

Outcome = Literal["moved", "there", "gone", "damaged", "failed"]
"""`damaged`: moved as it is, but not the bytes that its row names. `failed`: the copy is another."""

T = TypeVar("T")


@dataclass
class Move:
    """`said` is told what a person must look at: damaged and failed keys. `name`: the source's."""

    source: Store
    target: Store
    name: str
    threads: int = 4
    said: Callable[[Outcome, str], None] = lambda _outcome, _key: None
    pause: Callable[[float], None] = time.sleep
    counts: Counter[str] = field(default_factory=Counter)
    bytes: int = 0

    def run(self) -> Iterator[Counter[str]]:
        """Gives the counts after every batch. Raises StoreUnavailable when a store stays away."""
        with ThreadPoolExecutor(self.threads) as workers:
            after = self._place()
            if after is not None:
                yield from self._pass(workers, self._listed(self.source, after), is_first=True)
                self._keep_place(None)
            for _number in range(MOST_PASSES):
                before = self._brought
                yield from self._pass(workers, self._missing_or_other(), is_first=False)
                if self._brought == before:
                    break
        self._patiently(lambda: witness.write_mark(self.target, witness.mark_of(self.source)))

    @property
    def _brought(self) -> int:
        return self.counts["moved"] + self.counts["damaged"]

    def _pass(
        self, workers: ThreadPoolExecutor, objects: Iterable[StoredObject], *, is_first: bool
    ) -> Iterator[Counter[str]]:
        ours = (each for each in objects if not each.key.startswith(witness.PREFIX))
        while batch := list(islice(ours, BATCH)):
            declared = _declared(batch)
            jobs = [(each, declared.get(each.key)) for each in batch]
            for each, outcome in zip(batch, workers.map(self._move, jobs), strict=True):
                self.counts[outcome] += 1
                if outcome in ("damaged", "failed"):
                    self.said(outcome, each.key)
            if is_first:
                self._keep_place(batch[-1].key)
            yield self.counts

    def _missing_or_other(self) -> Iterator[StoredObject]:
        """What the source has and the target has not: both list in the same order."""
        theirs = self._listed(self.target)
        here = next(theirs, None)
        for each in self._listed(self.source):
            while here and here.key < each.key:
                here = next(theirs, None)
            if not here or here.key != each.key or here.size != each.size:
                yield each

    def _move(self, job: tuple[StoredObject, str | None]) -> Outcome:
        found, sha256 = job
        try:
            return self._patiently(lambda: self._copy(found, sha256))
        except ObjectMissing:
            return "gone"  # deleted since it was listed

    def _copy(self, found: StoredObject, sha256: str | None) -> Outcome:
        there = self._measured_there(found)
        here = _measured(self.source.read(found.key)) if there else None
        moved = here is None or here != there
        if moved:
            here = self.target.write(found.key, self.source.read(found.key))
            there = _measured(self.target.read(found.key))
            self.bytes += here.size
            self._forget_if_gone(found.key)
        if here != there:
            return "failed"
        if here and sha256 and here.sha256 != sha256:
            return "damaged"
        return "moved" if moved else "there"

    def _forget_if_gone(self, key: str) -> None:
        """What was deleted while it was copied must not come back."""
        try:
            self.source.size(key)
        except ObjectMissing:
            self.target.erase(key)
            raise

    def _measured_there(self, found: StoredObject) -> Written | None:
        try:
            if self.target.size(found.key) != found.size:
                return None
            return _measured(self.target.read(found.key))
        except ObjectMissing:
            return None

    def _listed(self, store: Store, after: str = "") -> Iterator[StoredObject]:
        """Goes on behind the last key when the store was away."""
        tries = 0
        while True:
            try:
                for each in store.listed(after=after):
                    after, tries = each.key, 0
                    yield each
                return
            except StoreUnavailable as down:
                tries += 1
                if tries == TRIES:
                    raise
                self._wait(tries, down)

    def _patiently(self, do: Callable[[], T]) -> T:
        """A store may be away for a moment."""
        for number in range(1, TRIES):
            try:
                return do()
            except StoreUnavailable as down:
                self._wait(number, down)
        return do()

    def _wait(self, number: int, down: StoreUnavailable) -> None:
        logger.warning("move: %s", down)
        self.pause(PAUSE_SECONDS * 2 ** (number - 1))

    def _place(self) -> str | None:
        """Where the first pass from this source goes on; None where it is through."""
        try:
            kept = json.loads(b"".join(self.target.read(PLACE)))
        except ObjectMissing:
            return ""
        place: str | None = kept["after"] if kept["source"] == self.name else ""
        return place

    def _keep_place(self, after: str | None) -> None:
        content = json.dumps({"source": self.name, "after": after}).encode()
        self._patiently(lambda: self.target.write(PLACE, [content]))


def _declared(batch: Iterable[StoredObject]) -> dict[str, str]:
    """The SHA-256 of the originals among them, as the rows have it."""
    rows = MediaObject.objects.filter(key__in=[each.key for each in batch])
    rows = rows.filter(state__in=HAVING_BYTES)
    return dict(rows.values_list("key", "sha256"))


def _measured(chunks: Iterable[bytes]) -> Written:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return Written(size=size, sha256=digest.hexdigest())
