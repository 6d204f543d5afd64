"""Shared copies: what is hidden in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mobile_api.serializers.common import PersonBrief, Shape
from server.sharing.models import SharedCopy

SIDES = ("x", "y", "width", "height")


class BlurBox(Shape):
    """A rectangle by shares of the upright picture, from its upper left corner."""

    x = serializers.FloatField(min_value=0, max_value=1)
    y = serializers.FloatField(min_value=0, max_value=1)
    width = serializers.FloatField(min_value=0, max_value=1)
    height = serializers.FloatField(min_value=0, max_value=1)


class BlurBoxesIn(Shape):
    boxes = BlurBox(
        many=True, help_text="All of them: they replace what was hidden by hand before."
    )


class BlurBoxesOut(Shape):
    """`boxes` by hand, `faces` as they were found; `made_at` null while the copy is made."""

    boxes = serializers.SerializerMethodField()
    boxes_by = PersonBrief(allow_null=True)
    boxes_at = serializers.DateTimeField(allow_null=True)
    blurred = serializers.BooleanField(help_text="Faces were looked for and hidden.")
    faces = serializers.SerializerMethodField()
    made_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(BlurBox(many=True))
    def get_boxes(self, copy: SharedCopy) -> list[dict[str, float]]:
        return _named(copy.boxes)

    @extend_schema_field(BlurBox(many=True))
    def get_faces(self, copy: SharedCopy) -> list[dict[str, float]]:
        return _named(copy.faces)


class RemadeOut(Shape):
    pictures = serializers.IntegerField(help_text="How many pictures are looked at.")


def _named(boxes: Sequence[Sequence[Any]]) -> list[dict[str, float]]:
    return [dict(zip(SIDES, box, strict=True)) for box in boxes]
