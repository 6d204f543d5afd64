"""Planning: drafts, previews, publishing, closing, and who learns of it."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from server.activities.models import Activity, Visit
from server.activities.services.planning import (
    NothingToPublish,
    close_activity,
    create_activity,
    preview_activity,
    publish_activity,
)
from server.core import clock
from server.core.changes import Change
from server.core.errors import Invalid, NotAllowed, NotFound, WrongState
from server.grid.models import Appointment
from server.messaging.models import Delivery, Notice
from tests.activities import planned
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def recipients(event: str) -> set[str]:
    rows = Delivery.objects.filter(notice__event=event)
    return set(rows.values_list("recipient__username", flat=True))


def test_publishing_makes_a_visit_per_school_and_tells_inspectors_and_schools(cast: Cast, kitchen):
    draft = planned(cast, cast.school, cast.far_school)
    publish_activity(activity_id=draft.pk, by=cast.office)
    visits = Visit.objects.filter(activity=draft)
    assert {(v.school, *v.team.all()) for v in visits} == {
        (cast.school, cast.ada),
        (cast.far_school, cast.carla),
    }
    assert recipients("visit.assigned") == {"ada", "carla"}
    assert recipients("visit.announced") == {"principal"}


def test_an_unannounced_activity_stays_unknown_to_the_school(cast: Cast, kitchen):
    draft = planned(cast, cast.school, announced=False)
    publish_activity(activity_id=draft.pk, by=cast.office)
    assert recipients("visit.announced") == set()
    assert not Change.objects.filter(type="visit", school_id__isnull=False).exists()
    readers = set(Change.objects.filter(type="visit").values_list("user_id", flat=True))
    assert readers == {cast.ada.pk, cast.office.pk, cast.town_group.pk}


def test_publishing_twice_makes_nothing_twice(cast: Cast, kitchen):
    draft = planned(cast, cast.school)
    publish_activity(activity_id=draft.pk, by=cast.office)
    publish_activity(activity_id=draft.pk, by=cast.office)
    assert Visit.objects.count() == 1
    assert Notice.objects.filter(event="visit.assigned").count() == 1


def test_the_preview_names_schools_without_an_inspector(cast: Cast, kitchen):
    Appointment.objects.filter(school=cast.other_school).delete()
    preview = preview_activity(planned(cast, cast.school, cast.other_school))
    assert [planned_visit.school for planned_visit in preview.visits] == [cast.school]
    assert list(preview.without_inspector) == [cast.other_school]


def test_a_special_supervision_by_fewer_than_three_is_warned_of(cast: Cast, kitchen):
    [only] = preview_activity(planned(cast, cast.school, kind="special")).visits
    assert "第十六条" in str(only.warnings[0])


def test_the_preview_costs_the_same_for_any_number_of_schools(
    cast: Cast, kitchen, django_assert_max_num_queries
):
    draft = planned(cast, cast.school, cast.other_school, cast.far_school)
    with django_assert_max_num_queries(3):
        preview_activity(draft)


def test_an_activity_without_any_inspector_is_not_published(cast: Cast, kitchen):
    Appointment.objects.all().delete()
    draft = planned(cast, cast.school)
    with pytest.raises(NothingToPublish):
        publish_activity(activity_id=draft.pk, by=cast.office)
    draft.refresh_from_db()
    assert draft.state == Activity.State.DRAFT


def test_an_area_stands_for_all_its_schools(cast: Cast, kitchen):
    draft = create_activity(
        by=cast.office,
        kind="week",
        title="周",
        starts=clock.today(),
        ends=clock.today(),
        instruments=["kitchen"],
        areas=[cast.town.pk],
    )
    preview = preview_activity(draft)
    assert {each.school for each in preview.visits} == {cast.school, cast.other_school}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"instruments": ["unheard_of"]}, "/instruments/0"),
        ({"schools": [uuid4()]}, "/schools/0"),
        ({"schools": []}, "/schools"),
        ({"ends": clock.today() - timedelta(days=1)}, "/ends"),
    ],
)
def test_a_plan_with_a_wrong_field_is_refused_with_its_pointer(
    cast: Cast, kitchen, changes: dict, pointer: str
):
    plan = {
        "kind": "routine",
        "title": "查",
        "starts": clock.today(),
        "ends": clock.today(),
        "instruments": ["kitchen"],
        "schools": [cast.school.pk],
    }
    with pytest.raises(Invalid) as refusal:
        create_activity(by=cast.office, **{**plan, **changes})
    assert [problem.pointer for problem in refusal.value.problems] == [pointer]
    assert not Activity.objects.exists()


def test_a_town_group_plans_for_its_own_town_only(cast: Cast, kitchen):
    plan = {
        "by": cast.town_group,
        "kind": "routine",
        "title": "查",
        "starts": clock.today(),
        "ends": clock.today(),
        "instruments": ["kitchen"],
    }
    create_activity(schools=[cast.school.pk], **plan)
    with pytest.raises(Invalid):
        create_activity(schools=[cast.far_school.pk], **plan)
    with pytest.raises(Invalid):
        create_activity(areas=[cast.county.pk], **plan)


def test_an_inspector_plans_nothing(cast: Cast, kitchen):
    with pytest.raises(NotAllowed):
        create_activity(
            by=cast.ada,
            kind="routine",
            title="查",
            starts=clock.today(),
            ends=clock.today(),
            instruments=["kitchen"],
            schools=[cast.school.pk],
        )


def test_somebody_elses_activity_does_not_exist(cast: Cast, activity: Activity):
    with pytest.raises(NotFound):
        close_activity(activity_id=activity.pk, by=cast.town_group)


def test_a_closed_activity_is_not_published_again(cast: Cast, activity: Activity):
    close_activity(activity_id=activity.pk, by=cast.office)
    assert close_activity(activity_id=activity.pk, by=cast.office).state == "closed"
    with pytest.raises(WrongState):
        publish_activity(activity_id=activity.pk, by=cast.office)


def test_closing_tells_teams_and_schools_whose_visit_will_not_take_place(activity, cast):
    activity.visits.filter(school=cast.far_school).update(state="completed")
    close_activity(activity_id=activity.pk, by=cast.office)
    close_activity(activity_id=activity.pk, by=cast.office)
    cancelled = Notice.objects.filter(event="visit.cancelled", deliveries__channel="inbox")
    names = cancelled.values_list("deliveries__recipient__name", flat=True)
    assert sorted(names) == sorted(["安督学", "卜督学", "白校长", "常校长"])


def test_closing_an_unannounced_activity_tells_no_school_that_never_knew(cast, kitchen):
    draft = planned(cast, cast.school, announced=False)
    publish_activity(activity_id=draft.pk, by=cast.office)
    close_activity(activity_id=draft.pk, by=cast.office)
    cancelled = Notice.objects.filter(event="visit.cancelled", deliveries__channel="inbox")
    assert [*cancelled.values_list("deliveries__recipient__name", flat=True)] == ["安督学"]
