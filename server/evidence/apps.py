from datetime import timedelta

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EvidenceConfig(AppConfig):
    name = "server.evidence"
    label = "evidence"
    verbose_name = _("督导工作")

    def ready(self) -> None:
        from server.core import schedule, work
        from server.evidence import checking, marking
        from server.evidence.sweeping import sweep

        marking.start()
        work.register(checking.PHOTOS)
        work.register(checking.VISITS)
        schedule.every("evidence.sweep", timedelta(minutes=1), sweep)
