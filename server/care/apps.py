from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CareConfig(AppConfig):
    name = "server.care"
    label = "care"
    verbose_name = _("材料保护")

    def ready(self) -> None:
        from media_storage.absence import register_explainer
        from server.care import certificates, conversing, counting, deleting, exporting

        register_explainer(certificates.numbers_of)
        deleting.start()
        exporting.start()
        counting.start()
        conversing.start()
