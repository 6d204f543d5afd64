"""Photos and files: declared, uploaded straight to the store, completed, read."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.utils.timezone import localtime
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from media_storage.models import MediaObject
from media_storage.services import (
    Location,
    complete_media,
    declare_media,
    media_of,
    resume_upload,
)
from media_storage.stores import Upload
from mobile_api.serializers.media import (
    CompletedOut,
    DeclaredOut,
    MediaBody,
    MediaIn,
    MediaOut,
    PlaceBody,
    UploadQuery,
)
from mobile_api.views.base import PhoneView, one
from server.core.errors import NotFound
from server.findings.queries import media_visible_to
from server.grid.models import User

TAGS = ["Media"]
VERIFY_SECONDS = 2
"""The worker takes that long to come to an upload and to read it, as a rule."""


class MediaView(PhoneView):
    @extend_schema(
        operation_id="declare_media",
        tags=TAGS,
        request=MediaIn,
        responses={201: DeclaredOut, 200: DeclaredOut},
    )
    def post(self, request: Request) -> Response:
        """Declare a file, and learn where to upload it. The same again is 200."""
        media, upload, created = declare_media(
            owner=self.person, base_url=self.base_url, **self._declaration()
        )
        return Response(_declared(media, upload), 201 if created else 200)

    def _declaration(self) -> dict[str, Any]:
        """The common shape is read fast; for anything else the serializer has the words."""
        try:
            told = msgspec.structs.asdict(msgspec.convert(self.request.data, MediaBody))
        except msgspec.ValidationError:
            told = self.body(MediaIn)
            if place := told["location"]:
                told["location"] = PlaceBody(**place)
        if place := told["location"]:
            told["location"] = Location(place.lat, place.lon, place.accuracy_m)
        return {"media_id": told.pop("id"), **told}


class OneMediaView(PhoneView):
    @extend_schema(operation_id="get_media", tags=TAGS, responses=MediaOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One file, with short-lived addresses of the original and its renditions."""
        rows = media_visible_to(self.person).prefetch_related("renditions__media")
        return self.out(MediaOut, one(rows, id))


class UploadView(PhoneView):
    @extend_schema(
        operation_id="resume_upload", tags=TAGS, parameters=[UploadQuery], responses=DeclaredOut
    )
    def get(self, request: Request, id: UUID) -> Response:
        """What has arrived, and fresh addresses for what is missing."""
        media = _own(self.person, id)
        link = self.query(UploadQuery)["link"]
        upload = resume_upload(media=media, link=link, base_url=self.base_url)
        return Response(_declared(media, upload))


class CompleteView(PhoneView):
    @extend_schema(
        operation_id="complete_media",
        tags=TAGS,
        request=None,
        responses={200: CompletedOut, 202: CompletedOut},
    )
    def post(self, request: Request, id: UUID) -> Response:
        """All is uploaded: verify it. 409 while bytes are missing, 422 where they are others.

        202 while the server still reads them: keep the file, and ask again after `Retry-After`.
        """
        media = complete_media(media=_own(self.person, id))
        told = {"id": str(media.id), "state": media.state, "reason": media.reject_reason}
        if media.state == MediaObject.State.ARRIVED:
            return Response(told, 202, headers={"Retry-After": str(VERIFY_SECONDS)})
        return Response(told)


def _own(person: User, id: UUID) -> MediaObject:
    """Raises NotFound."""
    media = media_of(person, id)
    if media is None:
        raise NotFound
    return media


def _declared(media: MediaObject, upload: Upload) -> dict[str, Any]:
    """DeclaredOut's fields by hand: every photo passes here."""
    return {
        "id": str(media.id),
        "state": media.state,
        "upload": {
            "strategy": upload.strategy,
            "parts": [
                {
                    "number": part.number,
                    "url": part.url,
                    "headers": dict(part.headers),
                    "size": part.size,
                    "offset": part.offset,
                }
                for part in upload.parts
            ],
            "received": [{"number": part.number, "size": part.size} for part in upload.received],
            "expires_at": localtime(upload.expires_at).isoformat(),
        },
    }
