"""Schools."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.grid import SchoolOut, SchoolQuery
from mobile_api.views.base import PhoneView, one
from server.activities.queries import schools_known_to

TAGS = ["Work"]


class SchoolsView(PhoneView):
    @extend_schema(
        operation_id="list_schools",
        tags=TAGS,
        parameters=[SchoolQuery, PageQuery],
        responses=page_shape(SchoolOut),
    )
    def get(self, request: Request) -> Response:
        """Schools in my offices, of my appointments and visits, or my own."""
        rows = schools_known_to(self.person).select_related("area")
        return self.page(self.narrowed(rows, SchoolQuery), SchoolOut, ordering=("code",))


class SchoolView(PhoneView):
    @extend_schema(operation_id="get_school", tags=TAGS, responses=SchoolOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One school."""
        return self.out(SchoolOut, one(schools_known_to(self.person).select_related("area"), id))
