"""The shared copy of a picture: what it was made of, and what people hide in it by hand."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from media_storage.models import MediaObject
from server.core.work import Work, due_index


class SharedCopy(Work):
    """How far the copy of one picture is for those who may not open the original.

    Its pictures are the renditions `shared` and `shared_small`. `digest` tells of what they were made:
    the words, whether faces were hidden, the boxes, the program's version. `faces` are those that were
    found, `boxes` what people hide besides: lists of [x, y, width, height] by shares of the picture.
    `stale_keys` are objects in the store that nobody may get any more. `failed_code` says why there is
    no copy and will be none.
    """

    media = models.OneToOneField(
        MediaObject, models.CASCADE, primary_key=True, related_name="shared_copy"
    )
    digest = models.CharField(max_length=64, blank=True, default="", editable=False)
    made_at = models.DateTimeField(_("共享图生成时间"), null=True, editable=False)
    blurred = models.BooleanField(_("已遮挡人脸"), default=False, editable=False)
    faces = models.JSONField(_("找到的人脸"), default=list, blank=True, editable=False)
    boxes = models.JSONField(_("手工遮挡"), default=list, blank=True, editable=False)
    boxes_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("遮挡人"),
    )
    boxes_at = models.DateTimeField(_("遮挡时间"), null=True, editable=False)
    stale_keys = models.JSONField(default=list, blank=True, editable=False)
    failed_code = models.CharField(
        _("无法生成共享图"), max_length=24, blank=True, default="", editable=False
    )

    class Meta:
        verbose_name = verbose_name_plural = _("共享图")
        indexes = [due_index("shared_copy_due")]
        constraints = [
            models.CheckConstraint(
                name="shared_copy_made_has_digest",
                condition=Q(made_at=None) | ~Q(digest=""),
            )
        ]

    def __str__(self) -> str:
        return str(self.media_id)

    @property
    def failure(self) -> str:
        """Why there is no copy, in words; empty where there is or will be one."""
        return str(MediaObject.Rejection(self.failed_code).label) if self.failed_code else ""
