"""How a person wants to be told: which channels in which order, and when not to be disturbed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from server.core.errors import Invalid, Problem
from server.grid.models import User
from server.messaging.models import Delivery, Preference
from server.messaging.outbox import many

Channel = Delivery.Channel

CHOSEN = (Channel.FCM, Channel.WEBPUSH, Channel.JPUSH, Channel.MAIL, Channel.SMS)
"""The channels that a person may order and turn off. The inbox is the record and stays."""
INTRUSIVE = frozenset({Channel.FCM, Channel.WEBPUSH, Channel.JPUSH, Channel.SMS, Channel.ROBOT})
"""Those that ring: the quiet hours are for them."""


@dataclass(frozen=True)
class Quiet:
    """Hours of a day, local in `zone`, in which nothing rings; over midnight where `begin` > `end`."""

    begin: time
    end: time
    zone: ZoneInfo

    def ends_at(self, moment: datetime) -> datetime | None:
        """When the quiet hours that `moment` lies in end; None: it lies in none."""
        local = moment.astimezone(self.zone)
        overnight = self.begin > self.end
        quiet = (
            (local.time() >= self.begin or local.time() < self.end)
            if overnight
            else self.begin <= local.time() < self.end
        )
        if not quiet:
            return None
        day = local.date() + timedelta(days=overnight and local.time() >= self.begin)
        return datetime.combine(day, self.end, self.zone)


@dataclass(frozen=True)
class Preferences:
    """What holds for a person. `order`: what they chose themselves, empty where they did not."""

    order: tuple[str, ...] = ()
    off: frozenset[str] = field(default_factory=frozenset)
    quiet: Quiet | None = None
    time_zone: str = ""


def default_preferences() -> Preferences:
    """Of who has chosen nothing, and of chat groups."""
    return Preferences(quiet=_quiet_of_the_house(), time_zone=settings.TIME_ZONE)


def preferences_of(user_ids: Iterable[UUID]) -> Mapping[UUID, Preferences]:
    """Of each of these persons, in one query."""
    user_ids, default = list(user_ids), default_preferences()
    rows = Preference.objects.filter(user__in=many(user_ids)) if user_ids else []
    return {**dict.fromkeys(user_ids, default), **{row.user_id: _of(row) for row in rows}}


def channels_shown(preferences: Preferences) -> list[tuple[str, bool]]:
    """Every channel to choose from, with whether it is on, in this person's order."""
    order = [name for name in preferences.order if name in CHOSEN]
    order += [name for name in settings.CHANNEL_ORDER if name not in order]
    return [(name, name not in preferences.off) for name in order]


@transaction.atomic
def set_preferences(
    *,
    user: User,
    channels: Sequence[tuple[str, bool]],
    quiet: tuple[time, time] | None,
    time_zone: str,
) -> Preferences:
    """Replace the person's choice: all channels, the first to be tried first. Raises Invalid."""
    problems = [*_problems(channels, quiet, time_zone)]
    if problems:
        raise Invalid(problems=problems)
    row, _created = Preference.objects.update_or_create(
        user=user,
        defaults={
            "channels": [{"channel": name, "enabled": on} for name, on in channels],
            "quiet_from": quiet[0] if quiet else None,
            "quiet_until": quiet[1] if quiet else None,
            "time_zone": time_zone,
        },
    )
    return _of(row)


def _problems(
    channels: Sequence[tuple[str, bool]], quiet: tuple[time, time] | None, time_zone: str
) -> Iterable[Problem]:
    if sorted(name for name, _on in channels) != sorted(CHOSEN):
        yield Problem("/channels", "invalid", _("请列出全部渠道，每个一次"))
    if quiet and quiet[0] == quiet[1]:
        yield Problem("/quiet_hours", "invalid", _("免打扰的开始和结束不能相同"))
    if _zone(time_zone) is None:
        yield Problem("/time_zone", "invalid", _("没有这个时区"))


def _of(row: Preference) -> Preferences:
    zone = _zone(row.time_zone)
    quiet = None
    if row.quiet_from is not None and row.quiet_until is not None and zone:
        quiet = Quiet(row.quiet_from, row.quiet_until, zone)
    return Preferences(
        order=tuple(each["channel"] for each in row.channels),
        off=frozenset(each["channel"] for each in row.channels if not each["enabled"]),
        quiet=quiet,
        time_zone=row.time_zone,
    )


def _quiet_of_the_house() -> Quiet | None:
    if not settings.QUIET_HOURS:
        return None
    begin, end = map(time.fromisoformat, settings.QUIET_HOURS.split("-"))
    return Quiet(begin, end, ZoneInfo(settings.TIME_ZONE))


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
