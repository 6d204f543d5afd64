"""Care for what photos show: originals, retention, exports, storage use."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.care import (
    ExportIn,
    ExportOut,
    OpenedOut,
    OriginalIn,
    RetentionIn,
    StorageOut,
    StorageQuery,
)
from mobile_api.serializers.work import ActivityOut
from mobile_api.views.base import PhoneView, one
from server.activities.queries import activities_listed_for, activities_visible_to
from server.care.counting import storage_figures
from server.care.exporting import open_export, request_export
from server.care.originals import open_original
from server.care.queries import activities_exportable_by, exports_of
from server.care.retention import set_retention
from server.core.errors import NotFound
from server.grid.queries import OFFICES, areas_visible_to, has_role

MEDIA, WORK, FIGURES = ["Media"], ["Work"], ["Figures"]


class OriginalView(PhoneView):
    @extend_schema(
        operation_id="open_original", tags=MEDIA, request=OriginalIn, responses=OpenedOut
    )
    def post(self, request: Request, id: UUID) -> Response:
        """The address of an original, for who has the right. Each one is in the audit log."""
        opened = open_original(
            media_id=id, by=self.person, base_url=self.base_url, **self.body(OriginalIn)
        )
        return self.out(OpenedOut, opened)


class RetentionView(PhoneView):
    @extend_schema(
        operation_id="set_retention", tags=WORK, request=RetentionIn, responses=ActivityOut
    )
    def put(self, request: Request, id: UUID) -> Response:
        """Say for how long the activity's photos are kept. Its office only."""
        asked = self.body(RetentionIn)
        set_retention(
            activity_id=id,
            by=self.person,
            keep_days=asked["keep_media_days"],
            until=asked["until"],
            reason=asked["reason"],
        )
        return self.out(ActivityOut, one(activities_listed_for(self.person), id))


class ExportsView(PhoneView):
    @extend_schema(
        operation_id="list_exports",
        tags=MEDIA,
        parameters=[PageQuery],
        responses=page_shape(ExportOut),
    )
    def get(self, request: Request, id: UUID) -> Response:
        """My exports of the activity."""
        activity = one(activities_exportable_by(self.person), id)
        rows = exports_of(self.person).filter(activity=activity)
        return self.page(rows, ExportOut, ordering=("-requested_at", "-id"))

    @extend_schema(
        operation_id="request_export", tags=MEDIA, request=ExportIn, responses={202: ExportOut}
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Have the activity's media packed into a ZIP with a manifest. Offices only."""
        asked = self.body(ExportIn)
        export, _new = request_export(
            export_id=asked.pop("id"), activity_id=id, by=self.person, **asked
        )
        return self.out(ExportOut, export, 202)


class ExportView(PhoneView):
    @extend_schema(operation_id="get_export", tags=MEDIA, responses=ExportOut)
    def get(self, request: Request, id: UUID) -> Response:
        """How far one of my exports is, and where to fetch it once it is ready."""
        export = one(exports_of(self.person), id)
        url = None
        if export.is_there:
            url = open_export(export_id=id, by=self.person, base_url=self.base_url).url
        return self.out(ExportOut, export, url=url)


class StorageView(PhoneView):
    @extend_schema(
        operation_id="get_storage_use",
        tags=FIGURES,
        parameters=[StorageQuery],
        responses=StorageOut,
    )
    def get(self, request: Request) -> Response:
        """What the files of my offices' schools take in the store. Offices only."""
        asked, person = self.query(StorageQuery), self.person
        if not (person.is_superuser or has_role(person, *OFFICES)):
            raise NotFound
        area = one(areas_visible_to(person), asked["area"]) if "area" in asked else None
        activity = None
        if "activity" in asked:
            activity = one(activities_visible_to(person), asked["activity"])
        return self.out(StorageOut, storage_figures(person, area=area, activity=activity))
