"""Chat groups of schools and offices in which a robot of ours speaks."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from server.core.ids import new_id
from server.grid.models import Area, School


class ChatGroup(models.Model):
    """A group chat of one school or one office, reached by the address of its robot.

    The robot's address is as good as a password: whoever has it speaks in the group. It is encrypted
    at rest and never shown again; `fingerprint`, a digest, tells the same robot. A deleted group keeps
    its row for the deliveries that it got, without the secret.
    """

    class Kind(models.TextChoices):
        WECOM = "wecom", _("企业微信")
        DINGTALK = "dingtalk", _("钉钉")
        FEISHU = "feishu", _("飞书")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(_("平台"), max_length=8, choices=Kind)
    name = models.CharField(_("群名称"), max_length=80)
    school = models.ForeignKey(
        School,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="chat_groups",
        verbose_name=_("学校"),
    )
    area = models.ForeignKey(
        Area,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="chat_groups",
        verbose_name=_("行政区"),
    )
    language = models.CharField(
        _("语言"),
        max_length=8,
        default="zh-hans",
        choices=[("zh-hans", "简体中文"), ("en", "English")],
    )
    takes_announcements = models.BooleanField(_("转发督导办发给本校的通知"), default=False)
    secret = models.TextField(editable=False, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True, default="", editable=False)
    enabled = models.BooleanField(_("启用"), default=True)
    disabled_reason = models.CharField(_("停用原因"), max_length=200, blank=True, default="")
    tested_at = models.DateTimeField(_("测试时间"), null=True, blank=True, editable=False)
    test_passed = models.BooleanField(_("测试结果"), null=True, editable=False)
    test_answer = models.CharField(max_length=500, blank=True, default="", editable=False)
    last_sent_at = models.DateTimeField(_("最近发送"), null=True, blank=True, editable=False)
    last_failed_at = models.DateTimeField(_("最近失败"), null=True, blank=True, editable=False)
    last_failure = models.CharField(max_length=500, blank=True, default="", editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("创建时间"), auto_now_add=True)

    class Meta:
        verbose_name = _("群聊")
        verbose_name_plural = pgettext_lazy("list", "群聊")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="chat_group_of_one",
                condition=Q(school__isnull=False, area=None) | Q(school=None, area__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["fingerprint"],
                condition=~Q(fingerprint=""),
                name="chat_group_robot_once",
            ),
            models.CheckConstraint(
                name="chat_group_deleted_has_no_secret",
                condition=Q(deleted_at=None)
                | Q(deleted_at__isnull=False, secret="", fingerprint="", enabled=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name
