"""Conversations: mine, their messages, reading, searching, taking away, exporting."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.conversations import (
    ConversationDetail,
    ConversationExportIn,
    ConversationIn,
    ConversationOut,
    ConversationQuery,
    MessageIn,
    MessageOut,
    MessagesOut,
    MessagesQuery,
    MuteIn,
    ReadIn,
    ReadOut,
    RemoveIn,
    SearchQuery,
)
from mobile_api.views.base import AnyAccept, PhoneView, one
from server.conversations.exporting import TYPES, export_conversation
from server.conversations.queries import (
    conversations_listed_for,
    conversations_moderated_by,
    conversations_visible_to,
    members_of,
    messages_found_by,
    messages_listed_for,
    page_of_messages,
)
from server.conversations.services import (
    mark_read,
    mute_conversation,
    open_conversation,
    remove_message,
    send_message,
    withdraw_message,
)
from server.grid.queries import remember_roles

TAGS = ["Messages"]


class TalkView(PhoneView):
    """Asks for the person's roles once: several doors of a request need them."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        remember_roles(self.person)

    def detail(self, id: UUID, status: int = 200) -> Response:
        row: Any = one(conversations_listed_for(self.person), id)
        row.may_moderate = conversations_moderated_by(self.person).filter(pk=id).exists()
        row.people = members_of(row).order_by("name", "pk")
        return self.out(ConversationDetail, row, status)


class ConversationsView(TalkView):
    @extend_schema(
        operation_id="list_conversations",
        tags=TAGS,
        parameters=[ConversationQuery, PageQuery],
        responses=page_shape(ConversationOut),
    )
    def get(self, request: Request) -> Response:
        """My conversations, those with the newest message first, with what I have not read."""
        asked = self.query(ConversationQuery)
        rows: Any = conversations_listed_for(self.person)
        if asked["subject_type"]:
            rows = rows.filter(subject=asked["subject_type"])
        if "school" in asked:
            rows = rows.filter(school=asked["school"])
        if asked["unread"] is not None:
            rows = rows.filter(unread__gt=0) if asked["unread"] else rows.filter(unread=0)
        return self.page(rows, ConversationOut, ordering=("-last_at", "-id"))

    @extend_schema(
        operation_id="open_conversation",
        tags=TAGS,
        request=ConversationIn,
        responses={201: ConversationDetail, 200: ConversationDetail},
    )
    def post(self, request: Request) -> Response:
        """The one conversation about a visit, a finding or a school; made by the first who asks."""
        asked = self.body(ConversationIn)
        conversation, created = open_conversation(
            subject=asked["subject_type"], subject_id=asked["subject_id"], by=self.person
        )
        return self.detail(conversation.pk, 201 if created else 200)


class ConversationView(TalkView):
    @extend_schema(operation_id="get_conversation", tags=TAGS, responses=ConversationDetail)
    def get(self, request: Request, id: UUID) -> Response:
        """One of my conversations, with its members."""
        return self.detail(id)


class MessagesView(TalkView):
    @extend_schema(
        operation_id="list_messages",
        tags=TAGS,
        parameters=[MessagesQuery],
        responses=MessagesOut,
    )
    def get(self, request: Request, id: UUID) -> Response:
        """Messages with ascending numbers: after a number, before one, or the newest."""
        asked = self.query(MessagesQuery)
        conversation = one(conversations_visible_to(self.person), id)
        page, has_more = page_of_messages(self.person, conversation, **asked)
        answer = {
            "results": page,
            "has_more": has_more,
            "last_number": conversation.last_number,
            "expired_through": conversation.expired_through,
        }
        return self.out(MessagesOut, answer)

    @extend_schema(
        operation_id="send_message",
        tags=TAGS,
        request=MessageIn,
        responses={201: MessageOut, 200: MessageOut},
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Write a message. The same again is 200; the id with other content is 409."""
        written = self.body(MessageIn)
        message, created = send_message(
            conversation_id=id,
            message_id=written.pop("id"),
            by=self.person,
            device=self.device,
            **written,
        )
        row = one(messages_listed_for(self.person), message.pk)
        return self.out(MessageOut, row, 201 if created else 200)


class WithdrawView(TalkView):
    @extend_schema(operation_id="withdraw_message", tags=TAGS, request=None, responses=MessageOut)
    def post(self, request: Request, id: UUID, message_id: UUID) -> Response:
        """Take my message back, within two minutes. Repeating it changes nothing."""
        withdraw_message(conversation_id=id, message_id=message_id, by=self.person)
        return self.out(MessageOut, one(messages_listed_for(self.person), message_id))


class RemoveView(TalkView):
    @extend_schema(operation_id="remove_message", tags=TAGS, request=RemoveIn, responses=MessageOut)
    def post(self, request: Request, id: UUID, message_id: UUID) -> Response:
        """Take anybody's message away, with a reason. Offices only."""
        reason = self.body(RemoveIn)["reason"]
        remove_message(conversation_id=id, message_id=message_id, by=self.person, reason=reason)
        return self.out(MessageOut, one(messages_listed_for(self.person), message_id))


class ReadView(TalkView):
    @extend_schema(operation_id="read_conversation", tags=TAGS, request=ReadIn, responses=ReadOut)
    def post(self, request: Request, id: UUID) -> Response:
        """I have read up to this number. Going back changes nothing."""
        number = self.body(ReadIn)["number"]
        return self.out(ReadOut, mark_read(conversation_id=id, by=self.person, number=number))


class MuteView(TalkView):
    @extend_schema(operation_id="mute_conversation", tags=TAGS, request=MuteIn, responses=ReadOut)
    def put(self, request: Request, id: UUID) -> Response:
        """No notices of new messages, or again; a mention is told all the same."""
        muted = self.body(MuteIn)["muted"]
        member = mute_conversation(conversation_id=id, by=self.person, muted=muted)
        return self.out(ReadOut, member)


class SearchView(TalkView):
    @extend_schema(
        operation_id="search_messages",
        tags=TAGS,
        parameters=[SearchQuery, PageQuery],
        responses=page_shape(MessageOut),
    )
    def get(self, request: Request) -> Response:
        """Messages with these words, the newest first, in my latest conversations or in one."""
        asked = self.query(SearchQuery)
        if asked["conversation"]:
            one(conversations_visible_to(self.person), asked["conversation"])
        rows = messages_found_by(self.person, asked["q"], conversation_id=asked["conversation"])
        return self.page(rows, MessageOut, ordering=("-created_at", "-id"))


class ConversationExportView(TalkView):
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="export_conversation",
        tags=TAGS,
        request=ConversationExportIn,
        responses={(200, "text/plain"): OpenApiTypes.BINARY},
    )
    def post(self, request: Request, id: UUID) -> HttpResponse:
        """The whole log as a text or JSON file. Offices only; each one is in the audit log."""
        kind = self.body(ConversationExportIn)["kind"]
        content, name = export_conversation(conversation_id=id, by=self.person, kind=kind)
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(content, content_type=TYPES[kind], headers=disposition)
