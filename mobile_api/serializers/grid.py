"""Schools."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mobile_api.serializers.common import AreaBrief, Place, Shape, place_of
from server.grid.models import School


class SchoolOut(Shape):
    id = serializers.UUIDField()
    name = serializers.CharField()
    code = serializers.CharField(help_text="学校标识码")
    stage = serializers.ChoiceField(choices=School.Stage.choices)
    area = AreaBrief()
    address = serializers.CharField()
    location = serializers.SerializerMethodField()
    enrolment = serializers.IntegerField()
    is_active = serializers.BooleanField()

    @extend_schema_field(Place(allow_null=True))
    def get_location(self, school: School) -> dict[str, float | None] | None:
        return place_of(school)


class SchoolQuery(Shape):
    area = serializers.UUIDField(required=False, help_text="A town's schools.")
    stage = serializers.ChoiceField(choices=School.Stage.choices, required=False)
    search = serializers.CharField(required=False, max_length=40, help_text="Part of the name.")

    lookups: ClassVar = {"area": "area_id", "stage": "stage", "search": "name__icontains"}
