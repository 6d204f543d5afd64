"""Opening an original: only with the right, and never without a line in the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from media_storage.services import READ_TIME, readable_url
from server.care.actions import GRANT_ENDED, GRANT_GIVEN, ORIGINAL_OPENED
from server.care.models import OriginalsGrant
from server.care.queries import (
    grants_visible_to,
    originals_open_to,
    schools_in_custody_of,
    uses_of,
)
from server.conversations.queries import media_visible_to
from server.core import clock
from server.core.audit import AuditAction, record_audit
from server.core.errors import Conflict, Gone, Invalid, NotAllowed, NotFound, Problem
from server.grid.models import Area, School, User
from server.grid.queries import area_paths, people_visible_to

State = MediaObject.State
READABLE = (State.STORED, State.PROCESSING, State.READY)


@dataclass(frozen=True)
class OpenedOriginal:
    """A signed address; it works until `expires_at`, and on the embedded store a little longer."""

    media: MediaObject
    url: str
    expires_at: datetime


@transaction.atomic
def open_original(*, media_id: UUID, by: User, base_url: str, reason: str = "") -> OpenedOriginal:
    """Hand out the address of one original, and record that it was. Each call is one entry.

    Raises NotFound for what one may not see, NotAllowed for what one sees without the right to its
    original, Gone for what was deleted, Conflict for what has not arrived or was rejected.
    """
    media = media_visible_to(by).filter(pk=media_id).first()
    if media is None:
        raise NotFound
    if media.state == State.DELETED:
        raise Gone(media.reject_reason)
    if not originals_open_to(by).filter(pk=media_id).exists():
        raise NotAllowed(
            _("您可以查看缩略图和共享图；原图只向有权限的人员开放，请联系教育督导办。")
        )
    if media.state not in READABLE:
        raise Conflict(media.reject_reason or _("文件尚未上传。"))
    first = next(iter(uses_of([media.pk]).get(media.pk, ())), None)
    record_audit(
        ORIGINAL_OPENED,
        by=by,
        subject=("media", media.pk),
        school_id=first.school_id if first else None,
        activity_id=first.activity_id if first else None,
        details={"filename": media.filename, "sha256": media.sha256, "reason": reason[:500]},
    )
    return OpenedOriginal(media, readable_url(media, base_url=base_url), clock.now() + READ_TIME)


# ---- grants ----------------------------------------------------------------------------------


@transaction.atomic
def grant_originals(
    *,
    by: User,
    user_id: UUID,
    reason: str,
    area_id: UUID | None = None,
    school_id: UUID | None = None,
    ends: date | None = None,
) -> OriginalsGrant:
    """Let a person open originals in an area or at a school that `by` answers for, until `ends`.

    It adds nothing to what they see. Raises NotAllowed, Invalid with the field.
    """
    area, school = _place(by, area_id, school_id)
    person = people_visible_to(by).filter(pk=user_id, is_active=True).first()
    if person is None:
        raise _wrong("/user", "unknown", _("找不到这个人，或您无权授权。"))
    if ends and ends < clock.today():
        raise _wrong("/ends", "past", _("结束日期已过。"))
    if not reason.strip():
        raise _wrong("/reason", "required", _("请说明理由。"))
    grant = OriginalsGrant.objects.create(
        user=person, area=area, school=school, ends=ends, reason=reason.strip()[:500], granted_by=by
    )
    _record(GRANT_GIVEN, grant, by)
    return grant


@transaction.atomic
def end_grant(*, grant_id: UUID, by: User) -> OriginalsGrant:
    """Take a grant back from today on; it never holds again. Raises NotFound."""
    rows = grants_visible_to(by).select_for_update(of=("self",))
    grant = rows.filter(pk=grant_id).first()
    if grant is None:
        raise NotFound
    yesterday = date.fromordinal(clock.today().toordinal() - 1)
    if grant.ends is None or grant.ends > yesterday:
        grant.ends = yesterday
        grant.starts = min(grant.starts, yesterday)
        grant.save(update_fields=["starts", "ends"])
        _record(GRANT_ENDED, grant, by)
    return grant


def _place(
    by: User, area_id: UUID | None, school_id: UUID | None
) -> tuple[Area | None, School | None]:
    if bool(area_id) == bool(school_id):
        raise _wrong("/area", "one_place", _("请选择一个行政区或一所学校。"))
    if school_id:
        school = schools_in_custody_of(by).filter(pk=school_id).first()
        if school is None:
            raise NotAllowed(_("只有教育督导办可以授权查看本辖区的原图。"))
        return None, school
    area = Area.objects.filter(pk__in=[area_id]).first()
    paths = area_paths(by, "office")
    if area is None or not (by.is_superuser or area.path.startswith(tuple(paths))):
        raise NotAllowed(_("只有教育督导办可以授权查看本辖区的原图。"))
    return area, None


def _record(action: AuditAction, grant: OriginalsGrant, by: User) -> None:
    record_audit(
        action,
        by=by,
        subject=("user", grant.user_id),
        school_id=grant.school_id,
        details={
            "grant": str(grant.pk),
            "person": str(grant.user),
            "place": str(grant.area or grant.school),
            "ends": grant.ends.isoformat() if grant.ends else None,
            "reason": grant.reason,
        },
    )


def _wrong(pointer: str, code: str, detail: str) -> Invalid:
    return Invalid(problems=[Problem(pointer, code, detail)])
