"""Notices: the inbox with reading, confirming, answering; what offices write; receipts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery, page_of
from mobile_api.serializers.notices import (
    AnswerIn,
    BoardOut,
    BoardQuery,
    CorrectIn,
    DeliveryOut,
    ListIn,
    ListOut,
    MarkIn,
    NoticeFileOut,
    NoticeIn,
    NoticeOut,
    NoticePreviewOut,
    NoticeQuery,
    NoticeVersionOut,
    NoticeWrittenIn,
    PreviewIn,
    RecallIn,
    RecipientReceiptOut,
    RemindIn,
    SentOut,
)
from mobile_api.views.base import PhoneView
from server.core.errors import NotAllowed
from server.messaging.board import (
    figures_of,
    next_reminder,
    notice_overseen,
    receipts_of,
    recipients_by,
    remind,
)
from server.messaging.composing import (
    Message,
    cancel,
    change,
    check_audience,
    compose,
    correct,
    office_of,
    recall,
)
from server.messaging.models import Notice
from server.messaging.preview import inbox_only, preview_of, reached
from server.messaging.queries import (
    Audience,
    deliveries_of,
    inbox_shown_to,
    notices_written_by_office_of,
    recipients_of,
    saved_lists_of,
)
from server.messaging.reading import (
    acknowledge,
    answer,
    mark_read,
    open_attachment,
    shown_to,
)
from server.messaging.saved_lists import delete_list, save_list

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
        rows = inbox_shown_to(self.person, unread=self.query(NoticeQuery)["unread"])
        return self.page(rows, NoticeOut, ordering=("-id",))

    @extend_schema(
        operation_id="send_notice", tags=TAGS, request=NoticeIn, responses={202: SentOut}
    )
    def post(self, request: Request) -> Response:
        """Tell those of the audience whom my office reaches, now or at `send_at`. Offices only."""
        written = self.body(NoticeIn)
        notice = compose(notice_id=written.pop("id"), by=self.person, message=message_from(written))
        return self.out(SentOut, notice, 202)


class SentView(PhoneView):
    @extend_schema(
        operation_id="list_sent_notices",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(SentOut),
    )
    def get(self, request: Request) -> Response:
        """What my office wrote, newest first."""
        rows = notices_written_by_office_of(self.person).select_related("office")
        return self.page(rows, SentOut, ordering=("-created_at", "-id"))


class PreviewView(PhoneView):
    @extend_schema(
        operation_id="preview_notice", tags=TAGS, request=PreviewIn, responses=NoticePreviewOut
    )
    def post(self, request: Request) -> Response:
        """Who would get it, and by which channels. Nothing is stored. Offices only."""
        asked = self.body(PreviewIn)
        audience, urgent = audience_from(asked["audience"]), asked["urgent"]
        if office_of(self.person) is None and not self.person.is_superuser:
            raise NotAllowed
        check_audience(audience, self.person)
        people = recipients_of(audience, self.person, whole=True)
        if asked["inbox_only"]:
            people = inbox_only(people, urgent=urgent)
        page, following = page_of(
            people, ordering=("id",), limit=asked["limit"], cursor=asked["cursor"]
        )
        found = preview_of(audience, self.person, urgent=urgent)
        told = {
            **vars(found),
            "roles": [{"role": role, "people": n} for role, n in found.roles],
            "channels": [{"channel": name, "people": n} for name, n in found.channels],
            "results": reached(page, urgent=urgent),
            "next": following,
        }
        return self.out(NoticePreviewOut, told)


class NoticeView(PhoneView):
    @extend_schema(operation_id="get_notice", tags=TAGS, responses=NoticeOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One notice of my inbox."""
        return self.out(NoticeOut, shown_to(self.person, id))

    @extend_schema(
        operation_id="change_notice", tags=TAGS, request=NoticeWrittenIn, responses=SentOut
    )
    def put(self, request: Request, id: UUID) -> Response:
        """Replace a notice of my office that is still to be sent; 409 once it was: correct it then."""
        message = message_from(self.body(NoticeWrittenIn))
        return self.out(SentOut, change(notice_id=id, by=self.person, message=message))


class ReadView(PhoneView):
    @extend_schema(operation_id="read_notice", tags=TAGS, request=MarkIn, responses=NoticeOut)
    def post(self, request: Request, id: UUID) -> Response:
        """I have read it. Repeating it changes nothing."""
        mark_read(notice_id=id, by=self.person, device=self.device, at=self.body(MarkIn)["at"])
        return self.out(NoticeOut, shown_to(self.person, id))


class AcknowledgeView(PhoneView):
    @extend_schema(
        operation_id="acknowledge_notice", tags=TAGS, request=MarkIn, responses=NoticeOut
    )
    def post(self, request: Request, id: UUID) -> Response:
        """I confirm it, which reads it too. Repeating it changes nothing."""
        acknowledge(notice_id=id, by=self.person, device=self.device, at=self.body(MarkIn)["at"])
        return self.out(NoticeOut, shown_to(self.person, id))


class AnswerView(PhoneView):
    @extend_schema(operation_id="answer_notice", tags=TAGS, request=AnswerIn, responses=NoticeOut)
    def post(self, request: Request, id: UUID) -> Response:
        """I answer its form, which reads it too. A later answer replaces this one; all are kept."""
        given = self.body(AnswerIn)
        answer(
            notice_id=id,
            answer_id=given["id"],
            by=self.person,
            answers=given["answers"],
            device=self.device,
            at=given["at"],
        )
        return self.out(NoticeOut, shown_to(self.person, id))


class AttachmentView(PhoneView):
    @extend_schema(operation_id="open_notice_attachment", tags=TAGS, responses=NoticeFileOut)
    def get(self, request: Request, id: UUID, media_id: UUID) -> Response:
        """A short-lived address of a file of the notice: for its recipients and its office."""
        opened = open_attachment(
            notice_id=id, media_id=media_id, by=self.person, base_url=self.base_url
        )
        return self.out(NoticeFileOut, opened)


# ---- after sending ----------------------------------------------------------------------------


class CancelView(PhoneView):
    @extend_schema(operation_id="cancel_notice", tags=TAGS, request=None, responses=SentOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Do not send a notice of my office that is still to be sent."""
        return self.out(SentOut, cancel(notice_id=id, by=self.person))


class RecallView(PhoneView):
    @extend_schema(operation_id="recall_notice", tags=TAGS, request=RecallIn, responses=SentOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Take a notice of my office back. Repeating it changes nothing."""
        notice = recall(notice_id=id, by=self.person, reason=self.body(RecallIn)["reason"])
        return self.out(SentOut, notice)


class CorrectView(PhoneView):
    @extend_schema(operation_id="correct_notice", tags=TAGS, request=CorrectIn, responses=SentOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Replace the text of a sent notice of my office; earlier versions are kept."""
        written = self.body(CorrectIn)
        notice = correct(
            notice_id=id,
            correction_id=written.pop("id"),
            by=self.person,
            seen_version=written.pop("version"),
            **written,
        )
        return self.out(SentOut, notice)


class VersionsView(PhoneView):
    @extend_schema(
        operation_id="list_notice_versions",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(NoticeVersionOut),
    )
    def get(self, request: Request, id: UUID) -> Response:
        """The versions of a corrected notice of my office; none where it was never corrected."""
        versions = notice_overseen(id, self.person).versions.select_related("by")
        return self.page(versions, NoticeVersionOut, ordering=("number",))


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


class BoardView(PhoneView):
    @extend_schema(operation_id="notice_board", tags=TAGS, responses=BoardOut)
    def get(self, request: Request, id: UUID) -> Response:
        """How far a notice of my office got, as of now; ask again with the ETag."""
        return self.out(BoardOut, _board(notice_overseen(id, self.person)))


class BoardPeopleView(PhoneView):
    @extend_schema(
        operation_id="list_notice_receipts",
        tags=TAGS,
        parameters=[BoardQuery, PageQuery],
        responses=page_shape(RecipientReceiptOut),
    )
    def get(self, request: Request, id: UUID) -> Response:
        """The recipients in a standing, such as who has not done what is asked, with school and phone."""
        notice, asked = notice_overseen(id, self.person), self.query(BoardQuery)
        rows = recipients_by(notice, standing=asked["standing"], words=asked["q"])
        page, following = page_of(rows, ordering=("recipient_id",), **self.query(PageQuery))
        for row in page:
            row.notice = notice
        results = RecipientReceiptOut(
            receipts_of(notice, page), many=True, context=self.context()
        ).data
        return Response({"results": results, "next": following})


class RemindView(PhoneView):
    @extend_schema(
        operation_id="remind_of_notice", tags=TAGS, request=RemindIn, responses={202: BoardOut}
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Remind those who have not done what is asked, once an hour at most."""
        remind(notice_id=id, reminder_id=self.body(RemindIn)["id"], by=self.person)
        return self.out(BoardOut, _board(notice_overseen(id, self.person)), 202)


# ---- saved lists ------------------------------------------------------------------------------


class ListsView(PhoneView):
    @extend_schema(
        operation_id="list_saved_lists",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(ListOut),
    )
    def get(self, request: Request) -> Response:
        """The saved lists of my offices."""
        return self.page(saved_lists_of(self.person), ListOut, ordering=("name", "id"))


class ListView(PhoneView):
    @extend_schema(operation_id="save_list", tags=TAGS, request=ListIn, responses=ListOut)
    def put(self, request: Request, id: UUID) -> Response:
        """Make a saved list of my office, or change it. Offices only."""
        written = self.body(ListIn)
        audience = audience_from(written["audience"])
        row = save_list(list_id=id, by=self.person, name=written["name"], audience=audience)
        return self.out(ListOut, row)

    @extend_schema(operation_id="delete_list", tags=TAGS, responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Nobody can choose it any more."""
        delete_list(list_id=id, by=self.person)
        return Response(status=204)


def message_from(written: dict[str, Any]) -> Message:
    """What a body of NoticeWrittenIn says."""
    requires_ack = written.pop("requires_ack")
    if requires_ack and not written["requires"]:
        written["requires"] = Notice.Requires.ACKNOWLEDGE.value
    return Message(**{**written, "audience": audience_from(written["audience"])})


def audience_from(told: dict[str, Any]) -> Audience:
    """What a body of AudienceIn says."""
    activity = told.pop("activity")
    return Audience(**told, activities=[activity] if activity else [])


def _board(notice: Notice) -> dict[str, Any]:
    return {
        "notice": notice,
        "figures": figures_of(notice),
        "remind_after": next_reminder(notice),
    }
