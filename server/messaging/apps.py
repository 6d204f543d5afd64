from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save
from django.utils.translation import gettext_lazy as _


class MessagingConfig(AppConfig):
    name = "server.messaging"
    label = "messaging"
    verbose_name = _("通知")

    def ready(self) -> None:
        from server.core import schedule
        from server.core.following import Follower, follow
        from server.grid.demo import add_content
        from server.messaging import (
            browsers,
            chat_groups,
            composing,
            delivering,
            escalation,
            newcomers,
        )
        from server.messaging.rules import give_default_rules

        delivering.register()
        escalation.register()
        chat_groups.register()
        browsers.register()
        follow(Follower(name=newcomers.NEWCOMERS, tell=newcomers.tell, durable=True))
        schedule.every("messaging.late", timedelta(days=1), composing.look_for_late_joiners)
        post_migrate.connect(_keep_catalogue, sender=self)
        post_save.connect(_give_rules, sender="grid.Area")
        add_content(lambda demo: give_default_rules(demo.county))


def _give_rules(instance: Any, created: bool, raw: bool = False, **_options: Any) -> None:
    from server.messaging.rules import give_default_rules

    if created and not raw:
        give_default_rules(instance)


def _keep_catalogue(**_options: Any) -> None:
    from server.messaging.wording import record_catalogue

    record_catalogue()
