"""What people wrote to each other under the same care as photos: kept for a time, held, really deleted.

A message that was withdrawn, removed, or whose time is over is hidden from every reader at once, by the
service that did it. Its text and its files go from here, in the background: unless a hold is on its
school, visit or activity. Then they stay, unseen by anybody, until the hold is lifted.

What is kept of a deleted message: its number, sender, device, times, the SHA-256 of what was sent, who
took it away and why, and the entries of the audit log, which never had the text. The files go the way
of every deletion: a grace period, the store's answer, a certificate.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from server.activities.models import SubmissionAttachment
from server.care import actions
from server.care.deleting import lock_places
from server.care.models import Deletion
from server.care.queries import Use, held_talk
from server.conversations.actions import ERASED
from server.conversations.models import Conversation, Message, MessageFile
from server.conversations.services import expire_messages, record_deed
from server.core import clock, schedule
from server.core.audit import record_audit
from server.findings.models import SETTLED, Finding, FindingAction

AT_ONCE = 200
"""Conversations of one turn."""

Gone = Message.Gone


# ---- whose time is over ----------------------------------------------------------------------


def expire() -> int:
    """Take away the messages whose time is over. Returns how many."""
    return sum(
        expire_messages(conversation_id=pk, before=before)
        for rows, before in _over()
        for pk in rows.values_list("pk", flat=True)[:AT_ONCE]
    )


def _over() -> Iterable[tuple[QuerySet[Conversation], datetime]]:
    """Conversations with messages that are older than they are kept, and the moment that it means.

    What belongs to an activity is kept as its photos are: until its day, and the grace period after
    it; and until the problem, or all problems of the visit, are settled.
    """
    today, moment = clock.today(), clock.now()
    grace = timedelta(days=settings.DELETION_GRACE_DAYS)
    day = today - grace
    unsettled = Finding.objects.exclude(state__in=SETTLED)
    of_visits = Q(visit__activity__media_kept_until__lt=day) & ~Q(
        Exists(unsettled.filter(visit=OuterRef("visit")))
    )
    settled = Q(finding__state__in=SETTLED)
    of_findings = Q(finding__activity__media_kept_until__lt=day) & settled
    yield _with_old(of_visits | of_findings, moment - grace), moment - grace
    if settings.CONVERSATION_KEEP_DAYS:
        before = moment - timedelta(days=settings.CONVERSATION_KEEP_DAYS)
        alone = Q(subject="school") | Q(subject="finding", finding__activity=None) & settled
        yield _with_old(alone, before), before


def _with_old(which: Q, before: datetime) -> QuerySet[Conversation]:
    old = Message.objects.filter(
        conversation=OuterRef("pk"), kind=Message.Kind.MESSAGE, gone="", created_at__lt=before
    )
    rows = Conversation.objects.filter(which).exclude(held_talk())
    return rows.filter(Exists(old)).order_by("pk")


# ---- what is gone and still there ------------------------------------------------------------


def erase_gone() -> int:
    """Delete the texts of what is gone, and have its files deleted. Returns how many messages."""
    waiting = Message.objects.exclude(gone="").filter(erased_at=None)
    held = Conversation.objects.filter(held_talk())
    rows = waiting.exclude(conversation__in=held.values("pk")).order_by("gone_at")
    ids = rows.values_list("conversation_id", flat=True)[: AT_ONCE * 10]
    return sum(_erase(pk) for pk in dict.fromkeys(ids))


@transaction.atomic
def _erase(conversation_id: UUID) -> int:
    """In one conversation. Setting a hold locks the same places: it is seen here, or comes too late."""
    conversation = Conversation.objects.select_related(
        "school", "visit__activity", "finding__activity", "finding__visit"
    ).get(pk=conversation_id)
    lock_places([_place_of(conversation)])
    if Conversation.objects.filter(held_talk(), pk=conversation_id).exists():
        return 0
    gone = conversation.messages.exclude(gone="").filter(erased_at=None)
    messages = list(gone.select_for_update(of=("self",)).order_by("number")[: AT_ONCE * 10])
    _delete_files(conversation, messages)
    ids = [each.pk for each in messages]
    Message.mentions.through.objects.filter(message__in=ids).delete()
    Message.objects.filter(pk__in=ids).update(text="", erased_at=clock.now())
    if messages:
        numbers = [each.number for each in messages]
        record_deed(ERASED, conversation, None, numbers=numbers)
    return len(messages)


def _place_of(conversation: Conversation) -> Use:
    finding, activity = conversation.finding, conversation.activity
    return Use(
        at=conversation.created_at,
        activity_id=activity.pk if activity else None,
        activity="",
        school_id=conversation.school_id,
        school="",
        visit_id=finding.visit_id if finding else conversation.visit_id,
    )


def _delete_files(conversation: Conversation, messages: list[Message]) -> None:
    """A file that became proof of something meanwhile stays, as long as that keeps it."""
    by_message = {each.pk: each for each in messages}
    proof = Q(
        Exists(SubmissionAttachment.objects.filter(media=OuterRef("media")))
        | Exists(FindingAction.media.through.objects.filter(mediaobject=OuterRef("media")))
    )
    spoken_for = Deletion.objects.filter(media=OuterRef("media")).exclude(state=Deletion.State.KEPT)
    files = MessageFile.objects.filter(message__in=by_message).exclude(proof)
    delete_after = clock.now() + timedelta(days=settings.DELETION_GRACE_DAYS)
    for file in files.exclude(Exists(spoken_for)).select_related("media"):
        message, activity = by_message[file.message_id], conversation.activity
        by_age = message.gone == Gone.EXPIRED
        row = Deletion.objects.create(
            media=file.media,
            school=conversation.school,
            activity=activity,
            rule=Deletion.Rule.RETENTION if by_age else Deletion.Rule.REQUEST,
            reason=message.gone_reason or str(message.get_gone_display()),
            decided_by=message.gone_by,
            found_at=clock.now(),
            delete_after=delete_after,
            work_due_at=delete_after,
        )
        record_audit(
            actions.DELETION_ANNOUNCED if by_age else actions.DELETION_REQUESTED,
            by=message.gone_by,
            subject=("media", file.media_id),
            school_id=conversation.school_id,
            activity_id=activity.pk if activity else None,
            details={"deletion": str(row.pk), "conversation": str(conversation.pk)},
        )


def start() -> None:
    """Delete in the background; called when the app is ready."""
    schedule.every("care.messages", timedelta(minutes=1), erase_gone)
    schedule.every("care.conversations", timedelta(hours=1), expire)
