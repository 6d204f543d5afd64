from datetime import timedelta

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GridConfig(AppConfig):
    name = "server.grid"
    label = "grid"
    verbose_name = _("学校与人员")

    def ready(self) -> None:
        from server.core import schedule
        from server.grid.services import announce_terms

        schedule.every("terms", timedelta(hours=1), announce_terms)
