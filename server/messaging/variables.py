"""Variables in hand-written notices: {name}, {school}, {area}, {date}, each filled in for its reader.

A brace that is meant as one is doubled: {{ and }}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from server.core.errors import Problem, Text

VARIABLES: Mapping[str, Text] = {
    "name": _("接收人姓名"),
    "school": _("接收人的学校"),
    "area": _("接收人的镇街"),
    "date": _("发出日期"),
}

_PART = re.compile(r"\{\{|\}\}|\{([^{}\n]{0,40})\}|[{}]")


@dataclass(frozen=True, slots=True)
class Addressee:
    """What the variables stand for, of one reader."""

    name: str = ""
    school: str = ""
    area: str = ""


def is_templated(text: str) -> bool:
    """Whether the text must be filled in before it is read."""
    return "{" in text or "}" in text


def variable_problems(pointer: str, text: str) -> list[Problem]:
    """What is wrong with the braces of a text."""
    problems: dict[str, Problem] = {}
    for part in _PART.finditer(text):
        name = part[1]
        if part[0] in ("{", "}"):
            detail = _("单独的“%(brace)s”请写成两个：%(brace)s%(brace)s") % {"brace": part[0]}
            problems.setdefault(part[0], Problem(pointer, "brace", detail))
        elif name is not None and name.strip() not in VARIABLES:
            detail = _("没有 {%(name)s} 这个变量，可用的有：%(known)s") % {
                "name": name,
                "known": "、".join(f"{{{known}}}" for known in VARIABLES),
            }
            problems.setdefault(name, Problem(pointer, "unknown_variable", detail))
    return list(problems.values())[:5]


def fill(text: str, addressee: Addressee, moment: datetime) -> str:
    """The text for one reader. What is no variable stays as it is."""
    values = {
        "name": addressee.name,
        "school": addressee.school,
        "area": addressee.area,
        "date": localtime(moment).date().isoformat(),
    }

    def value(part: re.Match[str]) -> str:
        if part[1] is not None:
            return values.get(part[1].strip(), part[0])
        return part[0][0]

    return _PART.sub(value, text)
