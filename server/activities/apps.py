from django.apps import AppConfig


class ActivitiesConfig(AppConfig):
    name = "server.activities"
    label = "activities"
