"""Instruments: what phones fill in, and what offices upload and publish."""

from __future__ import annotations

import mimetypes

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.bodies import check_length
from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.instruments import (
    DraftOut,
    InstrumentIn,
    InstrumentOut,
    PublishedOut,
    VersionOut,
)
from mobile_api.views.base import AnyAccept, PhoneView, first
from server.activities.queries import instruments_known_to, with_current
from server.instruments.models import InstrumentVersion
from server.instruments.queries import publications_of
from server.instruments.services import publish_instrument, upload_xlsform

TAGS = ["Work"]
MAX_REQUEST_BYTES = 32 * 2**20


class InstrumentsView(PhoneView):
    parser_classes = (MultiPartParser,)

    @extend_schema(
        operation_id="list_instruments",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(InstrumentOut),
    )
    def get(self, request: Request) -> Response:
        """Published instruments that I may use."""
        known = instruments_known_to(self.person).filter(current__isnull=False)
        rows = with_current().filter(pk__in=known.values("pk"))
        return self.page(rows, InstrumentOut, ordering=("form_id",))

    @extend_schema(
        operation_id="upload_instrument",
        tags=TAGS,
        request={"multipart/form-data": InstrumentIn},
        responses={201: DraftOut},
    )
    def post(self, request: Request) -> Response:
        """Upload an XLSForm as the instrument's draft. Offices only.

        A form with mistakes is 422; the pointers are /sheet/row/column.
        """
        check_length(request, MAX_REQUEST_BYTES)
        form = self.body(InstrumentIn)
        draft = upload_xlsform(
            by=self.person,
            content=form["xlsform"].read(),
            attachments={file.name: file.read() for file in form.get("attachments", [])},
            open=form["open"],
        )
        return self.out(DraftOut, draft, 201)


class InstrumentView(PhoneView):
    @extend_schema(operation_id="get_instrument", tags=TAGS, responses=InstrumentOut)
    def get(self, request: Request, form_id: str) -> Response:
        """One instrument and its current version."""
        known = instruments_known_to(self.person).filter(current__isnull=False, form_id=form_id)
        return self.out(InstrumentOut, first(with_current().filter(pk__in=known.values("pk"))))


class PublishView(PhoneView):
    @extend_schema(
        operation_id="publish_instrument", tags=TAGS, request=None, responses=PublishedOut
    )
    def post(self, request: Request, form_id: str) -> Response:
        """Publish the draft as a new, immutable version."""
        return self.out(PublishedOut, publish_instrument(by=self.person, form_id=form_id))


class _PublicationView(PhoneView):
    def publication(self, form_id: str, version: str) -> InstrumentVersion:
        """The version, where its instrument is known to the person."""
        return first(publications_of(instruments_known_to(self.person), form_id, version))


class VersionView(_PublicationView):
    @extend_schema(operation_id="get_instrument_version", tags=TAGS, responses=VersionOut)
    def get(self, request: Request, form_id: str, version: str) -> Response:
        """A publication: its fields with their rules, its hash, where its XForm is."""
        return self.out(VersionOut, self.publication(form_id, version))


class XFormView(_PublicationView):
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="get_xform", tags=TAGS, responses={(200, "text/xml"): OpenApiTypes.STR}
    )
    def get(self, request: Request, form_id: str, version: str) -> HttpResponse:
        """The publication as an XForm, exactly as hashed."""
        xform = self.publication(form_id, version).xform
        return HttpResponse(xform.encode(), content_type="text/xml; charset=utf-8")


class FormFileView(_PublicationView):
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="get_form_file",
        tags=TAGS,
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, form_id: str, version: str, name: str) -> HttpResponse:
        """A file that travels with the form."""
        file = first(self.publication(form_id, version).attachments.filter(name=name))
        content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        return HttpResponse(bytes(file.content), content_type=content_type, headers=headers)
