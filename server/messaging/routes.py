"""By which ways a notice goes: to each person, and to the chat groups of whom it concerns.

A school's group hears of a notice about that school that goes to that school's contacts; an office's
group of one that goes to its own people. Nothing else is said in a group: whoever is in it reads it.
Announcements, which are about no school, are said in the groups that asked for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from server.core import clock
from server.core.ids import new_id
from server.grid.models import Membership, User, in_term
from server.grid.queries import OFFICES, Role
from server.messaging.models import ChatGroup, Delivery, Device, Notice
from server.messaging.vapid import VapidUnusable, public_key

Channel = Delivery.Channel


def rows_for(notice: Notice, user_ids: list[UUID]) -> list[Delivery]:
    """The deliveries of a notice to these people and their groups, not saved yet."""
    return [
        *(_inbox_row(notice, user_id) for user_id in user_ids),
        *(_person_row(notice, user_id, Channel.SOCKET) for user_id in user_ids),
        *(
            _person_row(notice, user_id, channel, address=str(device_id))
            for user_id, channel, device_id in _devices(user_ids)
        ),
        *(_person_row(notice, user_id, Channel.MAIL) for user_id in _with_mail(user_ids)),
        *(_person_row(notice, user_id, Channel.SMS) for user_id in _with_phone(notice, user_ids)),
        *(_group_row(notice, group_id) for group_id in _groups(notice, user_ids)),
    ]


# ---- people ----------------------------------------------------------------------------------


def _devices(user_ids: list[UUID]) -> Iterable[tuple[UUID, str, UUID]]:
    """(person, channel, device) of every device of theirs that a push can reach now."""
    return Device.objects.filter(
        user__in=user_ids,
        push_provider__in=providers(),
        push_disabled_at=None,
        revoked_at=None,
        token_expires_at__gt=clock.now(),
    ).values_list("user_id", "push_provider", "id")


def providers() -> list[str]:
    """Those that this installation is set up for. Each is named as its channel is."""
    able = [Device.PushProvider.FCM.value]
    if settings.JPUSH_URL:
        able.append(Device.PushProvider.JPUSH.value)
    if web_push_key():
        able.append(Device.PushProvider.WEBPUSH.value)
    return able


def web_push_key() -> str:
    """What browsers subscribe with; empty where there is no Web Push here."""
    try:
        return public_key()
    except VapidUnusable:
        return ""


def _with_mail(user_ids: list[UUID]) -> Iterable[UUID]:
    if not settings.MAIL_URL:
        return ()
    return User.objects.filter(pk__in=user_ids).exclude(email="").values_list("pk", flat=True)


def _with_phone(notice: Notice, user_ids: list[UUID]) -> Iterable[UUID]:
    """A text message costs money and wakes people: only where it cannot wait."""
    if not settings.SMS_URL or not notice.kind.urgent:
        return ()
    return User.objects.filter(pk__in=user_ids).exclude(phone="").values_list("pk", flat=True)


# ---- groups ----------------------------------------------------------------------------------


def _groups(notice: Notice, user_ids: list[UUID]) -> Iterable[UUID]:
    groups = ChatGroup.objects.filter(enabled=True, deleted_at=None)
    return groups.filter(_concerned(notice, user_ids)).values_list("pk", flat=True)


def _concerned(notice: Notice, user_ids: list[UUID]) -> Q:
    # From the people to their places, not from every group there is: it is asked once per batch.
    told = Membership.objects.filter(in_term(), user__in=user_ids)
    contacts = Q(school__in=told.filter(role=Role.SCHOOL_CONTACT).values("school"))
    officers = Q(area__in=told.filter(role__in=OFFICES).values("area"))
    if notice.event == "announcement":
        if not _is_public(notice):
            return Q(pk__in=[])
        return (contacts | officers) & Q(takes_announcements=True)
    if notice.school_id is None:
        return officers
    return contacts & Q(school=notice.school_id) | officers


def _is_public(notice: Notice) -> bool:
    """An announcement to areas and schools; one to people by name is between them and the office."""
    audience = notice.audience or {}
    wide = audience.get("areas") or audience.get("schools") or audience.get("roles")
    return notice.event == "announcement" and bool(wide) and not audience.get("people")


# ---- rows ------------------------------------------------------------------------------------


def _inbox_row(notice: Notice, user_id: UUID) -> Delivery:
    moment = clock.now()
    return Delivery(
        id=new_id(),
        notice=notice,
        recipient_id=user_id,
        channel=Channel.INBOX,
        state=Delivery.State.DELIVERED,
        sent_at=moment,
        delivered_at=moment,
    )


def _person_row(notice: Notice, user_id: UUID, channel: str, *, address: str = "") -> Delivery:
    return Delivery(
        id=new_id(),
        notice=notice,
        recipient_id=user_id,
        channel=channel,
        address=address,
        work_due_at=clock.now(),
    )


def _group_row(notice: Notice, group_id: UUID) -> Delivery:
    return Delivery(
        id=new_id(),
        notice=notice,
        group_id=group_id,
        channel=Channel.ROBOT,
        work_due_at=clock.now(),
    )
