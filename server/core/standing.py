"""Standing queries: what every request asks in the same words is written into SQL once.

Measured: for the accept path's two look-ups Django took three times as long to write the SQL as
PostgreSQL took to answer it, and both together half of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections
from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)
T = TypeVar("T")


class StandingQuery(Generic[M]):
    """Rows of a model by ids or texts.

        DEVICE = StandingQuery(lambda id: Device.objects.filter(id=id), UUID)
        DEVICE.first(device_id)

    `rows` is called once, with stand-ins of the given kinds: it must not look at them, and nothing
    else in it may vary, such as the present day.
    """

    def __init__(
        self, rows: Callable[..., QuerySet[M, Any]], *kinds: type[UUID] | type[str]
    ) -> None:
        self._rows = rows
        self._kinds = kinds

    def first(self, *values: UUID | str) -> M | None:
        """The first row for these values, or None."""
        return _on_a_living_connection(lambda: next(iter(self._written.rows(values)), None))

    def first_values(self, *values: UUID | str) -> Sequence[Any] | None:
        """Its columns alone, in the order of the queryset's `values_list`."""
        return next(iter(self.every_values(*values)), None)

    def every_values(self, *values: UUID | str) -> list[Sequence[Any]]:
        """The columns of every row."""
        return _on_a_living_connection(lambda: list(self._written.columns(values)))

    @cached_property
    def _written(self) -> _Written:
        stand_ins = [uuid4() if kind is UUID else uuid4().hex for kind in self._kinds]
        return _Written(self._rows(*stand_ins), stand_ins)


class _Written:
    """A queryset's SQL, and at which places of its parameters the values go."""

    def __init__(self, queryset: QuerySet[Any, Any], stand_ins: Sequence[UUID | str]) -> None:
        self.iterable: Any = queryset._iterable_class
        self.compiler = queryset.query.get_compiler(using=DEFAULT_DB_ALIAS)
        self.sql, self.parameters = self.compiler.as_sql()
        columns = [column for column, _sql, _alias in self.compiler.select]
        self.converters = self.compiler.get_converters(columns)
        self.places = [
            (place, index, isinstance(parameter, str))
            for place, parameter in enumerate(self.parameters)
            for index, stand_in in enumerate(stand_ins)
            if parameter in (stand_in, getattr(stand_in, "hex", stand_in))
        ]

    def rows(self, values: Sequence[UUID | str]) -> Iterable[Any]:
        """What the queryset would give, by Django's own reading of rows."""
        compiler = self._bound(values)
        query = SimpleNamespace(get_compiler=lambda using: compiler)
        source = SimpleNamespace(db=DEFAULT_DB_ALIAS, query=query, _known_related_objects={})
        rows: Iterable[Any] = self.iterable(source)
        return rows

    def columns(self, values: Sequence[UUID | str]) -> Iterable[Any]:
        compiler = self._bound(values)
        columns: Iterable[Any] = compiler.results_iter(compiler.execute_sql())
        return columns

    def _bound(self, values: Sequence[UUID | str]) -> Any:
        parameters = list(self.parameters)
        for place, index, as_text in self.places:
            value = values[index]
            # A database without a type for UUIDs keeps them as text.
            parameters[place] = value.hex if as_text and isinstance(value, UUID) else value
        compiler = copy(self.compiler)
        compiler.connection = connections[DEFAULT_DB_ALIAS]  # this thread's
        compiler.as_sql = lambda *_a, **_k: (self.sql, tuple(parameters))
        compiler.get_converters = lambda _columns: self.converters
        return compiler


def _on_a_living_connection(ask: Callable[[], T]) -> T:
    """At the beginning of a request, find out by asking whether the thread's connection still works.

    It saves the round trip of Django's own check, which this replaces.
    """
    connection: Any = connections[DEFAULT_DB_ALIAS]
    if connection.health_check_done or connection.connection is None:
        return ask()
    connection.health_check_done = True
    try:
        return ask()
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block or connection.is_usable():
            raise
        connection.close()
        return ask()
