"""The console's app, and the site that takes the place of Django's."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class ConsoleConfig(AppConfig):
    name = "server.console"
    label = "console"
    default = True

    def ready(self) -> None:
        from server.console import live
        from server.console.demo import load_work
        from server.grid.demo import add_content

        add_content(load_work)
        live.start()


class ConsoleAdminConfig(admin.SimpleAdminConfig):
    """Without autodiscovery: the site does it when its pages are first asked for."""

    default = False
    default_site = "server.console.site.ConsoleSite"
