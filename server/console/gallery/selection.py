"""What the address of the gallery asks for: filters, order, view and page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import QueryDict
from django.urls import reverse

from media_storage.models import MediaObject
from server.console.photos import KINDS
from server.evidence.models import Flag

State = MediaObject.State

ANY, UNEXPLAINED, HINT = "any", "open", "hint"
"""Of flags, as in the lists: more than a hint; that without a word of anybody; hints alone."""
IDS = ("activity", "town", "school", "visit", "finding", "by")
UNDER_WAY = (State.ARRIVED.value, State.STORED.value)
"""States that a reader need not tell from `processing`."""
CHOSEN: dict[str, tuple[str, ...]] = {
    "flag": ("", ANY, UNEXPLAINED, HINT, *Flag.Code.values),
    "state": ("", *(state for state in State.values if state not in UNDER_WAY)),
    "kind": ("", *KINDS),
    "order": ("new", "old"),
    "view": ("visit", "day"),
}
"""The values that a parameter may have; the first is the usual one."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the address asks for. A value that cannot be is as good as none."""

    activity: UUID | None = None
    town: UUID | None = None
    school: UUID | None = None
    visit: UUID | None = None
    finding: UUID | None = None
    by: UUID | None = None
    item: str = ""
    day: date | None = None
    flag: str = ""
    state: str = ""
    kind: str = ""
    q: str = ""
    order: str = "new"
    view: str = "visit"
    page: int = 1

    @classmethod
    def of(cls, query: QueryDict) -> Selection:
        given = {name: query.get(name, "").strip() for name in cls.__dataclass_fields__}
        values: dict[str, Any] = {
            **{name: _uuid(given[name]) for name in IDS},
            **{
                name: given[name] if given[name] in values else values[0]
                for name, values in CHOSEN.items()
            },
        }
        return cls(
            **values,
            item=given["item"] if "/" in given["item"] else "",
            day=_day(given["day"]),
            q=given["q"][:100],
            page=_page(given["page"]),
        )

    @property
    def filters(self) -> dict[str, str]:
        """What narrows the gallery, by the name of its parameter."""
        names = (*IDS, "item", "day", "flag", "state", "kind", "q")
        return {name: str(value) for name in names if (value := getattr(self, name))}

    @property
    def is_placed(self) -> bool:
        """Whether a filter looks at where the files are evidence."""
        return any((self.activity, self.town, self.school, self.visit, self.finding, self.item))

    @property
    def kept(self) -> dict[str, str]:
        """What the form of the filters carries along unseen."""
        kept = {"visit": self.visit, "finding": self.finding, "view": self.view}
        return {name: str(value) for name, value in kept.items() if value}

    def without(self, name: str) -> str:
        """The address without one filter."""
        return self.address(**{name: type(self).__dataclass_fields__[name].default})

    def address(self, **changes: Any) -> str:
        """The address with other values; of the first page, unless `page` is given."""
        other = replace(self, **{"page": 1, **changes})
        more = {name: getattr(other, name) for name in ("order", "view")}
        unusual = {name: value for name, value in more.items() if value != CHOSEN[name][0]}
        page = {"page": str(other.page)} if other.page > 1 else {}
        return "?" + urlencode({**other.filters, **unusual, **page})


def gallery_address(**filters: object) -> str:
    """The gallery narrowed by filters, for links from elsewhere."""
    address = reverse("admin:media_storage_mediaobject_gallery")
    return f"{address}?{urlencode(filters)}" if filters else address


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _page(text: str) -> int:
    return min(max(1, int(text)), 100_000) if text.isdecimal() and len(text) < 7 else 1
