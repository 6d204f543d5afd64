"""One's own preferences for messages."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.serializers.preferences import PreferencesShape
from mobile_api.views.base import PhoneView
from server.messaging.preferences import (
    Preferences,
    channels_shown,
    preferences_of,
    set_preferences,
)

TAGS = ["Session and device"]


class PreferencesView(PhoneView):
    @extend_schema(operation_id="preferences", tags=TAGS, responses=PreferencesShape)
    def get(self, request: Request) -> Response:
        """How I am told besides the inbox: which channels in which order, and when nothing rings."""
        person = self.person
        return self.out(PreferencesShape, _shown(preferences_of([person.pk])[person.pk]))

    @extend_schema(
        operation_id="set_preferences",
        tags=TAGS,
        request=PreferencesShape,
        responses=PreferencesShape,
    )
    def put(self, request: Request) -> Response:
        """Replace my preferences."""
        body = self.body(PreferencesShape)
        quiet = body["quiet_hours"]
        chosen = set_preferences(
            user=self.person,
            channels=[(each["channel"], each["enabled"]) for each in body["channels"]],
            quiet=(quiet["begins"], quiet["ends"]) if quiet else None,
            time_zone=body["time_zone"],
        )
        return self.out(PreferencesShape, _shown(chosen))


def _shown(chosen: Preferences) -> dict[str, object]:
    quiet = chosen.quiet
    return {
        "channels": [{"channel": name, "enabled": on} for name, on in channels_shown(chosen)],
        "quiet_hours": {"begins": quiet.begin, "ends": quiet.end} if quiet else None,
        "time_zone": chosen.time_zone,
    }
