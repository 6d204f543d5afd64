"""How one wants to be told."""

from __future__ import annotations

from rest_framework import serializers

from mobile_api.serializers.common import Shape
from server.messaging.preferences import CHOSEN


class ChannelChoice(Shape):
    """One channel, and whether it may be used."""

    channel = serializers.ChoiceField(choices=[(name.value, name.label) for name in CHOSEN])
    enabled = serializers.BooleanField()


class QuietHours(Shape):
    """Local times of the day, such as 22:00 and 07:00; over midnight where they stand so."""

    begins = serializers.TimeField(format="%H:%M")
    ends = serializers.TimeField(format="%H:%M")


class PreferencesShape(Shape):
    """The whole choice. `channels`: every channel once, the first to be tried first."""

    channels = ChannelChoice(many=True)
    quiet_hours = QuietHours(
        allow_null=True, help_text="Nothing rings in them but what is urgent; null: no such hours."
    )
    time_zone = serializers.CharField(max_length=64, help_text="An IANA name: Asia/Shanghai.")
