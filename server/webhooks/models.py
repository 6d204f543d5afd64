"""Outgoing webhooks: where an office has events sent, the events, and one delivery for each of both."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from server.core import clock
from server.core.ids import new_id
from server.core.work import Work, due_index
from server.grid.models import Area


class WebhookEndpoint(Work):
    """An address outside to which the events of an area are sent.

    Its work is the sending of its deliveries: whoever has the row's lease sends, alone and in order, so a
    slow or dead receiver costs nobody else anything. `since`: it is told of what happened from then on.
    """

    class State(models.TextChoices):
        ON = "on", _("启用")
        OFF = "off", _("已停用")
        FAILED = "failed", _("因失败停止")
        OWNERLESS = "ownerless", _("待接管")
        GONE = "gone", _("接收方已关闭")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    area = models.ForeignKey(
        Area, models.PROTECT, related_name="webhooks", verbose_name=_("行政区")
    )
    url = models.CharField(_("接收地址"), max_length=500)
    description = models.CharField(_("说明"), max_length=100, blank=True, default="")
    events = models.JSONField(_("事件"), default=list)
    api_version = models.PositiveSmallIntegerField(_("格式版本"), default=1)
    secret = models.TextField(editable=False)
    old_secret = models.TextField(blank=True, default="", editable=False)
    old_secret_until = models.DateTimeField(null=True, editable=False)
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.ON)
    state_reason = models.CharField(_("原因"), max_length=500, blank=True, default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("创建人")
    )
    responsible = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("负责人")
    )
    created_at = models.DateTimeField(_("创建时间"), default=clock.now, editable=False)
    since = models.DateTimeField(default=clock.now, editable=False)
    failures = models.PositiveIntegerField(_("连续失败"), default=0, editable=False)
    failing_since = models.DateTimeField(_("失败始于"), null=True, editable=False)
    last_success_at = models.DateTimeField(_("上次成功"), null=True, editable=False)

    class Meta:
        verbose_name = _("外发推送")
        verbose_name_plural = pgettext_lazy("list", "外发推送")
        ordering = ["created_at", "id"]
        indexes = [due_index("webhook_due")]
        constraints = [
            models.CheckConstraint(
                name="webhook_old_secret_ends",
                condition=Q(old_secret="", old_secret_until=None)
                | (~Q(old_secret="") & Q(old_secret_until__isnull=False)),
            )
        ]

    def __str__(self) -> str:
        return self.description or self.url


QUEUEING = (WebhookEndpoint.State.ON, WebhookEndpoint.State.FAILED, WebhookEndpoint.State.OWNERLESS)
"""In these states events are kept for the endpoint; it gets them when it is on again."""


class WebhookEvent(models.Model):
    """Something that happened, as it is told outside. `id` follows from what happened, so it is told once.

    `state`: of the subject, after it. `area_path`: where it belongs.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    type = models.CharField(_("事件"), max_length=40)
    subject_type = models.CharField(max_length=24)
    subject_id = models.UUIDField()
    state = models.CharField(max_length=16, blank=True, default="")
    area_path = models.CharField(max_length=64)
    occurred_at = models.DateTimeField(_("发生时间"))
    recorded_at = models.DateTimeField(default=clock.now, editable=False)
    payload = models.JSONField()

    class Meta:
        verbose_name = _("推送事件")
        verbose_name_plural = pgettext_lazy("list", "推送事件")
        ordering = ["occurred_at", "id"]
        indexes = [
            models.Index(fields=["subject_id", "occurred_at"], name="webhook_event_subject"),
            models.Index(fields=["recorded_at"], name="webhook_event_age"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class WebhookDelivery(models.Model):
    """One event to one endpoint, and how the last attempt ended. `next_at` null: at once."""

    class State(models.TextChoices):
        PENDING = "pending", _("待发送")
        DELIVERED = "delivered", _("已送达")
        DEAD = "dead", _("未能送达")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        models.CASCADE,
        related_name="deliveries",
        verbose_name=_("外发推送"),
        db_index=False,  # webhook_delivery_log begins with it
    )
    event = models.ForeignKey(
        WebhookEvent, models.CASCADE, related_name="deliveries", verbose_name=_("事件")
    )
    subject_id = models.UUIDField(editable=False)
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(_("次数"), default=0)
    created_at = models.DateTimeField(_("创建时间"), default=clock.now, editable=False)
    next_at = models.DateTimeField(_("下次尝试"), null=True)
    first_tried_at = models.DateTimeField(_("首次尝试"), null=True)
    last_tried_at = models.DateTimeField(_("最近尝试"), null=True)
    delivered_at = models.DateTimeField(_("送达时间"), null=True)
    status = models.PositiveSmallIntegerField(_("HTTP 状态"), null=True)
    answer = models.TextField(_("对方的回答"), blank=True, default="")
    error = models.CharField(_("说明"), max_length=500, blank=True, default="")

    class Meta:
        verbose_name = _("推送记录")
        verbose_name_plural = pgettext_lazy("list", "推送记录")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["endpoint", "-id"], name="webhook_delivery_log"),
            models.Index(
                fields=["endpoint", "id"],
                name="webhook_delivery_pending",
                condition=Q(state="pending"),
            ),
            models.Index(
                fields=["endpoint", "subject_id", "id"],
                name="webhook_delivery_before",
                condition=Q(state="pending"),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event"], name="webhook_delivery_once"),
            models.CheckConstraint(
                name="webhook_delivered_has_time",
                condition=~Q(state="delivered") | Q(delivered_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event.type} → {self.endpoint}"
