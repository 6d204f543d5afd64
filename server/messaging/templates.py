"""Texts with variables in braces, filled in without a template language: a name or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping

TEXTS = ("title_zh", "body_zh", "title_en", "body_en")
"""The texts of a wording, as its fields are called."""

_VARIABLE = re.compile(r"\{(\w+)\}")
_PERCENT = re.compile(r"%\((\w+)\)s")


def fill(template: str, params: Mapping[str, str]) -> str:
    """The text with its variables. Values are put in as they are, whatever they contain."""
    return _VARIABLE.sub(lambda match: params.get(match[1], match[0]), template)


def in_braces(text: str) -> str:
    """A text of the catalogue (%-template, for gettext) as offices read and write it."""
    return _PERCENT.sub(r"{\1}", text)
