"""Notices as their readers see them, announcements, deliveries."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mobile_api.serializers.chat_groups import ChatGroupBrief
from mobile_api.serializers.common import PersonBrief, PhoneMoment, SchoolBrief, Shape
from server.grid.models import Membership
from server.messaging.models import Delivery


class SubjectOut(Shape):
    """What the notice is about: a visit, a finding, …"""

    type = serializers.CharField()
    id = serializers.UUIDField()


class NoticeOut(Shape):
    """One notice in one's inbox, in one's language."""

    id = serializers.UUIDField(source="notice_id")
    event = serializers.CharField(source="notice.event")
    title = serializers.CharField(source="notice.title")
    body = serializers.CharField(source="notice.body")
    subject = serializers.SerializerMethodField()
    school = SchoolBrief(source="notice.school", allow_null=True)
    requires_ack = serializers.BooleanField(source="notice.requires_ack")
    created_at = serializers.DateTimeField(source="notice.created_at")
    read_at = serializers.DateTimeField(allow_null=True)
    acknowledged_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(SubjectOut(allow_null=True))
    def get_subject(self, delivery: Delivery) -> dict[str, Any] | None:
        notice = delivery.notice
        if notice.subject_id is None:
            return None
        return {"type": notice.subject_type, "id": str(notice.subject_id)}


class NoticeQuery(Shape):
    unread = serializers.BooleanField(required=False, allow_null=True, default=None)


class MarkIn(Shape):
    """The phone's clock, kept beside ours."""

    at = PhoneMoment(required=False, allow_null=True, default=None)


class AudienceIn(Shape):
    """Everybody of these areas and schools and of the activity's schools, narrowed to the roles."""

    areas = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=500)
    schools = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=5000)
    roles = serializers.ListField(
        child=serializers.ChoiceField(choices=Membership.Role.choices), default=list
    )
    people = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=5000)
    activity = serializers.UUIDField(required=False, allow_null=True, default=None)


class NoticeIn(Shape):
    id = serializers.UUIDField()
    title = serializers.CharField(max_length=200)
    body = serializers.CharField(max_length=20_000)
    audience = AudienceIn()
    requires_ack = serializers.BooleanField(default=False)


class SentOut(Shape):
    """The notice is stored; its deliveries are on their way."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    body = serializers.CharField()
    requires_ack = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class DeliveryOut(Shape):
    id = serializers.UUIDField()
    recipient = PersonBrief(allow_null=True, help_text="Null where it went to a chat group.")
    group = ChatGroupBrief(allow_null=True)
    channel = serializers.ChoiceField(choices=Delivery.Channel.choices)
    state = serializers.ChoiceField(choices=Delivery.State.choices)
    reason = serializers.CharField(help_text="Why it failed.")
    sent_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    read_at = serializers.DateTimeField(allow_null=True)
    acknowledged_at = serializers.DateTimeField(allow_null=True)
