"""Whether this database and this store belong together: a mark in both, renewed with every sweep.

A database that was restored from a backup carries an older mark than the store; so does a copy of it
that was started elsewhere with the same settings, and a store that was emptied or mistyped carries
none. Then nobody may conclude from a missing row that an object is not needed, or from a missing
object that it was lost: sweeping stops until a person has looked (`media_store sweep --adopt`).
"""

from __future__ import annotations

import logging
import secrets

from media_storage import keys
from media_storage.models import Housekeeping
from media_storage.stores import ObjectMissing, Store
from server.core import clock

logger = logging.getLogger(__name__)

PREFIX = "witness/"
KEY = f"{PREFIX}database"
_BYTES = 64

keys.reserve(PREFIX)


def agree(store: Store, ours: Housekeeping) -> bool:
    """Whether the store's mark is the database's, or the one it was just about to write."""
    theirs = mark_of(store)
    if not ours.mark:
        return not theirs or theirs == ours.next_mark
    return theirs in (ours.mark, ours.next_mark)


def renew(store: Store, ours: Housekeeping) -> None:
    """A new mark for both. A crash between any two lines leaves them in agreement."""
    mark = secrets.token_hex(16)
    _save(ours, next_mark=mark)
    write_mark(store, mark)
    _save(ours, mark=mark)


def adopt(store: Store, ours: Housekeeping) -> None:
    """Let this database and this store belong together from now on.

    What no row names and is older may be the only copy of what the lost rows named: it is kept.
    """
    _save(ours, kept_before=clock.now(), refused_at=None, mark="", next_mark="", cursor="")
    renew(store, ours)


def mark_of(store: Store) -> str:
    """Empty where the store has none."""
    try:
        return store.head(KEY, _BYTES).decode("ascii", "replace")
    except ObjectMissing:
        return ""


def write_mark(store: Store, mark: str) -> None:
    store.write(KEY, [mark.encode()])


def _save(ours: Housekeeping, **values: object) -> None:
    for name, value in values.items():
        setattr(ours, name, value)
    ours.save(update_fields=list(values))
