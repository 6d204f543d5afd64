"""Conversations, their messages, and how far one has read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from media_storage.models import MediaObject, Rendition
from media_storage.services import readable_url
from mobile_api.pagination import MAX_LIMIT
from mobile_api.serializers.common import PersonBrief, PhoneMoment, SchoolBrief, Shape
from server.conversations.exporting import KINDS, TEXT
from server.conversations.models import Conversation, Message, MessageFile
from server.conversations.words import MAX_TEXT

MESSAGES = 50
EXCERPT = 80
Name = Rendition.Name


class AboutOut(Shape):
    """The visit, finding or school."""

    type = serializers.ChoiceField(source="subject", choices=Conversation.Subject.choices)
    id = serializers.UUIDField(source="about.pk")


class LastMessageOut(Shape):
    number = serializers.IntegerField()
    sender = PersonBrief()
    text = serializers.CharField(help_text="Its beginning.")
    gone = serializers.ChoiceField(choices=Message.Gone.choices)
    created_at = serializers.DateTimeField()


class ConversationOut(Shape):
    """A conversation of mine. Compare `last_number` with what you have, and fetch what is missing."""

    id = serializers.UUIDField()
    subject = AboutOut(source="*")
    title = serializers.CharField()
    school = SchoolBrief()
    last_number = serializers.IntegerField(
        help_text="Of the newest entry; 0: nothing was said yet."
    )
    first_number = serializers.SerializerMethodField(
        help_text="Of the oldest entry that I may read: a school reads an unannounced visit's "
        "conversation from the check-in on."
    )
    expired_through = serializers.IntegerField(help_text="Messages up to it were deleted by age.")
    read_number = serializers.IntegerField()
    unread = serializers.IntegerField(help_text="Messages of others after `read_number`.")
    muted = serializers.BooleanField()
    last_message = serializers.SerializerMethodField()
    last_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()

    def get_first_number(self, row: Any) -> int:
        hidden: int = row.hidden_through
        return hidden + 1

    @extend_schema_field(LastMessageOut(allow_null=True))
    def get_last_message(self, row: Any) -> dict[str, Any] | None:
        latest: Message | None = row.latest
        if latest is None or latest.number <= row.hidden_through:
            return None
        text = "" if latest.gone else latest.text[:EXCERPT]
        return {
            "number": latest.number,
            "sender": PersonBrief(latest.sender).data,
            "text": text,
            "gone": latest.gone,
            "created_at": latest.created_at.isoformat(),
        }


class ConversationDetail(ConversationOut):
    members = PersonBrief(
        source="people", many=True, help_text="Who reads it now, and can be mentioned."
    )
    may_moderate = serializers.BooleanField(help_text="Whether I may remove messages and export.")


class ConversationIn(Shape):
    subject_type = serializers.ChoiceField(choices=Conversation.Subject.choices)
    subject_id = serializers.UUIDField()


class ConversationQuery(Shape):
    unread = serializers.BooleanField(required=False, allow_null=True, default=None)
    subject_type = serializers.ChoiceField(
        choices=Conversation.Subject.choices, required=False, default=""
    )
    school = serializers.UUIDField(required=False)


class SentFileOut(Shape):
    """A file of a message. Who reads the message may open the original (POST /media/{id}/original)."""

    id = serializers.UUIDField(source="media_id")
    filename = serializers.CharField(source="media.filename")
    content_type = serializers.CharField(source="media.content_type")
    size = serializers.IntegerField(source="media.size")
    state = serializers.ChoiceField(source="media.state", choices=MediaObject.State.choices)
    reason = serializers.CharField(source="media.reject_reason", help_text="Why it was rejected.")
    duration_ms = serializers.SerializerMethodField(help_text="Of a voice note, once it was read.")
    renditions = serializers.SerializerMethodField(
        help_text="Of a picture, small and large, with addresses that last minutes."
    )
    url = serializers.SerializerMethodField(
        help_text="Of a voice note, to play it; lasts minutes. Null for everything else."
    )

    def get_duration_ms(self, file: MessageFile) -> int | None:
        facts = getattr(file.media, "facts", None)
        return facts.duration_ms if facts else None

    @extend_schema_field(
        serializers.DictField(
            child=serializers.DictField(), help_text="name → {url, width, height, content_type}"
        )
    )
    def get_renditions(self, file: MessageFile) -> Mapping[str, Any]:
        if file.media.state == MediaObject.State.DELETED:
            return {}
        return {
            each.name: {
                "url": readable_url(each, base_url=self.context["base_url"]),
                "width": each.width,
                "height": each.height,
                "content_type": each.content_type,
            }
            for each in file.media.renditions.all()
            if each.name in (Name.SMALL, Name.LARGE)
        }

    def get_url(self, file: MessageFile) -> str | None:
        media = file.media
        if media.state != MediaObject.State.READY or not media.content_type.startswith("audio/"):
            return None
        return readable_url(media, base_url=self.context["base_url"])


class MessageOut(Shape):
    """An entry of the log. `withdrawn` and `removed` end the message with the number `about`,
    `expired` all messages up to it: delete their texts and files on the phone."""

    id = serializers.UUIDField()
    conversation_id = serializers.UUIDField()
    number = serializers.IntegerField(help_text="Dense and in the order of arrival.")
    kind = serializers.ChoiceField(choices=Message.Kind.choices)
    about = serializers.IntegerField(source="about_number", allow_null=True)
    sender = PersonBrief(allow_null=True)
    text = serializers.SerializerMethodField(help_text="Empty of what is gone.")
    gone = serializers.ChoiceField(choices=Message.Gone.choices)
    mentions = serializers.SerializerMethodField()
    media = serializers.SerializerMethodField()
    device_time = serializers.DateTimeField(
        allow_null=True, help_text="By the phone's clock: shown, never order."
    )
    created_at = serializers.DateTimeField()

    def get_text(self, message: Message) -> str:
        return "" if message.gone else message.text

    @extend_schema_field(PersonBrief(many=True))
    def get_mentions(self, message: Message) -> Any:
        return [] if message.gone else PersonBrief(message.mentions.all(), many=True).data

    @extend_schema_field(SentFileOut(many=True))
    def get_media(self, message: Message) -> Any:
        if message.gone:
            return []
        return SentFileOut(message.files.all(), many=True, context=self.context).data


class MessagesQuery(Shape):
    """`after`: read on from there. `before`: scroll back. Neither: the newest."""

    after = serializers.IntegerField(min_value=0, max_value=2**62, required=False)
    before = serializers.IntegerField(min_value=1, max_value=2**62, required=False)
    limit = serializers.IntegerField(min_value=1, max_value=MAX_LIMIT, default=MESSAGES)


class MessagesOut(Shape):
    """Entries with ascending numbers."""

    results = MessageOut(many=True)
    has_more = serializers.BooleanField(help_text="There are more in the direction asked for.")
    last_number = serializers.IntegerField()
    expired_through = serializers.IntegerField()


class MessageIn(Shape):
    """`id` is of the phone's making. Send in order, and each again until it is answered."""

    id = serializers.UUIDField()
    text = serializers.CharField(
        allow_blank=True,
        default="",
        trim_whitespace=False,
        help_text=f"At most {MAX_TEXT} letters.",
    )
    mentions = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=50)
    media = serializers.ListField(
        child=serializers.UUIDField(),
        default=list,
        max_length=9,
        help_text="Declared uploads of mine that serve nowhere else; they may arrive later.",
    )
    device_time = PhoneMoment(required=False, allow_null=True, default=None)


class ReadIn(Shape):
    number = serializers.IntegerField(min_value=0, max_value=2**62)


class ReadOut(Shape):
    read_number = serializers.IntegerField()
    muted = serializers.BooleanField()


class MuteIn(Shape):
    muted = serializers.BooleanField()


class RemoveIn(Shape):
    reason = serializers.CharField(max_length=500)


class SearchQuery(Shape):
    q = serializers.CharField(max_length=100)
    conversation = serializers.UUIDField(required=False, default=None)


class ConversationExportIn(Shape):
    kind = serializers.ChoiceField(choices=KINDS, default=TEXT)
