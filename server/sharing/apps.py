from datetime import timedelta

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SharingConfig(AppConfig):
    name = "server.sharing"
    label = "sharing"
    verbose_name = _("督导工作")

    def ready(self) -> None:
        from server.core import schedule, work
        from server.sharing import making, marking, sweeping

        marking.start()
        sweeping.start()
        work.register(making.PUMP)
        schedule.every("sharing.sweep", timedelta(minutes=1), sweeping.sweep)
