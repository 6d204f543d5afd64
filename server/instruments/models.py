"""Instruments: versioned forms, authored as XLSForms; a publication never changes afterwards."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from server.core.ids import new_id
from server.grid.models import Area


class Instrument(models.Model):
    """A check-list, questionnaire or record; `form_id` is its name towards phones."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    form_id = models.CharField(_("表单编号"), max_length=64, unique=True)
    title = models.CharField(_("名称"), max_length=200)
    area = models.ForeignKey(
        Area, models.PROTECT, related_name="instruments", verbose_name=_("所属行政区")
    )
    open = models.BooleanField(
        _("可随时填报"), default=False, help_text=_("不属于任何督导任务时也可填报")
    )
    blur_faces = models.BooleanField(
        _("共享图遮挡人脸"),
        default=False,
        help_text=_("学校、专家等看到的共享图上，人脸会被模糊处理；原图不变"),
    )
    current = models.OneToOneField(
        "InstrumentVersion",
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("当前版本"),
    )

    class Meta:
        verbose_name = _("督导工具")
        verbose_name_plural = pgettext_lazy("list", "督导工具")
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title


class InstrumentVersion(models.Model):
    """One state of an instrument: a draft that may be replaced, or a publication that may not."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    instrument = models.ForeignKey(
        Instrument, models.CASCADE, related_name="versions", verbose_name=_("督导工具")
    )
    version = models.CharField(_("版本"), max_length=32, blank=True)
    xlsform = models.BinaryField()
    xform = models.TextField()
    hash = models.CharField(max_length=40)
    form = models.JSONField()
    warnings = models.JSONField(_("提示"), default=list)
    published_at = models.DateTimeField(_("发布时间"), null=True, blank=True)
    created_at = models.DateTimeField(_("上传时间"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("上传人"),
    )

    class Meta:
        verbose_name = verbose_name_plural = _("督导工具版本")
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "version"],
                name="version_once_per_instrument",
                condition=Q(published_at__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["instrument"], name="one_draft", condition=Q(published_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instrument} {self.version or _('草稿')}"


class FormAttachment(models.Model):
    """A file that travels with the form: a picture in a question, a list of choices."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    version = models.ForeignKey(InstrumentVersion, models.CASCADE, related_name="attachments")
    name = models.CharField(_("文件名"), max_length=120)
    content = models.BinaryField()
    hash = models.CharField(max_length=40)

    class Meta:
        verbose_name = verbose_name_plural = _("表单附件")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["version", "name"], name="attachment_once_per_version")
        ]

    def __str__(self) -> str:
        return self.name
