"""Activities as audiences: what lies above this package says whom they mean, when its app is ready."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from server.grid.models import School, User

Ids = Sequence[UUID]
_known: dict[str, Callable[..., Any]] = {}


def register_activities(
    *,
    schools: Callable[[Ids], QuerySet[School]],
    inspectors: Callable[[Ids], QuerySet[User]],
    visible: Callable[[Ids, User], bool],
) -> None:
    """The schools that activities are for, the teams of their visits, and whether a person sees them."""
    _known.update(schools=schools, inspectors=inspectors, visible=visible)


def activity_schools(ids: Ids) -> QuerySet[School]:
    """The schools that these activities are for as of now."""
    found: QuerySet[School] = _known["schools"](ids)
    return found


def activity_inspectors(ids: Ids) -> QuerySet[User]:
    """Who visits for these activities."""
    found: QuerySet[User] = _known["inspectors"](ids)
    return found


def activities_are_visible(ids: Ids, by: User) -> bool:
    """Whether the person may see every one of them."""
    seen: bool = _known["visible"](ids, by)
    return seen
