"""Who names objects in the store: what no row names may be swept away, so every model registers here.

    register(KeySource(name="certificates", rows=lambda: Certificate.objects.all()))

A package does so when its app is ready, for every model that keeps a key of the store. `reserve` is
for objects that no row names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import CharField, Lookup, QuerySet
from django.db.models.functions import Collate

from media_storage.stores import TRASH


def _nothing(_ids: Sequence[Any]) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class KeySource:
    """Rows whose `field` is a key: unique and a CharField, so that PostgreSQL has an index for ranges.

    `stored` narrows them to those whose object must be there. `lost` is told the primary keys of rows
    whose object is not, `found` those of rows whose object is; both may be told again.
    """

    name: str
    rows: Callable[[], QuerySet[Any, Any]]
    field: str = "key"
    stored: Callable[[QuerySet[Any, Any]], QuerySet[Any, Any]] = lambda rows: rows
    lost: Callable[[Sequence[Any]], None] = _nothing
    found: Callable[[Sequence[Any]], None] = _nothing

    def naming(self, keys: Collection[str]) -> dict[str, Any]:
        """The primary keys of the rows that name these."""
        rows = self.rows().filter(**{f"{self.field}__in": keys})
        return dict(rows.values_list(self.field, "pk"))

    def between(self, after: str, until: str | None) -> dict[str, Any]:
        """The keys behind `after` up to and with `until` that must have an object; whose they are."""
        return dict(self._range(after, until).values_list(self.field, "pk"))

    def nearest(self, after: str, until: str | None, count: int) -> str | None:
        """Where `between` must end to give no more than `count`; None where it gives no more anyway."""
        rows = self._range(after, until).values_list(self.field, flat=True)
        if len(rows[: count + 1]) <= count:
            return None
        order = Collate(self.field, "C" if connection.vendor == "postgresql" else "BINARY")
        edge: str = rows.order_by(order)[count - 1]
        return edge

    def _range(self, after: str, until: str | None) -> QuerySet[Any, Any]:
        rows = self.stored(self.rows()).filter(**{f"{self.field}__behind": after}).order_by()
        return rows if until is None else rows.exclude(**{f"{self.field}__behind": until})


_sources: dict[str, KeySource] = {}
_reserved: set[str] = {TRASH}


def register(source: KeySource) -> KeySource:
    """Make the rows known; call it when the app is ready."""
    _sources[source.name] = source
    return source


def reserve(prefix: str) -> None:
    """Leave all keys that begin so alone."""
    _reserved.add(prefix)


def sources() -> list[KeySource]:
    return list(_sources.values())


def is_reserved(key: str) -> bool:
    return key.startswith(tuple(_reserved))


def unnamed(keys: Collection[str]) -> set[str]:
    """Those of the keys that nobody names."""
    left = {key for key in keys if not is_reserved(key)}
    for source in sources():
        if left:
            left -= source.naming(left).keys()
    return left


@CharField.register_lookup
class Behind(Lookup[str]):
    """Greater in the order of bytes, in which a store lists, whatever the database's language.

    On PostgreSQL by the operator of the index that Django makes for a unique CharField's LIKE.
    """

    lookup_name = "behind"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, left_parameters = self.process_lhs(compiler, connection)
        right, right_parameters = self.process_rhs(compiler, connection)
        operator = "~>~" if connection.vendor == "postgresql" else ">"
        return f"{left} {operator} {right}", (*left_parameters, *right_parameters)
