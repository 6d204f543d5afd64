"""By which ways a notice goes: to each person, and to the chat groups of whom it concerns.

A school's group hears of a notice about that school that goes to that school's contacts; an office's
group of one that goes to its own people. Nothing else is said in a group: whoever is in it reads it.
Announcements, which are about no school, are said in the groups that asked for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from server.core import clock
from server.grid.models import Membership, User, in_term
from server.grid.queries import OFFICES, Role
from server.messaging.models import ChatGroup, Delivery, Device, Notice
from server.messaging.outbox import many
from server.messaging.vapid import VapidUnusable, public_key

Channel = Delivery.Channel
Address = tuple[str, str]
"""A channel, and what tells a person's addresses in it apart."""
AT_LARGE = {"areas", "schools", "roles", "stages", "activities"}
"""The parts of an audience that name nobody."""


# ---- people ----------------------------------------------------------------------------------


def addresses_of(notice: Notice, user_ids: Sequence[UUID]) -> dict[UUID, list[Address]]:
    """Every address that reaches one of these people now; who has none is missing."""
    found: dict[UUID, list[Address]] = defaultdict(list)
    devices = Device.objects.filter(
        user__in=many(user_ids),
        push_provider__in=providers(),
        push_disabled_at=None,
        revoked_at=None,
        token_expires_at__gt=clock.now(),
    )
    for user_id, channel, device_id in devices.values_list("user_id", "push_provider", "id"):
        found[user_id].append((channel, str(device_id)))
    for user_id in _with_mail(user_ids):
        found[user_id].append((Channel.MAIL, ""))
    for user_id in _with_phone(notice, user_ids):
        found[user_id].append((Channel.SMS, ""))
    return found


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


def _with_mail(user_ids: Sequence[UUID]) -> Iterable[UUID]:
    if not settings.MAIL_URL:
        return ()
    return User.objects.filter(pk__in=many(user_ids)).exclude(email="").values_list("pk", flat=True)


def _with_phone(notice: Notice, user_ids: Sequence[UUID]) -> Iterable[UUID]:
    """A text message costs money and wakes people: only where it cannot wait."""
    if not settings.SMS_URL or not notice.is_urgent:
        return ()
    return User.objects.filter(pk__in=many(user_ids)).exclude(phone="").values_list("pk", flat=True)


# ---- groups ----------------------------------------------------------------------------------


def groups_of(notice: Notice, user_ids: Sequence[UUID]) -> list[UUID]:
    """The chat groups in which the notice is said when it goes to these people."""
    groups = ChatGroup.objects.filter(enabled=True, deleted_at=None)
    return list(groups.filter(_concerned(notice, user_ids)).values_list("pk", flat=True))


def _concerned(notice: Notice, user_ids: Sequence[UUID]) -> Q:
    # From the people to their places, not from every group there is: it is asked once per batch.
    told = Membership.objects.filter(in_term(), user__in=many(user_ids))
    contacts = Q(school__in=told.filter(role=Role.SCHOOL_CONTACT).values("school"))
    officers = Q(area__in=told.filter(role__in=OFFICES).values("area"))
    if notice.event.partition(".")[0] == "announcement":
        if not _is_public(notice):
            return Q(pk__in=[])
        return (contacts | officers) & Q(takes_announcements=True)
    if notice.school_id is None:
        return officers
    return contacts & Q(school=notice.school_id) | officers


def _is_public(notice: Notice) -> bool:
    """To areas and schools at large; what names anybody in another way is between them and the office."""
    named = {name for name, values in (notice.audience or {}).items() if values}
    return bool(named) and named <= AT_LARGE
