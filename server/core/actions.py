"""Named actions that phones repeat: each carries an id of the phone's making and works once."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.core.errors import ContentConflict


class ActionRecord(models.Model):
    """Who did what to a subject, when by the phone's clock and when by ours, and what it changed."""

    id = models.UUIDField(primary_key=True)
    action = models.CharField(gettext_lazy("操作"), max_length=16)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        verbose_name=gettext_lazy("操作人"),
    )
    at = models.DateTimeField(gettext_lazy("手机时间"))
    received_at = models.DateTimeField(gettext_lazy("到达时间"), auto_now_add=True)
    from_state = models.CharField(max_length=16)
    to_state = models.CharField(max_length=16)
    content = models.JSONField(default=dict)

    class Meta:
        abstract = True
        ordering = ["received_at"]


A = TypeVar("A", bound=ActionRecord)


def earlier(
    records: models.QuerySet[A], *, action_id: UUID, action: str, by: Any, content: dict[str, Any]
) -> A | None:
    """The record of the same action sent before, or None. The subject must be locked by the caller.

    `records`: those of the subject. Raises ContentConflict when the id stands for something else.
    """
    record = records.model._default_manager.filter(pk=action_id).first()
    if record is None:
        return None
    same_subject = records.filter(pk=action_id).exists()
    if same_subject and (record.action, record.by_id, record.content) == (action, by.pk, content):
        return record
    raise ContentConflict(_("此操作编号已用于其他内容。请刷新后重新操作。"))
