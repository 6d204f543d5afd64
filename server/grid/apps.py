from django.apps import AppConfig


class GridConfig(AppConfig):
    name = "server.grid"
    label = "grid"
