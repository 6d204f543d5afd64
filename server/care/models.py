"""Care for what photos show: who may open originals, what is held, deleted, counted and exported."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from media_storage.models import MediaObject
from server.activities.models import Activity, Visit
from server.core import clock
from server.core.clock import today
from server.core.ids import new_id
from server.core.work import Work, due_index
from server.grid.models import Area, School, User

Person = settings.AUTH_USER_MODEL


class OriginalsGrant(models.Model):
    """A person who has the right to originals by no role may open them, in an area or at a school."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(
        User, models.CASCADE, related_name="originals_grants", verbose_name=_("人员")
    )
    area = models.ForeignKey(
        Area, models.PROTECT, null=True, related_name="+", verbose_name=_("行政区")
    )
    school = models.ForeignKey(
        School, models.PROTECT, null=True, related_name="+", verbose_name=_("学校")
    )
    starts = models.DateField(_("开始日期"), default=today)
    ends = models.DateField(_("结束日期"), null=True)
    reason = models.CharField(_("理由"), max_length=500)
    granted_by = models.ForeignKey(
        Person, models.PROTECT, related_name="+", verbose_name=_("授权人")
    )
    granted_at = models.DateTimeField(_("授权时间"), auto_now_add=True)

    class Meta:
        verbose_name = _("原图授权")
        verbose_name_plural = pgettext_lazy("list", "原图授权")
        ordering = ["-granted_at"]
        constraints = [
            models.CheckConstraint(
                name="grant_has_one_place",
                condition=Q(area__isnull=False, school=None) | Q(area=None, school__isnull=False),
            ),
            models.CheckConstraint(
                name="grant_term_in_order", condition=Q(ends=None) | Q(ends__gte=F("starts"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.area or self.school}"


class Hold(models.Model):
    """Nothing below the target is deleted while the hold lasts (保全): a complaint, a lawsuit."""

    TARGETS = ("activity", "school", "visit", "media")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    activity = models.ForeignKey(
        Activity, models.PROTECT, null=True, related_name="holds", verbose_name=_("督导活动")
    )
    school = models.ForeignKey(
        School, models.PROTECT, null=True, related_name="holds", verbose_name=_("学校")
    )
    visit = models.ForeignKey(
        Visit, models.PROTECT, null=True, related_name="holds", verbose_name=_("入校督导任务")
    )
    media = models.ForeignKey(
        MediaObject, models.PROTECT, null=True, related_name="holds", verbose_name=_("佐证材料")
    )
    reason = models.CharField(_("理由"), max_length=500)
    set_by = models.ForeignKey(Person, models.PROTECT, related_name="+", verbose_name=_("设置人"))
    set_at = models.DateTimeField(_("设置时间"))
    lifted_by = models.ForeignKey(
        Person, models.PROTECT, null=True, related_name="+", verbose_name=_("解除人")
    )
    lifted_at = models.DateTimeField(_("解除时间"), null=True)
    lift_reason = models.CharField(_("解除理由"), max_length=500, blank=True, default="")

    class Meta:
        verbose_name = _("保全")
        verbose_name_plural = pgettext_lazy("list", "保全")
        ordering = ["-set_at"]
        constraints = [
            models.CheckConstraint(
                name="hold_has_one_target",
                condition=Q(activity__isnull=False, school=None, visit=None, media=None)
                | Q(activity=None, school__isnull=False, visit=None, media=None)
                | Q(activity=None, school=None, visit__isnull=False, media=None)
                | Q(activity=None, school=None, visit=None, media__isnull=False),
            ),
            models.CheckConstraint(
                name="hold_lifted_whole",
                condition=Q(lifted_at=None, lifted_by=None)
                | Q(lifted_at__isnull=False, lifted_by__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["set_at"], name="hold_active", condition=Q(lifted_at=None)),
        ]

    def __str__(self) -> str:
        return str(self.target)

    @property
    def target(self) -> Activity | School | Visit | MediaObject:
        """What is held."""
        found = self.activity or self.school or self.visit or self.media
        assert found  # noqa: S101 - hold_has_one_target
        return found

    @property
    def is_active(self) -> bool:
        return self.lifted_at is None


class Deletion(Work):
    """One file on its way out of the store, and the certificate once it is gone (machine: below).

        due ──the grace period is over──▶ deleting ──the store answers 404──▶ deleted
         └── held, not due any more, or a person keeps it ──▶ kept

    `school` and `activity`: where the file was used first. `places`: every key and upload of it, as
    they were when its rows still told. `certificate` is written once and never changes.
    """

    class State(models.TextChoices):
        DUE = "due", _("待删除")
        DELETING = "deleting", _("正在删除")
        DELETED = "deleted", _("已删除")
        KEPT = "kept", _("已保留")

    class Rule(models.TextChoices):
        RETENTION = "retention", _("保存期满")
        REQUEST = "request", _("申请删除")

    class Kept(models.TextChoices):
        HELD = "held", _("处于保全中")
        NOT_DUE = "not_due", _("保存期已延长，或仍有其他用途")
        PERSON = "person", _("由人决定保留")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    media = models.ForeignKey(
        MediaObject, models.PROTECT, related_name="deletions", verbose_name=_("佐证材料")
    )
    school = models.ForeignKey(
        School, models.PROTECT, null=True, related_name="+", verbose_name=_("学校")
    )
    activity = models.ForeignKey(
        Activity, models.PROTECT, null=True, related_name="deletions", verbose_name=_("督导活动")
    )
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.DUE)
    rule = models.CharField(_("删除依据"), max_length=10, choices=Rule)
    reason = models.CharField(_("理由"), max_length=500, blank=True, default="")
    decided_by = models.ForeignKey(
        Person, models.PROTECT, null=True, related_name="+", verbose_name=_("决定人")
    )
    found_at = models.DateTimeField(_("列入时间"))
    delete_after = models.DateTimeField(_("最早删除时间"))
    kept_code = models.CharField(_("保留原因"), max_length=8, choices=Kept, blank=True, default="")
    kept_by = models.ForeignKey(
        Person, models.PROTECT, null=True, related_name="+", verbose_name=_("保留人")
    )
    kept_reason = models.CharField(_("保留理由"), max_length=500, blank=True, default="")
    kept_until = models.DateField(_("保留至"), null=True)
    started_at = models.DateTimeField(_("开始删除"), null=True)
    look_again_at = models.DateTimeField(null=True, editable=False)
    places = models.JSONField(default=dict, editable=False)
    deleted_at = models.DateTimeField(_("删除时间"), null=True)
    certificate = models.JSONField(null=True, editable=False)
    certificate_sha256 = models.CharField(max_length=64, blank=True, default="", editable=False)

    class Meta:
        verbose_name = _("删除")
        verbose_name_plural = pgettext_lazy("list", "删除")
        ordering = ["delete_after", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["media"],
                name="one_deletion_per_media",
                condition=Q(state__in=["due", "deleting", "deleted"]),
            ),
            models.CheckConstraint(
                name="deletion_state_known",
                condition=Q(state__in=["due", "deleting", "deleted", "kept"]),
            ),
            models.CheckConstraint(
                name="deletion_deleted_is_certified",
                condition=~Q(state="deleted")
                | Q(
                    deleted_at__isnull=False,
                    certificate__isnull=False,
                    started_at__isnull=False,
                )
                & ~Q(certificate_sha256=""),
            ),
            models.CheckConstraint(
                name="deletion_request_has_person",
                condition=~Q(rule="request") | Q(decided_by__isnull=False),
            ),
        ]
        indexes = [
            due_index("deletion_due"),
            models.Index(fields=["school", "state"], name="deletion_school_state"),
            models.Index(fields=["activity", "state"], name="deletion_activity_state"),
        ]

    def __str__(self) -> str:
        return self.media.filename

    @property
    def number(self) -> str:
        """The certificate's number, as people write it on paper."""
        return f"DEL-{self.id.hex[:12].upper()}-{self.id.hex[-8:].upper()}"


class CountedMedia(models.Model):
    """A file as the figures have counted it last: where it belongs, how far it is, what it takes."""

    media = models.OneToOneField(
        MediaObject, models.CASCADE, primary_key=True, related_name="counted"
    )
    activity = models.ForeignKey(Activity, models.PROTECT, null=True, related_name="+")
    school = models.ForeignKey(School, models.PROTECT, null=True, related_name="+")
    state = models.CharField(max_length=10)
    size = models.BigIntegerField()
    renditions = models.PositiveIntegerField()
    rendition_size = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.media_id)


class StorageUse(models.Model):
    """How many files of one activity at one school are in one state, and how many bytes they take."""

    activity = models.ForeignKey(Activity, models.PROTECT, null=True, related_name="storage_use")
    school = models.ForeignKey(School, models.PROTECT, null=True, related_name="storage_use")
    state = models.CharField(_("状态"), max_length=10)
    files = models.BigIntegerField(default=0)
    size = models.BigIntegerField(default=0)
    renditions = models.BigIntegerField(default=0)
    rendition_size = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["activity", "school", "state"], name="storage_use_once"
            ),
            models.CheckConstraint(
                name="storage_use_not_negative",
                condition=Q(files__gte=0, size__gte=0, renditions__gte=0, rendition_size__gte=0),
            ),
        ]
        indexes = [models.Index(fields=["school", "activity"], name="storage_use_school")]

    def __str__(self) -> str:
        return f"{self.activity_id} {self.school_id} {self.state}"


class Count(models.Model):
    """How far the figures have followed the change feed, and the nightly recount the media."""

    name = models.CharField(max_length=16, primary_key=True)
    txid = models.BigIntegerField(default=0)
    sequence = models.BigIntegerField(default=0)
    counted_at = models.DateTimeField(null=True)
    recounted_after = models.UUIDField(null=True)
    recounted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Export(Work):
    """The media of an activity as one ZIP with a manifest, made in the background for one person."""

    class Variant(models.TextChoices):
        SHARED = "shared", _("共享图（带水印）")
        ORIGINALS = "originals", _("原图和原文件")

    class State(models.TextChoices):
        WAITING = "waiting", _("排队中")
        MAKING = "making", _("正在打包")
        READY = "ready", _("可下载")
        FAILED = "failed", _("未完成")
        EXPIRED = "expired", _("已过期")

    id = models.UUIDField(primary_key=True, default=new_id)
    activity = models.ForeignKey(
        Activity, models.PROTECT, related_name="exports", verbose_name=_("督导活动")
    )
    by = models.ForeignKey(Person, models.PROTECT, related_name="+", verbose_name=_("导出人"))
    variant = models.CharField(_("内容"), max_length=10, choices=Variant)
    reason = models.CharField(_("用途"), max_length=500, blank=True, default="")
    state = models.CharField(_("状态"), max_length=8, choices=State, default=State.WAITING)
    total = models.PositiveIntegerField(_("文件总数"), default=0)
    done = models.PositiveIntegerField(_("已打包"), default=0)
    skipped = models.PositiveIntegerField(_("未能放入"), default=0)
    size = models.BigIntegerField(_("大小"), default=0)
    sha256 = models.CharField("SHA-256", max_length=64, blank=True, default="")
    key = models.CharField(max_length=160, unique=True, editable=False)
    requested_at = models.DateTimeField(_("提出时间"))
    ready_at = models.DateTimeField(_("完成时间"), null=True)
    expires_at = models.DateTimeField(_("保留至"), null=True)

    class Meta:
        verbose_name = _("导出")
        verbose_name_plural = pgettext_lazy("list", "导出")
        ordering = ["-requested_at"]
        indexes = [
            due_index("export_due"),
            models.Index(fields=["by", "-requested_at"], name="export_by_person"),
        ]
        constraints = [
            models.CheckConstraint(
                name="export_ready_whole",
                condition=~Q(state="ready")
                | Q(ready_at__isnull=False, expires_at__isnull=False) & ~Q(sha256=""),
            )
        ]

    def __str__(self) -> str:
        return f"{self.activity} · {self.get_variant_display()}"

    @property
    def is_there(self) -> bool:
        """Whether it can be downloaded now."""
        ends = self.expires_at
        return self.state == self.State.READY and ends is not None and ends > clock.now()

    @property
    def filename(self) -> str:
        return f"{self.activity.title}-{self.get_variant_display()}.zip"
