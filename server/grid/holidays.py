"""Who keeps the table of holidays: offices, each change in the audit log."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.core.audit import AuditAction, audit_action, record_audit
from server.core.errors import Conflict, Invalid, NotAllowed, NotFound, Problem
from server.grid.models import Holiday, Membership, User
from server.grid.queries import has_role
from server.grid.workdays import shipped_holidays

HOLIDAY_SAVED = audit_action("holiday.saved", gettext_lazy("修改节假日"))
HOLIDAY_REMOVED = audit_action("holiday.removed", gettext_lazy("删除节假日"))
HOLIDAYS_IMPORTED = audit_action("holiday.imported", gettext_lazy("导入节假日"))


def may_keep_holidays(user: User) -> bool:
    """Education offices keep the one table that all of them share; town groups read it."""
    return user.is_superuser or has_role(user, Membership.Role.OFFICE)


def check_may_keep(by: User) -> None:
    """Raises NotAllowed."""
    if not may_keep_holidays(by):
        raise NotAllowed(_("只有教育督导办可以维护节假日。"))


@transaction.atomic
def save_holiday(
    *, by: User, day: date, name: str, is_workday: bool, holiday_id: UUID | None = None
) -> Holiday:
    """A new row, or another content of one. Raises NotAllowed, NotFound, Invalid, Conflict."""
    check_may_keep(by)
    if not name.strip():
        raise Invalid(problems=[Problem("/name", "blank", _("请填写名称。"))])
    row = Holiday(day=day)
    if holiday_id:
        found = Holiday.objects.select_for_update().filter(pk=holiday_id).first()
        if found is None:
            raise NotFound
        row = found
    if Holiday.objects.filter(day=day).exclude(pk=row.pk).exists():
        taken = _("这一天已经有记录，请修改已有的记录。")
        raise Conflict(taken, problems=[Problem("/day", "taken", taken)])
    row.day, row.name, row.is_workday = day, name.strip(), is_workday
    row.save()
    _record(HOLIDAY_SAVED, by, row)
    return row


@transaction.atomic
def remove_holiday(*, by: User, holiday_id: UUID) -> None:
    """The day is again what its weekday says. Raises NotAllowed, NotFound."""
    check_may_keep(by)
    row = Holiday.objects.filter(pk=holiday_id).first()
    if row is None:
        raise NotFound
    _record(HOLIDAY_REMOVED, by, row)
    row.delete()


@transaction.atomic
def add_shipped(*, by: User) -> int:
    """Add what this release knows and the table does not; nothing that is there is changed."""
    check_may_keep(by)
    known = set(Holiday.objects.values_list("day", flat=True))
    missing = [row for row in shipped_holidays() if row.day not in known]
    Holiday.objects.bulk_create(missing, ignore_conflicts=True)
    if missing:
        record_import(by, created=len(missing), updated=0)
    return len(missing)


def record_import(by: User, *, created: int, updated: int) -> None:
    """One entry for a whole file."""
    record_audit(
        HOLIDAYS_IMPORTED,
        by=by,
        subject=("holiday", None),
        details={"created": created, "updated": updated},
    )


def _record(action: AuditAction, by: User, row: Holiday) -> None:
    record_audit(
        action,
        by=by,
        subject=("holiday", row.pk),
        details={"target": str(row), "workday": row.is_workday},
    )
