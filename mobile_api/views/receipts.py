"""Signed receipts: of a submission, the days that bind them, the public keys."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.receipts import DayOut, DayQuery, KeyOut, ReceiptOut
from mobile_api.views.base import PhoneView, one
from server.activities.queries import submissions_visible_to
from server.core.errors import NotFound
from server.receipts.queries import Proofs, days_visible_to, key_receipts, receipts_of, sees_days

TAGS = ["Receipts"]


class SubmissionReceiptsView(PhoneView):
    @extend_schema(
        operation_id="list_receipts",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(ReceiptOut),
    )
    def get(self, request: Request, id: UUID) -> Response:
        """The signed receipts of a submission, and of other contents that came under its id.

        The first is made within seconds of arrival. The last of a subject lists all its files.
        """
        submission = one(submissions_visible_to(self.person).only("pk"), id)
        return self.page(
            receipts_of(submission), ReceiptOut, ordering=("position",), proofs=Proofs()
        )


class KeysView(PhoneView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="list_receipt_keys",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(KeyOut),
    )
    def get(self, request: Request) -> Response:
        """The public keys that receipts are signed with, in order. Open to everybody."""
        return self.page(key_receipts(), KeyOut, ordering=("position",))


class DaysView(PhoneView):
    @extend_schema(
        operation_id="list_receipt_days",
        tags=TAGS,
        parameters=[DayQuery, PageQuery],
        responses={200: page_shape(DayOut), 404: None},
    )
    def get(self, request: Request) -> Response:
        """The closed days of the chain, newest first. Offices only."""
        if not sees_days(self.person):
            raise NotFound
        rows = self.narrowed(days_visible_to(self.person), DayQuery)
        return self.page(rows, DayOut, ordering=("-number",))
