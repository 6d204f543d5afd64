"""What contradicts itself about evidence: flags, what people say to them, and how far the checks are."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.core.ids import new_id
from server.core.work import Work, due_index
from server.findings.models import Finding

BANDS = ("band_0", "band_1", "band_2", "band_3")
"""The four quarters of a perceptual hash. Of two hashes that differ in three bits at most, one quarter
is the same."""


class Flag(models.Model):
    """One contradiction about a photo where it is used, or about a check-in. Hint and warn, no verdict.

    Where it is used: at a visit, in the rectification of a finding, or in a submission that stands
    alone (`root_id`, the first of its chain). The same photo in two places is flagged in each.
    `other_…` is what it contradicts, where that is another photo or its use; `details` holds the
    values of both sides. `internal` flags are between team and office; the others are about what the
    school itself has sent, and it sees them. One whose facts have changed is cleared, never deleted:
    what people said to it stays.
    """

    class Code(models.TextChoices):
        GALLERY = "gallery", _("从相册选取")
        OTHER_DAY = "other_day", _("不是任务当天拍摄")
        BEFORE_CHECK_IN = "before_check_in", _("早于签到")
        AFTER_COMPLETION = "after_completion", _("晚于完成")
        BEFORE_FINDING = "before_finding", _("早于问题提出")
        OTHER_PLACE = "other_place", _("不在学校拍摄")
        CHECK_IN_AWAY = "check_in_away", _("签到不在学校")
        REUSED = "reused", _("照片重复使用")
        SIMILAR = "similar", _("照片几乎相同")
        PROBLEM_PHOTO = "problem_photo", _("与问题照片相同")
        CLOCK_OFF = "clock_off", _("手机时钟不准")
        CLOCK_AHEAD = "clock_ahead", _("时间晚于到达")
        TIMES_DIFFER = "times_differ", _("拍摄时间不一致")
        NO_EXIF = "no_exif", _("没有 EXIF 信息")
        EDITED = "edited", _("经图片软件处理")

    class Severity(models.TextChoices):
        HINT = "hint", _("提示")
        WARN = "warn", _("疑点")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    key = models.CharField(max_length=240, unique=True, editable=False)
    code = models.CharField(_("疑点"), max_length=20, choices=Code)
    severity = models.CharField(_("程度"), max_length=4, choices=Severity)
    media = models.ForeignKey(
        MediaObject, models.CASCADE, null=True, related_name="flags", verbose_name=_("照片")
    )
    visit = models.ForeignKey(
        Visit, models.CASCADE, null=True, related_name="flags", verbose_name=_("任务")
    )
    finding = models.ForeignKey(
        Finding, models.CASCADE, null=True, related_name="flags", verbose_name=_("问题")
    )
    root_id = models.UUIDField(null=True, editable=False)
    internal = models.BooleanField(default=True)
    other_media = models.ForeignKey(MediaObject, models.SET_NULL, null=True, related_name="+")
    other_visit = models.ForeignKey(Visit, models.SET_NULL, null=True, related_name="+")
    other_finding = models.ForeignKey(Finding, models.SET_NULL, null=True, related_name="+")
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField(_("发现时间"), db_default=Now(), editable=False)
    cleared_at = models.DateTimeField(_("不再成立"), null=True, editable=False)

    class Meta:
        verbose_name = _("疑点")
        verbose_name_plural = pgettext_lazy("list", "疑点")
        ordering = ["-severity", "created_at", "id"]
        indexes = [
            models.Index(fields=["root_id"], name="flag_root", condition=Q(root_id__isnull=False)),
            models.Index(
                fields=["code", "media"],
                name="flag_standing",
                condition=Q(cleared_at=None),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="flag_in_one_place",
                condition=Q(visit__isnull=False, finding=None, root_id=None)
                | Q(visit=None, finding__isnull=False, root_id=None)
                | Q(visit=None, finding=None, root_id__isnull=False),
            ),
            models.CheckConstraint(
                name="flag_about_a_photo_or_a_check_in",
                condition=Q(media__isnull=False)
                | Q(visit__isnull=False, code__in=["check_in_away", "clock_ahead"]),
            ),
            models.CheckConstraint(
                name="flag_severity_known", condition=Q(severity__in=["hint", "warn"])
            ),
        ]

    def __str__(self) -> str:
        return str(self.get_code_display())


class FlagNote(models.Model):
    """What an inspector or an office says to a flag. Never changed, never deleted."""

    id = models.UUIDField(primary_key=True)
    flag = models.ForeignKey(Flag, models.CASCADE, related_name="notes", verbose_name=_("疑点"))
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("说明人")
    )
    at = models.DateTimeField(_("说明时间"), auto_now_add=True)
    text = models.TextField(_("说明"))

    class Meta:
        verbose_name = verbose_name_plural = _("疑点说明")
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return self.text[:40]


class PhotoCheck(Work):
    """The check of one file against its visit, its school and other files: due when a fact changes.

    The fingerprints are kept here, where nothing but the checks writes: they are searched by index.
    `seen` is a digest of what the last check saw of the file; when it differs, files that look the
    same are checked again. `clock_offset_ms` and `moment` are what the check made of the times: how far
    the phone's clock was ahead of ours, and when the photo was most likely taken (`moment_from`).
    """

    class Source(models.TextChoices):
        NONE = "", "—"
        PHONE = "phone", _("手机")
        EXIF = "exif", "EXIF"

    media = models.OneToOneField(
        MediaObject, models.CASCADE, primary_key=True, related_name="photo_check"
    )
    sha256 = models.CharField(max_length=64, blank=True, default="")
    perceptual_hash = models.BigIntegerField(null=True)
    band_0 = models.IntegerField(null=True)
    band_1 = models.IntegerField(null=True)
    band_2 = models.IntegerField(null=True)
    band_3 = models.IntegerField(null=True)
    seen = models.CharField(max_length=64, blank=True, default="")
    clock_offset_ms = models.BigIntegerField(null=True)
    moment = models.DateTimeField(null=True)
    moment_from = models.CharField(max_length=5, choices=Source, blank=True, default="")
    checked_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = verbose_name_plural = _("照片核对")
        indexes = [
            due_index("photo_check_due"),
            models.Index(fields=["sha256", "media"], name="photo_check_same"),
            *(
                # The hash stands in the index, so that near ones are told apart without the rows.
                models.Index(
                    fields=[band, "perceptual_hash", "media"],
                    name=f"photo_check_{band}",
                    condition=Q(**{f"{band}__isnull": False}),
                )
                for band in BANDS
            ),
        ]

    def __str__(self) -> str:
        return str(self.media_id)


class VisitCheck(Work):
    """The check of a visit's check-in, and of its photos' times and places when that changes.

    `seen` is a digest of what the last check saw of the visit and its school.
    """

    visit = models.OneToOneField(
        Visit, models.CASCADE, primary_key=True, related_name="visit_check"
    )
    seen = models.CharField(max_length=64, blank=True, default="")
    checked_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = verbose_name_plural = _("任务核对")
        indexes = [due_index("visit_check_due")]

    def __str__(self) -> str:
        return str(self.visit_id)


class Round(models.Model):
    """How far the sweeper is on its way through a table, by id; null: at the beginning."""

    name = models.CharField(max_length=24, primary_key=True)
    after = models.UUIDField(null=True)

    def __str__(self) -> str:
        return f"{self.name} {self.after}"
