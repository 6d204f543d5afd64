"""Activities, the visits that they make at schools, and what is filled in on them."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from media_storage.models import MediaObject
from server.core import clock
from server.core.actions import ActionRecord
from server.core.ids import new_id
from server.core.work import Work, due_index
from server.grid.models import Area, School, User
from server.instruments.models import Instrument, InstrumentVersion
from server.messaging.models import Device


class Activity(models.Model):
    """A planned piece of work: instruments, schools and a period (`starts` to `ends`, inclusive)."""

    class Kind(models.TextChoices):
        ROUTINE = "routine", _("常规督导")
        WEEK = "week", _("挂牌督导周")
        SPECIAL = "special", _("专项督导")
        COMPREHENSIVE = "comprehensive", _("综合督导")
        MONITORING = "monitoring", _("达标监测")
        EVALUATION = "evaluation", _("质量评价")
        SURVEY = "survey", _("专项调研")

    class State(models.TextChoices):
        DRAFT = "draft", _("草稿")
        PUBLISHED = "published", _("已发布")
        CLOSED = "closed", _("已结束")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(_("类型"), max_length=16, choices=Kind)
    title = models.CharField(_("名称"), max_length=200)
    area = models.ForeignKey(
        Area, models.PROTECT, related_name="activities", verbose_name=_("组织单位所在行政区")
    )
    starts = models.DateField(_("开始日期"))
    ends = models.DateField(_("结束日期"))
    announced = models.BooleanField(
        _("提前通知学校"), default=True, help_text=_("不选即“四不两直”：签到时学校才知道")
    )
    instruments = models.ManyToManyField(
        Instrument, related_name="activities", verbose_name=_("督导工具")
    )
    schools = models.ManyToManyField(
        School, blank=True, related_name="activities", verbose_name=_("学校")
    )
    areas = models.ManyToManyField(
        Area, blank=True, related_name="targeting_activities", verbose_name=_("整片行政区")
    )
    keep_media_days = models.PositiveIntegerField(
        _("佐证材料保存天数"),
        null=True,
        blank=True,
        help_text=_("自活动结束之日起计算；不填即长期保存"),
    )
    media_kept_until = models.DateField(
        _("佐证材料保存至"), null=True, blank=True, editable=False, db_index=True
    )
    state = models.CharField(
        _("状态"), max_length=10, choices=State, default=State.DRAFT, editable=False
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        editable=False,
        related_name="+",
        verbose_name=_("创建人"),
    )
    created_at = models.DateTimeField(_("创建时间"), auto_now_add=True)
    published_at = models.DateTimeField(_("发布时间"), null=True, editable=False)

    class Meta:
        verbose_name = _("督导活动")
        verbose_name_plural = pgettext_lazy("list", "督导活动")
        ordering = ["-starts", "-created_at"]
        constraints = [
            models.CheckConstraint(
                name="activity_period_in_order",
                condition=Q(ends__gte=F("starts")),
                violation_error_message=_("结束日期不能早于开始日期"),
            ),
            models.CheckConstraint(
                name="activity_media_kept_whole",
                condition=Q(keep_media_days=None, media_kept_until=None)
                | Q(keep_media_days__isnull=False, media_kept_until__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def keep_media_for(self, days: int | None) -> None:
        """Set for how long photos are kept after the last day; None: for ever. To be saved."""
        self.keep_media_days = days
        self.media_kept_until = None if days is None else self.ends + timedelta(days=days)


class Visit(models.Model):
    """One activity at one school by one team, from assigned to reviewed (machine: VISIT)."""

    class State(models.TextChoices):
        ASSIGNED = "assigned", _("待入校")
        CHECKED_IN = "checked_in", _("已签到")
        COMPLETED = "completed", _("已完成")
        RETURNED = "returned", _("已退回")
        REVIEWED = "reviewed", _("已审核")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    activity = models.ForeignKey(
        Activity, models.PROTECT, related_name="visits", verbose_name=_("督导活动")
    )
    school = models.ForeignKey(
        School, models.PROTECT, related_name="visits", verbose_name=_("学校")
    )
    team = models.ManyToManyField(User, related_name="visits", verbose_name=_("督学"))
    state = models.CharField(_("状态"), max_length=12, choices=State, default=State.ASSIGNED)
    checked_in_at = models.DateTimeField(_("签到时间"), null=True, editable=False)
    latitude = models.FloatField(_("签到纬度"), null=True, editable=False)
    longitude = models.FloatField(_("签到经度"), null=True, editable=False)
    accuracy_m = models.FloatField(_("定位精度（米）"), null=True, editable=False)
    completed_at = models.DateTimeField(_("完成时间"), null=True, editable=False)
    summary = models.TextField(_("督导小结"), blank=True, editable=False)
    reviewed_at = models.DateTimeField(_("审核时间"), null=True, editable=False)
    return_reason = models.TextField(_("退回原因"), blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("入校督导任务")
        verbose_name_plural = pgettext_lazy("list", "入校督导任务")
        ordering = ["-created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["activity", "school"], name="one_visit_per_school")
        ]
        indexes = [models.Index(fields=["school", "state"], name="visit_school_state")]

    def __str__(self) -> str:
        return f"{self.activity} · {self.school}"


class VisitAction(ActionRecord):
    """Check-in, completion, return and review of a visit."""

    visit = models.ForeignKey(Visit, models.CASCADE, related_name="actions")

    class Meta(ActionRecord.Meta):
        verbose_name = verbose_name_plural = _("任务操作记录")


class Submission(Work):
    """One filled-in instrument: the raw document as it came, and its answers.

    `id` is the document's instanceID. An edit (deprecatedID) is a row of its own that points at what
    it replaces, which may arrive later; `root_id` names the first of the chain as far as it is known.
    The work is deriving (chains, findings, figures).
    """

    class Format(models.TextChoices):
        XML = "xml", "XML"
        JSON = "json", "JSON"

    id = models.UUIDField(primary_key=True)
    root_id = models.UUIDField(editable=False)
    replaces = models.ForeignKey(
        "self",
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        related_name="replacements",
        verbose_name=_("修改自"),
    )
    version = models.ForeignKey(
        InstrumentVersion, models.PROTECT, related_name="submissions", verbose_name=_("督导工具")
    )
    visit = models.ForeignKey(
        Visit, models.PROTECT, null=True, related_name="submissions", verbose_name=_("任务")
    )
    sender = models.ForeignKey(
        User, models.PROTECT, related_name="submissions", verbose_name=_("填报人")
    )
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="+")
    format = models.CharField(max_length=4, choices=Format)
    raw = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    answers = models.JSONField(_("答案"))
    started_at = models.DateTimeField(_("开始填写"), null=True)
    ended_at = models.DateTimeField(_("填写完毕"), null=True)
    device_time = models.DateTimeField(_("手机发送时间"), null=True)
    received_at = models.DateTimeField(_("到达时间"))

    class Meta:
        verbose_name = _("填报")
        verbose_name_plural = pgettext_lazy("list", "填报")
        ordering = ["-received_at", "id"]
        indexes = [
            due_index("submission_due"),
            models.Index(fields=["root_id"], name="submission_root"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def predecessor(self) -> Submission | None:
        """What this one edits, if it has arrived."""
        return Submission.objects.filter(pk=self.replaces_id).first() if self.replaces_id else None


class SubmissionAttachment(models.Model):
    """A file that a submission's document names, and the media object that brought it, if any yet.

    `item` is the path of the question that it proves, as `Finding.item`; derived, so empty at first.
    """

    submission = models.ForeignKey(Submission, models.CASCADE, related_name="attachments")
    name = models.CharField(_("文件名"), max_length=160)
    item = models.CharField(
        _("检查项"), max_length=200, blank=True, default="", db_default="", editable=False
    )
    media = models.ForeignKey(
        MediaObject, models.PROTECT, null=True, related_name="submission_attachments"
    )

    class Meta:
        verbose_name = verbose_name_plural = _("填报附件")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["submission", "name"], name="file_once_per_submission")
        ]

    def __str__(self) -> str:
        return self.name


class SubmissionConflict(models.Model):
    """Other content that came under the id of a stored submission: kept for a person to decide."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    submission = models.ForeignKey(
        Submission, models.CASCADE, related_name="conflicts", verbose_name=_("填报")
    )
    sender = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("填报人"))
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="+")
    format = models.CharField(max_length=4, choices=Submission.Format)
    raw = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    name = models.CharField(_("文件名"), max_length=160, blank=True)
    media = models.ForeignKey(MediaObject, models.PROTECT, null=True, related_name="+")
    received_at = models.DateTimeField(_("到达时间"), auto_now_add=True)

    class Meta:
        verbose_name = _("填报冲突")
        verbose_name_plural = pgettext_lazy("list", "填报冲突")
        ordering = ["-received_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["submission", "sha256", "name"], name="conflict_kept_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.submission_id} {self.name}".strip()


class RefusedDocument(models.Model):
    """What a phone sent and we refused: kept for the office for a while, so that a mistake of ours
    never costs anybody's work."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    sender = models.ForeignKey(User, models.CASCADE, related_name="+", verbose_name=_("填报人"))
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="+")
    format = models.CharField(_("格式"), max_length=4, choices=Submission.Format)
    raw = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    code = models.CharField(_("代码"), max_length=48)
    reason = models.TextField(_("拒绝原因"))
    received_at = models.DateTimeField(_("到达时间"), default=clock.now)
    times = models.PositiveIntegerField(_("次数"), default=1)

    class Meta:
        verbose_name = _("被拒绝的填报")
        verbose_name_plural = pgettext_lazy("list", "被拒绝的填报")
        ordering = ["-received_at"]
        constraints = [
            models.UniqueConstraint(fields=["sender", "sha256", "code"], name="refusal_kept_once")
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.received_at:%Y-%m-%d %H:%M}"
