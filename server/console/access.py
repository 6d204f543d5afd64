"""Who enters the console and what kind of office they speak for: asked once per request."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from server.core.errors import NotAllowed
from server.grid.models import Membership, User
from server.grid.queries import OFFICES, remember_roles

Role = Membership.Role


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody is to the console: the administrator, an office, a town group, or nobody."""

    everywhere: bool = False
    offices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    place: str = ""

    @property
    def enters(self) -> bool:
        return self.everywhere or bool(self.offices or self.groups)

    @property
    def is_office(self) -> bool:
        """Speaks for a county office: may do what a town group may not, such as publish tools."""
        return self.everywhere or bool(self.offices)


def standing_of(request: HttpRequest) -> Standing:
    """The standing of whoever asks; one query for a whole request."""
    known: Standing | None = getattr(request, "_standing", None)
    if known is None:
        known = _standing(request.user)
        request._standing = known  # type: ignore[attr-defined]
    return known


def person(request: HttpRequest) -> User:
    """The person behind a console page. Raises NotAllowed for a visitor."""
    if isinstance(request.user, AnonymousUser):
        raise NotAllowed
    return request.user


def _standing(user: User | AnonymousUser) -> Standing:
    if isinstance(user, AnonymousUser) or not user.is_active or not user.is_staff:
        return Standing()
    if user.is_superuser:
        return Standing(everywhere=True)
    rows = [row for row in remember_roles(user) if row.area and row.role in OFFICES]
    return Standing(
        offices=tuple(row.place_path for row in rows if row.role == Role.OFFICE),
        groups=tuple(row.place_path for row in rows if row.role == Role.TOWN_GROUP),
        place="、".join(dict.fromkeys(str(row.area) for row in rows)),
    )
