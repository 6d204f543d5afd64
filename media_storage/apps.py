from django.apps import AppConfig


class MediaStorageConfig(AppConfig):
    name = "media_storage"
    label = "media_storage"

    def ready(self) -> None:
        from media_storage import work

        work.start()
