"""What belongs to a hand-written notice: drafts, saved lists, attachments, versions, answers."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from media_storage.models import MediaObject
from server.core.ids import new_id
from server.core.work import Work, due_index
from server.grid.models import Area
from server.messaging.models.devices import Device
from server.messaging.models.notices import Notice


class SavedAudience(models.Model):
    """A named list of an office's, to send to again and again. `audience` is as a notice has it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    office = models.ForeignKey(
        Area, models.CASCADE, related_name="saved_audiences", verbose_name=_("所属单位")
    )
    name = models.CharField(_("名称"), max_length=80)
    audience = models.JSONField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("创建人"),
    )
    updated_at = models.DateTimeField(_("更新时间"), auto_now=True)
    # A notice that is still to be sent finds its list even then.
    deleted_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("常用范围")
        verbose_name_plural = pgettext_lazy("list", "常用范围")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["office", "name"],
                condition=Q(deleted_at=None),
                name="saved_audience_once",
            )
        ]

    def __str__(self) -> str:
        return self.name


class NoticeDraft(models.Model):
    """What somebody has written so far, as they wrote it. Its id becomes the notice's."""

    id = models.UUIDField(primary_key=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="notice_drafts"
    )
    fields = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-updated_at"]

    def __str__(self) -> str:
        return str(self.fields.get("title") or self.id)


class NoticeAttachment(models.Model):
    """A file of a notice. One that a correction took away stays, for the history."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    notice = models.ForeignKey(Notice, models.CASCADE, related_name="attachments", db_index=False)
    media = models.ForeignKey(MediaObject, models.PROTECT, related_name="notice_attachments")
    position = models.PositiveSmallIntegerField(default=0)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["notice", "media"], name="notice_attachment_once")
        ]

    def __str__(self) -> str:
        return str(self.media)


class NoticeVersion(models.Model):
    """The text of a notice from one correction to the next. The id of a correction is the client's."""

    id = models.UUIDField(primary_key=True, default=new_id)
    notice = models.ForeignKey(Notice, models.CASCADE, related_name="versions", db_index=False)
    number = models.PositiveSmallIntegerField(_("版本"))
    title = models.TextField(_("标题"))
    body = models.TextField(_("正文"))
    files = models.JSONField(default=list)
    note = models.CharField(_("更正说明"), max_length=200, blank=True, default="")
    asks_again = models.BooleanField(default=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["notice", "number"], name="notice_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.number}"


class PastReceipt(models.Model):
    """A confirmation of an earlier version, from before it was asked for again."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    notice = models.ForeignKey(Notice, models.CASCADE, related_name="past_receipts")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False
    )
    acknowledged_at = models.DateTimeField()
    device_time = models.DateTimeField(null=True)
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="+", db_index=False)

    def __str__(self) -> str:
        return f"{self.acknowledged_at}"


class NoticeAnswer(models.Model):
    """What one person answered to a notice's form. Earlier answers stay, with when they were replaced."""

    id = models.UUIDField(primary_key=True)
    notice = models.ForeignKey(Notice, models.CASCADE, related_name="answers", db_index=False)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False
    )
    number = models.PositiveSmallIntegerField(default=1)
    answers = models.JSONField()
    at = models.DateTimeField()
    device_time = models.DateTimeField(null=True)
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="+", db_index=False)
    replaced_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(
                fields=["notice", "person", "number"], name="notice_answer_number"
            ),
            models.UniqueConstraint(
                fields=["notice", "person"],
                condition=Q(replaced_at=None),
                name="notice_answer_current",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number}"


class Newcomer(Work):
    """A person whose roles changed: the worker looks which open notices they have yet to get."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="+"
    )

    class Meta:
        indexes = [due_index("newcomer_due")]

    def __str__(self) -> str:
        return str(self.user_id)
