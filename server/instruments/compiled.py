"""The compiled form: what a published instrument version asks, as one frozen tree that fits a JSON column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

Texts = dict[str, str]
"""A text by language code: {"zh": "食堂", "en": "Kitchen"}."""

Severity = Literal["minor", "major", "severe"]

SELECTS = frozenset({"select_one", "select_multiple", "rank"})
SECTIONS = frozenset({"group", "repeat"})
ATTACHMENTS = frozenset({"image", "audio", "video", "file"})
"""Field types whose answer is the name of a file that is sent beside the answers."""


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One option of a select; `score` is what choosing it counts."""

    value: str
    label: Texts
    score: float | None = None


class FindingRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which answer is a finding, how severe it is and how many days the school has.

    Either `values` (an answer that is, or contains, one of them) or `when` (an XPath expression
    over the answers, `.` being the answer) is given; `title` falls back to the field's label.
    """

    severity: Severity
    days: int
    values: tuple[str, ...] = ()
    when: str = ""
    title: Texts = {}


class Field(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question, a section or a value that the phone records by itself.

    `path` is the place of the answer without the root ("/kitchen/licence"). `required`, `relevance`,
    `constraint` and `calculation` are XPath as the XForm has it, paths resolved. `choices` is None
    where they come from a file (`external_file`) or from other answers.
    """

    path: str
    name: str
    type: str
    label: Texts = {}
    hint: Texts = {}
    required: str = ""
    required_message: Texts = {}
    relevance: str = ""
    constraint: str = ""
    constraint_message: Texts = {}
    calculation: str = ""
    read_only: bool = False
    default: str = ""
    appearance: str = ""
    parameters: dict[str, str] = {}
    choices: tuple[Choice, ...] | None = None
    external_file: str = ""
    children: tuple[Field, ...] = ()
    finding: FindingRule | None = None


class Form(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of a form. `digest` names its content: equal digests are equal forms.

    `external_files` are the CSV entity lists and media that a phone needs beside the XForm.
    `root` is the name of the XForm's root element, with which absolute paths in expressions begin.
    """

    form_id: str
    version: str
    title: Texts
    default_language: str
    languages: tuple[str, ...]
    fields: tuple[Field, ...]
    external_files: tuple[str, ...] = ()
    root: str = "data"
    digest: str = ""

    def __hash__(self) -> int:
        return hash(self.digest)

    def walk(self) -> Iterator[Field]:
        """Every field in document order, a section before what it holds."""
        return _walk(self.fields)


def _walk(fields: tuple[Field, ...]) -> Iterator[Field]:
    for field in fields:
        yield field
        yield from _walk(field.children)


def form_to_json(form: Form) -> dict[str, Any]:
    """Plain dicts and lists, for a JSONField or a response."""
    return msgspec.to_builtins(form)  # type: ignore[no-any-return]


def form_from_json(content: dict[str, Any]) -> Form:
    """The form that `form_to_json` wrote. Costs a fraction of a millisecond: keep it per version."""
    return msgspec.convert(content, Form)


def text_in(texts: Texts, language: str) -> str:
    """The text in this language, else in any: Chinese first."""
    return texts.get(language) or texts.get("zh") or next(iter(texts.values()), "")
