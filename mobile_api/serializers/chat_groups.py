"""Chat groups of a school: what goes in stays in, what comes out is no secret."""

from __future__ import annotations

from rest_framework import serializers

from mobile_api.serializers.common import Shape
from server.messaging.models import ChatGroup


class ChatGroupIn(Shape):
    """A robot's address as the platform shows it; its platform is seen from it."""

    id = serializers.UUIDField()
    name = serializers.CharField(max_length=80)
    webhook = serializers.CharField(
        max_length=1000, write_only=True, help_text="Stored encrypted, never shown again."
    )
    sign_secret = serializers.CharField(
        max_length=200, allow_blank=True, default="", write_only=True
    )
    keyword = serializers.CharField(max_length=40, allow_blank=True, default="", write_only=True)
    language = serializers.ChoiceField(choices=["zh-hans", "en"], default="zh-hans")
    takes_announcements = serializers.BooleanField(default=False)


class ChatGroupChange(Shape):
    """What is left out stays."""

    enabled = serializers.BooleanField(required=False)
    takes_announcements = serializers.BooleanField(required=False)


class ChatGroupOut(Shape):
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=ChatGroup.Kind.choices)
    name = serializers.CharField()
    language = serializers.CharField()
    takes_announcements = serializers.BooleanField()
    enabled = serializers.BooleanField()
    disabled_reason = serializers.CharField()
    last_sent_at = serializers.DateTimeField(allow_null=True)
    last_failed_at = serializers.DateTimeField(allow_null=True)
    last_failure = serializers.CharField()
    tested_at = serializers.DateTimeField(allow_null=True)
    test_passed = serializers.BooleanField(allow_null=True)
    test_answer = serializers.CharField(help_text="What the platform answered, in words.")


class ChatGroupBrief(Shape):
    """A chat group, by name."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.CharField()
