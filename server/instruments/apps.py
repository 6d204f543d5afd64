from django.apps import AppConfig


class InstrumentsConfig(AppConfig):
    name = "server.instruments"
    label = "instruments"
