"""What a notice's variables stand for, of many readers at once: their names, schools and towns."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.utils.translation import gettext as _

from server.grid.models import Appointment, Membership, User, in_term
from server.messaging.models import Delivery
from server.messaging.variables import Addressee

NAMED = 3
"""Of somebody with more schools than that, the others are counted."""


def addressees(user_ids: Iterable[UUID]) -> dict[UUID, Addressee]:
    """In three queries. A person's school: where they are contact, else those they are appointed to;
    their area: that of the schools, else of their role.
    """
    ids = list(user_ids)
    schools: dict[UUID, dict[str, None]] = {}
    areas: dict[UUID, dict[str, None]] = {}
    offices: dict[UUID, dict[str, None]] = {}
    roles = Membership.objects.filter(in_term(), user__in=ids).order_by("pk")
    for user, school, town, area in roles.values_list(
        "user", "school__name", "school__area__name", "area__name"
    ):
        if school:
            schools.setdefault(user, {})[school] = None
            areas.setdefault(user, {})[town] = None
        else:
            offices.setdefault(user, {})[area] = None
    contacts = set(schools)
    appointed = Appointment.objects.filter(in_term(), inspector__in=ids).order_by("pk")
    for user, school, town in appointed.values_list(
        "inspector", "school__name", "school__area__name"
    ):
        if user not in contacts:
            schools.setdefault(user, {})[school] = None
            areas.setdefault(user, {})[town] = None
    names = User.objects.filter(pk__in=ids).values_list("pk", "name", "username")
    return {
        user: Addressee(
            name=name or username,
            school=_some(schools.get(user, {})),
            area=_some(areas.get(user) or offices.get(user, {})),
        )
        for user, name, username in names
    }


def addressee_of(delivery: Delivery) -> Addressee:
    """Of one delivery's recipient, or of the chat group's school or office."""
    if delivery.recipient_id is not None:
        return addressees([delivery.recipient_id]).get(delivery.recipient_id, Addressee())
    group = delivery.group
    if group is None:
        return Addressee()
    school = group.school
    area = school.area if school else group.area
    return Addressee(group.name, school.name if school else "", area.name if area else "")


def address(deliveries: Iterable[Delivery]) -> None:
    """Tell these deliveries to people for whom their text is filled in, all at once."""
    rows = [row for row in deliveries if row.notice.templated and row.recipient_id]
    if rows:
        known = addressees({row.recipient_id for row in rows if row.recipient_id})
        for row in rows:
            row.addressee = known.get(row.recipient_id) if row.recipient_id else None


def _some(names: dict[str, None]) -> str:
    known = list(names)
    if len(known) > NAMED:
        return _("%(names)s 等 %(n)s 所") % {"names": "、".join(known[:NAMED]), "n": len(known)}
    return "、".join(known)
