from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MessagingConfig(AppConfig):
    name = "server.messaging"
    label = "messaging"
    verbose_name = _("通知")

    def ready(self) -> None:
        from server.messaging import browsers, chat_groups, delivering

        delivering.register()
        chat_groups.register()
        browsers.register()
