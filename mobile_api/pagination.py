"""Lists in pages, by the keys of the last row: stable while rows come in, and as cheap at the end."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from django.core.exceptions import ValidationError
from django.db.models import Field, Model, Q, QuerySet
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.request import Request

from mobile_api.bodies import UNSTORABLE
from server.core.errors import Malformed, Problem

DEFAULT_LIMIT = 100
MAX_LIMIT = 500

M = TypeVar("M", bound=Model)


class CursorInvalid(Malformed):
    code = "cursor_invalid"
    title = _("游标无效或已过期，请从头获取")


class PageQuery(serializers.Serializer[Any]):
    """The parameters of every list."""

    limit = serializers.IntegerField(
        min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT, help_text="Rows in a page."
    )
    cursor = serializers.CharField(
        required=False, max_length=1024, help_text="`next` of the page before."
    )


def read_query(request: Request, shape: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """The address's parameters. Raises Malformed with `?name` as pointers."""
    query = shape(data=_by_name(request.query_params, shape()))
    if query.is_valid():
        return dict(query.validated_data)
    problems = [
        Problem(f"?{name}", error.code, str(error))
        for name, errors in query.errors.items()
        for error in errors
    ]
    raise Malformed(_("地址中的参数有误"), problems=problems)


def _by_name(
    parameters: QueryDict, shape: serializers.Serializer[Any]
) -> dict[str, str | list[str]]:
    """Plain values: DRF would take an absent flag of an HTML form for False."""
    return {
        name: [str(value) for value in parameters.getlist(name)]
        if isinstance(field, serializers.MultipleChoiceField)
        else str(parameters[name])
        for name, field in shape.fields.items()
        if name in parameters
    }


def page_of(
    rows: QuerySet[M], *, ordering: Sequence[str], limit: int, cursor: str | None = None
) -> tuple[list[M], str | None]:
    """One page and the cursor of the next, None at the end. `ordering` must be unique and not null."""
    if cursor:
        rows = rows.filter(_beyond(ordering, _read_cursor(rows, ordering, cursor)))
    found = list(rows.order_by(*ordering)[: limit + 1])
    more = len(found) > limit
    return found[:limit], _write_cursor(ordering, found[limit - 1]) if more else None


def encode(parts: Sequence[Any]) -> str:
    """An opaque text for the client to keep."""
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).rstrip(b"=").decode()


def decode(text: str) -> list[Any]:
    """The reverse. Raises CursorInvalid."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=list[Any])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise CursorInvalid from None


def _write_cursor(ordering: Sequence[str], row: Model) -> str:
    values = [getattr(row, name.lstrip("-")) for name in ordering]
    return encode([str(value) if isinstance(value, int) else value for value in values])


def _read_cursor(rows: QuerySet[Any], ordering: Sequence[str], cursor: str) -> list[Any]:
    values = decode(cursor)
    if len(values) != len(ordering) or not all(map(_is_storable, values)):
        raise CursorInvalid
    fields: list[Field[Any, Any]] = [rows.model._meta.get_field(n.lstrip("-")) for n in ordering]
    try:
        found = [field.to_python(value) for field, value in zip(fields, values, strict=True)]
        return [value.astimezone(UTC) if isinstance(value, datetime) else value for value in found]
    except (ValidationError, ValueError, OverflowError):
        raise CursorInvalid from None


def _is_storable(value: Any) -> bool:
    return isinstance(value, str) and not UNSTORABLE.search(value)


def _beyond(ordering: Sequence[str], values: Sequence[Any]) -> Q:
    """(a, b) > (x, y) as a > x or (a = x and b > y), each in its direction."""
    condition, equal = Q(pk__in=[]), Q()
    for key, value in zip(ordering, values, strict=True):
        name = key.lstrip("-")
        side = "lt" if key.startswith("-") else "gt"
        condition |= equal & Q(**{f"{name}__{side}": value})
        equal &= Q(**{name: value})
    return condition
