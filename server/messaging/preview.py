"""Whom a notice would reach, and by what, before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from server.core import clock
from server.grid.models import Appointment, Membership, User, in_term
from server.messaging.addressees import addressees
from server.messaging.models import ChatGroup, Delivery, Device
from server.messaging.queries import Audience, recipients_of
from server.messaging.routes import providers
from server.messaging.variables import Addressee

Channel = Delivery.Channel
SCHOOLS_SHOWN = 300
_CONFIGURED = ((Channel.JPUSH, "JPUSH_URL"), (Channel.MAIL, "MAIL_URL"), (Channel.SMS, "SMS_URL"))
"""Channels that an installation has where its address is set."""


@dataclass(frozen=True)
class AtSchool:
    """How many of the people belong to a school: its contacts, and inspectors appointed to it."""

    id: UUID
    name: str
    contacts: int
    inspectors: int


@dataclass(frozen=True, kw_only=True)
class Preview:
    """`channels`: to how many people each leads; of a chat group's robot, how many groups.

    `schools`: the first SCHOOLS_SHOWN of `school_count`. `inbox_only`: nothing but the inbox.
    """

    people: int
    roles: Sequence[tuple[str, int]]
    schools: Sequence[AtSchool]
    school_count: int
    channels: Sequence[tuple[str, int]]
    inbox_only: int


@dataclass(frozen=True)
class Reached:
    """One person of a preview, and the channels that lead to them."""

    person: User
    addressee: Addressee
    channels: list[str] = field(default_factory=list)


def preview_of(audience: Audience, by: User, *, urgent: bool = False) -> Preview:
    """In a number of queries that does not grow with the audience."""
    people = recipients_of(audience, by, whole=True)
    count = people.count()
    schools = _schools(people)
    return Preview(
        people=count,
        roles=_roles(people),
        schools=schools[:SCHOOLS_SHOWN],
        school_count=len(schools),
        channels=[(Channel.INBOX.value, count), *_channels(people, urgent)],
        inbox_only=inbox_only(people, urgent=urgent).count(),
    )


def inbox_only(people: QuerySet[User], *, urgent: bool = False) -> QuerySet[User]:
    """Those whom nothing but the inbox reaches."""
    reached = Q(Exists(_devices().filter(user=OuterRef("pk")))) | Q(Exists(_grouped()))
    for channel, condition in _addresses(urgent):
        if channel in channels_here():
            reached |= condition
    return people.exclude(reached)


def reached(people: Sequence[User], *, urgent: bool = False) -> list[Reached]:
    """The people of one page, each with what leads to them. Six queries."""
    ids = [person.pk for person in people]
    known = addressees(ids)
    ways: dict[UUID, set[str]] = {pk: {Channel.INBOX.value} for pk in ids}
    for user, provider in _devices().filter(user__in=ids).values_list("user", "push_provider"):
        ways[user].add(provider)
    rows = User.objects.filter(pk__in=ids)
    for user in rows.filter(Exists(_grouped())).values_list("pk", flat=True):
        ways[user].add(Channel.ROBOT.value)
    for channel, condition in _addresses(urgent):
        if channel in channels_here():
            for user in rows.filter(condition).values_list("pk", flat=True):
                ways[user].add(channel)
    order = {channel: place for place, channel in enumerate(Channel.values)}
    return [
        Reached(person, known[person.pk], sorted(ways[person.pk], key=order.__getitem__))
        for person in people
    ]


def channels_here() -> set[str]:
    """The channels to people that this installation is set up for."""
    able = {channel.value for channel, name in _CONFIGURED if getattr(settings, name)}
    return able.union(providers())


def _devices() -> QuerySet[Device]:
    return Device.objects.filter(
        push_provider__in=channels_here(),
        push_disabled_at=None,
        revoked_at=None,
        token_expires_at__gt=clock.now(),
    )


def _grouped() -> QuerySet[Membership]:
    """Roles of a person at a school, or in an office, that has a chat group."""
    groups = ChatGroup.objects.filter(enabled=True, deleted_at=None, takes_announcements=True)
    return Membership.objects.filter(in_term(), user=OuterRef("pk")).filter(
        Q(Exists(groups.filter(school=OuterRef("school"))))
        | Q(Exists(groups.filter(area=OuterRef("area"))))
    )


def _addresses(urgent: bool) -> list[tuple[str, Q]]:
    """A text message costs money and wakes people: only where it cannot wait."""
    mail: list[tuple[str, Q]] = [(Channel.MAIL.value, ~Q(email=""))]
    return [*mail, (Channel.SMS.value, ~Q(phone=""))] if urgent else mail


def _roles(people: QuerySet[User]) -> list[tuple[str, int]]:
    rows = Membership.objects.filter(in_term(), user__in=people.values("pk")).order_by()
    counts = dict(rows.values_list("role").annotate(n=Count("user", distinct=True)))
    return [(role, counts[role]) for role in Membership.Role.values if role in counts]


def _schools(people: QuerySet[User]) -> list[AtSchool]:
    keys = people.values("pk")
    contacts = Membership.objects.filter(in_term(), user__in=keys, school__isnull=False)
    appointed = Appointment.objects.filter(in_term(), inspector__in=keys)
    named: dict[UUID, str] = {}
    counts: list[dict[UUID, int]] = []
    for rows, person in ((contacts, "user"), (appointed, "inspector")):
        grouped = rows.order_by().values_list("school", "school__name")
        found = list(grouped.annotate(n=Count(person, distinct=True)))
        named.update({pk: name for pk, name, _n in found})
        counts.append({pk: n for pk, _name, n in found})
    return [
        AtSchool(pk, name, counts[0].get(pk, 0), counts[1].get(pk, 0))
        for pk, name in sorted(named.items(), key=lambda item: (item[1], item[0]))
    ]


def _channels(people: QuerySet[User], urgent: bool) -> list[tuple[str, int]]:
    keys = people.values("pk")
    devices = _devices().filter(user__in=keys).order_by()
    counts = dict(devices.values_list("push_provider").annotate(n=Count("user", distinct=True)))
    for channel, condition in _addresses(urgent):
        if channel in channels_here():
            counts[channel] = people.filter(condition).count()
    members = Membership.objects.filter(in_term(), user__in=keys)
    groups = ChatGroup.objects.filter(
        enabled=True, deleted_at=None, takes_announcements=True
    ).filter(
        Q(Exists(members.filter(school=OuterRef("school"))))
        | Q(Exists(members.filter(area=OuterRef("area"))))
    )
    counts[Channel.ROBOT.value] = groups.count()
    return [(channel, counts[channel]) for channel in Channel.values if counts.get(channel)]
