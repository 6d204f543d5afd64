"""Submissions: the hot path in, and reading them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.authentication import DeviceTokenAuthentication
from mobile_api.bodies import parse_json
from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.work import (
    AcceptedOut,
    AttachIn,
    SubmissionBody,
    SubmissionIn,
    SubmissionOut,
    SubmissionQuery,
)
from mobile_api.shown import submissions_shown_to
from mobile_api.views.base import PhoneView, one
from server.activities.models import Submission
from server.activities.services.accepting import Accepted, Outcome, accept_submission
from server.activities.services.attaching import attach_submission, brought_files
from server.activities.services.documents import Document, document_from_json
from server.activities.services.quarantine import keeping_refused
from server.core.errors import Invalid, Problem

TAGS = ["Work"]
EXAMPLE = OpenApiExample(
    "A check-list with one photo",
    value={
        "form_id": "food_safety",
        "version": "2026112301",
        "visit_id": "0193b5a4-7c1e-7d7a-9f5b-2f4d1c8e6a01",
        "answers": {"licence": "no", "licence_photo": "licence.jpg", "storage": {"fridge": 4.5}},
        "started_at": "2026-11-23T09:00:00+08:00",
        "ended_at": "2026-11-23T09:40:00+08:00",
        "device_time": "2026-11-23T21:10:00+08:00",
        "attachments": [
            {"name": "licence.jpg", "media_id": "0193b5a4-7c1e-7d7a-9f5b-2f4d1c8e6a02"}
        ],
    },
    request_only=True,
)


class SubmissionsView(PhoneView):
    @extend_schema(
        operation_id="list_submissions",
        tags=TAGS,
        parameters=[SubmissionQuery, PageQuery],
        responses=page_shape(SubmissionOut),
    )
    def get(self, request: Request) -> Response:
        """My submissions, and those of visits that I may see, newest first."""
        rows = self.narrowed(submissions_shown_to(self.person), SubmissionQuery)
        return self.page(rows, SubmissionOut, ordering=("-received_at", "-id"))


class SubmissionView(PhoneView):
    def get_authenticators(self) -> list[BaseAuthentication]:
        # There is no request when the OpenAPI document is written.
        storing = getattr(self.request, "method", "") == "PUT"
        return [DeviceTokenAuthentication(lately=storing)]

    @extend_schema(operation_id="get_submission", tags=TAGS, responses=SubmissionOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One submission with its answers, its files and what is missing."""
        return self.out(SubmissionOut, one(submissions_shown_to(self.person), id))

    @extend_schema(
        operation_id="put_submission",
        tags=TAGS,
        request=SubmissionIn,
        responses={201: AcceptedOut, 200: AcceptedOut},
        examples=[EXAMPLE],
    )
    def put(self, request: Request, id: UUID) -> Response:
        """Send a filled-in instrument: 201 new, 200 the same again.

        409: other content under the same id; both are kept. 422: answers break the form's rules;
        nothing is stored, and the office can read what was refused for a while. Files may be named before they are uploaded, and brought by a later,
        equal request.
        """
        raw = self.raw_body()
        with keeping_refused(
            device=self.device, format=Submission.Format.JSON, raw=raw, lately=True
        ):
            body = submission_in(raw)
            files = [(file.name, file.media_id) for file in body.attachments]
            accepted = accept_submission(
                document=_document(id, body, raw),
                device=self.device,
                files=brought_files(owner=self.person, named=files),
                lately=True,
            )
        return Response(_outcome(accepted), 201 if accepted.outcome is Outcome.NEW else 200)


def _outcome(accepted: Accepted) -> dict[str, Any]:
    """AcceptedOut's fields by hand: on the hot path the serializer was an eighth of the request."""
    return {
        "id": str(accepted.submission_id),
        "state": "incomplete" if accepted.missing else "complete",
        "missing": sorted(accepted.missing),
    }


def submission_in(raw: bytes) -> SubmissionBody:
    """The body's shape, checked. Raises Malformed, Invalid with the field."""
    try:
        return msgspec.convert(parse_json(raw), SubmissionBody)
    except msgspec.ValidationError as error:
        message, _at, place = str(error).partition(" - at `$")
        pointer = place.rstrip("`").replace("[...]", "").replace(".", "/").replace("[", "/")
        detail = _("内容的结构不符合要求：%s") % message
        raise Invalid(problems=[Problem(pointer.replace("]", ""), "invalid", detail)]) from None


def _document(id: UUID, body: SubmissionBody, raw: bytes) -> Document:
    return document_from_json(
        submission_id=id,
        form_id=body.form_id,
        version=body.version,
        answers=body.answers,
        raw=raw,
        visit_id=body.visit_id,
        started_at=body.started_at,
        ended_at=body.ended_at,
        device_time=body.device_time,
    )


class AttachView(PhoneView):
    @extend_schema(
        operation_id="attach_submission", tags=TAGS, request=AttachIn, responses=SubmissionOut
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Say which visit a submission that stands alone belongs to. 409: it has another one."""
        visit_id = self.body(AttachIn)["visit_id"]
        attach_submission(submission_id=id, visit_id=visit_id, by=self.person)
        return self.out(SubmissionOut, one(submissions_shown_to(self.person), id))
