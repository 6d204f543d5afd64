"""Saved lists: named audiences of an office."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from server.core import clock
from server.core.audit import record_audit
from server.core.errors import Conflict, Invalid, NotAllowed, NotFound, Problem
from server.grid.models import User
from server.messaging.actions import LIST_DELETED, LIST_SAVED
from server.messaging.composing import office_of
from server.messaging.models import SavedAudience
from server.messaging.queries import Audience, saved_lists_of
from server.messaging.sources import activities_are_visible

MAX_NAME = 80


class ListNameTaken(Conflict):
    code = "list_name_taken"
    title = _("本单位已有同名的常用范围，请换一个名称")


def save_list(*, list_id: UUID, by: User, name: str, audience: Audience) -> SavedAudience:
    """Make a list of the person's office, or change it. Repeating it changes nothing.

    Raises NotAllowed, NotFound, Invalid, ListNameTaken.
    """
    office, name = office_of(by), name.strip()
    if office is None:
        raise NotAllowed
    problems = []
    if not 0 < len(name) <= MAX_NAME:
        how_long = _("请填写名称，不超过 %(n)s 个字") % {"n": MAX_NAME}
        problems.append(Problem("/name", "length", how_long))
    if audience.names_nobody:
        problems.append(Problem("/audience", "nobody", _("请选择行政区、学校、角色或人员。")))
    if audience.lists:
        nested = _("常用范围里不能再放常用范围")
        problems.append(Problem("/audience/lists", "nested", nested))
    if problems:
        raise Invalid(problems=problems)
    if audience.activities and not activities_are_visible(audience.activities, by):
        raise NotFound(_("找不到这个活动，或您无权查看。"))
    told = {"name": name, "audience": audience.as_json()}
    try:
        with transaction.atomic():
            row, created = SavedAudience.objects.select_for_update().get_or_create(
                id=list_id, defaults={**told, "office": office, "created_by": by}
            )
            if not created:
                row = _own(list_id, by)
                if {key: getattr(row, key) for key in told} == told:
                    return row
                row.name, row.audience = name, audience.as_json()
                row.save(update_fields=[*told, "updated_at"])
            record_audit(LIST_SAVED, by=by, subject=("audience", row.pk), details=told)
    except IntegrityError:
        raise ListNameTaken from None
    return row


def delete_list(*, list_id: UUID, by: User) -> None:
    """Nobody chooses the list any more; what is sent by it later still finds it. Raises NotFound."""
    with transaction.atomic():
        row = _own(list_id, by)
        row.deleted_at = clock.now()
        row.save(update_fields=["deleted_at"])
        record_audit(LIST_DELETED, by=by, subject=("audience", row.pk), details={"name": row.name})


def _own(list_id: UUID, by: User) -> SavedAudience:
    row = saved_lists_of(by).select_for_update(of=("self",)).filter(id=list_id).first()
    if row is None:
        raise NotFound
    return row
