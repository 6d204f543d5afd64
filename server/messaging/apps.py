from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class MessagingConfig(AppConfig):
    name = "server.messaging"
    label = "messaging"
    verbose_name = _("通知")

    def ready(self) -> None:
        from server.messaging import delivering

        delivering.register()
        post_migrate.connect(_keep_catalogue, sender=self)


def _keep_catalogue(**_options: Any) -> None:
    from server.messaging.wording import record_catalogue

    record_catalogue()
