"""The overview's live part: who is told of what, how often, and what the page fetches."""

from __future__ import annotations

from uuid import uuid4

import pytest

from server.activities.models import Visit
from server.activities.services.planning import publish_activity
from server.activities.services.visits import check_in
from server.console import live
from server.core import clock, following
from server.core.changes import Change
from server.messaging.channels.socket import EVERYWHERE
from tests.activities import planned
from tests.cast import Cast
from tests.feed import settle
from tests.server.console.conftest import fill_in

PART = "/admin/overview/"
COUNTY = [EVERYWHERE, "overview.91", "overview.9101", "overview.910121"]
TOWN = [*COUNTY, "overview.910121101"]


@pytest.fixture
def hinted(monkeypatch) -> list[list[str]]:
    """The groups that each hint went to."""
    hints: list[list[str]] = []
    monkeypatch.setattr(live, "hint_groups", lambda groups, message: hints.append(list(groups)))
    monkeypatch.setattr(following, "_resting", {})
    return hints


def begin() -> None:
    following.take_place("overview")


def told() -> None:
    settle()
    following.look()


def enter(visit: Visit, person) -> None:
    check_in(visit_id=visit.pk, action_id=uuid4(), by=person, at=clock.now(), place=None)


@pytest.mark.django_db(transaction=True)
def test_a_check_in_is_told_to_every_area_above_the_school_and_to_no_other(hinted, visit, cast):
    settle()
    begin()
    enter(visit, cast.ada)
    told()
    assert hinted == [TOWN]


@pytest.mark.django_db(transaction=True)
def test_an_unannounced_visit_that_the_school_may_not_know_moves_the_offices_page(
    hinted, kitchen, cast
):
    draft = planned(cast, cast.school, announced=False)
    settle()
    begin()
    publish_activity(activity_id=draft.pk, by=cast.office)
    told()
    assert hinted == [TOWN]


@pytest.mark.django_db(transaction=True)
def test_a_submission_and_its_finding_are_told(hinted, visit, cast):
    enter(visit, cast.ada)
    settle()
    begin()
    fill_in(visit, cast.ada, photo=False, licence="no", licence_note="在柜子里")
    told()
    assert hinted == [TOWN]


@pytest.mark.django_db
def test_a_hundred_changes_are_one_hint_to_each_area(hinted, cast: Cast):
    schools = [cast.school, cast.other_school, cast.far_school]
    changes = [
        Change(type="finding", object_id=uuid4(), school_id=schools[number % 3].pk)
        for number in range(100)
    ]
    live.tell_pages(changes)
    assert hinted == [[*TOWN, "overview.910121102"]]


@pytest.mark.django_db
def test_what_moves_no_figure_is_not_told(hinted, cast: Cast, django_assert_num_queries):
    with django_assert_num_queries(0):
        live.tell_pages([Change(type="school", object_id=uuid4(), school_id=cast.school.pk)])
    assert hinted == []


@pytest.mark.django_db(transaction=True)
def test_a_hint_that_fails_harms_neither_the_check_in_nor_the_next_hint(
    hinted, visit, cast, monkeypatch
):
    settle()
    begin()

    def away(groups, message) -> None:
        raise ConnectionError("Redis is away")

    with monkeypatch.context() as context:
        context.setattr(live, "hint_groups", away)
        enter(visit, cast.ada)
        told()
    assert Visit.objects.get(pk=visit.pk).state == "checked_in"
    following._resting.clear()
    fill_in(visit, cast.ada, photo=False)
    told()
    assert hinted == [TOWN]


@pytest.mark.django_db(transaction=True)
def test_accepting_a_submission_asks_the_database_nothing_for_the_page(
    visit, cast, django_assert_max_num_queries, monkeypatch
):
    """The feed is read by the worker: nothing of this runs in the accepting request."""
    monkeypatch.setattr(live, "tell_pages", lambda changes: pytest.fail("in the request"))
    monkeypatch.setattr(following, "look", lambda: pytest.fail("in the request"))
    fill_in(visit, cast.ada, photo=False)


def test_the_part_has_the_pages_figures_and_costs_304_while_they_are_the_same(office, visit, cast):
    first = office.get(PART)
    assert first.status_code == 200
    assert 'data-figure="note' in first.content.decode()
    assert "csrf" not in first.content.decode()
    again = office.get(PART, HTTP_IF_NONE_MATCH=first["ETag"])
    assert again.status_code == 304
    assert again.content == b""
    enter(visit, cast.ada)
    changed = office.get(PART, HTTP_IF_NONE_MATCH=first["ETag"])
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


def test_the_page_names_its_part_with_its_own_selection(office, activity):
    page = office.get("/admin/", {"period": "all", "activity": str(activity.pk)})
    assert f'data-live-part="{PART}?period=all&amp;activity={activity.pk}"' in page.content.decode()
    assert office.get(PART, {"period": "all"}).status_code == 200


def test_the_part_is_for_offices_and_of_their_own_scope(browser, group, client, cast, visit):
    assert client.get(PART).status_code == 302
    assert browser(cast.carla).get(PART).status_code == 302
    assert "西山镇" not in group.get(PART).content.decode()
