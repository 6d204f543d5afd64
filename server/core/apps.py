from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CoreConfig(AppConfig):
    name = "server.core"
    label = "core"
    verbose_name = _("材料保护")
    default_auto_field = "django.db.models.BigAutoField"
