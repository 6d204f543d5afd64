"""Findings: one problem at one school each, with a deadline and an owner, until it is closed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from media_storage.models import MediaObject
from server.activities.models import Activity, Submission, Visit
from server.core.actions import ActionRecord
from server.core.clock import today
from server.core.ids import new_id
from server.grid.models import School


class Finding(models.Model):
    """A problem at a school, from an answer (`source_key`) or entered by hand (machine: FINDING)."""

    class State(models.TextChoices):
        OPEN = "open", _("待整改")
        ANSWERED = "answered", _("待核查")
        RETURNED = "returned", _("退回整改")
        CLOSED = "closed", _("已销号")
        WITHDRAWN = "withdrawn", _("已撤销")

    class Severity(models.TextChoices):
        MINOR = "minor", _("一般")
        MAJOR = "major", _("较重")
        SEVERE = "severe", _("严重")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    school = models.ForeignKey(
        School, models.PROTECT, related_name="findings", verbose_name=_("学校")
    )
    activity = models.ForeignKey(
        Activity,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="findings",
        verbose_name=_("督导活动"),
    )
    visit = models.ForeignKey(
        Visit,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="findings",
        verbose_name=_("任务"),
    )
    submission = models.ForeignKey(
        Submission,
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="findings",
        verbose_name=_("填报"),
    )
    # Null, not "": what was entered by hand has no key, and the others are unique.
    source_key = models.CharField(max_length=300, null=True, editable=False, unique=True)  # noqa: DJ001
    item = models.CharField(_("检查项"), max_length=200, blank=True, editable=False)
    title = models.CharField(_("问题"), max_length=300)
    detail = models.TextField(_("说明"), blank=True)
    severity = models.CharField(
        _("严重程度"), max_length=8, choices=Severity, default=Severity.MINOR
    )
    due_on = models.DateField(_("整改期限"))
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.OPEN)
    raised_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        editable=False,
        related_name="+",
        verbose_name=_("提出人"),
    )
    created_at = models.DateTimeField(_("提出时间"), auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    closed_at = models.DateTimeField(_("销号时间"), null=True, editable=False)
    overdue_told_on = models.DateField(null=True, editable=False)

    class Meta:
        verbose_name = _("问题")
        verbose_name_plural = pgettext_lazy("list", "问题")
        ordering = ["due_on", "id"]
        indexes = [
            models.Index(fields=["school", "state"], name="finding_school_state"),
            models.Index(
                fields=["due_on"],
                name="finding_unsettled",
                condition=~Q(state__in=["closed", "withdrawn"]),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="finding_closed_has_time",
                condition=Q(state="closed", closed_at__isnull=False)
                | (~Q(state="closed") & Q(closed_at=None)),
            )
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED

    @property
    def is_overdue(self) -> bool:
        """Whether the school should have answered by now and has not."""
        return self.state in AT_SCHOOL and self.due_on < today()


SETTLED = (Finding.State.CLOSED, Finding.State.WITHDRAWN)
AT_SCHOOL = (Finding.State.OPEN, Finding.State.RETURNED)
"""It is the school's turn."""


class FindingAction(ActionRecord):
    """One step of a rectification: the school's measures and evidence, or what was said to them."""

    finding = models.ForeignKey(Finding, models.CASCADE, related_name="actions")
    note = models.TextField(_("说明"), blank=True)
    measures = models.TextField(_("整改措施"), blank=True)
    due_on = models.DateField(_("新的期限"), null=True)
    media = models.ManyToManyField(MediaObject, related_name="finding_actions", blank=True)

    class Meta(ActionRecord.Meta):
        verbose_name = verbose_name_plural = _("整改记录")
