"""What stands between us and people: providers of channels, how they fare, how much they take."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from server.messaging.models.groups import ChatGroup
from server.messaging.models.notices import Delivery


class Provider(models.Model):
    """One provider, for all workers: its rate and its circuit breaker (server.messaging.providers).

    `failures`: in a row. `trips`: how often in a row the breaker has opened.
    """

    name = models.CharField(_("服务商"), max_length=24, primary_key=True)
    per_second = models.FloatField(_("每秒上限"), null=True, blank=True)
    tokens = models.FloatField(default=0, editable=False)
    tokens_at = models.DateTimeField(null=True, editable=False)
    failures = models.PositiveIntegerField(_("连续失败次数"), default=0, editable=False)
    trips = models.PositiveSmallIntegerField(default=0, editable=False)
    open_until = models.DateTimeField(_("暂停发送至"), null=True, editable=False)
    paused_at = models.DateTimeField(_("人工暂停时间"), null=True, editable=False)
    last_success_at = models.DateTimeField(_("最近成功"), null=True, editable=False)
    last_failure_at = models.DateTimeField(_("最近失败"), null=True, editable=False)
    last_error = models.CharField(_("最近的错误"), max_length=500, default="", editable=False)

    class Meta:
        verbose_name = _("消息服务商")
        verbose_name_plural = pgettext_lazy("list", "消息服务商")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="provider_rate_positive",
                condition=models.Q(per_second=None) | models.Q(per_second__gt=0),
            )
        ]

    def __str__(self) -> str:
        """As people call it: the channel's name, or that of the robots' company."""
        channel, _dot, kind = self.name.partition(".")
        return str(ChatGroup.Kind(kind).label if kind else Delivery.Channel(channel).label)
