"""Conversations of the cast: about Ada's visit, about a finding there, about the school."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from server.activities.models import Activity, Visit
from server.activities.services.planning import publish_activity
from server.activities.services.visits import Place, check_in
from server.conversations.models import Conversation, Message
from server.conversations.services import open_conversation, send_message
from server.core import clock
from server.findings.models import Finding
from server.findings.services import raise_finding
from server.grid.models import User
from tests.activities import planned
from tests.cast import Cast
from tests.media_storage.pictures import jpeg


def say(conversation: Conversation, by: User, text: str = "收到", **more: object) -> Message:
    """A message with an id of its own."""
    values = {"message_id": uuid4(), **more}
    return send_message(conversation_id=conversation.pk, by=by, text=text, **values)[0]


def photo_of(owner: User, *, name: str = "photo.jpg", kind: str = "image/jpeg") -> MediaObject:
    """A stored upload of the person's that serves nowhere yet."""
    stored = store_stream(filename=name, content_type=kind, chunks=[jpeg(640, 480)])
    values = new_media_values(media_id=uuid4(), owner_id=owner.pk, filename=name, stored=stored)
    return MediaObject.objects.create(**values)


def arrive(visit: Visit, by: User) -> None:
    """The team checks in."""
    place = Place(33.0, 108.0, 20.0)
    check_in(visit_id=visit.pk, action_id=uuid4(), by=by, at=clock.now(), place=place)


def opened(subject: str, subject_id: UUID, by: User) -> Conversation:
    return open_conversation(subject=subject, subject_id=subject_id, by=by)[0]


@pytest.fixture
def of_visit(cast: Cast, visit: Visit) -> Conversation:
    return opened("visit", visit.pk, cast.ada)


@pytest.fixture
def of_school(cast: Cast) -> Conversation:
    return opened("school", cast.school.pk, cast.principal)


@pytest.fixture
def finding(cast: Cast, visit: Visit) -> Finding:
    return raise_finding(
        finding_id=uuid4(),
        school_id=cast.school.pk,
        visit_id=visit.pk,
        by=cast.ada,
        title="留样不足",
        detail="",
        severity="minor",
        due_on=clock.today() + timedelta(days=7),
    )[0]


@pytest.fixture
def of_finding(cast: Cast, finding: Finding) -> Conversation:
    return opened("finding", finding.pk, cast.ada)


@pytest.fixture
def unannounced(cast: Cast, kitchen) -> Visit:
    """Ada's visit at the school, of which the school knows nothing yet."""
    draft = planned(cast, cast.school, announced=False)
    activity: Activity = publish_activity(activity_id=draft.pk, by=cast.office)
    return activity.visits.get()
