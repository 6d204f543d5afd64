from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ConversationsConfig(AppConfig):
    name = "server.conversations"
    label = "conversations"
    verbose_name = _("沟通")

    def ready(self) -> None:
        from server.conversations import telling

        telling.start()
