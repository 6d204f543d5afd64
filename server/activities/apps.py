from django.apps import AppConfig


class ActivitiesConfig(AppConfig):
    name = "server.activities"
    label = "activities"

    def ready(self) -> None:
        from server.activities.services import attaching, deriving

        deriving.start()
        attaching.start()
