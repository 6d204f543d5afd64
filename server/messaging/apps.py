from datetime import timedelta

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MessagingConfig(AppConfig):
    name = "server.messaging"
    label = "messaging"
    verbose_name = _("通知")

    def ready(self) -> None:
        from server.core import schedule
        from server.messaging import composing, delivering, newcomers

        delivering.register()
        schedule.every("messaging.newcomers", timedelta(seconds=10), newcomers.follow_feed)
        schedule.every("messaging.late", timedelta(days=1), composing.look_for_late_joiners)
