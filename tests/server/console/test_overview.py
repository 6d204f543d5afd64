"""The overview's figures against data made by hand."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from server.activities.models import Activity, Visit
from server.console.overview import Overview
from server.core import clock
from server.core.clock import today
from server.findings.models import Finding
from server.findings.services import raise_finding
from server.messaging.models import Delivery
from tests.cast import Cast, add_school


def overview(client, **parameters: str) -> Overview:
    return client.get("/admin/", parameters).context["overview"]


def finding(cast: Cast, school, *, due: int, age: int, **changes: object) -> Finding:
    """A finding raised `age` days ago, due in so many days."""
    row, _new = raise_finding(
        finding_id=uuid4(), by=cast.office, school_id=school.pk, title="问题", due_on=today()
    )
    moment = clock.now() - timedelta(days=age)
    Finding.objects.filter(pk=row.pk).update(
        created_at=moment, due_on=today() + timedelta(days=due), **changes
    )
    return row


@pytest.fixture
def findings(cast: Cast) -> None:
    finding(cast, cast.school, due=-2, age=20)
    finding(cast, cast.school, due=-9, age=40, state="returned")
    finding(cast, cast.school, due=2, age=1)
    finding(cast, cast.other_school, due=30, age=9)
    finding(cast, cast.far_school, due=-1, age=3, state="answered")
    finding(cast, cast.far_school, due=-1, age=3, state="closed", closed_at=clock.now())


def test_coverage_counts_done_of_planned_by_town(office, made_visit: Visit):
    shown = overview(office)
    assert [(bar.words, bar.note) for bar in shown.coverage] == [
        ("东河镇", "1/2 · 50%"),
        ("西山镇", "0/1 · 0%"),
    ]
    assert shown.visits == {
        "planned": 3,
        "done": 1,
        "to_review": 1,
        "overdue": 0,
        "under_way": 0,
    }


def test_the_parts_of_a_bar_add_up(office, made_visit: Visit, cast: Cast):
    Visit.objects.filter(school=cast.other_school).update(state="checked_in")
    Activity.objects.update(starts=today() - timedelta(days=9), ends=today() - timedelta(days=1))
    for bar in overview(office, period="all").coverage:
        assert sum(part.number.count for part in bar.slices) == bar.total
        assert sum(part.percent for part in bar.slices) == pytest.approx(100)


def test_findings_by_state_and_age(office, findings):
    shown = overview(office, period="all")
    assert {number.words: number.count for number in shown.states} == {
        "待整改": 3,
        "待核查": 1,
        "退回整改": 1,
        "已销号": 1,
        "已撤销": 0,
    }
    ages = {
        str(bar.words): {str(part.number.words): part.number.count for part in bar.slices}
        for bar in shown.ages
    }
    assert ages == {
        "7 天内": {"临近期限": 1, "待核查": 1},
        "8–15 天": {"期限内": 1},
        "16–30 天": {"已逾期": 1},
        "30 天以上": {"已逾期": 1},
    }
    assert shown.ages_title == "5 项问题未销号，其中 2 项逾期"


def test_what_is_overdue_comes_first_and_oldest_first(office, findings):
    shown = overview(office, period="all")
    assert str(shown.waiting[0].words) == "项问题整改逾期"
    assert shown.waiting[0].count == 2
    dues = [each.due_on for each in shown.overdue_findings]
    assert dues == sorted(dues)
    assert len(dues) == 2


def test_every_number_leads_to_a_list_of_that_length(office, findings, made_visit: Visit):
    shown = overview(office, period="all")
    numbers = [*shown.waiting, *shown.states, *shown.deliveries]
    for bar in [*shown.coverage, *shown.ages]:
        numbers += [part.number for part in bar.slices]
    for number in numbers:
        assert office.get(number.link).context["cl"].queryset.count() == number.count, number


def test_a_number_of_a_period_leads_to_the_list_of_that_period(office, findings):
    for number in overview(office, period="month").states:
        assert office.get(number.link).context["cl"].queryset.count() == number.count, number


def test_a_town_group_counts_its_town(group, findings, made_visit: Visit):
    shown = overview(group, period="all")
    assert [bar.words for bar in shown.coverage] == ["东河镇"]
    assert {each.school.area.name for each in shown.overdue_findings} == {"东河镇"}
    assert {str(number.words): number.count for number in shown.states}["待核查"] == 0


def test_an_activity_chosen_by_the_address_narrows_everything(office, findings, made_visit: Visit):
    shown = overview(office, activity=str(made_visit.activity_id))
    assert sum(number.count for number in shown.states) == 1
    assert f"activity={made_visit.activity_id}" in shown.overdue_findings_link


@pytest.mark.parametrize("query", ["?activity=nonsense", "?period=nonsense", "?activity=&period="])
def test_nonsense_in_the_address_shows_the_whole(query, office, made_visit: Visit):
    assert office.get(f"/admin/{query}").context["overview"].visits["planned"] == 3


def test_schools_without_inspector_and_drafts_wait(office, cast: Cast, activity):
    add_school("北塬小学", "9101210009", cast.town)
    Activity.objects.update(state="draft")
    words = {str(number.words): number.count for number in overview(office).waiting}
    assert words["所学校没有责任督学"] == 1
    assert words["个督导活动尚未发布"] == 1


def test_dead_deliveries_are_counted(office, activity):
    Delivery.objects.filter(channel="inbox").update(state="dead", reason="x")
    shown = overview(office)
    dead = Delivery.objects.filter(state="dead").count()
    assert {str(n.words): n.count for n in shown.deliveries}["未能送达"] == dead
    assert any(number.count == dead and number.tone == "red" for number in shown.waiting)


def test_with_nothing_the_page_says_how_to_begin(office):
    page = office.get("/admin/").content.decode()
    assert "安排并发布督导活动后，这里按镇街显示进度" in page
    assert "没有未销号的问题" in page


def test_the_page_costs_the_same_for_more_rows(office, findings, made_visit: Visit, cast: Cast):
    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            overview(office, period="all")
        return len(queries)

    statements()
    before = statements()
    for n in range(5):
        school = add_school(f"北塬第{n}小学", f"910121020{n}", cast.far_town)
        Visit.objects.create(activity=made_visit.activity, school=school)
        finding(cast, school, due=-5, age=n * 12)
    assert statements() == before
