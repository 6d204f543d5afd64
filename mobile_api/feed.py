"""The phone's copy of what its person may see: first whole, page by page, then what changed since.

A cursor says where the copy stands: still copying (which type, after which id), or reading the
change feed (after which row). It also carries a digest of the person's roles and appointments.
Terms begin and end by the calendar, without a write; when the digest differs, the copy starts over
(`reset`), and the feed goes on afterwards from where it was.
"""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import CharField, Q, QuerySet, Subquery, UUIDField, Value
from django.db.models.functions import Cast, Concat

from mobile_api.pagination import CursorInvalid, decode, encode
from mobile_api.serializers.common import Shape
from mobile_api.serializers.conversations import ConversationOut
from mobile_api.serializers.findings import FindingOut
from mobile_api.serializers.grid import SchoolOut
from mobile_api.serializers.instruments import InstrumentWithForm
from mobile_api.serializers.notices import NoticeOut
from mobile_api.serializers.work import SubmissionOut, VisitOut
from mobile_api.shown import findings_shown_to, submissions_shown_to, visits_shown_to
from server.activities.machine import FILLABLE_STATES
from server.activities.models import Activity, Visit
from server.activities.queries import (
    instruments_known_to,
    schools_known_to,
    submissions_visible_to,
    visits_visible_to,
)
from server.conversations.queries import conversations_listed_for, conversations_visible_to
from server.core import clock
from server.core.changes import Change, changes_after, newest_settled
from server.core.changes import Cursor as FeedCursor
from server.core.standing import StandingQuery
from server.findings.models import SETTLED
from server.findings.queries import findings_visible_to
from server.grid.models import Appointment, Membership, User, in_term
from server.grid.queries import OFFICES, schools_visible_to
from server.messaging.queries import inbox_of, inbox_shown_to

RECENT = timedelta(days=90)
"""What is settled, closed or read longer ago is not copied to a new phone."""

PUT, DELETE = "put", "delete"

Rows = QuerySet[Any]

AT_ONCE = 25
"""Objects that are rendered together: a page of 500 submissions would else take 30 MB for a moment."""

NOTHING = Value(None, output_field=UUIDField())


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A type of the feed: the door to it, what a new phone gets of it, how it is rendered.

    `seen_by_school`: everybody who may see the school may see it, so that telling them of its end
    tells nobody of something that they never had.
    """

    type: str
    visible: Callable[[User], Rows]
    loaded: Callable[[User], Rows]
    recent: Callable[[Rows, datetime], Rows]
    shape: builtins.type[Shape]
    key: str = "pk"
    seen_by_school: bool = False


def _everything(rows: Rows, _since: datetime) -> Rows:
    return rows


def _recent_visit(since: datetime, prefix: str = "") -> Q:
    open_work = Q(
        **{
            f"{prefix}state__in": FILLABLE_STATES,
            f"{prefix}activity__state": Activity.State.PUBLISHED,
        }
    )
    return open_work | Q(**{f"{prefix}activity__ends__gte": since.date()})


def _recent_submissions(rows: Rows, since: datetime) -> Rows:
    return rows.filter(_recent_visit(since, "visit__") | Q(visit=None, received_at__gte=since))


KINDS: tuple[Kind, ...] = (
    Kind(
        type="school",
        visible=schools_known_to,
        loaded=lambda user: schools_known_to(user).select_related("area"),
        recent=_everything,
        shape=SchoolOut,
        seen_by_school=True,
    ),
    Kind(
        type="instrument",
        visible=lambda user: instruments_known_to(user).filter(current__isnull=False),
        loaded=lambda user: (
            instruments_known_to(user)
            .select_related("current__instrument")
            .defer("current__xlsform", "current__xform")
            .prefetch_related("current__attachments")
        ),
        recent=_everything,
        shape=InstrumentWithForm,
    ),
    Kind(
        type="visit",
        visible=visits_visible_to,
        loaded=visits_shown_to,
        recent=lambda rows, since: rows.filter(_recent_visit(since)),
        shape=VisitOut,
    ),
    Kind(
        type="submission",
        visible=submissions_visible_to,
        loaded=submissions_shown_to,
        recent=_recent_submissions,
        shape=SubmissionOut,
    ),
    Kind(
        type="finding",
        visible=findings_visible_to,
        loaded=findings_shown_to,
        recent=lambda rows, since: rows.exclude(state__in=SETTLED, updated_at__lt=since),
        shape=FindingOut,
        seen_by_school=True,
    ),
    Kind(
        type="notice",
        visible=inbox_of,
        loaded=inbox_shown_to,
        recent=lambda rows, since: rows.filter(created_at__gte=since),
        shape=NoticeOut,
        key="notice_id",
    ),
    Kind(
        type="conversation",
        visible=conversations_visible_to,
        loaded=conversations_listed_for,
        recent=lambda rows, since: rows.filter(last_at__gte=since),
        shape=ConversationOut,
    ),
)
"""In the order in which a phone needs them: what others refer to comes first."""

BY_TYPE = {kind.type: kind for kind in KINDS}


@dataclass(frozen=True)
class Position:
    """Where a phone's copy stands. `kind` is None once it reads the feed."""

    scope: str
    feed: FeedCursor
    kind: int | None = None
    after: UUID | None = None

    def __str__(self) -> str:
        return encode([self.scope, *self.feed, self.kind, self.after])

    @classmethod
    def parse(cls, text: str) -> Position:
        """Raises CursorInvalid for what `str` did not write."""
        match decode(text):
            case [str(scope), int(txid), int(sequence), None, None]:
                return cls(scope, _stored(txid, sequence))
            case [str(scope), int(txid), int(sequence), int(kind), None | str() as after] if (
                0 <= kind < len(KINDS)
            ):
                return cls(scope, _stored(txid, sequence), kind, _uuid(after) if after else None)
        raise CursorInvalid


@dataclass(frozen=True)
class FeedPage:
    """What to tell the phone, and where its copy stands then."""

    position: Position
    has_more: bool
    reset: bool = False
    changes: list[dict[str, Any]] = field(default_factory=list)


def next_page(
    user: User, *, cursor: str | None, limit: int, context: Callable[[], dict[str, Any]]
) -> FeedPage:
    """The page after the cursor; without one the first of a full copy. Raises CursorInvalid.

    `context`: what serializers may ask for, called where there is something to render.
    """
    standing = _standing(user)
    if cursor is None:
        return _copy(user, Position(standing.scope, standing.newest, kind=0), limit, context())
    position = Position.parse(cursor)
    if position.feed > standing.newest:
        raise CursorInvalid  # from another life of the database
    if position.scope != standing.scope:
        start = Position(standing.scope, position.feed, kind=0)
        page = _copy(user, start, limit, context())
        return FeedPage(page.position, page.has_more, reset=True, changes=page.changes)
    if position.kind is not None:
        return _copy(user, position, limit, context())
    if position.feed == standing.newest:
        return FeedPage(position, False)
    return _changes(user, position, standing, limit, context())


# ---- the copy ---------------------------------------------------------------------------------


def _copy(user: User, position: Position, limit: int, context: dict[str, Any]) -> FeedPage:
    changes: list[dict[str, Any]] = []
    index, after = position.kind or 0, position.after
    since = clock.now() - RECENT
    while index < len(KINDS) and len(changes) < limit:
        kind, room = KINDS[index], limit - len(changes)
        rows = kind.recent(kind.visible(user), since)
        if after:
            rows = rows.filter(**{f"{kind.key}__gt": after})
        keys = list(rows.order_by(kind.key).values_list(kind.key, flat=True)[: room + 1])
        data = _data_of(kind, user, keys[:room], context)
        changes += [_change(kind.type, key, data.get(key)) for key in keys[:room] if key in data]
        if len(keys) > room:
            after = keys[room - 1]
        else:
            index, after = index + 1, None
    if index < len(KINDS):
        return FeedPage(
            Position(position.scope, position.feed, index, after), True, changes=changes
        )
    return FeedPage(Position(position.scope, position.feed), False, changes=changes)


# ---- the feed ---------------------------------------------------------------------------------


def _changes(
    user: User, position: Position, standing: Standing, limit: int, context: dict[str, Any]
) -> FeedPage:
    """What changed after the position. Where the settled feed ended before we looked is where the
    next look begins: an idle phone would else pass everybody's changes every time."""
    schools = _schools_of(user, standing)
    rows = changes_after(position.feed, schools=schools, user_id=user.pk, limit=limit + 1)
    page, has_more = rows[:limit], len(rows) > limit
    read = (page[-1].txid, page[-1].pk) if page else position.feed
    position = Position(position.scope, read if has_more else max(read, standing.newest))
    return FeedPage(position, has_more, changes=_rendered(user, page, context))


def _rendered(user: User, rows: Sequence[Change], context: dict[str, Any]) -> list[dict[str, Any]]:
    """Each object once, at the place of its last change, with its latest data."""
    ordered: dict[tuple[str, UUID], bool] = {}
    for row in rows:
        if row.type in BY_TYPE:
            named = ordered.pop((row.type, row.object_id), False) or row.user_id == user.pk
            ordered[row.type, row.object_id] = named
    schools = _schools_of_visits(user, ordered)
    ordered = {("school", pk): False for pk in schools if ("school", pk) not in ordered} | ordered
    found = {
        kind.type: _data_of(
            kind, user, [pk for type_, pk in ordered if type_ == kind.type], context
        )
        for kind in KINDS
    }
    return [
        _change(type_, pk, found[type_].get(pk))
        for (type_, pk), named in ordered.items()
        if pk in found[type_] or named or BY_TYPE[type_].seen_by_school
    ]


def _schools_of_visits(user: User, ordered: Iterable[tuple[str, UUID]]) -> list[UUID]:
    """Schools that a phone gets to know by a visit only: there is no appointment to them."""
    visits = [pk for type_, pk in ordered if type_ == "visit"]
    if not visits:
        return []
    rows = Visit.objects.filter(pk__in=visits, team=user)
    known = schools_visible_to(user).values("pk")
    return list(rows.exclude(school__in=known).values_list("school_id", flat=True).distinct())


def _data_of(
    kind: Kind, user: User, keys: Sequence[UUID], context: dict[str, Any]
) -> dict[UUID, Any]:
    """The objects that the person may see, by id, as JSON."""
    found: dict[UUID, Any] = {}
    for start in range(0, len(keys), AT_ONCE):
        rows = list(kind.loaded(user).filter(**{f"{kind.key}__in": keys[start : start + AT_ONCE]}))
        data = kind.shape(rows, many=True, context=context).data
        for row, each in zip(rows, data, strict=True):
            found[getattr(row, kind.key)] = msgspec.Raw(msgspec.json.encode(each))
    return found


def _change(type_: str, pk: UUID, data: Any) -> dict[str, Any]:
    return {"type": type_, "id": str(pk), "op": PUT if data else DELETE, "data": data}


# ---- cursors ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """What a person is today, as a digest and as schools, and the end of the settled feed."""

    scope: str
    newest: FeedCursor
    is_office: bool
    schools: frozenset[UUID]


def _standing(user: User) -> Standing:
    """One query: this is what an idle phone costs, every time that it asks."""
    rows = {row[0]: row for row in _standing_query(clock.today()).every_values(user.pk)}
    end = rows.pop(user.pk)[1] or "0 0"
    text = "\n".join([str(user.is_superuser), *sorted(map(str, rows.values()))])
    return Standing(
        scope=hashlib.blake2b(text.encode(), digest_size=8).hexdigest(),
        newest=_place(end),
        is_office=user.is_superuser or any(row[1] in OFFICES for row in rows.values()),
        schools=frozenset(row[3] for row in rows.values() if row[3]),
    )


@lru_cache(maxsize=2)
def _standing_query(_today: date) -> StandingQuery[Any]:
    """The person's memberships and appointments of today, and the feed's end, written once a day."""
    return StandingQuery(_standing_rows, UUID)


def _standing_rows(user_id: UUID) -> Rows:
    roles = Membership.objects.filter(in_term(), user=user_id).order_by()
    appointments = Appointment.objects.filter(in_term(), inspector=user_id).order_by()
    place = Concat(Cast("txid", CharField()), Value(" "), Cast("id", CharField()))
    newest = newest_settled().annotate(place=place).values("place")[:1]
    return roles.values_list("pk", "role", "area_id", "school_id").union(
        appointments.values_list("pk", Value("appointed"), NOTHING, "school_id"),
        User.objects.filter(pk=user_id)
        .order_by()
        .values_list("pk", Subquery(newest, output_field=CharField()), NOTHING, NOTHING),
        all=True,
    )


_VISITED = StandingQuery(
    lambda user_id: Visit.objects.filter(team=user_id).order_by().values_list("school_id"), UUID
)


def _schools_of(user: User, standing: Standing) -> Sequence[UUID] | Rows:
    """The schools whose changes concern the person: by name where they are few, so that the feed is
    asked by index whatever the number of schools; an office's by its areas."""
    if standing.is_office:
        return schools_known_to(user).values("pk")
    return sorted(standing.schools.union(row[0] for row in _VISITED.every_values(user.pk)))


def _place(text: str) -> FeedCursor:
    txid, sequence = text.split()
    return int(txid), int(sequence)


def _stored(txid: int, sequence: int) -> FeedCursor:
    if not (0 <= txid < 2**63 and 0 <= sequence < 2**63):
        raise CursorInvalid
    return txid, sequence


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CursorInvalid from None
