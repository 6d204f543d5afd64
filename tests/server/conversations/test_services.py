"""Writing, telling, taking away: what services keep, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from server.conversations import telling
from server.conversations.models import Conversation, Member, Message
from server.conversations.queries import media_visible_to
from server.conversations.services import (
    expire_messages,
    mark_read,
    mute_conversation,
    open_conversation,
    send_message,
    withdraw_message,
)
from server.core import clock
from server.core.audit import AuditEntry
from server.core.errors import ContentConflict, Invalid, NotFound
from server.core.work import TemporaryFailure
from server.findings.services import Step, act_on_finding
from server.messaging.models import Delivery, Notice
from tests.conversations import opened, photo_of, say

pytestmark = pytest.mark.django_db


def told(conversation: Conversation) -> Conversation:
    """What the worker does once the time for notices has come."""
    Conversation.objects.filter(pk=conversation.pk).update(work_due_at=None)
    telling.tell(telling.rows().get(pk=conversation.pk))
    return Conversation.objects.get(pk=conversation.pk)


def inbox(person, event: str) -> int:
    rows = Delivery.objects.filter(recipient=person, channel="inbox", notice__event=event)
    return rows.count()


@pytest.fixture(autouse=True)
def at_once(settings) -> None:
    settings.CONVERSATION_NOTICE_SECONDS = 0


def test_numbers_are_dense(cast, of_school, of_visit):
    for conversation in (of_school, of_visit):
        for _ in range(3):
            say(conversation, cast.ada)
        message = say(conversation, cast.ada)
        withdraw_message(conversation_id=conversation.pk, message_id=message.pk, by=cast.ada)
        say(conversation, cast.ada)
        numbers = conversation.messages.values_list("number", flat=True)
        assert list(numbers) == [1, 2, 3, 4, 5, 6]


def test_an_id_of_one_conversation_is_taken_in_every_other(cast, of_school, of_visit):
    message = say(of_school, cast.ada)
    with pytest.raises(ContentConflict):
        say(of_visit, cast.ada, message_id=message.pk)


def test_what_does_not_exist_has_no_conversation(cast):
    for subject in ("visit", "finding", "school"):
        with pytest.raises(NotFound):
            open_conversation(subject=subject, subject_id=uuid4(), by=cast.office)


def test_proof_does_not_leave_by_a_message(cast, of_school, finding):
    """Evidence has shared copies with faces hidden: its door is not the conversation."""
    media = photo_of(cast.principal)
    step = Step(action="answer", measures="已整改", media=[media.pk])
    act_on_finding(finding_id=finding.pk, action_id=uuid4(), by=cast.principal, step=step)
    with pytest.raises(Invalid) as refused:
        say(of_school, cast.principal, media=[media.pk])
    assert refused.value.problems[0].code == "in_use"
    assert not Message.objects.exists()


def test_who_was_sent_a_file_loses_it_with_the_message(cast, of_school):
    media = photo_of(cast.ada)
    message = say(of_school, cast.ada, "", media=[media.pk])
    assert list(media_visible_to(cast.principal)) == [media]
    withdraw_message(conversation_id=of_school.pk, message_id=message.pk, by=cast.ada)
    assert not media_visible_to(cast.principal).exists()
    assert list(media_visible_to(cast.ada)) == [media]  # one's own upload


def test_every_deed_is_in_the_audit_log_without_a_text(cast, of_school):
    message = say(of_school, cast.ada, "机密的话")
    withdraw_message(conversation_id=of_school.pk, message_id=message.pk, by=cast.ada)
    entries = AuditEntry.objects.filter(object_id=of_school.pk).order_by("id")
    assert [entry.action for entry in entries] == [
        "conversation.opened",
        "message.sent",
        "message.withdrawn",
    ]
    assert {entry.school_id for entry in entries} == {of_school.school_id}
    assert "机密" not in str([entry.details for entry in entries])
    assert entries[1].details["sha256"] == message.sha256


# ---- notices -----------------------------------------------------------------------------------


def test_who_does_not_read_has_one_notice_however_much_is_said(cast, of_school):
    for _round in range(3):
        say(of_school, cast.ada)
        told(of_school)
    assert inbox(cast.principal, "conversation.message") == 1
    assert inbox(cast.ada, "conversation.message") == 0
    assert inbox(cast.carla, "conversation.message") == 0


def test_reading_reads_the_notice_and_the_next_message_is_told_again(cast, of_school):
    say(of_school, cast.ada)
    told(of_school)
    mark_read(conversation_id=of_school.pk, by=cast.principal, number=1)
    assert not Delivery.objects.filter(
        recipient=cast.principal, channel="inbox", read_at=None
    ).exists()
    say(of_school, cast.ada)
    told(of_school)
    assert inbox(cast.principal, "conversation.message") == 2


def test_who_has_read_by_then_has_no_notice(cast, of_school):
    say(of_school, cast.ada)
    mark_read(conversation_id=of_school.pk, by=cast.principal, number=1)
    told(of_school)
    assert inbox(cast.principal, "conversation.message") == 0
    assert inbox(cast.office, "conversation.message") == 1


def test_a_notice_waits_for_those_who_look_just_then(cast, of_school, settings):
    settings.CONVERSATION_NOTICE_SECONDS = 30
    say(of_school, cast.ada)
    row = telling.rows().get(pk=of_school.pk)
    telling.tell(row)
    waiting = Conversation.objects.get(pk=of_school.pk)
    assert not Notice.objects.filter(event="conversation.message").exists()
    assert waiting.work_due_at - clock.now() > timedelta(seconds=20)


def test_a_mention_is_told_at_once_and_once(cast, of_school):
    for _ in range(2):
        say(of_school, cast.ada, mentions=[cast.principal.pk, cast.ada.pk])
    assert inbox(cast.principal, "conversation.mentioned") == 1
    assert inbox(cast.ada, "conversation.mentioned") == 0
    told(of_school)
    assert inbox(cast.principal, "conversation.message") == 0


def test_who_is_muted_is_told_of_mentions_alone(cast, of_school):
    mute_conversation(conversation_id=of_school.pk, by=cast.principal, muted=True)
    say(of_school, cast.ada)
    told(of_school)
    assert inbox(cast.principal, "conversation.message") == 0
    say(of_school, cast.ada, mentions=[cast.principal.pk])
    assert inbox(cast.principal, "conversation.mentioned") == 1


def test_no_notice_holds_the_text(cast, of_school):
    say(of_school, cast.ada, "机密的话", mentions=[cast.office.pk])
    told(of_school)
    for notice in Notice.objects.filter(subject_type="conversation"):
        assert "机密" not in notice.title + notice.body
        assert cast.ada.name in notice.body


def test_what_was_withdrawn_in_time_is_told_to_nobody(cast, of_school):
    message = say(of_school, cast.ada)
    withdraw_message(conversation_id=of_school.pk, message_id=message.pk, by=cast.ada)
    told(of_school)
    assert not Notice.objects.filter(event="conversation.message").exists()


def test_the_worker_hints_until_the_channel_layer_takes_it(cast, of_school, monkeypatch):
    heard: list[tuple[set, dict]] = []

    def away(_people, _message):
        raise OSError("redis is away")

    say(of_school, cast.ada)
    monkeypatch.setattr(telling, "hint", away)
    with pytest.raises(TemporaryFailure):
        told(of_school)
    monkeypatch.setattr(
        telling, "hint", lambda people, message: heard.append((set(people), message))
    )
    assert told(of_school).told_number == 1
    told(of_school)
    ((people, message),) = heard
    assert people == {each.pk for each in (cast.ada, cast.principal, cast.office, cast.town_group)}
    assert message == {
        "type": "conversation.changed",
        "conversation": str(of_school.pk),
        "number": 1,
    }


# ---- ending ------------------------------------------------------------------------------------


def test_expiry_is_an_entry_that_ends_all_before_it(cast, of_school):
    for _ in range(3):
        say(of_school, cast.ada)
    Message.objects.filter(number__lte=2).update(created_at=clock.now() - timedelta(days=9))
    before = clock.now() - timedelta(days=8)
    assert expire_messages(conversation_id=of_school.pk, before=before) == 2
    assert expire_messages(conversation_id=of_school.pk, before=before) == 0
    row = Conversation.objects.get(pk=of_school.pk)
    assert (row.expired_through, row.last_number) == (2, 4)
    assert list(row.messages.values_list("number", "gone", "kind", "about_number")) == [
        (1, "expired", "message", None),
        (2, "expired", "message", None),
        (3, "", "message", None),
        (4, "", "expired", 2),
    ]


def test_a_mark_of_reading_gives_no_right(cast, of_school):
    Member.objects.create(conversation=of_school, user=cast.carla, read_number=0)
    with pytest.raises(NotFound):
        mark_read(conversation_id=of_school.pk, by=cast.carla, number=1)
    with pytest.raises(NotFound):
        say(of_school, cast.carla)


def test_a_superuser_reads_all_and_is_told_of_nothing(cast, of_school, visit):
    cast.expert.is_superuser = True
    cast.expert.save()
    say(of_school, cast.ada)
    told(of_school)
    assert inbox(cast.expert, "conversation.message") == 0
    send_message(conversation_id=of_school.pk, message_id=uuid4(), by=cast.expert, text="好")
    assert opened("visit", visit.pk, cast.expert)
