"""The functions of ODK's XPath subset over plain values: str, int, float, bool; a blank answer is "".

Dates and moments are ISO strings and count as days since 1970 where a number is needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from django.utils import timezone

Value = Any
Kind = Literal["text", "number", "boolean", "any", "nodes"]

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local wall clock, as phones compare

NAN = math.nan
_NUMBER = re.compile(r"\s*-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def to_number(value: Value) -> float:
    """XPath's number(); an ISO date or moment counts as days since 1970. Else NaN."""
    if isinstance(value, int | float):
        return value
    if _NUMBER.fullmatch(value):
        return float(value)
    return _days(value)


def to_text(value: Value) -> str:
    """XPath's string()."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    return str(value)


def number_text(value: float) -> str:
    """A number as XPath writes it: 3, 0.5, NaN."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(int(value)) if value == int(value) else repr(value)


def to_truth(value: Value) -> bool:
    """XPath's boolean(): a text that is not empty, a number that is not 0 or NaN."""
    if isinstance(value, float):
        return not math.isnan(value) and value != 0
    return bool(value)


def _moment(text: str) -> datetime | None:
    """The county's wall clock at an ISO date or moment."""
    if len(text) < 10 or text[4] != "-":
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return moment
        return moment.astimezone(timezone.get_default_timezone()).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def _days(text: str) -> float:
    moment = _moment(text)
    return NAN if moment is None else (moment - EPOCH) / timedelta(days=1)


def _to_moment(value: Value) -> datetime | None:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return _moment(value)
    days = to_number(value)
    if math.isnan(days) or abs(days) > 700_000:
        return None
    return EPOCH + timedelta(days=days)


def _equal(left: Value, right: Value) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return to_truth(left) == to_truth(right)
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return to_number(left) == to_number(right)


def _unequal(left: Value, right: Value) -> bool:
    return not _equal(left, right)


COMPARE: dict[str, Callable[[Value, Value], bool]] = {
    "=": _equal,
    "!=": _unequal,
    "<": lambda left, right: to_number(left) < to_number(right),
    "<=": lambda left, right: to_number(left) <= to_number(right),
    ">": lambda left, right: to_number(left) > to_number(right),
    ">=": lambda left, right: to_number(left) >= to_number(right),
}


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return NAN if left == 0 or math.isnan(left) else math.copysign(math.inf, left)


def _remainder(left: float, right: float) -> float:
    return math.fmod(left, right) if right and math.isfinite(left) else NAN


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "-": lambda left, right: left - right,
    "*": lambda left, right: float(left) * right,  # a product of whole numbers may outgrow str()
    "div": _divide,
    "mod": _remainder,
}


def _sure(function: Callable[..., float]) -> Callable[..., float]:
    """NaN where Python raises: an expression never stops a submission by itself."""

    def calculated(*numbers: float) -> float:
        try:
            return float(function(*numbers))
        except (ValueError, OverflowError, ZeroDivisionError, TypeError):
            return NAN

    return calculated


def _round(number: float, digits: float = 0) -> float:
    scale = 10.0 ** int(digits)
    return math.floor(number * scale + 0.5) / scale


def _substring(text: str, start: float, length: float = math.inf) -> str:
    """XPath's substring: counts from 1, rounds both numbers."""
    first = _sure(_round)(start)
    last = first + (length if math.isinf(length) else _sure(_round)(length))
    return "".join(sign for at, sign in enumerate(text, 1) if first <= at < last)


def _substr(text: str, start: float, end: float = math.inf) -> str:
    """ODK's substr: counts from 0, the end is not included."""
    if math.isnan(start) or math.isnan(end) or math.isinf(start):
        return ""
    return text[int(start) : None if math.isinf(end) else int(end)]


def _selected_at(text: str, index: float) -> str:
    parts = text.split()
    return parts[int(index)] if 0 <= index < len(parts) else ""


def _date(value: Value) -> str:
    moment = _to_moment(value)
    return "" if moment is None else moment.date().isoformat()


def _date_time(value: Value) -> str:
    moment = _to_moment(value)
    return "" if moment is None else moment.isoformat(timespec="milliseconds")


def _decimal_date_time(value: Value) -> float:
    moment = _to_moment(value)
    return NAN if moment is None else (moment - EPOCH) / timedelta(days=1)


def _decimal_time(text: str) -> float:
    match = re.match(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?", text)
    if match is None:
        return NAN
    hours, minutes, seconds = match.groups(default="0")
    return (int(hours) * 3600 + int(minutes) * 60 + float(seconds)) / 86_400


_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE_PARTS: dict[str, Callable[[datetime], str]] = {
    "Y": lambda at: f"{at.year:04}",
    "y": lambda at: f"{at.year % 100:02}",
    "m": lambda at: f"{at.month:02}",
    "n": lambda at: str(at.month),
    "b": lambda at: _MONTHS[at.month - 1],
    "d": lambda at: f"{at.day:02}",
    "e": lambda at: str(at.day),
    "H": lambda at: f"{at.hour:02}",
    "h": lambda at: str(at.hour),
    "M": lambda at: f"{at.minute:02}",
    "S": lambda at: f"{at.second:02}",
    "3": lambda at: f"{at.microsecond // 1000:03}",
    "a": lambda at: _WEEKDAYS[at.weekday()],
}


def _format_date(value: Value, pattern: str) -> str:
    moment = _to_moment(value)
    if moment is None:
        return ""
    return re.sub(
        r"%(.)",
        lambda part: _DATE_PARTS[part[1]](moment) if part[1] in _DATE_PARTS else part[0],
        pattern,
    )


def _before(text: str, mark: str) -> str:
    return text[: text.index(mark)] if mark in text else ""


def _after(text: str, mark: str) -> str:
    return text[text.index(mark) + len(mark) :] if mark in text else ""


def _translate(text: str, old: str, new: str) -> str:
    table = {
        ord(sign): new[at] if at < len(new) else None for at, sign in reversed([*enumerate(old)])
    }
    return text.translate(table)


SIMPLE: dict[str, tuple[Kind, str, Callable[..., Value]]] = {
    # name: what it gives, its arguments (t text, n number, b boolean, v any; after "?" optional)
    "not": ("boolean", "b", lambda truth: not truth),
    "boolean": ("boolean", "b", lambda truth: truth),
    "true": ("boolean", "", lambda: True),
    "false": ("boolean", "", lambda: False),
    "boolean-from-string": ("boolean", "t", lambda text: text.lower() in {"1", "true"}),
    "number": ("number", "n", lambda number: number),
    "int": ("number", "n", _sure(math.trunc)),
    "string": ("text", "t", lambda text: text),
    "string-length": ("number", "t", len),
    "normalize-space": ("text", "t", lambda text: " ".join(text.split())),
    "contains": ("boolean", "tt", lambda text, part: part in text),
    "starts-with": ("boolean", "tt", str.startswith),
    "ends-with": ("boolean", "tt", str.endswith),
    "substring": ("text", "tn?n", _substring),
    "substr": ("text", "tn?n", _substr),
    "substring-before": ("text", "tt", _before),
    "substring-after": ("text", "tt", _after),
    "translate": ("text", "ttt", _translate),
    "upper-case": ("text", "t", str.upper),
    "lower-case": ("text", "t", str.lower),
    "count-selected": ("number", "t", lambda text: len(text.split())),
    "selected-at": ("text", "tn", _selected_at),
    "round": ("number", "n?n", _sure(_round)),
    "floor": ("number", "n", _sure(math.floor)),
    "ceiling": ("number", "n", _sure(math.ceil)),
    "abs": ("number", "n", abs),
    "pow": ("number", "nn", _sure(math.pow)),
    "sqrt": ("number", "n", _sure(math.sqrt)),
    "exp": ("number", "n", _sure(math.exp)),
    "exp10": ("number", "n", _sure(lambda number: 10.0**number)),
    "log": ("number", "n", _sure(math.log)),
    "log10": ("number", "n", _sure(math.log10)),
    "sin": ("number", "n", _sure(math.sin)),
    "cos": ("number", "n", _sure(math.cos)),
    "tan": ("number", "n", _sure(math.tan)),
    "asin": ("number", "n", _sure(math.asin)),
    "acos": ("number", "n", _sure(math.acos)),
    "atan": ("number", "n", _sure(math.atan)),
    "atan2": ("number", "nn", _sure(math.atan2)),
    "pi": ("number", "", lambda: math.pi),
    "date": ("text", "v", _date),
    "date-time": ("text", "v", _date_time),
    "decimal-date-time": ("number", "v", _decimal_date_time),
    "decimal-time": ("number", "t", _decimal_time),
    "format-date": ("text", "vt", _format_date),
    "format-date-time": ("text", "vt", _format_date),
}


def _numbers(values: list[Value]) -> list[float]:
    """The numbers among the answers: a blank one does not make the sum of the others unknown."""
    return [to_number(value) for value in values if value != ""]


OVER_NODES: dict[str, tuple[Kind, Callable[[list[Value]], Value]]] = {
    "count-non-empty": ("number", lambda values: sum(value != "" for value in values)),
    "sum": ("number", lambda values: sum(_numbers(values), 0.0)),
    "min": ("number", lambda values: min(_numbers(values), default=NAN)),
    "max": ("number", lambda values: max(_numbers(values), default=NAN)),
    "concat": ("text", lambda values: "".join(map(to_text, values))),
}

_MANY = 100
ARITY: dict[str, tuple[int, int]] = {
    **{
        name: (len(kinds.partition("?")[0]), len(kinds.replace("?", "")))
        for name, (_kind, kinds, _function) in SIMPLE.items()
    },
    "count": (1, 1),
    "count-non-empty": (1, 1),
    "sum": (1, 1),
    "min": (1, _MANY),
    "max": (1, _MANY),
    "concat": (0, _MANY),
    "join": (1, _MANY),
    "if": (3, 3),
    "coalesce": (1, _MANY),
    "once": (1, 1),
    "selected": (2, 2),
    "regex": (2, 2),
    "today": (0, 0),
    "now": (0, 0),
    "current": (0, 0),
    "position": (0, 1),
}

ON_PHONE_ONLY = frozenset(
    {
        *("instance", "pulldata", "pull-data", "jr:choice-name", "jr:itext", "indexed-repeat"),
        *("random", "randomize", "uuid", "area", "distance", "geofence", "intersects", "digest"),
        *("base64-decode", "extract-signed", "property", "version", "checklist", "search"),
        *("weighted-checklist", "thousandsep", "last", "id", "lang", "name", "local-name"),
    }
)
"""Functions of ODK that need what only the phone has, or that a rule about one answer has no use for."""
