"""Devices of people, and what their clocks showed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from server.core.ids import new_id


class Device(models.Model):
    """One person's phone or browser: its session, its OpenRosa credentials, its push address."""

    class PushProvider(models.TextChoices):
        NONE = "", _("无")
        FCM = "fcm", "FCM"
        WEBPUSH = "webpush", "Web Push"
        JPUSH = "jpush", _("极光推送")

    id = models.UUIDField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="devices", verbose_name=_("人员")
    )
    name = models.CharField(_("设备名称"), max_length=80, blank=True)
    platform = models.CharField(_("平台"), max_length=24, blank=True)
    created_at = models.DateTimeField(_("首次登录"), auto_now_add=True)
    last_seen_at = models.DateTimeField(_("最近使用"))

    clock_offset_ms = models.BigIntegerField(_("时钟偏差（毫秒）"), null=True, editable=False)
    clock_read_at = models.DateTimeField(_("时钟测于"), null=True, editable=False)

    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    token_expires_at = models.DateTimeField(_("登录有效期至"))
    revoked_at = models.DateTimeField(_("停用时间"), null=True, blank=True)

    key_version = models.PositiveSmallIntegerField(default=1, editable=False)
    openrosa_ha1 = models.CharField(max_length=32, blank=True, default="", editable=False)
    openrosa_password_digest = models.CharField(
        max_length=64, blank=True, default="", editable=False
    )

    push_provider = models.CharField(
        _("推送方式"), max_length=8, choices=PushProvider, blank=True, default=""
    )
    push_address = models.CharField(max_length=2048, blank=True, default="", editable=False)
    push_disabled_at = models.DateTimeField(_("推送停用时间"), null=True, blank=True)
    push_disabled_reason = models.CharField(
        _("推送停用原因"), max_length=200, blank=True, default=""
    )

    class Meta:
        verbose_name = _("设备")
        verbose_name_plural = pgettext_lazy("list", "设备")
        ordering = ["-last_seen_at"]
        constraints = [
            models.CheckConstraint(
                name="device_push_whole",
                condition=Q(push_provider="", push_address="")
                | (~Q(push_provider="") & ~Q(push_address="")),
            ),
            models.UniqueConstraint(
                fields=["push_address"],
                condition=~Q(push_address=""),
                name="device_push_address_once",
            ),
            models.UniqueConstraint(
                fields=["openrosa_password_digest"],
                condition=~Q(openrosa_password_digest=""),
                name="device_openrosa_password_once",
            ),
            models.CheckConstraint(
                name="device_openrosa_whole",
                condition=Q(openrosa_ha1="", openrosa_password_digest="")
                | (~Q(openrosa_ha1="") & ~Q(openrosa_password_digest="")),
            ),
        ]

    def __str__(self) -> str:
        return self.name or str(self.id)


class ClockReading(models.Model):
    """A stretch of time in which a phone's clock was ahead of ours by `offset_ms` (see clocks)."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    device = models.ForeignKey(
        Device, models.CASCADE, related_name="clock_readings", db_index=False
    )
    offset_ms = models.BigIntegerField()
    since = models.DateTimeField()
    until = models.DateTimeField()

    class Meta:
        ordering = ["since"]
        indexes = [models.Index(fields=["device", "until"], name="clock_reading_of_device")]
        constraints = [
            models.CheckConstraint(
                name="clock_reading_in_order", condition=Q(until__gte=F("since"))
            )
        ]

    def __str__(self) -> str:
        return f"{self.offset_ms} ms"
