"""Notices, and one delivery row per recipient and channel: the outbox itself."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from server.core.ids import new_id
from server.core.work import Work, due_index
from server.grid.models import Area, School, User
from server.messaging.events import EventKind, event_kind
from server.messaging.models.devices import Device
from server.messaging.models.groups import ChatGroup
from server.messaging.models.wording import EventWording, known_words, language
from server.messaging.templates import fill
from server.messaging.variables import Addressee
from server.messaging.variables import fill as fill_for


class Notice(Work):
    """One message to many. Its text is made in the reader's language, from the version of the event's
    wording that was in force when it was made (ADR 26).

    The work of a notice: to be sent at its time, the expansion of a large `audience` into deliveries,
    telling phones of a recall or a correction, and admitting late joiners (server.messaging.composing).
    What is asked of readers before `asked_since` is asked again.
    """

    class State(models.TextChoices):
        SCHEDULED = "scheduled", _("定时发送")
        SENT = "sent", _("已发出")
        RECALLED = "recalled", _("已撤回")
        CANCELLED = "cancelled", _("已取消")

    class Requires(models.TextChoices):
        NOTHING = "", _("无")
        READ = "read", _("阅读")
        ACKNOWLEDGE = "acknowledge", _("确认收到")
        ANSWER = "answer", _("填写回执")

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
    wording = models.ForeignKey(
        EventWording,
        models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        db_index=False,  # a version is never deleted, and nobody asks for its notices
    )
    requires = models.CharField(
        _("要求"), max_length=12, choices=Requires, blank=True, default="", db_default=""
    )
    audience = models.JSONField(null=True, blank=True)
    state = models.CharField(
        _("状态"), max_length=10, choices=State, default=State.SENT, db_default="sent"
    )
    office = models.ForeignKey(
        Area,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("发出单位"),
    )
    urgent = models.BooleanField(_("紧急"), default=False, db_default=False)
    # Whether title and body hold variables, or doubled braces that stand for one.
    templated = models.BooleanField(default=False, db_default=False, editable=False)
    form = models.JSONField(null=True, blank=True, editable=False)
    content_digest = models.CharField(max_length=64, blank=True, default="", db_default="")
    send_at = models.DateTimeField(_("定时"), null=True, blank=True)
    sent_at = models.DateTimeField(_("实际发出"), null=True, blank=True, editable=False)
    open_until = models.DateTimeField(_("截止"), null=True, blank=True)
    late_until = models.DateTimeField(null=True, editable=False)
    version = models.PositiveSmallIntegerField(_("版本"), default=1, db_default=1, editable=False)
    corrected_at = models.DateTimeField(_("更正时间"), null=True, blank=True, editable=False)
    correction_note = models.CharField(
        _("更正说明"), max_length=200, blank=True, default="", db_default=""
    )
    asked_since = models.DateTimeField(null=True, editable=False)
    recalled_at = models.DateTimeField(_("撤回时间"), null=True, blank=True, editable=False)
    recall_reason = models.CharField(
        _("撤回原因"), max_length=200, blank=True, default="", db_default=""
    )
    reminder_of = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="reminders", editable=False
    )
    # What the worker has yet to do: tell recipients of a change, as far as `change_told_to` in the
    # order of their ids, and look for late joiners.
    change_untold = models.BooleanField(default=False, db_default=False, editable=False)
    change_told_to = models.UUIDField(null=True, editable=False)
    late_due = models.BooleanField(default=False, db_default=False, editable=False)
    # Of a large audience, in the order of ids: the last who was told.
    expanded_to = models.UUIDField(null=True, editable=False)
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
            models.Index(
                fields=["late_until"],
                name="notice_open",
                condition=Q(late_until__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="notice_subject_whole",
                condition=Q(subject_type="", subject_id=None)
                | (~Q(subject_type="") & Q(subject_id__isnull=False)),
            ),
            models.CheckConstraint(
                name="notice_state_has_its_facts",
                condition=Q(state__in=["sent", "cancelled"])
                | Q(state="scheduled", send_at__isnull=False)
                | (Q(state="recalled", recalled_at__isnull=False) & ~Q(recall_reason="")),
            ),
            models.CheckConstraint(
                name="notice_form_where_asked",
                condition=Q(requires="answer", form__isnull=False)
                | (~Q(requires="answer") & Q(form__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def kind(self) -> EventKind:
        """The event as it was in force when the notice was made."""
        return known_words(self.wording_id).kind() if self.wording_id else event_kind(self.event)

    @property
    def title(self) -> str:
        """The title in the language that is active now."""
        if self.wording_id:
            return fill(known_words(self.wording_id).title[language()], self.params)
        text: str = str(self.kind.title) % self.params
        return text

    @property
    def body(self) -> str:
        """The text in the language that is active now."""
        if self.wording_id:
            return fill(known_words(self.wording_id).body[language()], self.params)
        text: str = str(self.kind.body) % self.params
        return text

    @property
    def asks(self) -> str:
        """What readers are to do: read, acknowledge, answer, or nothing in particular."""
        return self.requires or (self.Requires.ACKNOWLEDGE.value if self.requires_ack else "")

    @property
    def is_urgent(self) -> bool:
        """Whether a push may wake the phone."""
        return self.urgent or self.kind.urgent

    @property
    def told_at(self) -> datetime:
        """When it was sent, or is to be."""
        return self.sent_at or self.send_at or self.created_at

    def is_closed(self, moment: datetime) -> bool:
        """Whether it takes no answers any more."""
        return self.open_until is not None and self.open_until <= moment


class Delivery(Work):
    """One notice, one recipient (a person or a chat group), one channel.

    The inbox row also tells when it was read. `address` tells several addresses of one recipient
    apart: a device's id. `merged_into` is the delivery whose message carries this one's text too.
    """

    class Channel(models.TextChoices):
        INBOX = "inbox", _("收件箱")
        SOCKET = "socket", _("在线提醒")
        FCM = "fcm", _("FCM 推送")
        WEBPUSH = "webpush", _("浏览器推送")
        JPUSH = "jpush", _("极光推送")
        ROBOT = "robot", _("群机器人")
        MAIL = "mail", _("电子邮件")
        SMS = "sms", _("短信")

    class State(models.TextChoices):
        PENDING = "pending", _("待发送")
        SENT = "sent", _("已发送")
        DELIVERED = "delivered", _("已送达")
        DEAD = "dead", _("未能送达")
        SKIPPED = "skipped", _("无需发送")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    notice = models.ForeignKey(
        Notice,
        models.CASCADE,
        related_name="deliveries",
        verbose_name=_("通知"),
        db_index=False,  # delivery_once begins with it
        db_constraint=False,  # with the recipient's half of what writing a crowd's rows costs: ADR 22
    )
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="deliveries",
        verbose_name=_("接收人"),
        db_index=False,  # deliveries_of_person begins with it
        db_constraint=False,  # nobody's row is ever deleted (PROTECT), and a check locks it: ADR 22
    )
    group = models.ForeignKey(
        ChatGroup,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="deliveries",
        verbose_name=_("群聊"),
        db_index=False,  # delivery_to_group_once begins with it
    )
    channel = models.CharField(_("渠道"), max_length=8, choices=Channel)
    address = models.CharField(_("地址"), max_length=64, blank=True, default="")
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.PENDING)
    reason = models.CharField(_("说明"), max_length=500, blank=True, default="")
    created_at = models.DateTimeField(_("创建时间"), auto_now_add=True)
    expires_at = models.DateTimeField(_("失效时间"), null=True, blank=True)
    provider_id = models.CharField(max_length=200, blank=True, default="", editable=False)
    merged_into = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="merged",
        editable=False,
        db_index=False,  # delivery_merged, of the few that are
    )
    sent_at = models.DateTimeField(_("发送时间"), null=True, blank=True)
    delivered_at = models.DateTimeField(_("送达时间"), null=True, blank=True)
    read_at = models.DateTimeField(_("阅读时间"), null=True, blank=True)
    acknowledged_at = models.DateTimeField(_("确认时间"), null=True, blank=True)
    # The phone's own clock beside the server's: shown, never used for order.
    read_device_time = models.DateTimeField(null=True, blank=True)
    acknowledged_device_time = models.DateTimeField(null=True, blank=True)
    read_by_device = models.ForeignKey(
        Device,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("阅读设备"),
        db_index=False,  # delivery_read_by, of the few that are
    )
    acknowledged_by_device = models.ForeignKey(
        Device,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("确认设备"),
        db_index=False,  # of millions of rows, for a device that is deleted once in a lifetime
    )
    answered_at = models.DateTimeField(_("填报时间"), null=True, blank=True)

    addressee: Addressee | None = None
    """What the variables of the text stand for; whoever shows many rows sets it for all at once."""

    carries: tuple[Delivery, ...] = ()
    """Those whose text this one's message brings too, set when it is sent (message_text)."""

    class Meta:
        verbose_name = _("送达")
        verbose_name_plural = _("送达记录")
        ordering = ["-id"]
        indexes = [
            # Of each channel by itself, so that what one may not send now costs the others nothing.
            models.Index(
                fields=["channel", "work_due_at"],
                name="delivery_due",
                condition=Q(work_due_at__isnull=False),
            ),
            models.Index(
                fields=["recipient", "channel"],
                name="delivery_due_of_person",
                condition=Q(work_due_at__isnull=False),
            ),
            models.Index(fields=["recipient", "channel", "-id"], name="deliveries_of_person"),
            models.Index(
                fields=["recipient", "-id"],
                name="delivery_unread",
                condition=Q(channel="inbox", read_at=None),
            ),
            models.Index(
                fields=["read_by_device"],
                name="delivery_read_by",
                condition=Q(read_by_device__isnull=False),
            ),
            models.Index(
                fields=["merged_into"],
                name="delivery_merged",
                condition=Q(merged_into__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["notice", "recipient", "channel", "address"], name="delivery_once"
            ),
            models.UniqueConstraint(
                fields=["group", "notice"],
                condition=Q(group__isnull=False),
                name="delivery_to_group_once",
            ),
            models.CheckConstraint(
                name="delivery_to_one",
                condition=Q(recipient__isnull=False, group=None)
                | Q(recipient=None, group__isnull=False, channel="robot"),
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
                name="delivery_read_before_answered",
                condition=Q(answered_at=None) | Q(read_at__isnull=False),
            ),
            models.CheckConstraint(
                name="delivery_state_has_its_facts",
                condition=Q(state="pending")
                | Q(state="sent", sent_at__isnull=False)
                | Q(state="delivered", delivered_at__isnull=False)
                | (Q(state__in=["dead", "skipped"]) & ~Q(reason="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} · {self.get_state_display()}"

    @property
    def person(self) -> User:
        """The recipient, of every delivery but those to a chat group."""
        if self.recipient is None:
            raise ValueError(f"delivery {self.pk} is to a group")
        return self.recipient

    @property
    def title(self) -> str:
        """The notice's title for this recipient, in the language that is active now."""
        if self.notice.state == Notice.State.RECALLED:
            return gettext("通知已撤回：%(title)s") % {"title": self._filled(self.notice.title)}
        return self._filled(self.notice.title)

    @property
    def body(self) -> str:
        """The text for this recipient; of a recalled notice only who recalled it, and why."""
        notice = self.notice
        if notice.state == Notice.State.RECALLED:
            words = {"office": notice.office or gettext("发出单位"), "why": notice.recall_reason}
            return gettext("%(office)s已撤回此通知。原因：%(why)s") % words
        return self._filled(notice.body)

    @property
    def acknowledged_since(self) -> datetime | None:
        """When the recipient confirmed the notice as it is now."""
        return self._since(self.acknowledged_at)

    @property
    def answered_since(self) -> datetime | None:
        """When the recipient answered the notice as it is now."""
        return self._since(self.answered_at)

    def _since(self, moment: datetime | None) -> datetime | None:
        asked = self.notice.asked_since
        return None if moment and asked and moment < asked else moment

    def _filled(self, text: str) -> str:
        if not self.notice.templated:
            return text
        if self.addressee is None:
            from server.messaging.addressees import addressee_of  # it reads rows: models come first

            self.addressee = addressee_of(self)
        return fill_for(text, self.addressee, self.notice.told_at)
