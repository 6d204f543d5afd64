"""Endpoints for outgoing webhooks, and what was sent to them."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mobile_api.serializers.common import PersonBrief, Shape
from server.webhooks.addresses import MAX_URL
from server.webhooks.catalogue import EventType, schema_of
from server.webhooks.models import WebhookDelivery, WebhookEndpoint


class WebhookArea(Shape):
    id = serializers.UUIDField()
    code = serializers.CharField()
    name = serializers.CharField()


class WebhookIn(Shape):
    id = serializers.UUIDField()
    area = serializers.UUIDField(help_text="Events of its schools, and of all areas below it.")
    url = serializers.CharField(max_length=MAX_URL)
    events = serializers.ListField(child=serializers.CharField(max_length=40), max_length=50)
    description = serializers.CharField(max_length=100, allow_blank=True, default="")


class WebhookChangeIn(Shape):
    """What is left out stays."""

    url = serializers.CharField(max_length=MAX_URL, required=False)
    events = serializers.ListField(
        child=serializers.CharField(max_length=40), max_length=50, required=False
    )
    description = serializers.CharField(max_length=100, allow_blank=True, required=False)
    enabled = serializers.BooleanField(required=False)


class WebhookOut(Shape):
    id = serializers.UUIDField()
    area = WebhookArea()
    url = serializers.CharField()
    description = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField())
    api_version = serializers.IntegerField()
    state = serializers.ChoiceField(choices=WebhookEndpoint.State.choices)
    state_reason = serializers.CharField(help_text="Why it is not sent to.")
    responsible = PersonBrief()
    created_at = serializers.DateTimeField()
    failures = serializers.IntegerField(help_text="Attempts that failed since the last good one.")
    failing_since = serializers.DateTimeField(allow_null=True)
    last_success_at = serializers.DateTimeField(allow_null=True)
    old_secret_until = serializers.DateTimeField(
        allow_null=True, help_text="Until then the secret before this one signs too."
    )


class MadeWebhookOut(WebhookOut):
    """`secret` is shown this once; null where nothing new was made."""

    secret = serializers.SerializerMethodField()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_secret(self, endpoint: WebhookEndpoint) -> str | None:
        secret: str | None = self.context["secret"]
        return secret


class WebhookEventOut(Shape):
    """A type of event, and the JSON Schema of the body that is sent."""

    type = serializers.CharField(source="name")
    words = serializers.CharField()
    schema = serializers.SerializerMethodField()

    def get_schema(self, event: EventType) -> dict[str, Any]:
        return schema_of(event)


class WebhookEventsOut(Shape):
    results = WebhookEventOut(many=True)


class WebhookDeliveryQuery(Shape):
    state = serializers.ChoiceField(choices=WebhookDelivery.State.choices, required=False)
    event = serializers.UUIDField(required=False)

    lookups: ClassVar = {"state": "state", "event": "event_id"}


class WebhookDeliveryOut(Shape):
    id = serializers.UUIDField()
    event_id = serializers.UUIDField(help_text="The `webhook-id` that the receiver gets.")
    type = serializers.CharField(source="event.type")
    occurred_at = serializers.DateTimeField(source="event.occurred_at")
    state = serializers.ChoiceField(choices=WebhookDelivery.State.choices)
    attempts = serializers.IntegerField()
    next_at = serializers.DateTimeField(allow_null=True)
    last_tried_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    status = serializers.IntegerField(allow_null=True, help_text="HTTP, of the last attempt.")
    answer = serializers.CharField(help_text="The first 1024 bytes of the receiver's answer.")
    error = serializers.CharField()
    payload = serializers.JSONField(source="event.payload")


class RedeliverIn(Shape):
    since = serializers.DateTimeField(help_text="Events that happened from then on.")


class RedeliveredOut(Shape):
    count = serializers.IntegerField()
