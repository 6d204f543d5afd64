"""Storage use, kept while things change: by following the change feed, and a recount each night.

A submission or a finding that changed names the files to count again; each file knows how it was
counted last, so the sums move by the difference. What the feed does not tell (files that belong to no
submission yet) the nightly recount finds. One process at a time counts: the row of `Count` is its lock.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count as Counted
from django.db.models import F, QuerySet, Sum

from media_storage.models import MediaObject, Rendition
from server.activities.models import Activity, SubmissionAttachment
from server.care.models import Count, CountedMedia, StorageUse
from server.care.queries import uses_of
from server.conversations.models import MessageFile
from server.core import clock, schedule
from server.core.changes import Change, settled_after
from server.findings.models import FindingAction
from server.grid.models import Area, User
from server.grid.queries import schools_in_office_of

FEED = "storage"
CHANGES = 500
MEDIA = 500
SECONDS = 2.0
RECOUNT = timedelta(days=1)
WITHOUT_BYTES = (
    MediaObject.State.DECLARED,
    MediaObject.State.ARRIVED,
    MediaObject.State.DELETED,
)

Place = tuple[UUID | None, UUID | None, str]
"""Activity, school, state: what a sum is of."""


@dataclass
class Figures:
    """Files and bytes: of originals, and of what was made from them."""

    files: int = 0
    size: int = 0
    renditions: int = 0
    rendition_size: int = 0

    def add(self, other: Figures, sign: int = 1) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + sign * getattr(other, each.name))

    @property
    def total_size(self) -> int:
        return self.size + self.rendition_size


NAMES = tuple(each.name for each in fields(Figures))


# ---- counting --------------------------------------------------------------------------------


def follow_feed() -> int:
    """Count what changed since the last time. Returns how many changes were read."""
    read, stop = 0, time.monotonic() + SECONDS
    while time.monotonic() < stop:
        count, _created = Count.objects.get_or_create(name=FEED)
        if not settled_after((count.txid, count.sequence), limit=1):
            break  # looked at without a lock: an idle system writes nothing
        found = _follow()
        read += found
        if found < CHANGES:
            break
    return read


@transaction.atomic
def _follow() -> int:
    count = _locked()
    if count is None:
        return 0
    changes = settled_after((count.txid, count.sequence), limit=CHANGES)
    if changes:
        _count(_media_of(changes))
        count.txid, count.sequence = changes[-1].txid, changes[-1].pk
        count.counted_at = clock.now()
        count.save(update_fields=["txid", "sequence", "counted_at"])
    return len(changes)


def recount() -> int:
    """Go on with the nightly recount, for a few seconds at most. Returns how many files it looked at."""
    looked, stop = 0, time.monotonic() + SECONDS
    count, _created = Count.objects.get_or_create(name=FEED)
    if _is_recounted(count):
        return 0
    while time.monotonic() < stop and (found := _recount_some()):
        looked += found
    return looked


@transaction.atomic
def _recount_some() -> int:
    count = _locked()
    if count is None:
        return 0
    if _is_recounted(count):
        return 0
    rows = MediaObject.objects.order_by("pk")
    if count.recounted_after:
        rows = rows.filter(pk__gt=count.recounted_after)
    keys = list(rows.values_list("pk", flat=True)[:MEDIA])
    _count(keys)
    if len(keys) == MEDIA:
        count.recounted_after = keys[-1]
    else:
        count.recounted_after, count.recounted_at = None, clock.now()
    count.save(update_fields=["recounted_after", "recounted_at"])
    return len(keys)


def _is_recounted(count: Count) -> bool:
    """Whether the last recount was whole, and is not a day old."""
    last = count.recounted_at if count.recounted_after is None else None
    return last is not None and last > clock.now() - RECOUNT


def _locked() -> Count | None:
    """The row, or None while another process counts."""
    skip = connection.features.has_select_for_update_skip_locked
    return Count.objects.select_for_update(skip_locked=skip).filter(name=FEED).first()


def _media_of(changes: Sequence[Change]) -> set[UUID]:
    submissions = {each.object_id for each in changes if each.type == "submission"}
    findings = {each.object_id for each in changes if each.type == "finding"}
    attached = SubmissionAttachment.objects.filter(
        submission__in=submissions, media__isnull=False
    ).order_by()
    evidence = FindingAction.media.through.objects.filter(findingaction__finding__in=findings)
    talks = {each.object_id for each in changes if each.type == "conversation"}
    # A conversation says nothing of which message is new; what is older was counted when it was.
    sent = MessageFile.objects.filter(
        message__conversation__in=talks, message__created_at__gte=clock.now() - RECOUNT
    )
    return {
        *attached.values_list("media_id", flat=True),
        *evidence.values_list("mediaobject_id", flat=True),
        *sent.order_by().values_list("media_id", flat=True),
    }


def _count(media_ids: Collection[UUID]) -> None:
    """Bring the sums in step with these files. In a transaction, under the lock."""
    before = {row.pk: row for row in CountedMedia.objects.filter(pk__in=media_ids)}
    now = _counted(media_ids)
    changed = [row for key, row in now.items() if not _same(row, before.get(key))]
    moves: dict[Place, Figures] = {}
    for row in changed:
        moves.setdefault(_place(row), Figures()).add(_figures(row))
        if old := before.get(row.pk):
            moves.setdefault(_place(old), Figures()).add(_figures(old), -1)
    CountedMedia.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["media"],
        update_fields=["activity", "school", "state", "size", "renditions", "rendition_size"],
    )
    for place, figures in moves.items():
        _move(place, figures)


def _counted(media_ids: Collection[UUID]) -> dict[UUID, CountedMedia]:
    uses = uses_of(media_ids)
    made = {
        row["media"]: row
        for row in Rendition.objects.filter(media__in=media_ids)
        .order_by()
        .values("media")
        .annotate(number=Counted("pk"), bytes=Sum("size"))
    }
    rows = {}
    for key, state, size in MediaObject.objects.filter(pk__in=media_ids).values_list(
        "pk", "state", "size"
    ):
        first = next(iter(uses.get(key, ())), None)
        rows[key] = CountedMedia(
            media_id=key,
            activity_id=first.activity_id if first else None,
            school_id=first.school_id if first else None,
            state=state,
            size=0 if state in WITHOUT_BYTES else size,
            renditions=made[key]["number"] if key in made else 0,
            rendition_size=made[key]["bytes"] if key in made else 0,
        )
    return rows


def _same(row: CountedMedia, old: CountedMedia | None) -> bool:
    return old is not None and (_place(row), _figures(row)) == (_place(old), _figures(old))


def _place(row: CountedMedia) -> Place:
    return row.activity_id, row.school_id, row.state


def _figures(row: CountedMedia) -> Figures:
    return Figures(1, row.size, row.renditions, row.rendition_size)


def _move(place: Place, by: Figures) -> None:
    activity_id, school_id, state = place
    rows = StorageUse.objects.filter(activity=activity_id, school=school_id, state=state)
    moved = rows.update(**{name: F(name) + getattr(by, name) for name in NAMES})
    if not moved:
        StorageUse.objects.create(
            activity_id=activity_id, school_id=school_id, state=state, **vars(by)
        )


# ---- reading ---------------------------------------------------------------------------------


def storage_use_visible_to(user: User) -> QuerySet[StorageUse]:
    """The sums of the schools for which the person speaks as an office; the rest is superusers'."""
    if user.is_superuser:
        return StorageUse.objects.all()
    return StorageUse.objects.filter(school__in=schools_in_office_of(user).values("pk"))


@dataclass(frozen=True)
class Line:
    """The figures of one activity, school or state; `id` is None for what belongs to none."""

    id: UUID | str | None
    name: str
    figures: Figures


def lines_of(rows: QuerySet[StorageUse], by: str) -> list[Line]:
    """The sums by "activity", "school" or "state", the largest first. One query."""
    names = {"activity": "activity__title", "school": "school__name", "state": "state"}
    grouped = (
        rows.order_by()
        .values_list(by, names[by])
        .annotate(*(Sum(name) for name in NAMES))
        .filter(files__sum__gt=0)
    )
    lines = [Line(key, name or "", Figures(*sums)) for key, name, *sums in grouped]
    return sorted(lines, key=lambda line: (-line.figures.total_size, line.name))


def total_of(lines: Collection[Line]) -> Figures:
    """Everything in these lines."""
    total = Figures()
    for line in lines:
        total.add(line.figures)
    return total


@dataclass(frozen=True)
class Use:
    """Storage use by activity, by school and by state; each adds up to the total."""

    as_of: datetime | None
    total: Figures
    activities: list[Line]
    schools: list[Line]
    states: list[Line]


def storage_figures(
    user: User, *, area: Area | None = None, activity: Activity | None = None
) -> Use:
    """What the files at the person's offices' schools take; in an area, of an activity."""
    rows = storage_use_visible_to(user)
    if area:
        rows = rows.filter(school__area__path__startswith=area.path)
    if activity:
        rows = rows.filter(activity=activity)
    states = lines_of(rows, "state")
    return Use(
        as_of=Count.objects.filter(name=FEED).values_list("counted_at", flat=True).first(),
        total=total_of(states),
        activities=lines_of(rows, "activity"),
        schools=lines_of(rows, "school"),
        states=states,
    )


def start() -> None:
    """Count in the background; called when the app is ready."""
    schedule.every("care.count", timedelta(seconds=5), follow_feed)
    schedule.every("care.recount", timedelta(seconds=20), recount)
