"""For how long an activity's photos are kept: said when it is planned, and changed here later."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from server.activities.models import Activity
from server.activities.queries import activities_managed_by
from server.activities.services.planning import checked_keep_days
from server.care.actions import RETENTION_CHANGED
from server.care.models import Deletion
from server.care.queries import due_media
from server.core import clock
from server.core.audit import record_audit
from server.core.errors import Invalid, NotFound, Problem
from server.grid.models import User


@transaction.atomic
def set_retention(
    *,
    activity_id: UUID,
    by: User,
    keep_days: int | None = None,
    until: date | None = None,
    reason: str,
) -> tuple[Activity, int]:
    """Keep an activity's photos so many days after its end, or until a day; neither: for ever.

    What is due and is not any more is kept; the number says how many. A shorter time deletes nothing
    at once: what becomes due is announced and has its grace period. Raises NotFound, Invalid.
    """
    rows = activities_managed_by(by).select_for_update(of=("self",), no_key=True)
    activity = rows.filter(pk=activity_id).first()
    if activity is None:
        raise NotFound
    if not reason.strip():
        raise Invalid(problems=[Problem("/reason", "required", _("请说明理由。"))])
    before = activity.keep_media_days
    activity.keep_media_for(checked_keep_days(_days(activity, keep_days, until)))
    activity.save(update_fields=["keep_media_days", "media_kept_until"])
    kept = _keep_what_is_not_due(activity)
    record_audit(
        RETENTION_CHANGED,
        by=by,
        subject=("activity", activity.pk),
        activity_id=activity.pk,
        details={
            "activity": activity.title,
            "days": {"before": before, "after": activity.keep_media_days},
            "until": activity.media_kept_until.isoformat() if activity.media_kept_until else None,
            "reason": reason.strip()[:500],
            "kept": kept,
        },
    )
    return activity, kept


def _days(activity: Activity, keep_days: int | None, until: date | None) -> int | None:
    if until is None:
        return keep_days
    if until <= activity.ends:
        detail = _("保存至的日期应晚于活动结束日期。")
        raise Invalid(problems=[Problem("/until", "before_end", detail)])
    return (until - activity.ends).days


def _keep_what_is_not_due(activity: Activity) -> int:
    """Of what was announced for this activity: what its new day, or another use, still keeps."""
    due = Deletion.objects.filter(
        state=Deletion.State.DUE, rule=Deletion.Rule.RETENTION, activity=activity
    )
    still = due_media(clock.today(), announced=True).values("pk")
    return due.exclude(media__in=still).update(
        state=Deletion.State.KEPT, kept_code=Deletion.Kept.NOT_DUE, work_due_at=None
    )
