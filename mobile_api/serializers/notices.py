"""Notices as their readers see them, what offices write, receipts, deliveries."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from media_storage.models import MediaObject
from mobile_api.serializers.chat_groups import ChatGroupBrief
from mobile_api.serializers.common import AreaBrief, PersonBrief, PhoneMoment, SchoolBrief, Shape
from server.grid.models import Membership, School
from server.messaging.board import STANDINGS
from server.messaging.composing import MAX_BODY, MAX_FILES, MAX_REASON, MAX_TITLE
from server.messaging.models import Delivery, Notice, NoticeAttachment
from server.messaging.queries import CONTACTS, INSPECTORS
from server.messaging.questions import KINDS, MAX_LABEL, MAX_OPTIONS, MAX_QUESTIONS

Requires = Notice.Requires
REQUIRES = [each.value for each in Requires]
QUESTION_KINDS = list(KINDS)


class SubjectOut(Shape):
    """What the notice is about: a visit, a finding, another notice, …"""

    type = serializers.CharField()
    id = serializers.UUIDField()


class QuestionOut(Shape):
    """One question of a notice's form. An answer: text, number, an option, a list of options, a day."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=QUESTION_KINDS)
    label = serializers.CharField()  # type: ignore[assignment]  # DRF takes declared fields away
    required = serializers.BooleanField()  # type: ignore[assignment]  # as above
    options = serializers.ListField(child=serializers.CharField())


class AttachmentOut(Shape):
    """A file of the notice; open it by GET /notices/{id}/attachments/{its id}."""

    id = serializers.UUIDField(source="media_id")
    filename = serializers.CharField(source="media.filename")
    content_type = serializers.CharField(source="media.content_type")
    size = serializers.IntegerField(source="media.size", help_text="Bytes.")
    state = serializers.ChoiceField(source="media.state", choices=MediaObject.State.choices)


class RecalledOut(Shape):
    at = serializers.DateTimeField()
    office = serializers.CharField(help_text="Who took it back.")
    reason = serializers.CharField()


class CorrectedOut(Shape):
    at = serializers.DateTimeField()
    version = serializers.IntegerField()
    note = serializers.CharField(
        help_text="What is different, in the office's words; may be empty."
    )


class NoticeOut(Shape):
    """One notice in one's inbox, in one's language, with one's own name where it has variables."""

    id = serializers.UUIDField(source="notice_id")
    event = serializers.CharField(source="notice.event")
    title = serializers.CharField()
    body = serializers.CharField()
    subject = serializers.SerializerMethodField()
    school = SchoolBrief(source="notice.school", allow_null=True)
    requires_ack = serializers.BooleanField(source="notice.requires_ack")
    requires = serializers.ChoiceField(
        source="notice.asks", choices=REQUIRES, help_text="What is asked of me; empty: nothing."
    )
    urgent = serializers.BooleanField(source="notice.is_urgent")
    created_at = serializers.DateTimeField(source="notice.told_at")
    open_until = serializers.DateTimeField(source="notice.open_until", allow_null=True)
    read_at = serializers.DateTimeField(allow_null=True)
    acknowledged_at = serializers.DateTimeField(
        source="acknowledged_since",
        allow_null=True,
        help_text="Null again where a correction asks for it once more.",
    )
    answered_at = serializers.DateTimeField(source="answered_since", allow_null=True)
    questions = serializers.SerializerMethodField()
    answers = serializers.SerializerMethodField(help_text="My own, by question.")
    attachments = serializers.SerializerMethodField()
    corrected = serializers.SerializerMethodField()
    recalled = serializers.SerializerMethodField(
        help_text="Of a notice that was taken back: title and body say so too."
    )

    def to_representation(self, delivery: Delivery) -> Any:
        if delivery.notice.templated:
            delivery.addressee = self.context["reader"].addressee  # asked once for a whole list
        return super().to_representation(delivery)

    @extend_schema_field(SubjectOut(allow_null=True))
    def get_subject(self, delivery: Delivery) -> dict[str, Any] | None:
        notice = delivery.notice
        if notice.subject_id is None:
            return None
        return {"type": notice.subject_type, "id": str(notice.subject_id)}

    @extend_schema_field(QuestionOut(many=True))
    def get_questions(self, delivery: Delivery) -> list[dict[str, Any]]:
        return [] if _is_recalled(delivery) else delivery.notice.form or []

    @extend_schema_field(serializers.DictField(allow_null=True))
    def get_answers(self, delivery: Delivery) -> dict[str, Any] | None:
        own = delivery.notice.own_answers  # type: ignore[attr-defined]  # inbox_shown_to
        return own[0].answers if own else None

    @extend_schema_field(AttachmentOut(many=True))
    def get_attachments(self, delivery: Delivery) -> Any:
        files: list[NoticeAttachment] = delivery.notice.files  # type: ignore[attr-defined]  # as above
        return [] if _is_recalled(delivery) else AttachmentOut(files, many=True).data

    @extend_schema_field(CorrectedOut(allow_null=True))
    def get_corrected(self, delivery: Delivery) -> Any:
        notice = delivery.notice
        if notice.corrected_at is None:
            return None
        told = {
            "at": notice.corrected_at,
            "version": notice.version,
            "note": notice.correction_note,
        }
        return CorrectedOut(told).data

    @extend_schema_field(RecalledOut(allow_null=True))
    def get_recalled(self, delivery: Delivery) -> Any:
        notice = delivery.notice
        if not _is_recalled(delivery):
            return None
        office = str(notice.office or "")
        told = {"at": notice.recalled_at, "office": office, "reason": notice.recall_reason}
        return RecalledOut(told).data


def _is_recalled(delivery: Delivery) -> bool:
    return delivery.notice.state == Notice.State.RECALLED


class NoticeQuery(Shape):
    unread = serializers.BooleanField(required=False, allow_null=True, default=None)


class MarkIn(Shape):
    """The phone's clock, kept beside ours."""

    at = PhoneMoment(required=False, allow_null=True, default=None)


class AnswerIn(MarkIn):
    """`id`: of this answer, made by the phone; `answers`: by the questions' ids."""

    id = serializers.UUIDField()
    answers = serializers.DictField(child=serializers.JSONField(allow_null=True))


# ---- what offices write -----------------------------------------------------------------------


class AudienceIn(Shape):
    """Everybody of these areas, schools and of the activity's schools, narrowed to roles and stages;
    and besides: people, inspectors appointed to schools, and whoever is on saved lists.
    """

    areas = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=500)
    schools = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=5000)
    roles = serializers.ListField(
        child=serializers.ChoiceField(choices=Membership.Role.choices), default=list
    )
    stages = serializers.ListField(
        child=serializers.ChoiceField(choices=School.Stage.choices),
        default=list,
        help_text="Only people of schools of these stages.",
    )
    people = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=5000)
    activity = serializers.UUIDField(required=False, allow_null=True, default=None)
    activity_people = serializers.ListField(
        child=serializers.ChoiceField(choices=[CONTACTS, INSPECTORS]),
        default=list,
        help_text="Of the activity only the contacts of its schools, the inspectors of its visits, or "
        "both; empty: everybody of its schools.",
    )
    appointed_to = serializers.ListField(
        child=serializers.UUIDField(),
        default=list,
        max_length=5000,
        help_text="Schools whose appointed inspectors are meant.",
    )
    lists = serializers.ListField(
        child=serializers.UUIDField(), default=list, max_length=50, help_text="Saved lists."
    )


class QuestionIn(Shape):
    id = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=32,
        help_text="Made where it lacks.",
    )
    kind = serializers.ChoiceField(choices=QUESTION_KINDS)
    label = serializers.CharField(max_length=MAX_LABEL)  # type: ignore[assignment]  # as above
    required = serializers.BooleanField(default=True)  # type: ignore[assignment]  # as above
    options = serializers.ListField(
        child=serializers.CharField(), default=list, max_length=MAX_OPTIONS
    )


VARIABLES_HELP = "May hold {name}, {school}, {area}, {date}; a brace that is meant is doubled."


class NoticeWrittenIn(Shape):
    title = serializers.CharField(max_length=MAX_TITLE, help_text=VARIABLES_HELP)
    body = serializers.CharField(max_length=MAX_BODY, help_text=VARIABLES_HELP)
    audience = AudienceIn()
    requires_ack = serializers.BooleanField(default=False, help_text="The same as `acknowledge`.")
    requires = serializers.ChoiceField(
        choices=REQUIRES, default="", help_text="What readers must do; empty: nothing."
    )
    urgent = serializers.BooleanField(default=False, help_text="A push may wake the phone.")
    attachments = serializers.ListField(
        child=serializers.UUIDField(),
        default=list,
        max_length=MAX_FILES,
        help_text="Media that the author uploaded: photos, PDF, Word, Excel.",
    )
    questions = serializers.ListField(
        child=QuestionIn(),
        default=list,
        max_length=MAX_QUESTIONS,
        help_text="The form, where `requires` is `answer`.",
    )
    send_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="Null: now."
    )
    open_until = serializers.DateTimeField(
        required=False,
        allow_null=True,
        default=None,
        help_text="No answers after that; until then late joiners of the audience get it too.",
    )


class NoticeIn(NoticeWrittenIn):
    id = serializers.UUIDField()


class SentOut(Shape):
    """The notice is stored; its deliveries are on their way, or wait for `send_at`."""

    id = serializers.UUIDField()
    title = serializers.CharField(help_text="As written, with its variables.")
    body = serializers.CharField()
    requires_ack = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=Notice.State.choices)
    requires = serializers.ChoiceField(source="asks", choices=REQUIRES)
    urgent = serializers.BooleanField(source="is_urgent")
    office = AreaBrief(allow_null=True)
    send_at = serializers.DateTimeField(allow_null=True)
    sent_at = serializers.DateTimeField(allow_null=True)
    open_until = serializers.DateTimeField(allow_null=True)
    version = serializers.IntegerField()
    corrected_at = serializers.DateTimeField(allow_null=True)
    recalled_at = serializers.DateTimeField(allow_null=True)
    recall_reason = serializers.CharField()


class RecallIn(Shape):
    reason = serializers.CharField(max_length=MAX_REASON, help_text="Recipients read it.")


class CorrectIn(Shape):
    id = serializers.UUIDField(help_text="Of this correction, made by the client.")
    version = serializers.IntegerField(
        min_value=1, help_text="The version that is corrected; 409 where there is a newer one."
    )
    title = serializers.CharField(max_length=MAX_TITLE, help_text=VARIABLES_HELP)
    body = serializers.CharField(max_length=MAX_BODY, help_text=VARIABLES_HELP)
    note = serializers.CharField(
        default="", allow_blank=True, max_length=MAX_REASON, help_text="What is different."
    )
    ask_again = serializers.BooleanField(
        default=False, help_text="Who confirmed or answered must do so again."
    )
    attachments = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        allow_null=True,
        default=None,
        max_length=MAX_FILES,
        help_text="Null: they stay as they are.",
    )


class NoticeVersionOut(Shape):
    """The text from one correction to the next."""

    number = serializers.IntegerField()
    title = serializers.CharField()
    body = serializers.CharField()
    note = serializers.CharField()
    asks_again = serializers.BooleanField()
    by = PersonBrief(allow_null=True)
    at = serializers.DateTimeField()


class NoticeFileOut(Shape):
    """A short-lived address of an attachment."""

    id = serializers.UUIDField(source="media.id")
    filename = serializers.CharField(source="media.filename")
    url = serializers.CharField()
    expires_at = serializers.DateTimeField()


# ---- preview and lists ------------------------------------------------------------------------


class PreviewIn(Shape):
    audience = AudienceIn()
    urgent = serializers.BooleanField(default=False)
    inbox_only = serializers.BooleanField(
        default=False, help_text="List only those whom nothing but the inbox reaches."
    )
    limit = serializers.IntegerField(min_value=1, max_value=500, default=100)
    cursor = serializers.CharField(required=False, allow_null=True, default=None, max_length=1024)


class RoleCountOut(Shape):
    role = serializers.ChoiceField(choices=Membership.Role.choices)
    people = serializers.IntegerField()


class SchoolCountOut(Shape):
    id = serializers.UUIDField()
    name = serializers.CharField()
    contacts = serializers.IntegerField()
    inspectors = serializers.IntegerField()


class ChannelCountOut(Shape):
    channel = serializers.ChoiceField(choices=Delivery.Channel.choices)
    people = serializers.IntegerField(help_text="Of `robot`: chat groups.")


class ReachedOut(Shape):
    id = serializers.UUIDField(source="person.id")
    name = serializers.CharField(source="addressee.name")
    school = serializers.CharField(source="addressee.school")
    area = serializers.CharField(source="addressee.area")
    channels = serializers.ListField(
        child=serializers.ChoiceField(choices=Delivery.Channel.choices)
    )


class NoticePreviewOut(Shape):
    """Who would get it, by what; the names are a page."""

    people = serializers.IntegerField()
    roles = RoleCountOut(many=True)
    schools = SchoolCountOut(many=True, help_text="The first 300.")
    school_count = serializers.IntegerField()
    channels = ChannelCountOut(many=True)
    inbox_only = serializers.IntegerField(help_text="People whom nothing but the inbox reaches.")
    results = ReachedOut(many=True)
    next = serializers.CharField(allow_null=True)


class ListIn(Shape):
    name = serializers.CharField(max_length=80)
    audience = AudienceIn()


class ListOut(Shape):
    id = serializers.UUIDField()
    name = serializers.CharField()
    office = AreaBrief()
    audience = serializers.DictField()
    updated_at = serializers.DateTimeField()


# ---- receipts ---------------------------------------------------------------------------------


class ChannelFiguresOut(Shape):
    channel = serializers.ChoiceField(choices=Delivery.Channel.choices)
    pending = serializers.IntegerField()
    sent = serializers.IntegerField()
    delivered = serializers.IntegerField()
    dead = serializers.IntegerField()
    skipped = serializers.IntegerField()


class BoardOut(Shape):
    """How far the notice got, by people; `failed`: messages that did not arrive."""

    notice = SentOut()
    recipients = serializers.IntegerField(source="figures.recipients")
    read = serializers.IntegerField(source="figures.read")
    acknowledged = serializers.IntegerField(source="figures.acknowledged")
    answered = serializers.IntegerField(source="figures.answered")
    done = serializers.IntegerField(source="figures.done")
    undone = serializers.IntegerField(source="figures.undone")
    failed = serializers.IntegerField(source="figures.failed")
    expanding = serializers.BooleanField(
        source="figures.expanding", help_text="Recipients may still be added at this moment."
    )
    channels = ChannelFiguresOut(many=True, source="figures.channels")
    remind_after = serializers.DateTimeField(
        allow_null=True, help_text="From when one may remind again; null: now."
    )


class BoardQuery(Shape):
    standing = serializers.ChoiceField(choices=list(STANDINGS), required=False, default="")
    q = serializers.CharField(
        required=False,
        default="",
        max_length=80,
        help_text="Of a name, a phone number or a school.",
    )


class WayOut(Shape):
    channel = serializers.ChoiceField(choices=Delivery.Channel.choices)
    state = serializers.ChoiceField(choices=Delivery.State.choices)
    reason = serializers.CharField()
    sent_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)


class RecipientReceiptOut(Shape):
    """What one recipient did, when, on which device; and what became of the messages to them."""

    recipient = PersonBrief(source="person")
    phone = serializers.CharField(source="person.phone")
    school = serializers.CharField(source="addressee.school")
    area = serializers.CharField(source="addressee.area")
    read_at = serializers.DateTimeField(source="delivery.read_at", allow_null=True)
    read_device_time = serializers.DateTimeField(
        source="delivery.read_device_time", allow_null=True, help_text="By the phone's own clock."
    )
    read_device = serializers.CharField(source="delivery.read_by_device.name", default="")
    clock_offset_ms = serializers.IntegerField(
        allow_null=True, help_text="By how much the phone's clock was ahead, where it was off."
    )
    acknowledged_at = serializers.DateTimeField(
        source="delivery.acknowledged_since", allow_null=True
    )
    answered_at = serializers.DateTimeField(source="delivery.answered_since", allow_null=True)
    answers = serializers.DictField(allow_null=True)
    channels = WayOut(many=True, source="ways")


class RemindIn(Shape):
    id = serializers.UUIDField(help_text="Of the reminder, made by the client.")


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
