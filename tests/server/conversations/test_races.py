"""People who write into one conversation at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar
from uuid import uuid4

import pytest
from django.db import connection

from server.conversations.models import Conversation, Message
from server.conversations.services import (
    mark_read,
    open_conversation,
    send_message,
    withdraw_message,
)
from server.core.errors import ContentConflict
from tests.activities import device_of
from tests.conversations import arrive, opened, say

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")


def at_once(*deeds: Callable[[], T]) -> list[T | Exception]:
    """All of them in threads that start together; an error of ours is an answer too."""
    together = Barrier(len(deeds))

    def run(do: Callable[[], T]) -> T | Exception:
        try:
            together.wait(10)
            return do()
        except ContentConflict as refused:
            return refused
        finally:
            connection.close()

    with ThreadPoolExecutor(len(deeds)) as pool:
        return [future.result() for future in [pool.submit(run, each) for each in deeds]]


def test_several_at_once_get_consecutive_numbers(cast, of_school):
    people = [cast.ada, cast.principal, cast.office, cast.town_group] * 2
    sent = at_once(*(lambda person=person: say(of_school, person) for person in people))
    assert sorted(message.number for message in sent) == list(range(1, 9))
    assert Conversation.objects.get().last_number == 8


def test_the_same_message_from_two_devices_is_one(cast, of_school):
    message_id, devices = uuid4(), [device_of(cast.ada) for _ in range(4)]

    def send(device):
        return send_message(
            conversation_id=of_school.pk,
            message_id=message_id,
            by=cast.ada,
            text="一样",
            device=device,
        )

    sent = at_once(*(lambda device=device: send(device) for device in devices))
    assert [message.number for message, _new in sent] == [1] * 4
    assert sum(new for _message, new in sent) == 1


def test_an_id_that_goes_into_two_conversations_at_once_is_one_and_a_conflict(
    cast, of_school, of_visit
):
    message_id = uuid4()
    answers = at_once(
        *(
            lambda place=place: say(place, cast.ada, message_id=message_id)
            for place in (of_school, of_visit)
        )
    )
    assert sorted(type(answer) for answer in answers if isinstance(answer, Exception)) == [
        ContentConflict
    ]
    assert Message.objects.count() == 1


def test_a_race_to_open_makes_one_conversation(cast, visit):
    def open_it():
        return open_conversation(subject="visit", subject_id=visit.pk, by=cast.ada)

    opened_by = at_once(*[open_it] * 5)
    assert len({conversation.pk for conversation, _new in opened_by}) == 1
    assert sum(new for _conversation, new in opened_by) == 1


def test_opening_and_check_in_at_once_leave_the_school_informed(cast, unannounced):
    """Whichever comes first: the school reads from some number on, and from 0 where nothing was said."""
    at_once(
        lambda: opened("visit", unannounced.pk, cast.office),
        lambda: arrive(unannounced, cast.ada),
    )
    assert Conversation.objects.get().school_from == 0


def test_a_message_at_the_moment_of_the_check_in_is_on_one_side_of_it(cast, unannounced):
    conversation = opened("visit", unannounced.pk, cast.office)
    at_once(
        lambda: say(conversation, cast.office, "先看后厨"),
        lambda: arrive(unannounced, cast.ada),
    )
    row = Conversation.objects.get()
    assert row.school_from in (0, 1)
    assert row.last_number == 1


def test_withdrawn_twice_at_once_is_one_entry(cast, of_school):
    message = say(of_school, cast.ada)

    def withdraw():
        return withdraw_message(
            conversation_id=of_school.pk, message_id=message.pk, by=cast.ada
        ).gone

    assert at_once(*[withdraw] * 4) == ["withdrawn"] * 4
    assert Conversation.objects.get().last_number == 2


def test_reading_on_two_devices_ends_at_the_higher_number(cast, of_school):
    for _ in range(4):
        say(of_school, cast.ada)
    at_once(
        *(
            lambda number=number: mark_read(
                conversation_id=of_school.pk, by=cast.principal, number=number
            )
            for number in (4, 1, 3, 2)
        )
    )
    assert of_school.members.get(user=cast.principal).read_number == 4
