"""Telling members: a hint on open sockets at once and once more, and notices to those who do not read.

The hint leaves when the message is committed, from a thread of its own, so that no sender waits for
Redis. Hints get lost; the conversation's row is therefore due as well, and the worker hints again, with
the number of that time, until the channel layer takes it. Whoever has not read a message after
`CONVERSATION_NOTICE_SECONDS` has a notice, at most one unread of a kind for a conversation and person.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from media_storage.models import MediaObject
from media_storage.signals import media_processed
from server.conversations.models import Conversation, Member, Message, MessageFile
from server.conversations.queries import members_of
from server.core import clock, work
from server.grid.models import User
from server.messaging.channels.socket import hint
from server.messaging.models import Delivery
from server.messaging.services import notify

logger = logging.getLogger(__name__)

AGAIN = timedelta(seconds=2)
"""The worker's hint comes so long after the message."""
WAITING = 200
"""So many hints may wait for a slow channel layer; what comes then is left to the worker."""

MESSAGE, MENTIONED = "conversation.message", "conversation.mentioned"


def tell_soon(conversation: Conversation) -> None:
    """In the transaction of a new entry, whose number the conversation has by now; the caller saves."""
    due = clock.now() + AGAIN
    if conversation.work_due_at is None or conversation.work_due_at > due:
        conversation.work_due_at, conversation.work_dead_at = due, None
    people = list(members_of(conversation).values_list("pk", flat=True))
    message = _hint_of(conversation)
    transaction.on_commit(lambda: _at_once.send(people, message), robust=True)


def tell_mentioned(conversation: Conversation, people: Sequence[User], by: User) -> None:
    """A notice to those who have no unread one of being mentioned here."""
    told = _with_unread(conversation, MENTIONED)
    _notify(MENTIONED, conversation, [each for each in people if each.pk not in told], by)


# ---- at once ---------------------------------------------------------------------------------


class _AtOnce:
    """One thread that hints; made when it is first needed, so that a forked child makes its own."""

    def __init__(self) -> None:
        self._room = threading.Semaphore(WAITING)
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def send(self, people: Sequence[UUID], message: dict[str, Any]) -> None:
        if not self._room.acquire(blocking=False):
            return
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="conversation-hints")
        self._pool.submit(self._hint, people, message)

    def _hint(self, people: Sequence[UUID], message: dict[str, Any]) -> None:
        try:
            hint(people, message)
        except Exception as failure:  # the worker hints again
            logger.warning("conversation: no hint: %s: %s", type(failure).__name__, failure)
        finally:
            self._room.release()


_at_once = _AtOnce()


def _hint_of(conversation: Conversation) -> dict[str, Any]:
    return {
        "type": "conversation.changed",
        "conversation": str(conversation.pk),
        "number": conversation.last_number,
    }


# ---- the worker ------------------------------------------------------------------------------


def rows() -> QuerySet[Conversation]:
    """Conversations with all that telling asks for."""
    return Conversation.objects.select_related(
        "school__area", "visit__activity", "visit__school", "finding__activity", "finding__visit"
    )


def tell(conversation: Conversation) -> None:
    """Hint again, and give notices that are due. Raises TemporaryFailure while no hint can be sent."""
    if conversation.told_number < conversation.last_number:
        _hint_again(conversation)
    due = _notices_due_at(conversation)
    if due is None:
        return
    if due > clock.now():
        work_rows = Conversation.objects.filter(pk=conversation.pk)
        work_rows.filter(work_due_at=conversation.work_due_at).update(work_due_at=due)
        return
    _give_notices(conversation)


def _hint_again(conversation: Conversation) -> None:
    people = members_of(conversation).values_list("pk", flat=True)
    try:
        hint(list(people), _hint_of(conversation))
    except Exception as failure:
        # The layer's driver raises its own kinds; none of them is worth more than a later try.
        raise work.TemporaryFailure(f"{type(failure).__name__}: {failure}") from failure
    told = Conversation.objects.filter(pk=conversation.pk)
    told.update(told_number=conversation.last_number)


def _untold(conversation: Conversation) -> QuerySet[Message]:
    """What nobody has had a notice of."""
    return conversation.messages.filter(
        number__gt=conversation.noticed_number,
        number__lte=conversation.last_number,
        kind=Message.Kind.MESSAGE,
        gone="",
    ).order_by("number")


def _notices_due_at(conversation: Conversation) -> Any:
    first = _untold(conversation).values_list("created_at", flat=True).first()
    return first and first + timedelta(seconds=settings.CONVERSATION_NOTICE_SECONDS)


@transaction.atomic
def _give_notices(conversation: Conversation) -> None:
    locked = rows().select_for_update(of=("self",)).get(pk=conversation.pk)
    if locked.noticed_number >= conversation.last_number:
        return
    messages = list(
        _untold(locked).filter(number__lte=conversation.last_number).select_related("sender")
    )
    Conversation.objects.filter(pk=locked.pk).update(noticed_number=conversation.last_number)
    if not messages:
        return
    members = Member.objects.filter(conversation=locked)
    read = dict(members.values_list("user_id", "read_number"))
    muted: set[UUID | None] = set(members.filter(muted=True).values_list("user_id", flat=True))
    quiet = muted | _with_unread(locked, MESSAGE, MENTIONED)
    people = [
        person
        for person in members_of(locked)
        if person.pk not in quiet and _has_not_read(person, messages, read.get(person.pk, 0))
    ]
    sender = messages[-1].sender
    _notify(MESSAGE, locked, people, sender)


def _has_not_read(person: User, messages: Iterable[Message], read_number: int) -> bool:
    return any(each.number > read_number and each.sender_id != person.pk for each in messages)


def _with_unread(conversation: Conversation, *events: str) -> set[UUID | None]:
    """Who has an unread notice of these kinds about the conversation."""
    unread = Delivery.objects.filter(
        notice__subject_type="conversation",
        notice__subject_id=conversation.pk,
        notice__event__in=events,
        channel=Delivery.Channel.INBOX,
        read_at=None,
    )
    return set(unread.order_by().values_list("recipient_id", flat=True))


def _notify(
    event: str, conversation: Conversation, people: Sequence[User], sender: User | None
) -> None:
    """No notice holds the text: it goes through strangers' servers, and stays when the text must go."""
    if people:
        notify(
            event,
            recipients=people,
            subject=("conversation", conversation.pk),
            school=conversation.school,
            title=conversation.title,
            sender=sender.name if sender else "",
        )


# ---- files -----------------------------------------------------------------------------------


def tell_processed(*, media: MediaObject, **_signal: object) -> None:
    """A message's file can be seen now, or was refused: those who look at it fetch it again."""
    file = (
        MessageFile.objects.filter(media=media, message__gone="").select_related("message").first()
    )
    if file:
        found = rows().get(pk=file.message.conversation_id)
        message = {**_hint_of(found), "media": str(media.pk)}
        people = list(members_of(found).values_list("pk", flat=True))
        transaction.on_commit(lambda: _at_once.send(people, message), robust=True)


PUMP = work.Pump(
    name="conversations",
    rows=rows,
    handle=tell,
    batch=20,
    max_attempts=1000,  # Redis may be away for a night
    backoff_limit_seconds=60.0,
)


def start() -> None:
    """Make the pump known and listen; called when the app is ready."""
    from server.activities.services.visits import visit_moved
    from server.conversations.services import school_learns

    work.register(PUMP)
    visit_moved.connect(school_learns, dispatch_uid="conversations.school_learns")
    media_processed.connect(tell_processed, dispatch_uid="conversations.tell_processed")
