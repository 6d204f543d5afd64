"""Deleting files that are kept no longer, or that somebody asked to have deleted.

What is due is announced to its office, waits for the grace period, and is then taken away by a worker
in steps that can be broken off and begun again anywhere:

1. In one transaction: the file and whatever could hold it are locked, holds and uses are looked at
   once more, the file becomes `deleted` (nobody gets an address of it any more), its renditions'
   rows go. Setting a hold locks the same rows: either the hold is seen here, or it comes too late.
2. Outside any transaction: the store erases every key, upload and version of it. Again if need be.
3. The store is read: it must answer that there is nothing. Addresses for uploads that may still be
   valid could bring bytes back; while there may be any, the file is looked at again afterwards.
4. In one transaction: the certificate, the audit log, the phones' change feed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.timezone import localdate
from django.utils.translation import gettext as _

from media_storage.errors import StoreUnavailable
from media_storage.models import Facts, MediaObject, Rendition
from media_storage.stores import UPLOAD_TIME, ObjectMissing, get_store
from server.activities.models import Activity, Visit
from server.activities.services.attaching import announce_processed as announce_submissions
from server.care import actions
from server.care.certificates import digest_of, draw_up
from server.care.exporting import expire_exports_of
from server.care.models import Deletion
from server.care.queries import (
    Use,
    deletions_visible_to,
    due_media,
    expired_activities,
    held_now,
    media_in_custody_of,
    used_in,
    uses_of,
)
from server.conversations.models import Conversation
from server.conversations.services import record_conversation_change
from server.core import clock, schedule, work
from server.core.audit import AuditAction, AuditEntry, record_audit
from server.core.errors import Conflict, Invalid, NotAllowed, NotFound, Problem, WrongState
from server.findings.evidence import announce_processed as announce_findings
from server.grid.models import Membership, School, User, in_term
from server.grid.queries import OFFICES
from server.messaging.services import notify

State = Deletion.State
Rule = Deletion.Rule
Kept = Deletion.Kept

AT_ONCE = 2000
"""Files of one activity that one look announces; the next look finds the rest."""
ADDRESS_MARGIN = timedelta(minutes=10)
PROCESSING_MARGIN = timedelta(hours=1)
"""A worker that had the file in hand may write a rendition for so long."""
KEPT_DAYS = 365
"""What a person keeps is not announced again before, unless they say another day."""


class Held(Conflict):
    code = "held"


# ---- what is due -----------------------------------------------------------------------------


def find_due() -> int:
    """Announce what is due. Returns how many files were found."""
    today = clock.today()
    return sum(_announce_in(each, today) for each in expired_activities(today).order_by("pk"))


@transaction.atomic
def _announce_in(activity: Activity, today: date) -> int:
    media = due_media(today).filter(used_in(activity)).order_by("pk")[:AT_ONCE]
    uses = uses_of(list(media.values_list("pk", flat=True)))
    for last, keys in _by_last_activity(uses).items():
        _announce(last, {key: uses[key] for key in keys})
    return len(uses)


def _by_last_activity(uses: Mapping[UUID, Sequence[Use]]) -> dict[Activity, list[UUID]]:
    """A file of several activities is deleted by the rule of the one that kept it longest."""
    named = {use.activity_id for each in uses.values() for use in each if use.activity_id}
    activities = Activity.objects.select_related("area", "created_by").in_bulk(named)
    groups: dict[Activity, list[UUID]] = {}
    for key, each in uses.items():
        kept = [activities[use.activity_id] for use in each if use.activity_id]
        last = max(kept, key=lambda activity: activity.media_kept_until or date.max)
        groups.setdefault(last, []).append(key)
    return groups


def _announce(activity: Activity, uses: Mapping[UUID, Sequence[Use]]) -> None:
    moment = clock.now()
    delete_after = moment + timedelta(days=settings.DELETION_GRACE_DAYS)
    decided_by = _who_set_retention(activity)
    Deletion.objects.bulk_create(
        [
            Deletion(
                media_id=key,
                activity=activity,
                school_id=_school_of(each, activity),
                rule=Rule.RETENTION,
                decided_by=decided_by,
                found_at=moment,
                delete_after=delete_after,
                work_due_at=delete_after,
            )
            for key, each in uses.items()
        ],
        batch_size=500,
        ignore_conflicts=True,  # asked for by a person a moment ago
    )
    record_audit(
        actions.DELETION_ANNOUNCED,
        by=None,
        subject=("activity", activity.pk),
        activity_id=activity.pk,
        details={"files": len(uses), "delete_after": delete_after.isoformat()},
    )
    notify(
        "media.deletion_due",
        recipients=_office_of(activity),
        subject=("activity", activity.pk),
        area=activity.area,
        activity=activity.title,
        count=str(len(uses)),
        day=localdate(delete_after).isoformat(),
    )


def _school_of(uses: Sequence[Use], activity: Activity) -> UUID | None:
    ours = [use.school_id for use in uses if use.activity_id == activity.pk]
    return next(iter(ours), None) or uses[0].school_id


def _who_set_retention(activity: Activity) -> User:
    last = (
        AuditEntry.objects.filter(
            object_type="activity", object_id=activity.pk, action=actions.RETENTION_CHANGED.code
        )
        .select_related("by")
        .order_by("-at")
        .first()
    )
    return (last and last.by) or activity.created_by


def _office_of(activity: Activity) -> QuerySet[User]:
    roles = Membership.objects.filter(in_term(), area=activity.area, role__in=OFFICES)
    return User.objects.filter(pk__in=roles.values("user"), is_active=True)


# ---- what people decide ----------------------------------------------------------------------


@transaction.atomic
def request_deletion(*, media_ids: Collection[UUID], by: User, reason: str) -> list[Deletion]:
    """Have files deleted because a person asks for it, whatever their retention says.

    The same path: a grace period, holds, a certificate. Asking again changes nothing. Only a county
    office may, over every school where the file serves. Raises NotFound, Held, Invalid.
    """
    if not reason.strip():
        raise Invalid(problems=[Problem("/reason", "required", _("请说明理由。"))])
    wanted = set(media_ids)
    mine = media_in_custody_of(by).filter(pk__in=wanted).order_by("pk")
    rows = list(mine.select_for_update(of=("self",)))
    if len(rows) < len(wanted):
        raise NotFound
    if held := MediaObject.objects.filter(held_now(), pk__in=wanted).first():
        raise Held(_("“%s”处于保全中，不能删除。请先解除保全。") % held.filename)
    delete_after = clock.now() + timedelta(days=settings.DELETION_GRACE_DAYS)
    uses = uses_of(wanted)
    return [
        _request(
            media,
            by,
            reason=reason.strip()[:500],
            delete_after=delete_after,
            uses=uses.get(media.pk, []),
        )
        for media in rows
    ]


def _request(
    media: MediaObject,
    by: User,
    *,
    reason: str,
    delete_after: datetime,
    uses: Sequence[Use],
) -> Deletion:
    running = media.deletions.select_for_update(of=("self",)).exclude(state=State.KEPT).first()
    if running and (running.state != State.DUE or running.rule == Rule.REQUEST):
        return running
    row = running or Deletion(media=media, found_at=clock.now())
    row.rule, row.reason, row.decided_by = Rule.REQUEST, reason, by
    row.delete_after = row.work_due_at = min(delete_after, row.delete_after or delete_after)
    row.school_id = row.school_id or (uses[0].school_id if uses else None)
    row.activity_id = row.activity_id or (uses[0].activity_id if uses else None)
    row.save()
    _record(actions.DELETION_REQUESTED, row, by, reason=reason)
    return row


@transaction.atomic
def keep_file(*, deletion_id: UUID, by: User, reason: str, until: date | None = None) -> Deletion:
    """Take a file off the list; it is not announced again before `until` (a year, unless said).

    Raises NotFound, WrongState once it is being deleted, Invalid.
    """
    row = _decidable(deletion_id, by)
    if not reason.strip():
        raise Invalid(problems=[Problem("/reason", "required", _("请说明理由。"))])
    if until and until <= clock.today():
        raise Invalid(problems=[Problem("/until", "past", _("保留至的日期应晚于今天。"))])
    row.kept_until = until or clock.today() + timedelta(days=KEPT_DAYS)
    row.kept_by, row.kept_reason = by, reason.strip()[:500]
    _keep(row, Kept.PERSON)
    _record(
        actions.DELETION_KEPT, row, by, reason=row.kept_reason, until=row.kept_until.isoformat()
    )
    return row


@transaction.atomic
def delete_now(*, deletion_id: UUID, by: User) -> Deletion:
    """End the grace period of one file. Holds still stand against it. Raises as `keep_file` does."""
    row = _decidable(deletion_id, by)
    row.delete_after = row.work_due_at = clock.now()
    row.save(update_fields=["delete_after", "work_due_at"])
    _record(actions.DELETION_HASTENED, row, by)
    return row


def _decidable(deletion_id: UUID, by: User) -> Deletion:
    rows = Deletion.objects.filter(media__in=media_in_custody_of(by).values("pk"))
    row = rows.select_for_update(of=("self",)).filter(pk=deletion_id).first()
    if row is None:
        if deletions_visible_to(by).filter(pk=deletion_id).exists():
            raise NotAllowed(_("只有教育督导办可以决定保留或立即删除。"))
        raise NotFound
    if row.state != State.DUE:
        raise WrongState(_("当前状态是“%s”，不能再更改。") % row.get_state_display())
    return row


# ---- the worker ------------------------------------------------------------------------------


def rows() -> QuerySet[Deletion]:
    """Every deletion: those without work have no due moment."""
    return Deletion.objects.select_related("media__owner", "activity", "decided_by")


def carry_out(row: Deletion) -> None:
    """Take one file as far as it goes now. Runs any number of times with the same result."""
    if row.state == State.DUE:
        row = _begin(row.pk, row.media_id)
    if row.state == State.DELETING:
        _erase(row)


@transaction.atomic
def _begin(deletion_id: UUID, media_id: UUID) -> Deletion:
    """The decision, under locks: from here on nobody gets an address of the file."""
    # Evidence that is being brought locks the file as well (findings.services): one waits for the other.
    media = MediaObject.objects.select_for_update(of=("self",)).get(pk=media_id)
    lock_places(uses_of([media_id]).get(media_id, ()))
    row = rows().select_for_update(of=("self",)).get(pk=deletion_id)
    if row.state != State.DUE or row.delete_after > clock.now():
        return row
    if refusal := _refusal(row):
        _keep(row, refusal)
        _record(actions.DELETION_KEPT, row, None, why=refusal.value)
        return row
    row.places = {
        "key": media.key,
        "upload_id": media.upload_id,
        "others": sorted(
            each.key for each in media.renditions.all() if not each.key.startswith(media.key)
        ),
    }
    row.look_again_at = _look_again_at(media)
    row.state, row.started_at = State.DELETING, clock.now()
    row.save(update_fields=["state", "started_at", "places", "look_again_at"])
    Rendition.objects.filter(media=media).delete()
    # What a camera wrote into the file is part of it; what we compare by (hash, time) stays.
    Facts.objects.filter(media=media).update(exif={})
    MediaObject.objects.filter(pk=media_id).update(
        state=MediaObject.State.DELETED, upload_id="", work_due_at=None, work_dead_at=None
    )
    _tell_phones(media)
    _record(actions.DELETION_STARTED, row, None)
    return row


def lock_places(uses: Sequence[Use]) -> None:
    """Lock what a hold could be set on, always in this order."""
    places: tuple[tuple[type[Visit | Activity | School], str], ...] = (
        (Visit, "visit_id"),
        (Activity, "activity_id"),
        (School, "school_id"),
    )
    for model, name in places:
        keys = {key for use in uses if (key := getattr(use, name))}
        locked: QuerySet[Any] = model._default_manager.filter(pk__in=keys).order_by("pk")
        list(locked.select_for_update(of=("self",), no_key=True).values_list("pk"))


def _refusal(row: Deletion) -> Kept | None:
    if MediaObject.objects.filter(held_now(), pk=row.media_id).exists():
        return Kept.HELD
    if row.rule == Rule.RETENTION:
        due = due_media(clock.today(), announced=True).filter(pk=row.media_id)
        return None if due.exists() else Kept.NOT_DUE
    return None


def _look_again_at(media: MediaObject) -> datetime | None:
    """Until when an address that was given out, or a worker, could bring bytes back."""
    moment = clock.now()
    if media.state == MediaObject.State.DECLARED or media.stored_at is None:
        return moment + UPLOAD_TIME + ADDRESS_MARGIN
    ends = [media.stored_at + UPLOAD_TIME + ADDRESS_MARGIN]
    if media.state in (MediaObject.State.STORED, MediaObject.State.PROCESSING):
        ends.append(moment + PROCESSING_MARGIN)
    return max(ends) if max(ends) > moment else None


def _erase(row: Deletion) -> None:
    """Erase, then read: what the store answers is the proof. Raises TemporaryFailure."""
    store = get_store()
    uses = uses_of([row.media_id]).get(row.media_id, [])
    places = [row.places["key"], *row.places["others"]]
    try:
        expire_exports_of({use.activity_id for use in uses if use.activity_id})
        erased = [store.erase(key, upload_id=row.places["upload_id"]) for key in places]
        keys = {key for each in erased for key in each.keys}
        left = [trace for key in places for trace in store.traces(key)]
        left += [key for key in sorted(keys) if _can_be_read(key)]
    except StoreUnavailable as down:
        raise work.TemporaryFailure(str(down)) from down
    if left:
        raise work.TemporaryFailure(f"still in the store: {', '.join(left[:5])}")
    if row.look_again_at and row.look_again_at > clock.now():
        rows().filter(pk=row.pk, state=State.DELETING).update(work_due_at=row.look_again_at)
        return
    versions = [each.versions for each in erased]
    known = sum(count for count in versions if count is not None)
    _finish(row, dict.fromkeys(keys, "404"), None if None in versions else known)


def _can_be_read(key: str) -> bool:
    try:
        next(get_store().read(key), b"")
    except ObjectMissing:
        return False
    return True


@transaction.atomic
def _finish(row: Deletion, answers: dict[str, str], versions: int | None) -> None:
    row = rows().select_for_update(of=("self",)).get(pk=row.pk)
    if row.state != State.DELETING:
        return  # another worker, after our lease ran out, was first
    moment = clock.now()
    uses = uses_of([row.media_id]).get(row.media_id, [])
    row.certificate = draw_up(row, uses=uses, answers=answers, versions=versions, checked_at=moment)
    row.certificate_sha256 = digest_of(row.certificate)
    row.state, row.deleted_at = State.DELETED, moment
    row.save(update_fields=["state", "deleted_at", "certificate", "certificate_sha256"])
    _tell_phones(row.media)
    _record(
        actions.MEDIA_DELETED,
        row,
        None,
        certificate=row.number,
        certificate_sha256=row.certificate_sha256,
    )


def _keep(row: Deletion, code: Kept) -> None:
    row.state, row.kept_code, row.work_due_at = State.KEPT, code.value, None
    row.save(
        update_fields=[
            *("state", "kept_code", "kept_by", "kept_reason", "kept_until", "work_due_at")
        ]
    )


def _tell_phones(media: MediaObject) -> None:
    """Those that show the file's submission, finding or conversation fetch them again."""
    announce_submissions(media=media)
    announce_findings(media=media)
    for conversation in Conversation.objects.filter(messages__files__media=media):
        record_conversation_change(conversation)


def _record(action: AuditAction, row: Deletion, by: User | None, **details: Any) -> None:
    record_audit(
        action,
        by=by,
        subject=("media", row.media_id),
        school_id=row.school_id,
        activity_id=row.activity_id,
        details={
            "deletion": str(row.pk),
            "filename": row.media.filename,
            "sha256": row.media.sha256,
            "rule": row.rule,
            **details,
        },
    )


PUMP = work.Pump(
    name="deletions",
    rows=rows,
    handle=carry_out,
    batch=4,
    lease_seconds=300,
    max_attempts=40,
    backoff_limit_seconds=3600.0,
    slow=True,
)


def start() -> None:
    """Make the pump known; called when the app is ready."""
    work.register(PUMP)
    schedule.every("care.due", timedelta(hours=1), find_due)
