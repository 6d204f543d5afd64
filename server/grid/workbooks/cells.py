"""What people type into a cell, read as what they mean: full-width digits, 3.0 for 3, three dates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

Parse = Callable[[Any], Any]
"""From a cell's value, which is not blank, to what it means. Raises CellError."""

DATE = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?")
COMPACT_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
SERIAL_DATES = range(20_000, 80_000)
"""Excel's day numbers from 1954 to 2119: a date in a cell that lost its format."""
SEPARATORS = re.compile(r"[、;；,，\n]+")
YES = {"是", "在办", "正常", "可", "y", "yes", "true", "1"}
NO = {"否", "停办", "撤并", "不可", "n", "no", "false", "0"}


class CellError(Exception):
    """The cell cannot be read as what its column holds."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def plain(value: Any) -> str:
    """The cell as text: no outer blanks, inner ones single, whole numbers without a point."""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime):
        value = value.date().isoformat()
    text = "".join(c for c in str(value) if c in "\t\n " or unicodedata.category(c)[0] != "C")
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def key(value: Any) -> str:
    """The cell for comparing: full-width as half-width, no blanks, small letters."""
    return "".join(unicodedata.normalize("NFKC", plain(value)).lower().split())


def compact(value: Any) -> str:
    """The cell as a code: full-width as half-width, no blanks, letters as they are."""
    return "".join(unicodedata.normalize("NFKC", plain(value)).split())


def text(max_length: int) -> Parse:
    """Text of at most so many characters."""

    def parse(value: Any) -> str:
        result = plain(value)
        if len(result) > max_length:
            raise CellError("too_long", _("最多 {limit} 个字，请缩短").format(limit=max_length))
        return result

    return parse


def pattern(regex: str, code: str, detail: Callable[[], str], *, drop: str = "") -> Parse:
    """A code that matches `regex`, once the characters of `drop` are taken out."""
    compiled = re.compile(regex)

    def parse(value: Any) -> str:
        result = "".join(c for c in compact(value) if c not in drop)
        if not compiled.fullmatch(result):
            raise CellError(code, detail())
        return result

    return parse


def email(value: Any) -> str:
    """An e-mail address."""
    result = compact(value)
    try:
        validate_email(result)
    except ValidationError:
        raise CellError("not_an_email", _("不是电子邮箱，请填写如 name@example.com")) from None
    return result


def _number(value: Any, units: str) -> float:
    cleaned = compact(value).replace(",", "").rstrip(units)
    try:
        number = float(cleaned)
    except ValueError:
        raise CellError("not_a_number", _("应填数字，不带单位和文字")) from None
    if not abs(number) < 1e9:
        raise CellError("not_a_number", _("数字过大，请核对"))
    return number


def count(value: Any) -> int:
    """A whole number from 0 up."""
    number = _number(value, "人名个")
    if number < 0 or not number.is_integer():
        raise CellError("not_a_count", _("应填不小于 0 的整数"))
    return int(number)


def degrees(limit: int) -> Parse:
    """Decimal degrees between -limit and limit."""

    def parse(value: Any) -> float:
        number = _number(value, "°度")
        if abs(number) > limit:
            detail = _("应在 -{limit} 到 {limit} 度之间，请核对经度和纬度是否填反")
            raise CellError("out_of_range", detail.format(limit=limit))
        return number

    return parse


def choice(meanings: Mapping[str, str], shown: Callable[[], str]) -> Parse:
    """One of the words; `meanings` maps `key(word)` to the value."""

    def parse(value: Any) -> str:
        try:
            return meanings[key(value)]
        except KeyError:
            detail = _("没有“{word}”这一选项，请填写：{choices}")
            raise CellError(
                "unknown_choice", detail.format(word=plain(value)[:20], choices=shown())
            ) from None

    return parse


def yes_or_no(value: Any) -> bool:
    """是 or 否."""
    word = key(value)
    if word not in YES | NO:
        raise CellError("unknown_choice", _("请填写“是”或“否”"))
    return word in YES


def day(value: Any) -> date:
    """An Excel date, its day number, or text: 2026-09-01, 2026/9/1, 2026年9月1日, 20260901."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, int | float) and value // 1 in SERIAL_DATES:
        return _from_serial(value)
    word = unicodedata.normalize("NFKC", plain(value)).removesuffix(" 00:00:00")
    found = DATE.fullmatch(word) or COMPACT_DATE.fullmatch(word)
    try:
        return date(*map(int, found.groups())) if found else _not_a_day()
    except ValueError:
        return _not_a_day()


def _from_serial(value: float) -> date:
    from openpyxl.utils.datetime import from_excel  # late, as in sheets

    moment = from_excel(int(value))
    return moment.date() if isinstance(moment, datetime) else _not_a_day()


def _not_a_day() -> date:
    raise CellError("not_a_date", _("不是日期，请填写如 2026-09-01 或 2026年9月1日"))


def several(value: Any) -> list[str]:
    """Names or codes, separated by 、 or ; each once."""
    words = (part.strip() for part in SEPARATORS.split(plain(value)))
    return list(dict.fromkeys(word for word in words if word))
