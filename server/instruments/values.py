"""One answer of each type: what a client may send as JSON, and the form in which it is kept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any

from django.utils.translation import gettext as _

from server.instruments.compiled import ATTACHMENTS, Field
from server.instruments.xpath_functions import number_text

MAX_TEXT = 50_000
MAX_POINTS = 10_000
MAX_FILE_NAME = 160
"""As long as the column in which a submission keeps it."""

Convert = Callable[[Any], Any]


class WrongValue(ValueError):
    """The value cannot be an answer to this field; `code` is a code of a Problem."""

    def __init__(self, detail: str, *, code: str = "wrong_type") -> None:
        super().__init__(detail)
        self.code = code


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL's jsonb refuses."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}(:?\d{2})?)?", re.ASCII)


def text(value: Any) -> str:
    """A text as it was written."""
    if not isinstance(value, str):
        raise WrongValue(_("应为文字"))
    if len(value) > MAX_TEXT:
        raise WrongValue(_("文字太长，最多 %d 字") % MAX_TEXT, code="too_long")
    if _UNSTORABLE.search(value):
        raise WrongValue(_("含有无法保存的字符"))
    return value


def integer(value: Any) -> int:
    """A whole number; 3.0 is one, "3" and true are not."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**53:
        raise WrongValue(_("应为整数"))
    return value


def decimal(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongValue(_("应为数字"))
    try:
        number = float(value)
    except OverflowError:
        raise WrongValue(_("数字太大")) from None
    if not math.isfinite(number):
        raise WrongValue(_("应为数字"))
    return number


def day(value: Any) -> str:
    """YYYY-MM-DD."""
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise WrongValue(_("应为日期，如 2026-11-23"))


def time_of_day(value: Any) -> str:
    """HH:MM, with seconds and an offset where the phone gives them."""
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            time.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise WrongValue(_("应为时间，如 09:30"))


def moment(value: Any) -> str:
    """An ISO 8601 moment, as the phone wrote it."""
    try:
        if isinstance(value, str) and _DAY.match(value) and value[10:11] == "T":
            datetime.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise WrongValue(_("应为日期和时间，如 2026-11-23T09:30:00+08:00"))


def acknowledged(value: Any) -> str:
    """ "OK", as ODK writes it; true counts."""
    if value is True or value == "OK":
        return "OK"
    raise WrongValue(_("应为“OK”"))


def calculated(value: Any) -> str:
    """What the phone calculated, as a text, the way an XForm holds it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(decimal(value))
    return text(value)


def file_name(value: Any) -> str:
    """The bare name of a file."""
    name = text(value)
    if len(name) > MAX_FILE_NAME or name in {".", ".."} or re.search(r"[/\\\x00-\x1f]", name):
        raise WrongValue(_("应为附件的文件名"))
    return name


def point(value: Any) -> dict[str, float]:
    """{"lat", "lon"} in degrees (WGS 84), "altitude_m" and "accuracy_m" where known.

    ODK's text "lat lon altitude accuracy" is taken too.
    """
    if isinstance(value, str):
        value = _point_from_text(value)
    if not isinstance(value, dict) or not {"lat", "lon"} <= value.keys():
        raise WrongValue(_("应为位置：纬度和经度"))
    names = ("lat", "lon", "altitude_m", "accuracy_m")
    found = {name: decimal(value[name]) for name in names if value.get(name) is not None}
    if not {"lat", "lon"} <= found.keys() or abs(found["lat"]) > 90 or abs(found["lon"]) > 180:
        raise WrongValue(_("纬度应在 ±90 之间，经度应在 ±180 之间"))
    return found


def _point_from_text(value: str) -> dict[str, float]:
    try:
        numbers = [float(part) for part in value.split()]
    except ValueError:
        numbers = []
    if not 2 <= len(numbers) <= 4:
        raise WrongValue(_("应为位置：纬度和经度"))
    return dict(zip(("lat", "lon", "altitude_m", "accuracy_m"), numbers, strict=False))


def line(value: Any) -> list[dict[str, float]]:
    """A list of points."""
    if isinstance(value, str):
        value = [part for part in value.split(";") if part.strip()]
    if not isinstance(value, list) or not value or len(value) > MAX_POINTS:
        raise WrongValue(_("应为一串位置"))
    return [point(each) for each in value]


def _one_of(values: frozenset[str]) -> Convert:
    def convert(value: Any) -> str:
        chosen = text(value)
        if chosen not in values:
            raise WrongValue(_("没有“%s”这个选项") % chosen[:50], code="not_a_choice")
        return chosen

    return convert


def _several_of(one: Convert) -> Convert:
    def convert(value: Any) -> list[str]:
        if not isinstance(value, list):
            raise WrongValue(_("应为选项的列表"))
        chosen = [one(each) for each in value]
        if len(set(chosen)) < len(chosen):
            raise WrongValue(_("同一选项出现了两次"), code="not_a_choice")
        return chosen

    return convert


_BY_TYPE: dict[str, Convert] = {
    "integer": integer,
    "decimal": decimal,
    "date": day,
    "today": day,
    "time": time_of_day,
    "dateTime": moment,
    "start": moment,
    "end": moment,
    "geopoint": point,
    "start-geopoint": point,
    "geotrace": line,
    "geoshape": line,
    "acknowledge": acknowledged,
    "calculate": calculated,
    **dict.fromkeys(ATTACHMENTS, file_name),
}


def converter_for(field: Field) -> Convert:
    """What turns a JSON value into the field's answer, or raises WrongValue."""
    if field.type not in {"select_one", "select_multiple", "rank"}:
        return _BY_TYPE.get(field.type, text)
    one: Convert = text
    if field.choices is not None:
        one = _one_of(frozenset(choice.value for choice in field.choices))
    return one if field.type == "select_one" else _several_of(one)
