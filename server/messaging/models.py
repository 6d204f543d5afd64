"""Devices of people, notices, and one delivery row per recipient and channel: the outbox itself."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from server.core.ids import new_id
from server.core.work import Work, due_index
from server.grid.models import School
from server.messaging.events import EventKind, event_kind


class Device(models.Model):
    """One person's phone or browser: its session, its OpenRosa credentials, its push address."""

    class PushProvider(models.TextChoices):
        NONE = "", _("无")
        FCM = "fcm", "FCM"
        WEBPUSH = "webpush", "Web Push"

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


class Notice(Work):
    """One message to many. Its text is made from the event's template in the reader's language.

    The work of a notice is the expansion of a large `audience` into deliveries.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    event = models.CharField(_("事件"), max_length=48)
    params = models.JSONField(default=dict)
    subject_type = models.CharField(max_length=24, blank=True, default="")
    subject_id = models.UUIDField(null=True, blank=True)
    school = models.ForeignKey(
        School,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="notices",
        verbose_name=_("学校"),
    )
    requires_ack = models.BooleanField(_("需要确认"), default=False)
    audience = models.JSONField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="notices_made",
        verbose_name=_("发出人"),
    )
    created_at = models.DateTimeField(_("发出时间"), auto_now_add=True)

    class Meta:
        verbose_name = _("通知")
        verbose_name_plural = pgettext_lazy("list", "通知")
        ordering = ["-id"]
        indexes = [
            due_index("notice_due"),
            models.Index(
                fields=["subject_type", "subject_id"],
                name="notice_subject",
                condition=Q(subject_id__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="notice_subject_whole",
                condition=Q(subject_type="", subject_id=None)
                | (~Q(subject_type="") & Q(subject_id__isnull=False)),
            )
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def kind(self) -> EventKind:
        return event_kind(self.event)

    @property
    def title(self) -> str:
        """The title in the language that is active now."""
        text: str = str(self.kind.title) % self.params
        return text

    @property
    def body(self) -> str:
        """The text in the language that is active now."""
        text: str = str(self.kind.body) % self.params
        return text


class Delivery(Work):
    """One notice, one recipient, one channel. The inbox row also tells when it was read."""

    class Channel(models.TextChoices):
        INBOX = "inbox", _("收件箱")
        SOCKET = "socket", _("在线提醒")
        FCM = "fcm", _("FCM 推送")

    class State(models.TextChoices):
        PENDING = "pending", _("待发送")
        SENT = "sent", _("已发送")
        DELIVERED = "delivered", _("已送达")
        DEAD = "dead", _("未能送达")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    notice = models.ForeignKey(
        Notice, models.CASCADE, related_name="deliveries", verbose_name=_("通知")
    )
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="deliveries",
        verbose_name=_("接收人"),
        db_index=False,  # deliveries_of_person begins with it
    )
    channel = models.CharField(_("渠道"), max_length=8, choices=Channel)
    address = models.CharField(_("地址"), max_length=64, blank=True, default="")
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.PENDING)
    reason = models.CharField(_("说明"), max_length=500, blank=True, default="")
    created_at = models.DateTimeField(_("创建时间"), auto_now_add=True)
    sent_at = models.DateTimeField(_("发送时间"), null=True, blank=True)
    delivered_at = models.DateTimeField(_("送达时间"), null=True, blank=True)
    read_at = models.DateTimeField(_("阅读时间"), null=True, blank=True)
    acknowledged_at = models.DateTimeField(_("确认时间"), null=True, blank=True)
    # The phone's own clock beside the server's: shown, never used for order.
    read_device_time = models.DateTimeField(null=True, blank=True)
    acknowledged_device_time = models.DateTimeField(null=True, blank=True)
    read_by_device = models.ForeignKey(
        Device, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("阅读设备")
    )

    class Meta:
        verbose_name = _("送达")
        verbose_name_plural = _("送达记录")
        ordering = ["-id"]
        indexes = [
            due_index("delivery_due"),
            models.Index(fields=["recipient", "channel", "-id"], name="deliveries_of_person"),
            models.Index(
                fields=["recipient", "-id"],
                name="delivery_unread",
                condition=Q(channel="inbox", read_at=None),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["notice", "recipient", "channel", "address"], name="delivery_once"
            ),
            models.CheckConstraint(
                name="delivery_read_in_inbox",
                condition=Q(channel="inbox") | Q(read_at=None, acknowledged_at=None),
            ),
            models.CheckConstraint(
                name="delivery_read_before_acknowledged",
                condition=Q(acknowledged_at=None) | Q(read_at__isnull=False),
            ),
            models.CheckConstraint(
                name="delivery_state_has_its_facts",
                condition=Q(state="pending")
                | Q(state="sent", sent_at__isnull=False)
                | Q(state="delivered", delivered_at__isnull=False)
                | (Q(state="dead") & ~Q(reason="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} · {self.get_state_display()}"
