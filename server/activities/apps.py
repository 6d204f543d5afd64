from datetime import timedelta

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ActivitiesConfig(AppConfig):
    name = "server.activities"
    label = "activities"
    verbose_name = _("督导工作")

    def ready(self) -> None:
        from server.activities import queries
        from server.activities.services import attaching, deriving, escalating
        from server.activities.services.quarantine import forget_old
        from server.activities.services.reminding import remind
        from server.core import schedule
        from server.messaging.sources import register_activities

        register_activities(
            schools=queries.schools_of_activities,
            inspectors=queries.inspectors_of_activities,
            visible=queries.are_visible,
        )
        deriving.start()
        attaching.start()
        escalating.start()
        schedule.every("submissions.refused", timedelta(hours=1), forget_old)
        schedule.every("activities.reminders", timedelta(minutes=10), remind)
