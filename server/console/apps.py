"""The console's app, and the site that takes the place of Django's."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class ConsoleConfig(AppConfig):
    name = "server.console"
    label = "console"
    default = True


class ConsoleAdminConfig(admin.AdminConfig):
    default = False
    default_site = "server.console.site.ConsoleSite"
