"""What the filters of the gallery offer, and which of them are set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import CharField, Exists, F, OuterRef, QuerySet, Value
from django.db.models.functions import Cast, Concat
from django.utils.translation import gettext_lazy

from media_storage.models import MediaObject
from server.activities.models import Activity, Visit
from server.activities.queries import activities_visible_to
from server.console.gallery.selection import ANY, HINT, UNDER_WAY, UNEXPLAINED, Selection
from server.console.photos import KINDS
from server.core.errors import Text
from server.evidence.models import Flag
from server.findings.models import Finding
from server.grid.models import School, User
from server.grid.queries import areas_visible_to, people_visible_to, schools_visible_to

SELECTABLE = 400
"""More schools than that are no list to choose from: a town comes first."""

LABELS: dict[str, Text] = {
    "activity": gettext_lazy("督导活动"),
    "town": gettext_lazy("镇街"),
    "school": gettext_lazy("学校"),
    "visit": gettext_lazy("任务"),
    "finding": gettext_lazy("问题"),
    "item": gettext_lazy("检查项"),
    "by": gettext_lazy("上传人"),
    "day": gettext_lazy("日期"),
    "flag": gettext_lazy("疑点"),
    "state": gettext_lazy("状态"),
    "kind": gettext_lazy("种类"),
    "q": gettext_lazy("文字"),
}


FLAGGED: dict[str, Text] = {
    ANY: gettext_lazy("有疑点"),
    UNEXPLAINED: gettext_lazy("有疑点，还没有说明"),
    HINT: gettext_lazy("只有提示"),
}


@dataclass(frozen=True)
class Choice:
    """One option of a filter; `rank` is its place among the others."""

    value: str
    words: str
    rank: str = ""


Choices = dict[str, list[Choice]]


@dataclass(frozen=True)
class Narrowed:
    """A filter that is set: in words, and the address without it."""

    label: Text
    words: str
    without: str


def choices_for(user: User) -> Choices:
    """Activities, towns, schools and people to choose from, in one statement; kinds, states, flags."""
    found: Choices = {
        "activity": [],
        "town": [],
        "school": [],
        "by": [],
        "kind": [Choice(key, str(words)) for key, words in KINDS.items()],
        "state": _of(MediaObject.State.choices, but=UNDER_WAY),
        "flag": [*_of(FLAGGED.items()), *_of(Flag.Code.choices)],
    }
    first, *others = _rows(user)
    for name, pk, words, rank in first.union(*others, all=True):
        found[name].append(Choice(str(pk), words, rank))
    for name in ("town", "school", "by"):
        found[name].sort(key=lambda choice: choice.rank)
    found["activity"].sort(key=lambda choice: choice.rank, reverse=True)
    return found


def _of(choices: Iterable[tuple[str, Text]], *, but: Sequence[str] = ()) -> list[Choice]:
    return [Choice(value, str(words)) for value, words in choices if value not in but]


def _rows(user: User) -> list[QuerySet[Any, Any]]:
    uploads = MediaObject.objects.filter(owner=OuterRef("pk"))
    schools = School.objects.filter(area=OuterRef("pk"))
    return [
        _named(
            "activity",
            activities_visible_to(user).exclude(state=Activity.State.DRAFT),
            words=F("title"),
            rank=Cast("starts", CharField()),
        ),
        _named("town", areas_visible_to(user).filter(Exists(schools)), rank=F("path")),
        _named("school", schools_visible_to(user), rank=Concat("area__path", Value(" "), "name")),
        _named("by", people_visible_to(user).filter(Exists(uploads))),
    ]


def _named(
    name: str, rows: QuerySet[Any], *, words: Any = None, rank: Any = None
) -> QuerySet[Any, Any]:
    columns = {
        "filter": Value(name, CharField()),
        "words": words or F("name"),
        "rank": rank or F("name"),
    }
    named: QuerySet[Any, Any] = rows.order_by().annotate(**columns)
    return named.values_list("filter", "pk", "words", "rank")


def schools_in(choices: Choices, selection: Selection) -> list[Choice] | None:
    """The schools of the chosen town; None where there are too many for a list."""
    schools = choices["school"]
    town = next((each for each in choices["town"] if each.value == str(selection.town)), None)
    if town:
        schools = [each for each in schools if each.rank.startswith(town.rank)]
    return schools if len(schools) <= SELECTABLE else None


@dataclass(frozen=True)
class Filter:
    """One select of the form; `choices` is None where there is too much to choose from."""

    name: str
    label: Text
    value: str
    choices: Sequence[Choice] | None


SELECTS = ("activity", "town", "school", "item", "by", "flag", "kind", "state")


def filters_of(selection: Selection, choices: Choices) -> list[Filter]:
    """The selects of the form, in their order."""
    lists: dict[str, Sequence[Choice] | None] = {
        **choices,
        "school": schools_in(choices, selection),
    }
    values = selection.filters
    return [Filter(name, LABELS[name], values.get(name, ""), lists[name]) for name in SELECTS]


def narrowed(
    selection: Selection, choices: Choices, **rows: Visit | Finding | None
) -> list[Narrowed]:
    """The filters that are set. `rows`: those that stand in no list."""
    found = []
    for name, value in selection.filters.items():
        words = next((each.words for each in choices.get(name, ()) if each.value == value), value)
        row = rows.get(name)
        found.append(Narrowed(LABELS[name], str(row) if row else words, selection.without(name)))
    return found
