"""A submission that stands alone finds its visit, by its sender or an office."""

from __future__ import annotations

from uuid import uuid4

import pytest

from server.activities.models import Submission, Visit
from server.activities.queries import submissions_visible_to
from server.activities.services.accepting import accept_submission
from server.activities.services.attaching import attach_submission, visits_to_attach_to
from server.activities.services.deriving import PUMP
from server.activities.services.documents import document_from_xml
from server.activities.services.planning import publish_activity
from server.core import work
from server.core.errors import Conflict, NotFound
from server.findings.models import Finding
from tests.activities import device_of, planned
from tests.cast import Cast
from tests.forms import kitchen_xml

pytestmark = pytest.mark.django_db


@pytest.fixture
def alone(cast: Cast, kitchen) -> Submission:
    """Ada's, with a finding, sent before there was any visit."""
    raw = kitchen_xml(kitchen.version, licence="no", licence_note="未见")
    accept_submission(document=document_from_xml(raw), device=device_of(cast.ada))
    work.drain(PUMP)
    return Submission.objects.get(visit=None)


@pytest.fixture
def visit(alone: Submission, cast: Cast) -> Visit:
    draft = planned(cast, cast.school, cast.far_school)
    publish_activity(activity_id=draft.pk, by=cast.office)
    return draft.visits.get(school=cast.school)


@pytest.mark.parametrize("who", ["ada", "office"])
def test_attaching_brings_the_findings(who: str, cast: Cast, alone: Submission, visit: Visit):
    assert not Finding.objects.exists()
    for _ in range(2):
        attach_submission(submission_id=alone.pk, visit_id=visit.pk, by=getattr(cast, who))
    work.drain(PUMP)
    assert Finding.objects.get().visit == visit


def test_what_stands_alone_is_seen_by_its_sender_and_the_office(cast: Cast, alone: Submission):
    for stranger in (cast.carla, cast.bruno, cast.principal, cast.town_group):
        assert not submissions_visible_to(stranger).exists()
        with pytest.raises(NotFound):
            attach_submission(submission_id=alone.pk, visit_id=uuid4(), by=stranger)
    for who in (cast.ada, cast.office):
        assert submissions_visible_to(who).get() == alone


def test_it_goes_to_a_visit_of_its_sender_only(cast: Cast, alone: Submission, visit: Visit):
    assert list(visits_to_attach_to(alone)) == [visit]
    far = Visit.objects.get(school=cast.far_school)
    with pytest.raises(NotFound):
        attach_submission(submission_id=alone.pk, visit_id=far.pk, by=cast.office)


def test_it_does_not_move_from_one_visit_to_another(cast: Cast, alone: Submission, visit: Visit):
    attach_submission(submission_id=alone.pk, visit_id=visit.pk, by=cast.ada)
    with pytest.raises(Conflict):
        attach_submission(submission_id=alone.pk, visit_id=uuid4(), by=cast.ada)
