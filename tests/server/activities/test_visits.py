"""Visits: check-in, completion, return, review; each once per id."""

from __future__ import annotations

from uuid import uuid4

import pytest

from server.activities.models import Activity, Visit, VisitAction
from server.activities.queries import visits_visible_to
from server.activities.services.planning import close_activity, publish_activity
from server.activities.services.visits import (
    ActivityClosed,
    Place,
    check_in,
    complete_visit,
    return_visit,
    review_visit,
)
from server.core import clock
from server.core.errors import ContentConflict, Invalid, NotAllowed, NotFound, WrongState
from server.messaging.models import Notice
from tests.activities import planned
from tests.cast import Cast

pytestmark = pytest.mark.django_db

HERE = Place(33.0, 108.0, 12.0)


def checked_in(visit: Visit, cast: Cast, action_id=None, place: Place | None = HERE) -> Visit:
    return check_in(
        visit_id=visit.pk,
        action_id=action_id or uuid4(),
        by=cast.ada,
        at=clock.now(),
        place=place,
    )


def completed(visit: Visit, cast: Cast) -> Visit:
    checked_in(visit, cast)
    return complete_visit(
        visit_id=visit.pk, action_id=uuid4(), by=cast.ada, at=clock.now(), summary="查完"
    )


def test_check_in_records_place_and_both_clocks(cast: Cast, visit: Visit):
    checked_in(visit, cast)
    visit.refresh_from_db()
    assert (visit.state, visit.latitude, visit.accuracy_m) == ("checked_in", 33.0, 12.0)
    assert visit.checked_in_at is not None
    assert VisitAction.objects.get().at is not None


def test_check_in_without_a_position_is_accepted(cast: Cast, visit: Visit):
    assert checked_in(visit, cast, place=None).state == "checked_in"


def test_the_same_check_in_again_has_its_effect_once(cast: Cast, visit: Visit):
    action_id = uuid4()
    checked_in(visit, cast, action_id)
    again = checked_in(visit, cast, action_id)
    assert again.state == "checked_in"
    assert VisitAction.objects.count() == 1
    assert Notice.objects.filter(event="visit.checked_in").count() == 1


def test_an_id_that_stands_for_another_action_is_a_conflict(cast: Cast, visit: Visit):
    action_id = uuid4()
    checked_in(visit, cast, action_id)
    with pytest.raises(ContentConflict):
        checked_in(visit, cast, action_id, place=Place(1, 1))


def test_an_unannounced_visit_becomes_visible_to_the_school_at_check_in(cast: Cast, kitchen):
    draft = planned(cast, cast.school, announced=False)
    publish_activity(activity_id=draft.pk, by=cast.office)
    visit = draft.visits.get()
    assert not visits_visible_to(cast.principal).exists()
    checked_in(visit, cast)
    assert visits_visible_to(cast.principal).get() == visit
    assert Notice.objects.filter(event="visit.checked_in_unannounced").count() == 1


def test_completion_needs_a_check_in(cast: Cast, visit: Visit):
    with pytest.raises(WrongState):
        complete_visit(
            visit_id=visit.pk, action_id=uuid4(), by=cast.ada, at=clock.now(), summary=""
        )


def test_a_returned_visit_is_completed_again_and_reviewed(cast: Cast, visit: Visit):
    completed(visit, cast)
    return_visit(visit_id=visit.pk, action_id=uuid4(), by=cast.office, reason="缺照片")
    told = Notice.objects.get(event="visit.returned")
    assert "缺照片" in told.body
    complete_visit(
        visit_id=visit.pk, action_id=uuid4(), by=cast.ada, at=clock.now(), summary="已补"
    )
    reviewed = review_visit(visit_id=visit.pk, action_id=uuid4(), by=cast.office)
    assert reviewed.state == "reviewed"
    assert reviewed.reviewed_at is not None


def test_a_return_needs_a_reason(cast: Cast, visit: Visit):
    completed(visit, cast)
    with pytest.raises(Invalid):
        return_visit(visit_id=visit.pk, action_id=uuid4(), by=cast.office, reason="  ")


def test_somebody_elses_visit_does_not_exist(cast: Cast, visit: Visit):
    for stranger in (cast.carla, cast.bruno, cast.other_principal, cast.expert):
        with pytest.raises(NotFound):
            check_in(visit_id=visit.pk, action_id=uuid4(), by=stranger, at=clock.now(), place=None)


def test_the_school_sees_its_visit_and_may_not_check_in(cast: Cast, visit: Visit):
    with pytest.raises(NotAllowed):
        check_in(
            visit_id=visit.pk, action_id=uuid4(), by=cast.principal, at=clock.now(), place=None
        )


def test_a_closed_activity_takes_no_check_in(cast: Cast, visit: Visit, activity: Activity):
    close_activity(activity_id=activity.pk, by=cast.office)
    with pytest.raises(ActivityClosed):
        checked_in(visit, cast)


def test_the_planning_office_learns_that_a_visit_is_to_be_reviewed(cast: Cast, visit: Visit):
    completed(visit, cast)
    notice = Notice.objects.get(event="visit.completed")
    told = notice.deliveries.filter(channel="inbox").values_list("recipient__name", flat=True)
    assert list(told) == ["方主任"]
    assert notice.title == "督导已完成，请审核：东河镇中心小学"
