"""How a person wants to be told, and what has reached them so far."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class Preference(models.Model):
    """A person's own choice; who has no row has the defaults (server.messaging.preferences).

    `channels`: [{"channel": "fcm", "enabled": true}, …], the first to be tried first.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="preference"
    )
    channels = models.JSONField(default=list)
    quiet_from = models.TimeField(_("免打扰开始"), null=True, blank=True)
    quiet_until = models.TimeField(_("免打扰结束"), null=True, blank=True)
    time_zone = models.CharField(_("时区"), max_length=64)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("消息偏好")
        verbose_name_plural = pgettext_lazy("list", "消息偏好")
        constraints = [
            models.CheckConstraint(
                name="preference_quiet_whole",
                condition=Q(quiet_from=None, quiet_until=None)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return str(self.user_id)


class Habit(models.Model):
    """How many messages of a channel a person was sent, and how many of them were read soon after.

    Both fade: the last hundred or so count (server.messaging.ordering).
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False
    )
    channel = models.CharField(max_length=8)
    sent = models.FloatField(default=0)
    read = models.FloatField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "channel"], name="habit_once"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.read}/{self.sent}"


class HabitsUntil(models.Model):
    """The delivery up to which habits were learned; one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    delivery_id = models.UUIDField()

    class Meta:
        constraints = [models.CheckConstraint(name="habits_until_one", condition=Q(id=1))]

    def __str__(self) -> str:
        return str(self.delivery_id)
