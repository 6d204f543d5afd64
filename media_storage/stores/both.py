"""Two stores as one while objects move: what is new goes to the new one, the rest is read where it is.

An upload that a phone began at the old one ends there; `media_store move` brings it over.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

from media_storage.stores import (
    Erased,
    Expected,
    HalfDone,
    ObjectMissing,
    PartsMissing,
    Store,
    StoredObject,
    Upload,
    Written,
    exists,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BothStores:
    """See media_storage.stores.Store."""

    new: Store
    old: Store

    @property
    def direct(self) -> bool:
        return self.new.direct or self.old.direct

    def create(self) -> None:
        self.new.create()

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        return self.new.write(key, chunks)

    def read(self, key: str) -> Iterator[bytes]:
        try:
            yield from self.new.read(key)
        except ObjectMissing:  # before the first byte, so nothing is given twice
            yield from self.old.read(key)

    def head(self, key: str, size: int) -> bytes:
        return self._either(lambda store: store.head(key, size))

    def size(self, key: str) -> int:
        return self._either(lambda store: store.size(key))

    def delete(self, key: str) -> None:
        # The old one first: the other way round, a move could bring it back.
        self.old.delete(key)
        self.new.delete(key)

    def upload_urls(self, expected: Expected, *, base_url: str, fresh: bool = False) -> Upload:
        home = self.new
        if not fresh and _missing(self.old, expected) < _missing(self.new, expected):
            home = self.old  # what is missing is sent where the rest is
        return home.upload_urls(expected, base_url=base_url, fresh=fresh)

    def arrived(self, expected: Expected) -> Written | None:
        return self._either(lambda store: store.arrived(expected))

    def take_in(self, expected: Expected) -> Written:
        return self._either(lambda store: store.take_in(expected))

    def abort_upload(self, key: str, upload_id: str) -> None:
        self.old.abort_upload(key, upload_id)
        self.new.abort_upload(key, upload_id)

    def clear_drafts(self, *, before: datetime) -> int:
        return self.new.clear_drafts(before=before) + self.old.clear_drafts(before=before)

    def listed(self, prefix: str = "", *, after: str = "") -> Iterator[StoredObject]:
        both = heapq.merge(
            self.new.listed(prefix, after=after),
            self.old.listed(prefix, after=after),
            key=lambda each: each.key,  # of equals, the new one's comes first
        )
        last = ""
        for each in both:
            if each.key != last:
                yield each
            last = each.key

    def uploads(self) -> Iterator[HalfDone]:
        return chain(self.new.uploads(), self.old.uploads())

    def move(self, key: str, to: str) -> None:
        self._either(lambda store: store.move(key, to))

    def erase(self, key: str, *, upload_id: str = "") -> Erased:
        # The old one first, as in `delete`.
        old = self.old.erase(key, upload_id=upload_id)
        new = self.new.erase(key, upload_id=upload_id)
        known = [each.versions for each in (old, new) if each.versions is not None]
        keys = {*old.keys, *new.keys}
        return Erased(tuple(sorted(keys)), sum(known) if len(known) == 2 else None)

    def traces(self, key: str) -> list[str]:
        return [*self.old.traces(key), *self.new.traces(key)]

    def download_url(
        self, key: str, *, filename: str, content_type: str, expires_in: timedelta, base_url: str
    ) -> str:
        home = self.new if exists(self.new, key) else self.old
        return home.download_url(
            key,
            filename=filename,
            content_type=content_type,
            expires_in=expires_in,
            base_url=base_url,
        )

    def _either(self, ask: Callable[[Store], T]) -> T:
        try:
            return ask(self.new)
        except (ObjectMissing, PartsMissing) as refusal:
            try:
                return ask(self.old)
            except ObjectMissing:
                raise refusal from None


def _missing(store: Store, expected: Expected) -> float:
    """How many parts of an upload have not arrived there."""
    try:
        store.arrived(expected)
    except PartsMissing as missing:
        return len(missing.numbers)
    except ObjectMissing:
        return math.inf
    return 0
