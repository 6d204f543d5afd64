"""The change feed."""

from __future__ import annotations

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from mobile_api.feed import DELETE, KINDS, PUT
from mobile_api.pagination import MAX_LIMIT
from mobile_api.serializers.common import Shape

MAX_CURSOR = 1024


class SyncQuery(Shape):
    cursor = serializers.CharField(required=False, max_length=MAX_CURSOR, default=None)
    limit = serializers.IntegerField(min_value=1, max_value=MAX_LIMIT, default=MAX_LIMIT)


@extend_schema_field(
    PolymorphicProxySerializer(
        component_name="SyncData",
        serializers=[kind.shape for kind in KINDS],
        resource_type_field_name=None,
        many=False,
    )
)
class DataField(serializers.JSONField):
    """The object as its own endpoint shows it; null for a delete."""


class ChangeOut(Shape):
    type = serializers.ChoiceField(choices=[kind.type for kind in KINDS])
    id = serializers.UUIDField()
    op = serializers.ChoiceField(choices=[PUT, DELETE])
    data = DataField(allow_null=True)  # type: ignore[assignment] # a field of that name


class SyncOut(Shape):
    changes = ChangeOut(many=True)
    cursor = serializers.CharField()
    has_more = serializers.BooleanField(help_text="Ask again at once.")
    reset = serializers.BooleanField(help_text="Drop the copy: a whole one begins here.")
