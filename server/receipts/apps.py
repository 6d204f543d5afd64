from datetime import timedelta

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReceiptsConfig(AppConfig):
    name = "server.receipts"
    label = "receipts"
    verbose_name = _("存证")

    def ready(self) -> None:
        from server.core import schedule
        from server.receipts import chain

        schedule.every("receipts", timedelta(seconds=chain.LOOK_SECONDS), chain.look)
