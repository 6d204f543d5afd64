"""Standing queries: what every request asks in the same words is written into SQL once.

Measured: for the accept path's two look-ups Django took three times as long to write the SQL as
PostgreSQL took to answer it, and both together half of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, cast
from uuid import UUID, uuid4

from django.db import (
    DEFAULT_DB_ALIAS,
    InterfaceError,
    OperationalError,
    connection,
    connections,
)
from django.db.models import Field, Model, QuerySet

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
        return on_a_living_connection(lambda: next(iter(self._written.rows(values)), None))

    def first_values(self, *values: UUID | str) -> Sequence[Any] | None:
        """Its columns alone, in the order of the queryset's `values_list`."""
        return next(iter(self.every_values(*values)), None)

    def every_values(self, *values: UUID | str) -> list[Sequence[Any]]:
        """The columns of every row."""
        return on_a_living_connection(lambda: list(self._written.columns(values)))

    def written(self, *values: UUID | str) -> tuple[str, tuple[Any, ...]]:
        """The SQL, to stand within a larger statement, and its parameters for these values."""
        return self._written.sql, self._written.parameters_for(values)

    @cached_property
    def _written(self) -> _Written:
        stand_ins = [uuid4() if kind is UUID else uuid4().hex for kind in self._kinds]
        return _Written(self._rows(*stand_ins), stand_ins)


class StandingInsert(Generic[M]):
    """One row into a model's table, unless its key is taken: one statement, and no transaction but its own.

    The columns with a default in the database are left to it. Other constraints' violations raise
    IntegrityError.
    """

    def __init__(self, model: type[M]) -> None:
        self.model = model

    def __call__(self, row: M) -> bool:
        """False where there is a row with this key."""
        values = [(field, getattr(row, field.attname)) for field in self._fields]
        return _changed(self._sql, _prepared(values)) == 1

    @cached_property
    def _fields(self) -> list[Field[Any, Any]]:
        return [each for each in self.model._meta.concrete_fields if not each.has_db_default()]

    @cached_property
    def _sql(self) -> str:
        options = self.model._meta
        columns = ", ".join(_quoted(each.column) for each in self._fields)
        places = ", ".join(["%s"] * len(self._fields))
        return (
            f"INSERT INTO {_quoted(options.db_table)} ({columns}) VALUES ({places})"  # noqa: S608 - our models' names
            f" ON CONFLICT ({_quoted(options.pk.column)}) DO NOTHING"
        )


class StandingUpdate:
    """New values for the rows that have these ones, all by column name. Returns how many there were."""

    def __init__(self, model: type[Model], *, sets: Sequence[str], where: Sequence[str]) -> None:
        self.model, self.sets, self.where = model, sets, where

    def __call__(self, values: Mapping[str, Any], found: Mapping[str, Any]) -> int:
        given = [*(values[name] for name in self.sets), *(found[name] for name in self.where)]
        return _changed(self._sql, _prepared(zip(self._fields, given, strict=True)))

    @cached_property
    def _fields(self) -> list[Field[Any, Any]]:
        return [self._field(name) for name in (*self.sets, *self.where)]

    def _field(self, name: str) -> Field[Any, Any]:
        return cast("Field[Any, Any]", self.model._meta.get_field(name))

    @cached_property
    def _sql(self) -> str:
        sets = ", ".join(f"{_quoted(self._field(name).column)} = %s" for name in self.sets)
        where = " AND ".join(f"{_quoted(self._field(name).column)} = %s" for name in self.where)
        return f"UPDATE {_quoted(self.model._meta.db_table)} SET {sets} WHERE {where}"  # noqa: S608 - our models' names


_AS_THEY_ARE = {str, float, UUID, datetime, type(None)}
"""What psycopg and PostgreSQL take as it is; Django looks at each for a tenth of the statement's time."""


def _prepared(values: Iterable[tuple[Field[Any, Any], Any]]) -> list[Any]:
    ours = connections[DEFAULT_DB_ALIAS]
    as_they_are = _AS_THEY_ARE if ours.vendor == "postgresql" else set()
    return [
        value if type(value) in as_they_are else field.get_db_prep_save(value, ours)
        for field, value in values
    ]


def _quoted(name: str | None) -> str:
    return connection.ops.quote_name(name or "")


def _changed(sql: str, parameters: Sequence[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        count: int = cursor.rowcount
    return count


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

    def parameters_for(self, values: Sequence[UUID | str]) -> tuple[Any, ...]:
        parameters = list(self.parameters)
        for place, index, as_text in self.places:
            value = values[index]
            # A database without a type for UUIDs keeps them as text.
            parameters[place] = value.hex if as_text and isinstance(value, UUID) else value
        return tuple(parameters)

    def _bound(self, values: Sequence[UUID | str]) -> Any:
        parameters = self.parameters_for(values)
        compiler = copy(self.compiler)
        compiler.connection = connections[DEFAULT_DB_ALIAS]  # this thread's
        compiler.as_sql = lambda *_a, **_k: (self.sql, parameters)
        compiler.get_converters = lambda _columns: self.converters
        return compiler


def on_a_living_connection(ask: Callable[[], T]) -> T:
    """At the beginning of a request, find out by asking whether the thread's connection still works.

    It saves the round trip of Django's own check, which this replaces. `ask` may run twice: what it
    writes must be the same then.
    """
    ours: Any = connections[DEFAULT_DB_ALIAS]
    if ours.health_check_done or ours.connection is None:
        return ask()
    ours.health_check_done = True
    try:
        return ask()
    except (OperationalError, InterfaceError):
        if ours.in_atomic_block or ours.is_usable():
            raise
        ours.close()
        return ask()
