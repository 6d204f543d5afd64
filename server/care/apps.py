from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CareConfig(AppConfig):
    name = "server.care"
    label = "care"
    verbose_name = _("材料保护")

    def ready(self) -> None:
        from server.care import counting, deleting, exporting

        deleting.start()
        exporting.start()
        counting.start()
