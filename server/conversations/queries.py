"""Who reads which conversation: derived from the grid each time, so that an end of office ends it too.

- visit: its team, the office that planned it, and the school's contacts once the school may know of
  the visit: of an unannounced one from the check-in on, and only what was written after it;
- finding: the school's contacts, its inspectors and the visit's team, the offices of the school's
  county and town, and the office that planned the activity;
- school: its contacts, its appointed inspectors, the offices of its county and town.

Offices above the county are no members: nobody reads a province's schools one by one. Superusers read
everything and are told of nothing. Who is no member any more reads nothing any more, old or new.

The two directions, a person's conversations and a conversation's members, are written apart because
each has to be asked by index; tests hold them to the same answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import (
    BigIntegerField,
    BooleanField,
    Case,
    Count,
    Exists,
    F,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from media_storage.models import MediaObject
from server.conversations.models import Conversation, Member, Message, MessageFile
from server.findings.queries import inspectors_of_finding
from server.findings.queries import media_visible_to as findings_media_visible_to
from server.grid.models import Appointment, Area, Membership, School, User, in_term
from server.grid.queries import OFFICES, contacts_of, under

Role = Membership.Role
Subject = Conversation.Subject
LOCAL = (Area.Level.COUNTY, Area.Level.TOWN)
SEARCHED = 500
"""A search looks into so many of the person's conversations, the latest ones."""


# ---- a person's conversations ----------------------------------------------------------------


@dataclass(frozen=True)
class _Offices:
    """The areas for which the person speaks: by id, and those at which they are of a school's own."""

    planning: list[UUID]
    local: list[str]
    moderating: list[str]


def _offices_of(user: User) -> _Offices:
    if user.known_roles is None:
        rows = user.memberships.filter(in_term(), role__in=OFFICES, area__isnull=False)
        roles = list(rows.select_related("area"))
    else:
        roles = [each for each in user.known_roles if each.area and each.role in OFFICES]
    local = [each for each in roles if each.area and each.area.level in LOCAL]
    return _Offices(
        planning=[each.area_id for each in roles if each.area_id],
        local=[each.area.path for each in local if each.area],
        moderating=[each.area.path for each in local if each.area and each.role == Role.OFFICE],
    )


def _read_whole(user: User) -> QuerySet[Any]:
    """Ids of the conversations that the person reads from their beginning: a union, each part of which
    is asked by an index of its own."""
    offices = _offices_of(user)
    rows = Conversation.objects.order_by()
    about_school = rows.exclude(subject=Subject.VISIT)
    contact = Membership.objects.filter(in_term(), user=user, school__isnull=False)
    appointed = Appointment.objects.filter(in_term(), inspector=user)
    parts = [
        rows.filter(visit__team=user),
        rows.filter(finding__visit__team=user),
        rows.filter(visit__activity__area__in=offices.planning),
        rows.filter(finding__activity__area__in=offices.planning),
        about_school.filter(school__in=contact.values("school")),
        about_school.filter(school__in=appointed.values("school")),
        about_school.filter(under(offices.local, "school__area__path")),
    ]
    first, *others = (part.values("pk") for part in parts)
    return first.union(*others)


def _read_from_check_in(user: User) -> QuerySet[Conversation]:
    """Conversations about visits at the person's own school, which may know of them."""
    own = Membership.objects.filter(in_term(), user=user, school__isnull=False)
    return Conversation.objects.order_by().filter(
        Q(visit__activity__announced=True) | Q(visit__checked_in_at__isnull=False),
        subject=Subject.VISIT,
        school__in=own.values("school"),
        school_from__isnull=False,
    )


def conversations_visible_to(user: User) -> QuerySet[Conversation]:
    """The person's conversations; a superuser's are all."""
    if user.is_superuser:
        return Conversation.objects.all()
    return _visible(user, _read_whole(user))


def _visible(user: User, whole: QuerySet[Any]) -> QuerySet[Conversation]:
    ids = whole.union(_read_from_check_in(user).values("pk"))
    return Conversation.objects.filter(pk__in=ids)


def messages_visible_to(user: User) -> QuerySet[Message]:
    """The entries that the person reads; texts of what is gone must not be shown (see `shown_text`)."""
    if user.is_superuser:
        return Message.objects.all()
    return Message.objects.filter(_is_read_by(user))


def _is_read_by(user: User, prefix: str = "") -> Q:
    """For entries, or by `prefix` for what belongs to one."""
    talk = f"{prefix}conversation"
    return Q(**{f"{talk}__in": _read_whole(user)}) | Q(
        **{
            f"{talk}__in": _read_from_check_in(user).values("pk"),
            f"{prefix}number__gt": F(f"{talk}__school_from"),
        }
    )


def conversations_moderated_by(user: User) -> QuerySet[Conversation]:
    """Where the person removes messages, and which they export: the county office of the school, and
    the office or town group that planned the activity."""
    if user.is_superuser:
        return Conversation.objects.all()
    offices = _offices_of(user)
    return Conversation.objects.filter(
        Q(visit__activity__area__in=offices.planning)
        | Q(finding__activity__area__in=offices.planning)
        | ~Q(subject=Subject.VISIT) & under(offices.moderating, "school__area__path")
    )


def conversations_listed_for(user: User) -> QuerySet[Conversation]:
    """Visible conversations with what a list shows: `read_number`, `muted`, `unread`, `hidden_through`."""
    mine = Member.objects.filter(conversation=OuterRef("pk"), user=user)
    hidden: Any
    rows, hidden = Conversation.objects.all(), Value(0, output_field=BigIntegerField())
    if not user.is_superuser:
        whole = _read_whole(user)
        rows = _visible(user, whole)
        hidden = Case(
            When(pk__in=whole, then=Value(0)),
            default=F("school_from"),
            output_field=BigIntegerField(),
        )
    unread = (
        Message.objects.filter(
            conversation=OuterRef("pk"),
            kind=Message.Kind.MESSAGE,
            gone="",
            number__gt=OuterRef("read_number"),
        )
        .filter(number__gt=OuterRef("hidden_through"))
        .exclude(sender=user)
        .order_by()
        .values("conversation")
        .annotate(n=Count("pk"))
        .values("n")
    )
    return (
        rows.select_related(
            "school", "visit__activity", "visit__school", "finding", "latest__sender"
        )
        .annotate(
            read_number=Coalesce(Subquery(mine.values("read_number")), Value(0)),
            muted=Coalesce(
                Subquery(mine.values("muted")), Value(False), output_field=BooleanField()
            ),
            hidden_through=hidden,
        )
        .annotate(unread=Coalesce(Subquery(unread), Value(0)))
    )


def conversation_about(user: User, subject: str, subject_id: UUID) -> Conversation | None:
    """The person's conversation about this thing with what a list shows; None before its first use."""
    field = {"visit": "visit", "finding": "finding", "school": "school"}[subject]
    rows = conversations_listed_for(user).filter(subject=subject, **{field: subject_id})
    return rows.first()


def messages_listed_for(user: User) -> QuerySet[Message]:
    """Visible entries with all that is shown of them, in a number of queries that does not grow."""
    files = MessageFile.objects.select_related("message", "media__facts").defer(
        "message__text", "media__facts__exif"
    )
    return (
        messages_visible_to(user)
        .select_related("sender")
        .prefetch_related(
            Prefetch("mentions", User.objects.only("pk", "name")),
            Prefetch("files", files.prefetch_related("media__renditions__media")),
        )
    )


def page_of_messages(
    user: User,
    conversation: Conversation,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int,
) -> tuple[list[Message], bool]:
    """Entries with ascending numbers: the next ones after a number, else the last ones before one, else
    the newest. The bool: whether there are more in that direction."""
    rows = messages_listed_for(user).filter(conversation=conversation)
    if after is not None:
        found = list(rows.filter(number__gt=after).order_by("number")[: limit + 1])
        return found[:limit], len(found) > limit
    if before is not None:
        rows = rows.filter(number__lt=before)
    found = list(rows.order_by("-number")[: limit + 1])
    return found[:limit][::-1], len(found) > limit


def messages_found_by(
    user: User, words: str, *, conversation_id: UUID | None = None
) -> QuerySet[Message]:
    """Messages whose text has these words, the latest first, in one conversation or in the person's
    `SEARCHED` latest ones. A substring search: Chinese has no spaces, and trigrams miss two characters.
    """
    rows = conversations_visible_to(user)
    if conversation_id:
        ids = rows.filter(pk=conversation_id).values("pk")
    else:
        ids = rows.order_by("-last_at", "-id").values("pk")[:SEARCHED]
    return messages_listed_for(user).filter(
        conversation__in=ids, kind=Message.Kind.MESSAGE, gone="", text__icontains=words
    )


# ---- a conversation's members ----------------------------------------------------------------


def members_of(conversation: Conversation) -> QuerySet[User]:
    """Everybody who reads what is written into the conversation now. It need not be stored yet."""
    if conversation.visit:
        visit = conversation.visit
        members = Q(visits=visit.pk) | _speaks_for(Q(area=visit.activity.area_id))
        knows = visit.activity.announced or visit.checked_in_at
        if knows and conversation.school_from is not None:
            members |= _is_in(contacts_of(conversation.school))
        return _people(members)
    school = conversation.school
    members = _is_in(contacts_of(school)) | _speaks_for(_local_to(school))
    if conversation.finding:
        members |= _is_in(inspectors_of_finding(conversation.finding))
        if conversation.finding.activity:
            members |= _speaks_for(Q(area=conversation.finding.activity.area_id))
        return _people(members)
    appointed = Appointment.objects.filter(in_term(), school=school)
    return _people(members | Q(pk__in=appointed.values("inspector")))


def _people(members: Q) -> QuerySet[User]:
    found = User.objects.filter(members, is_active=True).order_by()
    return User.objects.filter(pk__in=found.values("pk"))


def _is_in(people: QuerySet[User]) -> Q:
    return Q(pk__in=people.order_by().values("pk"))


def _speaks_for(place: Q) -> Q:
    roles = Membership.objects.filter(in_term(), place, role__in=OFFICES)
    return Q(pk__in=roles.order_by().values("user"))


def _local_to(school: School) -> Q:
    path = school.area.path
    above = [path[: end + 1] for end, letter in enumerate(path) if letter == "/"]
    return Q(area__path__in=above, area__level__in=LOCAL)


# ---- files -----------------------------------------------------------------------------------


def sent_to(user: User) -> Q:
    """Media of messages that the person reads: who was sent a file may open it."""
    files = MessageFile.objects.filter(media=OuterRef("pk"), message__gone="").order_by()
    if not user.is_superuser:
        files = files.filter(_is_read_by(user, "message__"))
    return Q(Exists(files))


def media_visible_to(user: User, sent: Q | None = None) -> QuerySet[MediaObject]:
    """The whole product's door to media: files of visible submissions and findings, and those that one
    was sent. `sent`: of `sent_to`, where the caller has it."""
    if user.is_superuser:
        return MediaObject.objects.all()
    return MediaObject.objects.filter(
        Q(pk__in=findings_media_visible_to(user).values("pk")) | (sent or sent_to(user))
    )
