from datetime import timedelta

from django.apps import AppConfig


class GridConfig(AppConfig):
    name = "server.grid"
    label = "grid"

    def ready(self) -> None:
        from server.core import schedule
        from server.grid.services import announce_terms

        schedule.every("terms", timedelta(hours=1), announce_terms)
