"""Opening conversations, writing into them, taking messages away, reading.

Every service scopes, locks the conversation's row, then decides. The lock gives the numbers: whoever
waits for it comes after whoever has it, so numbers are dense and in the order of arrival (ADR 29).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.models import MediaObject
from server.activities.models import SubmissionAttachment, Visit
from server.conversations import actions
from server.conversations.models import Conversation, Member, Message, MessageFile
from server.conversations.queries import (
    conversations_moderated_by,
    conversations_visible_to,
    members_of,
    messages_visible_to,
)
from server.conversations.telling import tell_mentioned, tell_soon
from server.conversations.words import MAX_TEXT, clean, digest_of
from server.core import clock
from server.core.audit import AuditAction, record_audit
from server.core.changes import record_change
from server.core.errors import (
    ContentConflict,
    Invalid,
    NotAllowed,
    NotFound,
    Problem,
    TooManyRequests,
    WrongState,
)
from server.core.ids import new_id
from server.findings.models import Finding, FindingAction
from server.grid.models import School, User
from server.messaging.models import Delivery, Device
from server.messaging.reading import mark_read as mark_notice_read

MAX_MENTIONS = 50
MAX_FILES = 9
_TAKEN = gettext_lazy("此消息编号已用于其他内容。请使用新的编号重新发送。")
WITHDRAWAL = timedelta(minutes=2)
"""So long after its arrival its sender may take a message back."""

Kind, Gone, Subject = Message.Kind, Message.Gone, Conversation.Subject


class WithdrawalLate(WrongState):
    code = "withdrawal_late"
    title = gettext_lazy("发出超过两分钟的消息不能撤回，请联系教育督导办移除")


# ---- opening ---------------------------------------------------------------------------------


@transaction.atomic
def open_conversation(*, subject: str, subject_id: UUID, by: User) -> tuple[Conversation, bool]:
    """The one conversation about this visit, finding or school; made when it is first asked for.

    The bool: whether it is new. Raises NotFound for whoever would not be a member.
    """
    wanted = conversation_to_be(subject=subject, subject_id=subject_id, by=by, lock=True)
    if not wanted._state.adding:
        return wanted, False
    conversation, created = Conversation.objects.get_or_create(
        subject=subject,
        **{subject: wanted.about},
        defaults={
            "id": wanted.pk,
            "school": wanted.school,
            "school_from": wanted.school_from,
            "created_by": by,
        },
    )
    if created:
        record_deed(actions.OPENED, conversation, by)
        record_conversation_change(conversation)
    return conversation, created


def conversation_to_be(
    *, subject: str, subject_id: UUID, by: User, lock: bool = False
) -> Conversation:
    """The one about this thing, stored or not yet. Raises NotFound for whoever would be no member.

    `lock`: in a transaction that is going to store it.
    """
    if subject not in Subject:
        raise NotFound
    wanted = _about(subject, subject_id, lock=lock)
    found = Conversation.objects.filter(subject=subject, **{subject: wanted.about}).first()
    conversation = found or wanted
    if not (by.is_superuser or members_of(conversation).filter(pk=by.pk).exists()):
        raise NotFound
    return conversation


def _about(subject: str, subject_id: UUID, *, lock: bool) -> Conversation:
    """A conversation that is not stored yet. Raises NotFound."""
    if subject == Subject.VISIT:
        rows = Visit.objects.select_related("activity", "school__area")
        if lock:
            # The check-in locks it too: it finds this conversation, or this finds the check-in.
            rows = rows.select_for_update(of=("self",), no_key=True)
        visit = rows.filter(pk=subject_id).first()
        if visit is None:
            raise NotFound
        knows = visit.activity.announced or visit.checked_in_at
        return Conversation(
            subject=subject, visit=visit, school=visit.school, school_from=0 if knows else None
        )
    if subject == Subject.FINDING:
        findings = Finding.objects.select_related("activity", "visit__activity", "school__area")
        finding = findings.filter(pk=subject_id).first()
        if finding is None:
            raise NotFound
        return Conversation(subject=subject, finding=finding, school=finding.school)
    school = School.objects.select_related("area").filter(pk=subject_id).first()
    if school is None:
        raise NotFound
    return Conversation(subject=Subject.SCHOOL, school=school)


def school_learns(*, visit: Visit, **_signal: object) -> None:
    """At the check-in of an unannounced visit: the school reads what is written from now on.

    In the transaction of the check-in, which holds the visit's lock.
    """
    if visit.checked_in_at is None:
        return
    rows = Conversation.objects.select_for_update(of=("self",)).filter(visit=visit)
    conversation = rows.filter(school_from=None).first()
    if conversation:
        conversation.school_from = conversation.last_number
        conversation.save(update_fields=["school_from"])
        record_conversation_change(conversation)


# ---- writing ---------------------------------------------------------------------------------


@transaction.atomic
def send_message(
    *,
    conversation_id: UUID,
    message_id: UUID,
    by: User,
    text: str,
    mentions: Sequence[UUID] = (),
    media: Sequence[UUID] = (),
    device: Device | None = None,
    device_time: datetime | None = None,
) -> tuple[Message, bool]:
    """Write a message, once for its id; the bool: whether it is new.

    `device_time` is the phone's clock, shown and never used for order. `media`: one's own uploads that
    serve nowhere else; they may still be on their way. Of the mentioned, those who are no members (any
    more) are left out: what was written without a signal must still arrive. Raises NotFound, Invalid,
    ContentConflict, TooManyRequests.
    """
    conversation = _locked(conversation_id, by)
    text = clean(text)
    digest = digest_of(message_id=message_id, text=text, mentions=mentions, media=media)
    if earlier := Message.objects.filter(pk=message_id).first():
        return _the_same(earlier, conversation, by, digest), False
    _check(text, mentions, media)
    _check_rate(by)
    files = _claimed(media, by)
    message = _inserted(
        Message(
            id=message_id,
            conversation=conversation,
            number=conversation.last_number + 1,
            sender=by,
            device=device,
            text=text,
            sha256=digest,
            device_time=device_time,
        )
    )
    MessageFile.objects.bulk_create(
        MessageFile(message=message, media=file, position=position)
        for position, file in enumerate(files)
    )
    mentioned = list(members_of(conversation).filter(pk__in=set(mentions)).exclude(pk=by.pk))
    message.mentions.set(mentioned)
    conversation.last_at, conversation.latest = message.created_at, message
    _grown(conversation, message.number)
    tell_mentioned(conversation, mentioned, by)
    record_deed(
        actions.SENT,
        conversation,
        by,
        message=str(message.pk),
        number=message.number,
        sha256=digest,
        files=len(files),
    )
    return message, True


def _locked(conversation_id: UUID, by: User) -> Conversation:
    """Raises NotFound."""
    rows = conversations_visible_to(by).select_related(
        "school__area", "visit__activity", "visit__school", "finding__activity", "finding__visit"
    )
    conversation = rows.select_for_update(of=("self",)).filter(pk=conversation_id).first()
    if conversation is None:
        raise NotFound
    return conversation


def _the_same(earlier: Message, conversation: Conversation, by: User, digest: str) -> Message:
    """What was sent before under this id. Raises ContentConflict where it is something else."""
    same = (conversation.pk, by.pk, digest, Kind.MESSAGE.value)
    if (earlier.conversation_id, earlier.sender_id, earlier.sha256, earlier.kind) != same:
        raise ContentConflict(_TAKEN)
    return earlier


def _inserted(message: Message) -> Message:
    """Raises ContentConflict where the id went into another conversation at the same moment."""
    try:
        with transaction.atomic():
            message.save(force_insert=True)
    except IntegrityError:
        raise ContentConflict(_TAKEN) from None
    return message


def _check(text: str, mentions: Sequence[UUID], media: Sequence[UUID]) -> None:
    problems = []
    if not (text or media):
        problems.append(Problem("/text", "blank", _("请填写消息，或附上照片、录音。")))
    if len(text) > MAX_TEXT:
        detail = _("消息最多 %(n)s 字，请分成几条发送。") % {"n": MAX_TEXT}
        problems.append(Problem("/text", "max_length", detail))
    if len(mentions) > MAX_MENTIONS:
        detail = _("一条消息最多提到 %(n)s 人。") % {"n": MAX_MENTIONS}
        problems.append(Problem("/mentions", "max_length", detail))
    if len(media) > MAX_FILES or len(set(media)) < len(media):
        detail = _("一条消息最多附 %(n)s 个不同的文件。") % {"n": MAX_FILES}
        problems.append(Problem("/media", "max_length", detail))
    if problems:
        raise Invalid(problems=problems)


def _check_rate(by: User) -> None:
    limit = settings.CONVERSATION_MESSAGES_A_MINUTE
    since = clock.now() - timedelta(minutes=1)
    if Message.objects.filter(sender=by, created_at__gt=since).order_by()[:limit].count() >= limit:
        raise TooManyRequests(
            _("一分钟内最多发送 %(n)s 条消息，请稍后再发。") % {"n": limit}, retry_after=60
        )


def _claimed(media: Sequence[UUID], by: User) -> list[MediaObject]:
    """The sender's own files, in the order of the message. Raises Invalid."""
    if not media:
        return []
    # Locked, so that a deletion of the file that is decided on now sees this use, or comes first.
    rows = MediaObject.objects.select_for_update(of=("self",), no_key=True).order_by("pk")
    there = rows.filter(owner=by).exclude(state=MediaObject.State.DELETED).in_bulk(list(media))
    # Proof has a door of its own, and shared copies with faces hidden: it must not leave by this one.
    proof = {
        *SubmissionAttachment.objects.filter(media__in=media).values_list("media_id", flat=True),
        *FindingAction.media.through.objects.filter(mediaobject__in=media).values_list(
            "mediaobject_id", flat=True
        ),
    }
    sent = set(MessageFile.objects.filter(media__in=media).values_list("media_id", flat=True))
    problems = []
    for index, media_id in enumerate(media):
        if media_id not in there:
            detail = _("找不到这个文件，请先登记并上传。")
            problems.append(Problem(f"/media/{index}", "unknown", detail))
        elif media_id in proof or media_id in sent:
            detail = _("这个文件已用于填报、整改或另一条消息，请另外上传一份。")
            problems.append(Problem(f"/media/{index}", "in_use", detail))
    if problems:
        raise Invalid(problems=problems)
    return [there[media_id] for media_id in media]


def _grown(conversation: Conversation, number: int) -> None:
    """The log has a new last entry: keep it, and have everybody told."""
    conversation.last_number = number
    tell_soon(conversation)
    conversation.save(
        update_fields=["last_number", "last_at", "latest", "work_due_at", "work_dead_at"]
    )
    record_conversation_change(conversation)


def record_conversation_change(conversation: Conversation) -> None:
    """Tell the change feed's readers. A school must not learn of an unannounced visit from it."""
    if conversation.visit_id and conversation.school_from is None:
        members = members_of(conversation).order_by("pk").values_list("pk", flat=True)
        record_change("conversation", conversation.pk, user_ids=list(members))
    else:
        record_change("conversation", conversation.pk, school_id=conversation.school_id)


# ---- taking away -----------------------------------------------------------------------------


@transaction.atomic
def withdraw_message(*, conversation_id: UUID, message_id: UUID, by: User) -> Message:
    """The sender takes a message back, within two minutes. Repeating it changes nothing.

    Raises NotFound, NotAllowed, WithdrawalLate.
    """
    conversation = _locked(conversation_id, by)
    message = _one_of(conversation, message_id, by)
    if message.sender_id != by.pk:
        raise NotAllowed(_("只能撤回自己发送的消息。"))
    if message.gone:
        return message
    if clock.now() - message.created_at > WITHDRAWAL:
        raise WithdrawalLate
    return _take_away(conversation, message, Gone.WITHDRAWN, by, "")


@transaction.atomic
def remove_message(*, conversation_id: UUID, message_id: UUID, by: User, reason: str) -> Message:
    """An office takes anybody's message away and says why. Repeating it changes nothing.

    Raises NotFound, NotAllowed, Invalid.
    """
    conversation = _locked(conversation_id, by)
    message = _one_of(conversation, message_id, by)
    if not conversations_moderated_by(by).filter(pk=conversation_id).exists():
        raise NotAllowed(_("只有组织督导的部门和县教育督导办可以移除消息。"))
    if not clean(reason):
        raise Invalid(problems=[Problem("/reason", "required", _("请说明理由。"))])
    if message.gone:
        return message
    return _take_away(conversation, message, Gone.REMOVED, by, clean(reason)[:500])


def _one_of(conversation: Conversation, message_id: UUID, by: User) -> Message:
    """A message that the person reads. Raises NotFound."""
    rows = messages_visible_to(by).filter(conversation=conversation, kind=Kind.MESSAGE)
    message = rows.filter(pk=message_id).first()
    if message is None:
        raise NotFound
    return message


_DEEDS: dict[str, AuditAction] = {
    Gone.WITHDRAWN: actions.WITHDRAWN,
    Gone.REMOVED: actions.REMOVED,
}


def _take_away(
    conversation: Conversation, message: Message, how: Message.Gone, by: User, reason: str
) -> Message:
    """Hide it from every reader now; its text leaves the database soon (server.care.conversing)."""
    message.gone, message.gone_at = how, clock.now()
    message.gone_by, message.gone_reason = by, reason
    message.save(update_fields=["gone", "gone_at", "gone_by", "gone_reason"])
    entry = Message.objects.create(
        id=new_id(),
        conversation=conversation,
        number=conversation.last_number + 1,
        kind=how.value,
        about_number=message.number,
        sender=by,
    )
    _grown(conversation, entry.number)
    record_deed(
        _DEEDS[how],
        conversation,
        by,
        message=str(message.pk),
        number=message.number,
        sender=str(message.sender_id),
        sent_at=message.created_at.isoformat(),
        sha256=message.sha256,
        reason=reason,
    )
    return message


@transaction.atomic
def expire_messages(*, conversation_id: UUID, before: datetime) -> int:
    """Take away all messages that arrived before: their time is over. Returns how many there were."""
    rows = Conversation.objects.select_for_update(of=("self",))
    conversation = rows.get(pk=conversation_id)
    old = conversation.messages.filter(created_at__lt=before).order_by("-number")
    through = old.values_list("number", flat=True).first() or 0
    if through <= conversation.expired_through:
        return 0
    alive = conversation.messages.filter(number__lte=through, kind=Kind.MESSAGE, gone="")
    count = alive.update(gone=Gone.EXPIRED.value, gone_at=clock.now())
    conversation.expired_through = through
    conversation.save(update_fields=["expired_through"])
    if count:
        entry = Message.objects.create(
            id=new_id(),
            conversation=conversation,
            number=conversation.last_number + 1,
            kind=Kind.EXPIRED,
            about_number=through,
        )
        _grown(conversation, entry.number)
        record_deed(actions.EXPIRED, conversation, None, through=through, messages=count)
    return count


# ---- reading ---------------------------------------------------------------------------------


@transaction.atomic
def mark_read(*, conversation_id: UUID, by: User, number: int) -> Member:
    """The person has read up to this number; going back changes nothing. Notices of the conversation
    are read with it. Raises NotFound."""
    conversation = conversations_visible_to(by).filter(pk=conversation_id).first()
    if conversation is None:
        raise NotFound
    number = min(number, conversation.last_number)
    member = _member(conversation, by)
    if number > member.read_number:
        member.read_number, member.read_at = number, clock.now()
        member.save(update_fields=["read_number", "read_at"])
        record_change("conversation", conversation.pk, user_ids=[by.pk])
    if number == conversation.last_number:
        _read_notices(conversation, by)
    return member


@transaction.atomic
def mute_conversation(*, conversation_id: UUID, by: User, muted: bool) -> Member:
    """Have no notices of new messages, or have them again; a mention is told all the same."""
    conversation = conversations_visible_to(by).filter(pk=conversation_id).first()
    if conversation is None:
        raise NotFound
    member = _member(conversation, by)
    if member.muted != muted:
        member.muted = muted
        member.save(update_fields=["muted"])
        record_change("conversation", conversation.pk, user_ids=[by.pk])
    return member


def _member(conversation: Conversation, by: User) -> Member:
    Member.objects.get_or_create(conversation=conversation, user=by)
    rows = Member.objects.select_for_update(of=("self",))
    return rows.get(conversation=conversation, user=by)


def _read_notices(conversation: Conversation, by: User) -> None:
    unread = Delivery.objects.filter(
        Q(notice__subject_type="conversation", notice__subject_id=conversation.pk),
        recipient=by,
        channel=Delivery.Channel.INBOX,
        read_at=None,
    )
    for notice_id in unread.order_by().values_list("notice_id", flat=True)[:10]:
        mark_notice_read(notice_id=notice_id, by=by)


def record_deed(
    action: AuditAction, conversation: Conversation, by: User | None, **details: object
) -> None:
    """An entry of the audit log about the conversation. `details` never hold a text."""
    activity = conversation.activity
    record_audit(
        action,
        by=by,
        subject=("conversation", conversation.pk),
        school_id=conversation.school_id,
        activity_id=activity.pk if activity else None,
        details={"title": conversation.title, **details},
    )
