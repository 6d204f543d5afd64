"""Other days for a published activity, another team for a visit: who counted on it is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.activities.models import Activity, Visit
from server.activities.queries import visits_visible_to
from server.activities.services.moving import change_team, move_activity
from server.activities.services.planning import close_activity, publish_activity
from server.core.audit import AuditEntry
from server.core.changes import Change
from server.core.errors import Invalid, NotFound, WrongState
from server.messaging.models import Notice
from tests.activities import planned
from tests.cast import Cast


@pytest.fixture(autouse=True)
def _quiet(request: pytest.FixtureRequest) -> None:
    """What publishing told is told."""
    if "activity" in request.fixturenames:
        request.getfixturevalue("activity")
        Notice.objects.all().delete()


def told() -> dict[str, list[str]]:
    """Event → who got it, in order."""
    found: dict[str, list[str]] = {}
    for notice in Notice.objects.all():
        names = notice.deliveries.filter(channel="inbox").values_list("recipient__name", flat=True)
        found[notice.event] = sorted([*found.get(notice.event, []), *names])
    return found


def move(activity: Activity, cast: Cast, by=None, days: int = 7, reason: str = "考试") -> Activity:
    return move_activity(
        activity_id=activity.pk,
        by=by or cast.office,
        starts=activity.starts + timedelta(days=days),
        ends=activity.ends + timedelta(days=days),
        reason=reason,
    )


def test_teams_and_schools_of_open_visits_learn_of_other_days(activity: Activity, cast: Cast):
    activity.visits.filter(school=cast.far_school).update(state="completed")
    moved = move(activity, cast)
    assert told() == {"visit.moved": sorted(["安督学", "卜督学", "白校长", "常校长"])}
    notice = Notice.objects.filter(event="visit.moved", school=cast.school).get()
    assert (notice.params["starts"], notice.params["reason"]) == (moved.starts.isoformat(), "考试")
    assert AuditEntry.objects.get().action == "activity.moved"


def test_an_unannounced_activity_moves_without_a_word_to_schools(cast: Cast, kitchen):
    draft = planned(cast, cast.school, announced=False)
    published = publish_activity(activity_id=draft.pk, by=cast.office)
    Notice.objects.all().delete()
    move(published, cast)
    assert told() == {"visit.moved": ["安督学"]}


def test_the_same_days_again_change_nothing(activity: Activity, cast: Cast):
    move(activity, cast, days=0)
    assert told() == {}


def test_photos_are_kept_from_the_new_end_on(activity: Activity, cast: Cast):
    activity.keep_media_for(10)
    activity.save()
    moved = move(activity, cast)
    assert moved.media_kept_until == moved.ends + timedelta(days=10)


def test_a_move_has_a_reason_and_days_in_order(activity: Activity, cast: Cast):
    with pytest.raises(Invalid):
        move(activity, cast, reason=" ")
    with pytest.raises(Invalid):
        move_activity(
            activity_id=activity.pk,
            by=cast.office,
            starts=activity.ends,
            ends=activity.starts,
            reason="x",
        )


def test_only_what_is_published_moves_and_only_for_its_office(activity: Activity, cast: Cast):
    for who in (cast.ada, cast.principal, cast.carla, cast.town_group):
        with pytest.raises(NotFound):
            move(activity, cast, by=who)
    close_activity(activity_id=activity.pk, by=cast.office)
    with pytest.raises(WrongState):
        move(activity, cast)


def test_another_team_is_told_and_the_old_one_and_the_school(visit: Visit, cast: Cast):
    last = Change.objects.latest("id").pk
    change_team(visit_id=visit.pk, by=cast.office, team=[cast.bruno.pk])
    assert told() == {
        "visit.assigned": ["卜督学"],
        "visit.unassigned": ["安督学"],
        "visit.team_changed": ["白校长"],
    }
    assert list(visit.team.all()) == [cast.bruno]
    assert Notice.objects.get(event="visit.unassigned").subject_id is None
    assert not visits_visible_to(cast.ada).filter(pk=visit.pk).exists()
    rows = Change.objects.filter(pk__gt=last, type="visit", object_id=visit.pk)
    assert {cast.ada.pk, cast.bruno.pk} <= set(rows.values_list("user_id", flat=True))
    assert AuditEntry.objects.get().details["target"] == "卜督学"


def test_who_joins_is_told_and_who_stays_is_not(visit: Visit, cast: Cast):
    change_team(visit_id=visit.pk, by=cast.office, team=[cast.ada.pk, cast.bruno.pk])
    assert told() == {"visit.assigned": ["卜督学"], "visit.team_changed": ["白校长"]}
    change_team(visit_id=visit.pk, by=cast.office, team=[cast.bruno.pk, cast.ada.pk])
    assert len(told()["visit.assigned"]) == 1


def test_a_school_that_does_not_know_of_a_visit_learns_nothing_of_its_team(cast: Cast, kitchen):
    draft = planned(cast, cast.school, announced=False)
    published = publish_activity(activity_id=draft.pk, by=cast.office)
    change_team(visit_id=published.visits.get().pk, by=cast.office, team=[cast.bruno.pk])
    assert "白校长" not in [name for names in told().values() for name in names]


def test_a_team_is_of_inspectors_and_not_empty(visit: Visit, cast: Cast):
    for team in ([], [cast.principal.pk], [cast.bruno.pk, cast.expert.pk]):
        with pytest.raises(Invalid):
            change_team(visit_id=visit.pk, by=cast.office, team=team)
    assert told() == {}


def test_only_the_planning_office_changes_the_team_of_an_open_visit(visit: Visit, cast: Cast):
    for who in (cast.ada, cast.carla, cast.principal, cast.town_group):
        with pytest.raises(NotFound):
            change_team(visit_id=visit.pk, by=who, team=[cast.bruno.pk])
    Visit.objects.update(state="completed")
    with pytest.raises(WrongState):
        change_team(visit_id=visit.pk, by=cast.office, team=[cast.bruno.pk])
