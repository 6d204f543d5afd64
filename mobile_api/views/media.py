"""Photos and files: declared, uploaded straight to the store, completed, read."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from media_storage.models import MediaObject
from media_storage.services import Location, complete_media, declare_media, resume_upload
from mobile_api.serializers.media import CompletedOut, DeclaredOut, MediaIn, MediaOut
from mobile_api.views.base import PhoneView, one
from server.findings.queries import media_visible_to

TAGS = ["Media"]


class MediaView(PhoneView):
    @extend_schema(
        operation_id="declare_media",
        tags=TAGS,
        request=MediaIn,
        responses={201: DeclaredOut, 200: DeclaredOut},
    )
    def post(self, request: Request) -> Response:
        """Declare a file, and learn where to upload it. The same again is 200."""
        media = self.body(MediaIn)
        place = media.pop("location")
        media["location"] = (
            Location(place["lat"], place["lon"], place["accuracy_m"]) if place else None
        )
        declared, upload, created = declare_media(
            media_id=media.pop("id"), owner=self.person, base_url=self.base_url, **media
        )
        return self.out(DeclaredOut, {"media": declared, "upload": upload}, 201 if created else 200)


class OneMediaView(PhoneView):
    @extend_schema(operation_id="get_media", tags=TAGS, responses=MediaOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One file, with short-lived addresses of the original and its renditions."""
        rows = media_visible_to(self.person).prefetch_related("renditions__media")
        return self.out(MediaOut, one(rows, id))


class UploadView(PhoneView):
    @extend_schema(operation_id="resume_upload", tags=TAGS, responses=DeclaredOut)
    def get(self, request: Request, id: UUID) -> Response:
        """What has arrived, and fresh addresses for what is missing."""
        media = one(MediaObject.objects.filter(owner=self.person), id)
        upload = resume_upload(media=media, base_url=self.base_url)
        return self.out(DeclaredOut, {"media": media, "upload": upload})


class CompleteView(PhoneView):
    @extend_schema(operation_id="complete_media", tags=TAGS, request=None, responses=CompletedOut)
    def post(self, request: Request, id: UUID) -> Response:
        """All is uploaded: verify it. 409 while bytes are missing, 422 where they are others."""
        media = one(MediaObject.objects.filter(owner=self.person), id)
        return self.out(CompletedOut, complete_media(media=media))
