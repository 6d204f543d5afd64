"""Notices: the inbox, reading, acknowledging, announcing, and who got what."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.notices import (
    DeliveryOut,
    MarkIn,
    NoticeIn,
    NoticeOut,
    NoticeQuery,
    SentOut,
)
from mobile_api.views.base import PhoneView
from server.activities.queries import schools_of_activity
from server.messaging.queries import Audience, deliveries_of, inbox_of
from server.messaging.services import acknowledge, announce, mark_read

TAGS = ["Messages"]


class NoticesView(PhoneView):
    @extend_schema(
        operation_id="list_notices",
        tags=TAGS,
        parameters=[NoticeQuery, PageQuery],
        responses=page_shape(NoticeOut),
    )
    def get(self, request: Request) -> Response:
        """My inbox, newest first."""
        rows = inbox_of(self.person, unread=self.query(NoticeQuery)["unread"])
        return self.page(rows, NoticeOut, ordering=("-id",))

    @extend_schema(
        operation_id="send_notice", tags=TAGS, request=NoticeIn, responses={202: SentOut}
    )
    def post(self, request: Request) -> Response:
        """Tell those of the audience whom my office reaches. Offices only."""
        written = self.body(NoticeIn)
        audience = written.pop("audience")
        if activity_id := audience.pop("activity"):
            audience["schools"] += schools_of_activity(activity_id, by=self.person)
        notice = announce(
            notice_id=written.pop("id"),
            by=self.person,
            audience=Audience(**audience),
            **written,
        )
        return self.out(SentOut, notice, 202)


class ReadView(PhoneView):
    @extend_schema(operation_id="read_notice", tags=TAGS, request=MarkIn, responses=NoticeOut)
    def post(self, request: Request, id: UUID) -> Response:
        """I have read it. Repeating it changes nothing."""
        at = self.body(MarkIn)["at"]
        row = mark_read(notice_id=id, by=self.person, device=self.device, at=at)
        return self.out(NoticeOut, row)


class AcknowledgeView(PhoneView):
    @extend_schema(
        operation_id="acknowledge_notice", tags=TAGS, request=MarkIn, responses=NoticeOut
    )
    def post(self, request: Request, id: UUID) -> Response:
        """I confirm it, which reads it too. Repeating it changes nothing."""
        at = self.body(MarkIn)["at"]
        row = acknowledge(notice_id=id, by=self.person, device=self.device, at=at)
        return self.out(NoticeOut, row)


class DeliveriesView(PhoneView):
    @extend_schema(
        operation_id="list_deliveries",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(DeliveryOut),
    )
    def get(self, request: Request, id: UUID) -> Response:
        """Who got my notice, by which channel, read, acknowledged, failed and why."""
        return self.page(deliveries_of(id, self.person), DeliveryOut, ordering=("id",))
