"""Photos and files: declared, uploaded straight to the store, completed, read."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.db.models import F
from django.http import HttpRequest
from django.utils.timezone import localtime
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from media_storage.models import MediaObject
from media_storage.services import (
    Location,
    Owner,
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
from mobile_api.shown import with_evidence
from mobile_api.views.base import PhoneView, one
from mobile_api.views.short import NotOrdinary, ShortWay, short_base_url, short_body, speak
from server.conversations.queries import media_visible_to
from server.core.errors import NotFound
from server.core.standing import StandingQuery
from server.grid.models import User
from server.grid.queries import remember_roles
from server.messaging.sessions import digest_of, is_ordinary, ordinary_person
from server.sharing.showing import with_rights

TAGS = ["Media"]
VERIFY_SECONDS = 2
"""The worker takes that long to come to an upload and to read it, as a rule."""


class MediaView(ShortWay):
    @staticmethod
    def short(request: HttpRequest, token: str) -> tuple[Any, int, dict[str, str]]:
        try:
            declaration = _told(short_body(request))
        except msgspec.ValidationError:
            raise NotOrdinary from None
        person = ordinary_person(token)
        if person is None:
            raise NotOrdinary
        base_url = short_base_url(request)
        speak(request, person[1])
        media, upload, created = declare_media(
            owner=Owner(person[0]), base_url=base_url, **declaration
        )
        return _declared(media, upload), 201 if created else 200, {}

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
            return _told(self.request.data)
        except msgspec.ValidationError:
            told = self.body(MediaIn)
        if place := told["location"]:
            told["location"] = PlaceBody(**place)
        return _named(told)


def _told(body: Any) -> dict[str, Any]:
    """A declaration of the common shape, as the service wants it. Raises msgspec.ValidationError."""
    return _named(msgspec.structs.asdict(msgspec.convert(body, MediaBody)))


def _named(told: dict[str, Any]) -> dict[str, Any]:
    if place := told["location"]:
        told["location"] = Location(place.lat, place.lon, place.accuracy_m)
    return {"media_id": told.pop("id"), **told}


class OneMediaView(PhoneView):
    @extend_schema(operation_id="get_media", tags=TAGS, responses=MediaOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One file, with short-lived addresses, what is known of its time and place, and its flags."""
        remember_roles(self.person)
        rows = with_rights(media_visible_to(self.person), self.person)
        rows = with_evidence(rows, self.person)
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


class CompleteView(ShortWay):
    @staticmethod
    def short(request: HttpRequest, token: str, id: UUID) -> tuple[Any, int, dict[str, str]]:
        media = _OWN_BY_TOKEN.first(id, digest_of(token))
        if media is None or not is_ordinary(
            media.revoked_at, media.token_expires_at, media.last_seen_at, media.is_active
        ):
            raise NotOrdinary
        speak(request, media.language)
        return _completed(complete_media(media=media))

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
        content, status, headers = _completed(complete_media(media=_own(self.person, id)))
        return Response(content, status, headers=headers)


_OWN_BY_TOKEN: StandingQuery[Any] = StandingQuery(
    lambda id, digest: (
        MediaObject.objects.filter(id=id, owner__devices__token_digest=digest)
        .annotate(
            revoked_at=F("owner__devices__revoked_at"),
            token_expires_at=F("owner__devices__token_expires_at"),
            last_seen_at=F("owner__devices__last_seen_at"),
            is_active=F("owner__is_active"),
            language=F("owner__language"),
        )
        .order_by()
    ),
    UUID,
    str,
)
"""A person's object with the device that asks for it, at once."""


def _completed(media: MediaObject) -> tuple[dict[str, Any], int, dict[str, str]]:
    """CompletedOut's fields, the status, and when to ask again."""
    told = {"id": str(media.id), "state": media.state, "reason": media.reject_reason}
    if media.state == MediaObject.State.ARRIVED:
        return told, 202, {"Retry-After": str(VERIFY_SECONDS)}
    return told, 200, {}


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
