"""Sessions, the person's own page, devices."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mobile_api.serializers.common import AreaBrief, SchoolBrief, Shape
from server.messaging.models import Device


class DeviceIn(Shape):
    """The phone or browser that logs in; its id is its own making and stays."""

    id = serializers.UUIDField()
    name = serializers.CharField(max_length=80, allow_blank=True, default="")
    platform = serializers.CharField(max_length=24, allow_blank=True, default="")


class SessionIn(Shape):
    username = serializers.CharField(max_length=64)
    password = serializers.CharField(max_length=256, trim_whitespace=False)
    device = DeviceIn()


class UserOut(Shape):
    """The person who logged in."""

    id = serializers.UUIDField()
    username = serializers.CharField()
    name = serializers.CharField()
    language = serializers.CharField()


class SessionOut(Shape):
    token = serializers.CharField(help_text="Shown once; stored only as a digest.")
    expires_at = serializers.DateTimeField(source="device.token_expires_at")
    user = UserOut(source="device.user")


class RoleOut(Shape):
    """A role of today and where it holds: an area with its subtree, or a school."""

    role = serializers.CharField()
    area = AreaBrief(allow_null=True)
    school = SchoolBrief(allow_null=True)
    starts = serializers.DateField()
    ends = serializers.DateField(allow_null=True)


class AppSettingsOut(Shape):
    """What the phone app must know of this server."""

    time_zone = serializers.CharField()
    max_document_bytes = serializers.IntegerField()
    max_upload_bytes = serializers.IntegerField()
    sync_limit = serializers.IntegerField()
    inbox_url = serializers.CharField(help_text="Web socket that hints at news.")
    webpush_key = serializers.CharField(
        help_text="`applicationServerKey` for PushManager.subscribe; empty: no Web Push here."
    )


class OpenRosaOut(Shape):
    """How ODK Collect and its kin reach this server in this person's name."""

    server_url = serializers.CharField()
    settings_qr = serializers.CharField(help_text="Text of the settings QR code.")


class MeOut(Shape):
    id = serializers.UUIDField(source="user.id")
    username = serializers.CharField(source="user.username")
    name = serializers.CharField(source="user.name")
    phone = serializers.CharField(source="user.phone")
    licence = serializers.CharField(source="user.licence")
    language = serializers.CharField(source="user.language")
    roles = RoleOut(many=True)
    settings = AppSettingsOut()
    openrosa = OpenRosaOut()


class DeviceOut(Shape):
    """One of one's own devices whose session is open."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    platform = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(source="token_expires_at")
    push = serializers.CharField(source="push_provider", help_text="Empty: no push.")
    current = serializers.SerializerMethodField(help_text="The device that asks.")

    @extend_schema_field(bool)
    def get_current(self, device: Device) -> bool:
        current: UUID | None = self.context.get("device_id")
        return device.pk == current


class PushIn(Shape):
    """Where to push; an empty provider ends it.

    FCM: its `token`; JPush: its registration id as `token`; Web Push: its `subscription`.
    """

    provider = serializers.ChoiceField(choices=Device.PushProvider.choices, allow_blank=True)
    token = serializers.CharField(required=False, allow_blank=True, max_length=2048)
    subscription = serializers.DictField(
        required=False, help_text="PushSubscription.toJSON() of the browser."
    )


class OpenRosaPasswordOut(Shape):
    """A generated password for HTTP Digest or Basic, for this device only; shown once."""

    username = serializers.CharField()
    password = serializers.CharField()
    server_url = serializers.CharField()
    settings_qr = serializers.CharField()


def push_address(push: dict[str, Any]) -> str:
    """The address that the provider's sender takes; a subscription always as the same text."""
    if push["provider"] == Device.PushProvider.WEBPUSH:
        subscription = push.get("subscription")
        return msgspec.json.encode(subscription, order="sorted").decode() if subscription else ""
    return str(push.get("token", "")) if push["provider"] else ""
