from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MediaStorageConfig(AppConfig):
    name = "media_storage"
    label = "media_storage"
    verbose_name = _("督导工作")

    def ready(self) -> None:
        from media_storage import housekeeping, receiving, work

        housekeeping.start()
        receiving.start()
        work.start()
