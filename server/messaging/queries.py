"""Who may see which notices and deliveries, and who is reached by an office's announcement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet

from server.core.errors import NotFound
from server.grid.models import Appointment, Area, Membership, User, in_term
from server.grid.queries import OFFICES, area_paths, office_paths, schools_in_office_of, under
from server.messaging.models import (
    Delivery,
    Notice,
    NoticeAnswer,
    NoticeAttachment,
    SavedAudience,
)
from server.messaging.sources import activity_inspectors, activity_schools

ANNOUNCEMENT = "announcement"
INBOX = Delivery.Channel.INBOX


CONTACTS, INSPECTORS = "contacts", "inspectors"
"""Whom of an activity: the contacts of its schools, the teams of its visits."""


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Whom an announcement is for, each once.

    Everybody of these areas (subtrees), schools and activities' schools, narrowed to the roles and
    the schools' stages where there are any; roles or stages alone: over the whole office.
    Besides: these people, the inspectors appointed to schools of `appointed_to`, whoever is on these
    saved `lists`. Where `activity_people` says so, of the activities the contacts of the schools and
    the inspectors of the visits alone.
    """

    areas: Sequence[UUID] = ()
    schools: Sequence[UUID] = ()
    roles: Sequence[str] = ()
    people: Sequence[UUID] = ()
    stages: Sequence[str] = ()
    activities: Sequence[UUID] = ()
    activity_people: Sequence[str] = ()
    appointed_to: Sequence[UUID] = ()
    lists: Sequence[UUID] = ()

    def as_json(self) -> dict[str, list[str]]:
        """For the notice's row; the order in which somebody ticked boxes is no difference."""
        told = {
            "areas": sorted(map(str, self.areas)),
            "schools": sorted(map(str, self.schools)),
            "roles": sorted(self.roles),
            "people": sorted(map(str, self.people)),
        }
        for name in _LATER:
            if values := getattr(self, name):
                told[name] = sorted(map(str, values))
        return told

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Audience:
        """The reverse of `as_json`."""
        texts = {"roles", "stages", "activity_people"}
        read: dict[str, Any] = {
            name: values if name in texts else [UUID(text) for text in values]
            for name, values in stored.items()
        }
        return cls(**read)

    @property
    def names_nobody(self) -> bool:
        """Nothing was chosen at all."""
        return not any(self.as_json().values())


_LATER = ("stages", "activities", "activity_people", "appointed_to", "lists")
"""Left out where empty, so that a stored audience of the time before is the same as one of today."""


def inbox_of(user: User, *, unread: bool | None = None) -> QuerySet[Delivery]:
    """The person's inbox, newest first: deliveries with their notices; `unread` narrows it."""
    rows = Delivery.objects.filter(recipient=user, channel=INBOX).select_related(
        "notice__school", "notice__office"
    )
    if unread is not None:
        rows = rows.filter(read_at__isnull=unread)
    return rows.order_by("-id")


def notices_visible_to(user: User) -> QuerySet[Notice]:
    """Notices that the person received or made, those of their office, and those about its schools."""
    if user.is_superuser:
        return Notice.objects.all()
    received = Delivery.objects.filter(notice=OuterRef("pk"), recipient=user, channel=INBOX)
    paths = office_paths(user)
    return Notice.objects.filter(
        Q(Exists(received))
        | Q(created_by=user)
        | Q(school__in=schools_in_office_of(user, paths))
        | under(paths, "office__path")
    )


def inbox_shown_to(user: User, *, unread: bool | None = None) -> QuerySet[Delivery]:
    """The inbox with the files of each notice, and the person's answers to its form."""
    answers = NoticeAnswer.objects.filter(person=user, replaced_at=None)
    files = NoticeAttachment.objects.filter(removed_at=None).select_related("media")
    return inbox_of(user, unread=unread).prefetch_related(
        Prefetch("notice__attachments", files, to_attr="files"),
        Prefetch("notice__answers", answers, to_attr="own_answers"),
    )


def notices_overseen_by(user: User) -> QuerySet[Notice]:
    """Notices whose receipts the person may see: those of their making or their office's, and those
    about schools of their office.
    """
    if user.is_superuser:
        return Notice.objects.all()
    paths = office_paths(user)
    return Notice.objects.filter(
        Q(created_by=user)
        | Q(school__in=schools_in_office_of(user, paths))
        | under(paths, "office__path")
    )


def notices_written_by_office_of(user: User) -> QuerySet[Notice]:
    """Hand-written notices that the person may change and recall: their own, and their office's."""
    rows = Notice.objects.filter(event=ANNOUNCEMENT)
    if user.is_superuser:
        return rows
    return rows.filter(Q(created_by=user) | under(office_paths(user), "office__path"))


def deliveries_of(notice_id: UUID, by: User) -> QuerySet[Delivery]:
    """Who got the notice, by which channel, with times and reasons.

    For who made it, their office and the offices over its school; NotFound for everybody else.
    """
    if not notices_overseen_by(by).filter(id=notice_id).exists():
        raise NotFound
    return (
        Delivery.objects.filter(notice_id=notice_id)
        .select_related("recipient", "group", "read_by_device")
        .order_by("id")
    )


def saved_lists_of(user: User) -> QuerySet[SavedAudience]:
    """The lists of the offices for which the person speaks themselves."""
    rows = SavedAudience.objects.filter(deleted_at=None).select_related("office")
    if user.is_superuser:
        return rows
    return rows.filter(office__path__in=office_paths(user))


def recipients_of(audience: Audience, by: User, *, whole: bool = False) -> QuerySet[User]:
    """The audience, clipped to the people whom `by` reaches as an office, each once.

    `whole`: for who wants to count all of them; else it is quick at telling the first thousand.
    """
    people = User.objects.filter(is_active=True).filter(_audience(audience, whole))
    if by.is_superuser:
        return people
    return people.filter(_belonging(area_paths(by, *OFFICES), NOWHERE, [], whole=whole))


def audience_of(notice: Notice) -> QuerySet[User]:
    """Whom a notice is for as of now: its audience within the reach of its author, or of the author's
    office once the author has left it; of a reminder, those who have not done what is asked.
    """
    if notice.reminder_of is not None:
        return User.objects.filter(
            Exists(undone(notice.reminder_of).filter(recipient=OuterRef("pk"))), is_active=True
        )
    if notice.audience is None:
        return User.objects.none()
    audience, author = Audience.from_json(notice.audience), notice.created_by
    if author is not None and (author.is_superuser or area_paths(author, *OFFICES)):
        return recipients_of(audience, author)
    if notice.office is None:
        return User.objects.none()
    people = User.objects.filter(is_active=True).filter(_audience(audience))
    return people.filter(_belonging([notice.office.path], NOWHERE, []))


def undone(notice: Notice) -> QuerySet[Delivery]:
    """The inbox rows of those who have not done what the notice asks; reading is the least."""
    rows = Delivery.objects.filter(notice=notice, channel=INBOX)
    done = {"acknowledge": "acknowledged_at", "answer": "answered_at"}.get(notice.asks, "read_at")
    missing = Q(**{done: None})
    if notice.asked_since is not None and done != "read_at":
        missing |= Q(**{f"{done}__lt": notice.asked_since})
    return rows.filter(missing)


def overview_areas(user: User) -> list[str]:
    """The paths of the areas whose figures the person sees move: those of their offices."""
    return sorted(set(area_paths(user, *OFFICES)))


NOWHERE = Q(pk__in=[])


def _audience(audience: Audience, whole: bool = False) -> Q:
    named = Q(pk__in=audience.people)
    if audience.lists:
        for stored in SavedAudience.objects.filter(pk__in=audience.lists):
            named |= _audience(Audience.from_json({**stored.audience, "lists": []}), whole)
    if audience.appointed_to:
        appointed = Appointment.objects.filter(in_term(), school__in=audience.appointed_to)
        named |= _one_of(appointed, "inspector", whole)
    of_activities = None
    if audience.activities:
        schools = activity_schools(audience.activities).values("pk")
        if INSPECTORS in audience.activity_people:
            named |= Q(pk__in=activity_inspectors(audience.activities).values("pk"))
        if CONTACTS in audience.activity_people:
            contacts = Membership.objects.filter(in_term(), role=Membership.Role.SCHOOL_CONTACT)
            named |= _one_of(contacts.filter(school__in=schools), "user", whole)
        if not audience.activity_people:
            of_activities = Q(school__in=schools)
    places = bool(audience.areas or audience.schools or of_activities)
    if places or audience.stages:
        rows = Area.objects.filter(pk__in=audience.areas)
        # Stages alone: schools of these stages wherever the office reaches.
        paths = list(rows.values_list("path", flat=True)) if places else [""]
        of_schools = Q(school__in=audience.schools) | (of_activities or NOWHERE)
        return named | _belonging(paths, of_schools, audience.roles, audience.stages, whole=whole)
    if audience.roles:
        holders = Membership.objects.filter(in_term(), role__in=audience.roles)
        return named | _one_of(holders, "user", whole)
    return named


def _belonging(
    paths: list[str],
    schools: Q,
    roles: Sequence[str],
    stages: Sequence[str] = (),
    *,
    whole: bool = False,
) -> Q:
    """People with a role in the subtrees or at the schools, or appointed to a school there; where
    there are stages, by schools of these alone.
    """
    at_schools = under(paths, "school__area__path") | schools
    stage = Q(school__stage__in=stages) if stages else Q()
    in_areas = NOWHERE if stages else under(paths, "area__path")
    memberships = Membership.objects.filter(in_term()).filter(in_areas | (at_schools & stage))
    if roles:
        memberships = memberships.filter(role__in=roles)
    condition = _one_of(memberships, "user", whole)
    if not roles or Membership.Role.INSPECTOR in roles:
        # An inspector's membership may be the county's while their schools are the town's.
        appointments = Appointment.objects.filter(in_term()).filter(at_schools & stage)
        condition |= _one_of(appointments, "inspector", whole)
    return condition


def _one_of(rows: QuerySet[Any], person: str, whole: bool) -> Q:
    """People of these rows: looked up one by one, or, for all of them, as one set."""
    if whole:
        return Q(pk__in=rows.order_by().values(person))
    return Q(Exists(rows.filter(**{person: OuterRef("pk")})))
