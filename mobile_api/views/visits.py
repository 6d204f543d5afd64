"""Visits: check-in, completion, and what the office says to them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import DEVICE_TIME, page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.work import (
    CheckInIn,
    CompleteIn,
    ReturnIn,
    ReviewIn,
    VisitDetail,
    VisitOut,
    VisitQuery,
)
from mobile_api.shown import visits_shown_to
from mobile_api.views.base import PhoneView, one
from server.activities.services.visits import (
    Place,
    check_in,
    complete_visit,
    return_visit,
    review_visit,
)

TAGS = ["Work"]


class VisitsView(PhoneView):
    @extend_schema(
        operation_id="list_visits",
        tags=TAGS,
        parameters=[VisitQuery, PageQuery],
        responses=page_shape(VisitOut),
    )
    def get(self, request: Request) -> Response:
        """Visits of my teams, my offices or my school, newest first."""
        rows = self.narrowed(visits_shown_to(self.person), VisitQuery)
        return self.page(rows, VisitOut, ordering=("-id",))


class VisitView(PhoneView):
    @extend_schema(operation_id="get_visit", tags=TAGS, responses=VisitDetail)
    def get(self, request: Request, id: UUID) -> Response:
        """One visit, and what I may do with it now."""
        return self.out(VisitDetail, one(visits_shown_to(self.person), id))


class _ActionView(PhoneView):
    def visit(self, id: UUID) -> Response:
        """The answer with the visit as it is now."""
        return self.out(VisitDetail, one(visits_shown_to(self.person), id))


class CheckInView(_ActionView):
    @extend_schema(
        operation_id="check_in",
        tags=TAGS,
        parameters=[DEVICE_TIME],
        request=CheckInIn,
        responses=VisitDetail,
    )
    def post(self, request: Request, id: UUID) -> Response:
        """We are at the school. An unannounced visit becomes known to it now."""
        self.read_clock(self.device)
        action = self.body(CheckInIn)
        place = Place(**action["location"]) if action["location"] else None
        check_in(visit_id=id, action_id=action["id"], by=self.person, at=action["at"], place=place)
        return self.visit(id)


class CompleteView(_ActionView):
    @extend_schema(
        operation_id="complete_visit",
        tags=TAGS,
        parameters=[DEVICE_TIME],
        request=CompleteIn,
        responses=VisitDetail,
    )
    def post(self, request: Request, id: UUID) -> Response:
        """We are done."""
        self.read_clock(self.device)
        action: dict[str, Any] = self.body(CompleteIn)
        complete_visit(visit_id=id, action_id=action.pop("id"), by=self.person, **action)
        return self.visit(id)


class ReviewView(_ActionView):
    @extend_schema(operation_id="review_visit", tags=TAGS, request=ReviewIn, responses=VisitDetail)
    def post(self, request: Request, id: UUID) -> Response:
        """The office accepts the visit's records."""
        review_visit(visit_id=id, action_id=self.body(ReviewIn)["id"], by=self.person)
        return self.visit(id)


class ReturnView(_ActionView):
    @extend_schema(operation_id="return_visit", tags=TAGS, request=ReturnIn, responses=VisitDetail)
    def post(self, request: Request, id: UUID) -> Response:
        """The office wants it done again, and says why."""
        action = self.body(ReturnIn)
        return_visit(visit_id=id, action_id=action["id"], by=self.person, reason=action["reason"])
        return self.visit(id)
