"""Legal holds: while one lasts, nothing below its target is deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.activities.queries import activities_managed_by
from server.care.actions import HOLD_LIFTED, HOLD_SET
from server.care.models import Deletion, Hold
from server.care.queries import (
    held_by,
    holds_visible_to,
    is_custodian,
    media_in_custody_of,
    schools_in_custody_of,
    uses_of,
)
from server.core import clock
from server.core.audit import AuditAction, record_audit
from server.core.errors import Invalid, NotAllowed, NotFound, Problem
from server.grid.models import User

_TARGETS: dict[str, Callable[[User], QuerySet[Any]]] = {
    "activity": activities_managed_by,
    "school": schools_in_custody_of,
    "visit": lambda by: Visit.objects.filter(school__in=schools_in_custody_of(by).values("pk")),
    "media": lambda by: MediaObject.objects.filter(pk__in=media_in_custody_of(by).values("pk")),
}


@transaction.atomic
def set_hold(*, target: str, target_id: UUID, by: User, reason: str) -> tuple[Hold, int]:
    """Hold an activity, a school, a visit or one file ("media"). Only county offices may.

    What was due below it is kept; the number says how many. What is already being deleted is not
    brought back. Raises NotFound, NotAllowed, Invalid.
    """
    if not is_custodian(by):
        raise NotAllowed(_("只有教育督导办可以设置或解除保全。"))
    if not reason.strip():
        raise _reason_missing()
    # The deletion locks the same rows before it looks for holds: one of the two comes first.
    rows = _TARGETS[target](by).filter(pk=target_id)
    if not list(rows.select_for_update(of=("self",), no_key=target != "media")):
        raise NotFound
    hold = Hold.objects.create(
        **{f"{target}_id": target_id},
        reason=reason.strip()[:500],
        set_by=by,
        set_at=clock.now(),
    )
    due = Deletion.objects.filter(
        state=Deletion.State.DUE, media__in=MediaObject.objects.filter(held_by(hold)).values("pk")
    )
    kept = due.update(
        state=Deletion.State.KEPT,
        kept_code=Deletion.Kept.HELD,
        kept_by=by,
        kept_reason=hold.reason,
        work_due_at=None,
    )
    _record(HOLD_SET, hold, by, reason=hold.reason, kept=kept)
    return hold, kept


@transaction.atomic
def lift_hold(*, hold_id: UUID, by: User, reason: str) -> Hold:
    """End a hold. What is due is found again, and has its full grace period again.

    Lifting twice changes nothing. Raises NotFound, NotAllowed, Invalid.
    """
    if not is_custodian(by):
        raise NotAllowed(_("只有教育督导办可以设置或解除保全。"))
    hold = holds_visible_to(by).select_for_update(of=("self",)).filter(pk=hold_id).first()
    if hold is None:
        raise NotFound
    if not reason.strip():
        raise _reason_missing()
    if hold.is_active:
        hold.lifted_by, hold.lifted_at = by, clock.now()
        hold.lift_reason = reason.strip()[:500]
        hold.save(update_fields=["lifted_by", "lifted_at", "lift_reason"])
        _record(HOLD_LIFTED, hold, by, reason=hold.lift_reason)
    return hold


def _record(action: AuditAction, hold: Hold, by: User, **details: Any) -> None:
    school_id, activity_id = hold.school_id, hold.activity_id
    if hold.visit:
        school_id, activity_id = hold.visit.school_id, hold.visit.activity_id
    elif hold.media_id and (uses := uses_of([hold.media_id]).get(hold.media_id)):
        school_id, activity_id = uses[0].school_id, uses[0].activity_id
    target = next(name for name in Hold.TARGETS if getattr(hold, f"{name}_id"))
    record_audit(
        action,
        by=by,
        subject=(target, hold.target.pk),
        school_id=school_id,
        activity_id=activity_id,
        details={"hold": str(hold.pk), "target": str(hold.target), **details},
    )


def _reason_missing() -> Invalid:
    return Invalid(problems=[Problem("/reason", "required", _("请说明理由。"))])
