"""The demo county talks and tells: something to read, with something unread or undone, once."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from server.conversations.models import Message
from server.conversations.queries import conversations_listed_for
from server.grid.models import User
from server.messaging.board import figures_of
from server.messaging.models import Notice


@pytest.mark.django_db
@pytest.mark.usefixtures("fast_passwords")
def test_the_office_has_conversations_and_something_unread():
    call_command("load_demo", verbosity=0)
    call_command("load_demo", verbosity=0)
    office = User.objects.get(username="office")
    rows = {row.subject: row for row in conversations_listed_for(office)}
    assert {name: row.unread for name, row in rows.items()} == {
        "visit": 1,
        "finding": 1,
        "school": 1,
    }
    assert Message.objects.count() == 9
    training = Notice.objects.get(event="announcement", requires="answer")
    assert training.state == "sent"
    board = figures_of(training)
    assert board.recipients == 67
    assert 0 < board.answered < board.read < board.recipients
    assert Notice.objects.filter(event="announcement").count() == 2
