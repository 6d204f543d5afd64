"""Escalation: the rules of offices, what they watch, and each step that was taken."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from server.core.ids import new_id
from server.core.work import Work, due_index
from server.grid.models import Area
from server.messaging.models.notices import Notice

EVERY_EVENT = "*"
LONGEST_WAIT = 1000
MOST_STEPS = 20


class EscalationRule(models.Model):
    """Of which notices in an area somebody else is told when nothing happens, when, and whom next.

    `event` is a key of the catalogue, a group ("finding.*") or every event ("*"). `after` and
    `repeat_after` are hours for what is unread or unacknowledged, days for what is overdue. Step by
    step the next of `targets` is told; the last again, until `at_most` steps were taken.
    """

    class Condition(models.TextChoices):
        UNREAD = "unread", _("未读")
        UNACKNOWLEDGED = "unacknowledged", _("未确认")
        OVERDUE = "overdue", _("逾期未办")

    class Counting(models.TextChoices):
        CALENDAR = "calendar", _("日历时间")
        WORKDAYS = "workdays", _("工作日，不计周末和节假日")
        OFFICE_HOURS = "office", _("办公时间")

    class Target(models.TextChoices):
        DEPUTIES = "deputies", _("学校其他联系人")
        INSPECTOR = "inspector", _("责任督学")
        TOWN_GROUP = "town_group", _("镇街教育督导组")
        OFFICE = "office", _("教育督导办")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    area = models.ForeignKey(
        Area, models.PROTECT, related_name="escalation_rules", verbose_name=_("行政区")
    )
    name = models.CharField(_("名称"), max_length=80)
    event = models.CharField(_("事件"), max_length=48, default=EVERY_EVENT)
    condition = models.CharField(_("条件"), max_length=16, choices=Condition)
    after = models.PositiveSmallIntegerField(
        _("等待"), validators=[MinValueValidator(1), MaxValueValidator(LONGEST_WAIT)]
    )
    counting = models.CharField(
        _("计时方式"), max_length=10, choices=Counting, default=Counting.WORKDAYS
    )
    everyone = models.BooleanField(_("每个收件人都须办理"), default=False)
    targets = models.JSONField(_("依次通知"), default=list)
    repeat_after = models.PositiveSmallIntegerField(
        _("再次等待"), validators=[MinValueValidator(1), MaxValueValidator(LONGEST_WAIT)]
    )
    at_most = models.PositiveSmallIntegerField(
        _("最多次数"), validators=[MinValueValidator(1), MaxValueValidator(MOST_STEPS)]
    )
    enabled = models.BooleanField(_("启用"), default=True)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("修改人"),
    )
    changed_at = models.DateTimeField(_("修改时间"), auto_now=True)

    class Meta:
        verbose_name = _("催办规则")
        verbose_name_plural = pgettext_lazy("list", "催办规则")
        ordering = ["area__path", "id"]
        constraints = [
            models.CheckConstraint(
                name="escalation_rule_ends",
                condition=Q(
                    after__range=(1, LONGEST_WAIT),
                    repeat_after__range=(1, LONGEST_WAIT),
                    at_most__range=(1, MOST_STEPS),
                ),
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def counts_days(self) -> bool:
        """Whether `after` and `repeat_after` are days rather than hours."""
        return self.condition == self.Condition.OVERDUE


class Escalation(Work):
    """A notice that a rule watches; `taken` steps so far. Gone once nothing more can come of it.

    The work is a look at the notice: whether it still waits, and then the next step.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    notice = models.ForeignKey(
        Notice, models.CASCADE, related_name="escalations", verbose_name=_("通知")
    )
    rule = models.ForeignKey(
        EscalationRule, models.PROTECT, related_name="watched", verbose_name=_("催办规则")
    )
    taken = models.PositiveSmallIntegerField(default=0)

    class Meta:
        verbose_name = verbose_name_plural = _("催办")
        constraints = [
            models.UniqueConstraint(fields=["notice", "rule"], name="escalation_once"),
        ]
        indexes = [due_index("escalation_due")]

    def __str__(self) -> str:
        return f"{self.notice_id} · {self.rule}"


class EscalationStep(models.Model):
    """One step: who was told next, by which notice, and with whom the matter waited."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    notice = models.ForeignKey(
        Notice, models.CASCADE, related_name="escalation_steps", verbose_name=_("通知")
    )
    rule = models.ForeignKey(
        EscalationRule, models.PROTECT, related_name="steps", verbose_name=_("催办规则")
    )
    number = models.PositiveSmallIntegerField(_("第几次"))
    target = models.CharField(
        _("通知对象"), max_length=12, choices=EscalationRule.Target, blank=True
    )
    sent = models.OneToOneField(
        Notice,
        models.SET_NULL,
        null=True,
        related_name="escalates",
        verbose_name=_("催办通知"),
    )
    waiting = models.CharField(_("待办的人"), max_length=300)
    at = models.DateTimeField(_("时间"))

    class Meta:
        verbose_name = _("催办记录")
        verbose_name_plural = pgettext_lazy("list", "催办记录")
        ordering = ["-at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["notice", "rule", "number"], name="escalation_step_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.rule} · {self.number}"
