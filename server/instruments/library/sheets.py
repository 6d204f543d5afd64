"""Words for writing an XLSForm as a table in Python: rows, choices, and the usual turns of a check-list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ZH, EN = "中文 (zh)", "English (en)"
SURVEY_COLUMNS = (
    "type",
    "name",
    f"label::{ZH}",
    f"label::{EN}",
    f"hint::{ZH}",
    f"hint::{EN}",
    "required",
    "relevant",
    "constraint",
    f"constraint_message::{ZH}",
    f"constraint_message::{EN}",
    "calculation",
    "appearance",
    "parameters",
    "问题",
    "严重程度",
    "整改天数",
    f"问题名称::{ZH}",
    f"问题名称::{EN}",
)
CHOICES_COLUMNS = ("list_name", "name", f"label::{ZH}", f"label::{EN}", "score")
Row = dict[str, Any]
Both = tuple[str, str]
"""A text in Chinese and in English."""


@dataclass(frozen=True, slots=True)
class Workbook:
    """One instrument: its settings, survey and choices sheets."""

    form_id: str
    title: str
    survey: list[Row]
    choices: list[Row]


@dataclass(frozen=True, slots=True)
class Finding:
    """When an answer is a finding: choice labels or an expression, the severity, days to rectify."""

    when: str
    severity: str
    days: int
    title: Both | None = None

    def cells(self) -> Row:
        cells: Row = {"问题": self.when, "严重程度": self.severity, "整改天数": self.days}
        return cells | _both("问题名称", self.title)


def _both(column: str, texts: Both | None) -> Row:
    return {f"{column}::{ZH}": texts[0], f"{column}::{EN}": texts[1]} if texts else {}


def ask(
    kind: str,
    name: str,
    label: Both | None = None,
    *,
    hint: Both | None = None,
    message: Both | None = None,
    required: bool = False,
    finding: Finding | None = None,
    **cells: Any,
) -> Row:
    """One row of the survey sheet; `cells` are further columns by their name."""
    row: Row = {"type": kind, "name": name, **cells}
    row |= _both("label", label) | _both("hint", hint) | _both("constraint_message", message)
    if required:
        row["required"] = "yes"
    return row | (finding.cells() if finding else {})


def group(name: str, label: Both, rows: Iterable[Row], **cells: Any) -> list[Row]:
    """Rows in a group."""
    return [ask("begin_group", name, label, **cells), *rows, {"type": "end_group"}]


def repeat(name: str, label: Both, rows: Iterable[Row], **cells: Any) -> list[Row]:
    """Rows that repeat together."""
    return [ask("begin_repeat", name, label, **cells), *rows, {"type": "end_repeat"}]


def choices(
    list_name: str, *options: tuple[str, str, str] | tuple[str, str, str, float]
) -> list[Row]:
    """A list of (value, Chinese, English[, score])."""
    return [dict(zip(CHOICES_COLUMNS, (list_name, *option), strict=False)) for option in options]


def opening() -> list[Row]:
    """What every inspection begins with: times, the visit, and the school where there is no visit."""
    return [
        ask("start", "start"),
        ask("end", "end"),
        ask("today", "today"),
        ask(
            "select_one_from_file visits.csv",
            "visit_id",
            ("督导任务", "Visit"),
            hint=("没有任务时留空", "Leave empty if there is none"),
            appearance="minimal",
        ),
        ask(
            "select_one_from_file schools.csv",
            "school",
            ("学校（幼儿园）", "School or kindergarten"),
            relevant="${visit_id} = ''",
            appearance="minimal autocomplete",
        ),
    ]


def signatures() -> list[Row]:
    """Who signs at the end."""
    return [
        ask(
            "image",
            "inspector_signature",
            ("督学签名", "Inspector's signature"),
            appearance="signature",
        ),
        ask(
            "image",
            "school_signature",
            ("学校负责人签名", "School's signature"),
            appearance="signature",
        ),
    ]
