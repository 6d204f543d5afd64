from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "server.messaging"
    label = "messaging"

    def ready(self) -> None:
        from server.messaging import delivering

        delivering.register()
