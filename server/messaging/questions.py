"""The small form of a notice: one to ten questions, and the answers checked against them.

A form is a list of questions as stored and as phones get it:
`{"id", "kind", "label", "required", "options"}`; kinds are text, number, choice, choices, date.
Answers are an object from question ids to a text, a number, an option, a list of options, an ISO day.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.utils.translation import gettext_lazy as _

from server.core.errors import Invalid, Problem, Problems, Text

KINDS: Mapping[str, Text] = {
    "text": _("文字"),
    "number": _("数字"),
    "choice": _("单选"),
    "choices": _("多选"),
    "date": _("日期"),
}
CHOOSING = ("choice", "choices")
MAX_QUESTIONS = 10
MAX_LABEL = 200
MAX_OPTIONS = 30
MAX_OPTION = 100
MAX_TEXT = 2000
LARGEST = 1e15
"""Beyond that a number loses its last digits in a spreadsheet."""

_ID = re.compile(r"\A[a-z][a-z0-9_]{0,31}\Z")

Question = dict[str, Any]


def checked_form(questions: Sequence[Mapping[str, Any]]) -> list[Question]:
    """The questions as they are stored; one without an id is named by its place. Raises Invalid."""
    problems = Problems()
    if not 1 <= len(questions) <= MAX_QUESTIONS:
        how_many = _("请设置 1 到 %(n)s 个问题") % {"n": MAX_QUESTIONS}
        raise Invalid(problems=[Problem("/questions", "count", how_many)])
    form, seen = [], set()
    for index, given in enumerate(questions):
        question = _question(index, given, problems)
        if question["id"] in seen:
            problems.append(Problem(f"/questions/{index}/id", "repeated", _("问题的编号重复")))
        seen.add(question["id"])
        form.append(question)
    if problems:
        raise Invalid(problems=problems)
    return form


def _question(index: int, given: Mapping[str, Any], problems: Problems) -> Question:
    place = f"/questions/{index}"
    kind, label = str(given.get("kind", "")), str(given.get("label", "")).strip()
    name = str(given.get("id") or f"q{index + 1}")
    options = [str(option).strip() for option in given.get("options") or ()]
    if not _ID.match(name):
        problems.append(Problem(f"{place}/id", "form", _("编号由小写字母、数字和下划线组成")))
    if kind not in KINDS:
        problems.append(Problem(f"{place}/kind", "unknown", _("请选择问题的类型")))
    if not 0 < len(label) <= MAX_LABEL:
        how_long = _("请填写问题，不超过 %(n)s 个字") % {"n": MAX_LABEL}
        problems.append(Problem(f"{place}/label", "length", how_long))
    if kind in CHOOSING and (wrong := _options_problem(options)):
        problems.append(Problem(f"{place}/options", "options", wrong))
    return {
        "id": name,
        "kind": kind,
        "label": label,
        "required": bool(given.get("required", True)),
        "options": options if kind in CHOOSING else [],
    }


def _options_problem(options: Sequence[str]) -> Text:
    if not 2 <= len(options) <= MAX_OPTIONS:
        return _("请填写 2 到 %(n)s 个选项") % {"n": MAX_OPTIONS}
    if any(not 0 < len(option) <= MAX_OPTION for option in options):
        return _("每个选项不能空着，也不能超过 %(n)s 个字") % {"n": MAX_OPTION}
    if len(set(options)) < len(options):
        return _("选项重复")
    return ""


def checked_answers(form: Sequence[Question], given: Mapping[str, Any]) -> dict[str, Any]:
    """The answers as they are stored, without the empty ones. Raises Invalid with /answers/{id}."""
    problems, answers = Problems(), {}
    known = {question["id"] for question in form}
    for name in given:
        if name not in known:
            unknown = _("没有这个问题，表单可能已更新，请刷新后再填")
            problems.append(Problem(f"/answers/{_escaped(str(name))}", "unknown", unknown))
    for question in form:
        value = given.get(question["id"])
        if isinstance(value, str):
            value = value.strip()
        if value is None or value in ("", []):
            if question["required"]:
                problems.append(Problem(f"/answers/{question['id']}", "required", _("请填写")))
            continue
        wrong = _CHECKS[question["kind"]](question, value)
        if wrong:
            problems.append(Problem(f"/answers/{question['id']}", "wrong", wrong))
        answers[question["id"]] = value
    if problems:
        raise Invalid(problems=problems)
    return answers


def shown_answer(value: Any) -> str:
    """An answer as people read it."""
    if isinstance(value, list):
        return "、".join(map(str, value))
    return "" if value is None else str(value)


def _text(_question: Question, value: Any) -> Text:
    if not isinstance(value, str):
        return _("请填写文字")
    return "" if len(value) <= MAX_TEXT else _("请不要超过 %(n)s 个字") % {"n": MAX_TEXT}


def _number(_question: Question, value: Any) -> Text:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _("请填写数字")
    if abs(value) > LARGEST or not math.isfinite(value):
        return _("这个数字太大")
    return ""


def _choice(question: Question, value: Any) -> Text:
    return "" if value in question["options"] else _("请从选项中选择一项")


def _choices(question: Question, value: Any) -> Text:
    if not isinstance(value, list) or any(each not in question["options"] for each in value):
        return _("请从选项中选择")
    return _("选项重复") if len(set(value)) < len(value) else ""


def _date(_question: Question, value: Any) -> Text:
    try:
        fine = isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        fine = False
    return "" if fine else _("请填写日期，例如 2026-11-25")


_CHECKS = {
    "text": _text,
    "number": _number,
    "choice": _choice,
    "choices": _choices,
    "date": _date,
}


def _escaped(name: str) -> str:
    return name[:40].replace("~", "~0").replace("/", "~1")
