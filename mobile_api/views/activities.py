"""Activities: planned, previewed, published and closed by offices."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.work import ActivityIn, ActivityOut, ActivityQuery, PreviewOut
from mobile_api.views.base import PhoneView, one
from server.activities.queries import activities_listed_for, activities_managed_by
from server.activities.services.planning import (
    close_activity,
    create_activity,
    preview_activity,
    publish_activity,
)

TAGS = ["Work"]


class ActivitiesView(PhoneView):
    @extend_schema(
        operation_id="list_activities",
        tags=TAGS,
        parameters=[ActivityQuery, PageQuery],
        responses=page_shape(ActivityOut),
    )
    def get(self, request: Request) -> Response:
        """Activities of my offices, and those of my visits."""
        rows = self.narrowed(activities_listed_for(self.person), ActivityQuery)
        return self.page(rows, ActivityOut, ordering=("-starts", "-id"))

    @extend_schema(
        operation_id="create_activity", tags=TAGS, request=ActivityIn, responses={201: ActivityOut}
    )
    def post(self, request: Request) -> Response:
        """Plan an activity, as a draft. Offices only."""
        plan = self.body(ActivityIn)
        activity = create_activity(by=self.person, activity_id=plan.pop("id", None), **plan)
        return self.out(ActivityOut, one(activities_listed_for(self.person), activity.pk), 201)


class ActivityView(PhoneView):
    @extend_schema(operation_id="get_activity", tags=TAGS, responses=ActivityOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One activity."""
        return self.out(ActivityOut, one(activities_listed_for(self.person), id))


class PreviewView(PhoneView):
    @extend_schema(operation_id="preview_activity", tags=TAGS, responses=PreviewOut)
    def get(self, request: Request, id: UUID) -> Response:
        """The visits that publishing would make now, and the schools without an inspector."""
        activity = one(activities_managed_by(self.person), id)
        return self.out(PreviewOut, preview_activity(activity))


class PublishView(PhoneView):
    @extend_schema(operation_id="publish_activity", tags=TAGS, request=None, responses=ActivityOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Make the visits and tell inspectors and schools. Publishing again changes nothing."""
        publish_activity(activity_id=id, by=self.person)
        return self.out(ActivityOut, one(activities_listed_for(self.person), id))


class CloseView(PhoneView):
    @extend_schema(operation_id="close_activity", tags=TAGS, request=None, responses=ActivityOut)
    def post(self, request: Request, id: UUID) -> Response:
        """End the activity. Closing again changes nothing."""
        close_activity(activity_id=id, by=self.person)
        return self.out(ActivityOut, one(activities_listed_for(self.person), id))
