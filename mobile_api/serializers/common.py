"""Shapes that several topics share."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from django.utils.translation import gettext_lazy
from rest_framework import serializers

from media_storage.models import MediaObject
from server.activities.machine import VISIT
from server.activities.models import Activity, Visit
from server.activities.services.visits import parts_of as visit_parts_of
from server.care.queries import originals_open_to
from server.core import clock
from server.findings.machine import FINDING
from server.findings.models import Finding
from server.findings.services import parts_of as finding_parts_of
from server.grid.models import School, User
from server.grid.queries import OFFICES, area_paths
from server.messaging.addressees import addressees
from server.messaging.variables import Addressee

Shape = serializers.Serializer[Any]


class PhoneMoment(serializers.DateTimeField):
    """A time by a phone's clock, which may be wrong, but not beyond all calendars."""

    default_error_messages = {"out_of_range": gettext_lazy("这个时间不可能，请检查手机的时钟。")}

    def to_internal_value(self, value: Any) -> datetime:
        moment = super().to_internal_value(value)
        if not clock.is_possible(moment):
            self.fail("out_of_range")
        return moment


class Reader:
    """The asking person, and what they are to the things that one answer shows."""

    def __init__(self, user: User) -> None:
        self.user = user

    @cached_property
    def _office_paths(self) -> tuple[str, ...]:
        return tuple(area_paths(self.user, *OFFICES))

    @cached_property
    def addressee(self) -> Addressee:
        """What the variables of notices stand for, of this person."""
        return addressees([self.user.pk])[self.user.pk]

    def is_office_of(self, school: School) -> bool:
        """`school.area` must be at hand."""
        return self.user.is_superuser or school.area.path.startswith(self._office_paths)

    def is_on_team(self, visit: Visit) -> bool:
        """`visit.team` must be at hand."""
        return any(member.pk == self.user.pk for member in visit.team.all())

    def may_open_original(self, media: MediaObject) -> bool:
        """Whether the person has the right to the original, not only to renditions."""
        return originals_open_to(self.user).filter(pk=media.pk).exists()

    def visit_actions(self, visit: Visit) -> list[str]:
        """What the person may do with the visit now."""
        if visit.activity.state == Activity.State.CLOSED:
            return []
        return VISIT.open_actions(visit.state, visit_parts_of(self.user, visit))

    def finding_actions(self, finding: Finding) -> list[str]:
        """What the person may do with the finding now."""
        return FINDING.open_actions(finding.state, finding_parts_of(self.user, finding))


class Place(Shape):
    """A position by the phone."""

    lat = serializers.FloatField(min_value=-90, max_value=90, help_text="Degrees, WGS-84.")
    lon = serializers.FloatField(min_value=-180, max_value=180, help_text="Degrees, WGS-84.")
    accuracy_m = serializers.FloatField(
        min_value=0, max_value=1e8, required=False, allow_null=True, default=None
    )


class PersonBrief(Shape):
    """A person, as others see them."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class SchoolBrief(Shape):
    """A school, by name."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class AreaBrief(Shape):
    """A node of the grid tree."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    code = serializers.CharField()
    level = serializers.CharField()


def place_of(row: Any) -> dict[str, float | None] | None:
    """{lat, lon, accuracy_m} of a row with latitude and longitude, where it has them."""
    if row.latitude is None or row.longitude is None:
        return None
    accuracy = getattr(row, "accuracy_m", None)
    return {"lat": row.latitude, "lon": row.longitude, "accuracy_m": accuracy}
