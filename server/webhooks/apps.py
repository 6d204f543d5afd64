from datetime import timedelta

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebhooksConfig(AppConfig):
    name = "server.webhooks"
    label = "webhooks"
    verbose_name = _("外发推送")

    def ready(self) -> None:
        from server.core import schedule, worker
        from server.core.following import Follower, follow
        from server.core.secrets import register_sealed
        from server.webhooks import deriving, secrets, sending, services

        follow(Follower(name=services.FOLLOWER, tell=deriving.tell, durable=True))
        worker.run_beside("webhooks", sending.run_until)
        schedule.every("webhook events", timedelta(minutes=10), sending.forget_events)
        for column in ("secret", "old_secret"):
            register_sealed("webhooks.WebhookEndpoint", column, purpose=secrets.PURPOSE)
