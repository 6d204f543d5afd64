"""Which channel is tried first, and when the next: a person's own order, else what has reached them.

The first step is due at once. Each later one is due when the notice would have been read by then, and
is skipped if it was (server.messaging.judging). Only addresses of now count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q

from server.core import clock
from server.core.ids import first_id_of
from server.messaging.models import Delivery, Habit, HabitsUntil, Notice
from server.messaging.outbox import Planned, many
from server.messaging.preferences import CHOSEN, Preferences, preferences_of
from server.messaging.routes import addresses_of

READ_SOON = timedelta(hours=1)
"""Who reads a notice within so long after a message was reached by it."""
LEARNED_AFTER = timedelta(hours=2)
FADES_ABOVE = 100
SLICE = 10_000


def plan(notice: Notice, user_ids: Sequence[UUID], moment: datetime) -> list[Planned]:
    """The deliveries besides the inbox of these people, each with the moment when it is due."""
    addresses = addresses_of(notice, user_ids)
    preferences, habits = preferences_of(addresses), _habits_of(list(addresses))
    expires = expiry_of(notice, moment)
    gap = timedelta(
        minutes=settings.FALLBACK_URGENT_MINUTES if notice.is_urgent else settings.FALLBACK_MINUTES
    )
    rows = []
    for user_id, found in addresses.items():
        allowed = [each for each in found if each[0] not in preferences[user_id].off]
        order = in_order({name for name, _ in allowed}, preferences[user_id], habits[user_id])
        for channel, address in allowed:
            due = moment + order.index(channel) * gap
            if due < expires:
                rows.append(
                    Planned(
                        recipient_id=user_id,
                        channel=channel,
                        address=address,
                        due_at=due,
                        expires_at=expires,
                    )
                )
    return rows


def in_order(
    channels: Iterable[str], preferences: Preferences, habits: Mapping[str, float]
) -> list[str]:
    """The channels, the first to be tried first. What a person chose outweighs what we know."""
    default = {name: place for place, name in enumerate(settings.CHANNEL_ORDER)}
    chosen = {name: place for place, name in enumerate(preferences.order)}

    def key(name: str) -> tuple[float, float, int]:
        reached = habits.get(name, 0.5)  # of whom nothing is known is half reached
        return chosen.get(name, len(chosen)), -reached, default.get(name, len(default))

    return sorted(channels, key=key)


def expiry_of(notice: Notice, moment: datetime) -> datetime:
    """Until when a message of the notice that is written now is worth sending."""
    end = moment + (notice.kind.lives or timedelta(hours=settings.DELIVERY_HOURS))
    return min(end, notice.open_until) if notice.open_until else end


# ---- what has reached a person --------------------------------------------------------------


def _habits_of(user_ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, float]]:
    """For each person and channel the share of messages that were read soon; 0.5 before the first."""
    habits: dict[UUID, dict[str, float]] = defaultdict(dict)
    for row in Habit.objects.filter(user__in=many(user_ids)):
        habits[row.user_id][row.channel] = (row.read + 1) / (row.sent + 2)
    return habits


def learn() -> int:
    """Take what was sent since the last time into the habits. Returns how many deliveries it was."""
    end = first_id_of(clock.now() - LEARNED_AFTER)
    state, _created = HabitsUntil.objects.get_or_create(
        pk=1, defaults={"delivery_id": first_id_of(clock.now() - timedelta(days=1))}
    )
    total, begin = 0, state.delivery_id
    while begin < end:
        rows = Delivery.objects.filter(id__gt=begin, id__lte=end).order_by("id")
        slice_end = rows.values_list("id", flat=True)[SLICE - 1 : SLICE].first() or end
        total += _learn_from(Q(id__gt=begin, id__lte=slice_end))
        # A crash before this counts one slice twice: habits are an estimate.
        HabitsUntil.objects.filter(pk=1).update(delivery_id=slice_end)
        begin = slice_end
    return total


def _learn_from(which: Q) -> int:
    soon = Delivery.objects.filter(
        notice=OuterRef("notice"),
        recipient=OuterRef("recipient"),
        channel=Delivery.Channel.INBOX,
        read_at__gte=OuterRef("sent_at"),
        read_at__lte=OuterRef("sent_at") + READ_SOON,
    )
    sent = Delivery.objects.filter(
        which,
        channel__in=CHOSEN,
        recipient__isnull=False,
        state__in=[Delivery.State.SENT, Delivery.State.DELIVERED],
    )
    figures = {
        (user_id, channel): (count, read)
        for user_id, channel, count, read in sent.order_by()
        .annotate(soon=Exists(soon))
        .values_list("recipient", "channel")
        .annotate(count=Count("id"), read=Count("id", filter=Q(soon=True)))
    }
    known = {
        (row.user_id, row.channel): row
        for row in Habit.objects.filter(user__in={user_id for user_id, _ in figures})
    }
    rows = []
    for key, (count, read) in figures.items():
        row = known.get(key) or Habit(user_id=key[0], channel=key[1])
        row.sent, row.read = row.sent + count, row.read + read
        if row.sent > FADES_ABOVE:
            row.sent, row.read = row.sent / 2, row.read / 2
        rows.append(row)
    Habit.objects.bulk_create(
        [row for row in rows if row.pk is None],
        update_conflicts=True,
        unique_fields=["user", "channel"],
        update_fields=["sent", "read"],
    )
    Habit.objects.bulk_update([row for row in rows if row.pk is not None], ["sent", "read"])
    return sum(count for count, _read in figures.values())
