"""The demo county is complete, plausible, the same everywhere, and safe to load again."""

from collections import Counter
from datetime import UTC, date, datetime

import pytest
from django.core.management import CommandError, call_command

from server.core import clock
from server.core.errors import Conflict
from server.grid import demo, queries
from server.grid.models import Appointment, Area, Membership, School, User
from tests.cast import add_person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fast_passwords")]


def test_the_county_has_its_towns_schools_and_people():
    county = demo.load_county()
    stages = Counter(school.stage for school in county.schools)
    assert len(county.towns) == 8
    assert stages.pop("kindergarten") == 30
    assert stages.total() == 37
    assert (len(county.inspectors), len(county.contacts), len(county.experts)) == (76, 67, 19)
    assert len({school.name for school in county.schools}) == 67
    assert {school.area for school in county.schools} == set(county.towns)


def test_everybody_logs_in_with_the_demo_password(client, settings):
    county = demo.load_county()
    people = (county.office, *county.town_groups, county.inspectors[75], county.contacts[66])
    assert [p.username for p in people] == [
        "office", *(f"town{n}" for n in range(1, 9)), "inspector76", "school67",
    ]  # fmt: skip
    assert all(p.is_demo and p.check_password(settings.DEMO_PASSWORD) for p in people)
    assert [p.is_staff for p in people] == [True] * 9 + [False] * 2


def test_inspector1_is_appointed_to_the_school_of_school1():
    county = demo.load_county()
    visible = queries.schools_visible_to(county.inspectors[0])
    assert county.schools[0] in visible
    assert list(queries.schools_visible_to(county.contacts[0])) == [county.schools[0]]


def test_inspectors_have_one_to_five_schools_and_two_kindergartens_none():
    county = demo.load_county()
    loads = Counter(Appointment.objects.values_list("inspector", flat=True))
    assert len(loads) == 76
    assert {1, 5} <= set(loads.values()) <= {1, 2, 3, 4, 5}
    bare = School.objects.filter(appointments=None)
    assert [school.stage for school in bare] == ["kindergarten", "kindergarten"]
    new = Membership.objects.filter(role="inspector", starts=max_start())
    assert new.count() == 14
    assert len(queries.schools_visible_to(county.office)) == 67


def max_start():
    return Membership.objects.order_by("-starts").values_list("starts", flat=True)[0]


def test_an_appointment_never_outlasts_the_inspectors_term():
    demo.load_county()
    for row in Appointment.objects.select_related("inspector"):
        term = row.inspector.memberships.get()
        assert term.starts <= row.starts <= row.ends <= term.ends


def test_loading_again_changes_nothing_and_keeps_what_was_edited(django_assert_max_num_queries):
    first = demo.load_county()
    School.objects.filter(pk=first.schools[0].pk).update(enrolment=7)
    counts = [model.objects.count() for model in (Area, School, User, Membership, Appointment)]
    with django_assert_max_num_queries(20):
        second = demo.load_county()
    assert counts == [
        model.objects.count() for model in (Area, School, User, Membership, Appointment)
    ]
    assert second == first
    assert second.schools[0].enrolment == 7


@pytest.mark.parametrize("day", [date(2026, 8, 31), date(2026, 9, 1), date(2028, 2, 29)])
def test_the_terms_cover_the_day_of_loading(monkeypatch, day):
    moment = datetime(day.year, day.month, day.day, 4, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: moment)
    county = demo.load_county()
    assert len(queries.schools_visible_to(county.office)) == 67
    assert len(queries.schools_visible_to(county.inspectors[0])) == 4


def test_other_apps_add_their_content_once(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(demo, "_content", [])
    demo.add_content(seen.append)
    demo.add_content(seen.append)
    call_command("load_demo")
    assert [county.county.name for county in seen] == ["云岭县"]
    assert "67 schools" in capsys.readouterr().out


def test_a_real_account_is_never_taken_for_a_demo_one():
    add_person("inspector9", "真人")
    with pytest.raises(Conflict, match="inspector9"):
        demo.load_county()
    assert User.objects.count() == 1
    assert not Area.objects.exists()
    with pytest.raises(CommandError, match="inspector9"):
        call_command("load_demo")


def test_production_refuses_the_demo(settings):
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="not in production"):
        call_command("load_demo")
    assert not User.objects.exists()
