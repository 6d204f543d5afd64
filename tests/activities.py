"""Activities for tests: one published at the cast's schools, its visits, and devices to send from."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from server.activities.models import Activity, Visit
from server.activities.services.planning import create_activity, publish_activity
from server.core import clock
from server.grid.models import School, User
from server.instruments.models import InstrumentVersion
from server.messaging.models import Device
from tests.cast import Cast


def planned(
    cast: Cast, *schools: School, announced: bool = True, kind: str = "routine"
) -> Activity:
    """A draft of the county office with the kitchen instrument, for this week."""
    return create_activity(
        by=cast.office,
        kind=kind,
        title="食品安全督导周",
        starts=clock.today(),
        ends=clock.today() + timedelta(days=6),
        instruments=["kitchen"],
        schools=[school.pk for school in schools],
        announced=announced,
    )


@pytest.fixture
def activity(cast: Cast, kitchen: InstrumentVersion) -> Activity:
    """Published at all three schools of the cast."""
    draft = planned(cast, cast.school, cast.other_school, cast.far_school)
    return publish_activity(activity_id=draft.pk, by=cast.office)


@pytest.fixture
def visit(activity: Activity, cast: Cast) -> Visit:
    """Ada's, at the school."""
    return activity.visits.get(school=cast.school)


def device_of(user: User) -> Device:
    """A phone that is logged in; its token does not matter."""
    return Device.objects.create(
        id=uuid4(),
        user=user,
        token_digest=uuid4().hex * 2,
        token_expires_at=clock.now() + timedelta(days=1),
        last_seen_at=clock.now(),
    )
