"""Who may see which notices and deliveries, and who is reached by an office's announcement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from server.core.errors import NotFound
from server.grid.models import Appointment, Area, Membership, User, in_term
from server.grid.queries import OFFICES, area_paths, schools_in_office_of, under
from server.messaging.models import Delivery, Notice

INBOX = Delivery.Channel.INBOX


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Whom an announcement is for: everybody of these areas (subtrees) and schools, narrowed to the
    roles where there are any, and these people besides. Roles alone: over the whole office.
    """

    areas: Sequence[UUID] = ()
    schools: Sequence[UUID] = ()
    roles: Sequence[str] = ()
    people: Sequence[UUID] = ()

    def as_json(self) -> dict[str, list[str]]:
        """For the notice's row; the order in which somebody ticked boxes is no difference."""
        return {
            "areas": sorted(map(str, self.areas)),
            "schools": sorted(map(str, self.schools)),
            "roles": sorted(self.roles),
            "people": sorted(map(str, self.people)),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Audience:
        """The reverse of `as_json`."""
        return cls(
            areas=[UUID(text) for text in stored["areas"]],
            schools=[UUID(text) for text in stored["schools"]],
            roles=stored["roles"],
            people=[UUID(text) for text in stored["people"]],
        )


def inbox_of(user: User, *, unread: bool | None = None) -> QuerySet[Delivery]:
    """The person's inbox, newest first: deliveries with their notices; `unread` narrows it."""
    rows = Delivery.objects.filter(recipient=user, channel=INBOX).select_related("notice__school")
    if unread is not None:
        rows = rows.filter(read_at__isnull=unread)
    return rows.order_by("-id")


def notices_visible_to(user: User) -> QuerySet[Notice]:
    """Notices that the person received or made, and those about schools of their office."""
    if user.is_superuser:
        return Notice.objects.all()
    received = Delivery.objects.filter(notice=OuterRef("pk"), recipient=user, channel=INBOX)
    return Notice.objects.filter(
        Q(Exists(received)) | Q(created_by=user) | Q(school__in=schools_in_office_of(user))
    )


def deliveries_of(notice_id: UUID, by: User) -> QuerySet[Delivery]:
    """Who got the notice, by which channel, with times and reasons.

    For who made it and the offices over its school; NotFound for everybody else.
    """
    notice = Notice.objects.filter(id=notice_id)
    if not by.is_superuser:
        notice = notice.filter(Q(created_by=by) | Q(school__in=schools_in_office_of(by)))
    if not notice.exists():
        raise NotFound
    return (
        Delivery.objects.filter(notice_id=notice_id)
        .select_related("recipient", "group", "read_by_device")
        .order_by("id")
    )


def recipients_of(audience: Audience, by: User) -> QuerySet[User]:
    """The audience, clipped to the people whom `by` reaches as an office, each once."""
    people = User.objects.filter(is_active=True).filter(_audience(audience))
    if by.is_superuser:
        return people
    return people.filter(_belonging(area_paths(by, *OFFICES), [], []))


def overview_areas(user: User) -> list[str]:
    """The paths of the areas whose figures the person sees move: those of their offices."""
    return sorted(set(area_paths(user, *OFFICES)))


def _audience(audience: Audience) -> Q:
    paths = list(Area.objects.filter(pk__in=audience.areas).values_list("path", flat=True))
    named = Q(pk__in=audience.people)
    if audience.areas or audience.schools:
        return named | _belonging(paths, audience.schools, audience.roles)
    if audience.roles:
        return named | Q(
            Exists(
                Membership.objects.filter(in_term(), user=OuterRef("pk"), role__in=audience.roles)
            )
        )
    return named


def _belonging(paths: list[str], schools: Sequence[UUID], roles: Sequence[str]) -> Q:
    """People with a role in the subtrees or at the schools, or appointed to a school there."""
    memberships = Membership.objects.filter(in_term(), user=OuterRef("pk")).filter(
        under(paths, "area__path") | under(paths, "school__area__path") | Q(school__in=schools)
    )
    if roles:
        memberships = memberships.filter(role__in=roles)
    condition = Q(Exists(memberships))
    if not roles or Membership.Role.INSPECTOR in roles:
        # An inspector's membership may be the county's while their schools are the town's.
        appointments = Appointment.objects.filter(in_term(), inspector=OuterRef("pk")).filter(
            under(paths, "school__area__path") | Q(school__in=schools)
        )
        condition |= Q(Exists(appointments))
    return condition
