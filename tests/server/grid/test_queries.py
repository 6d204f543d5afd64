"""Who may see what of the grid."""

from datetime import timedelta

import pytest

from server.core.clock import today
from server.grid import queries
from server.grid.models import Appointment, Area, Membership, School, User
from tests.cast import add_area, add_person, add_school, appoint


def seen(user):
    return set(queries.schools_visible_to(user))


def test_an_inspector_sees_the_schools_of_their_appointments_only(cast):
    assert seen(cast.ada) == {cast.school}
    assert seen(cast.bruno) == {cast.other_school}
    assert seen(cast.carla) == {cast.far_school}


def test_a_school_contact_sees_their_own_school_only(cast):
    assert seen(cast.principal) == {cast.school}


def test_a_town_group_sees_its_town_and_the_office_its_county(cast):
    assert seen(cast.town_group) == {cast.school, cast.other_school}
    assert seen(cast.office) == {cast.school, cast.other_school, cast.far_school}


def test_an_expert_sees_no_school_before_being_drawn(cast):
    assert seen(cast.expert) == set()


def test_a_superuser_sees_everything(cast):
    root = add_person("root", "管理员", is_superuser=True)
    assert seen(root) == set(School.objects.all())
    assert set(queries.people_visible_to(root)) == set(User.objects.all())
    assert set(queries.areas_visible_to(root)) == set(Area.objects.all())
    assert set(queries.schools_in_office_of(root)) == set(School.objects.all())


def test_the_office_of_a_neighbour_county_sees_nothing_of_ours(cast):
    neighbour = add_area("邻县", "9101210", Area.Level.COUNTY, cast.county.parent)
    stranger = add_person("stranger", "外人", Membership.Role.OFFICE, area=neighbour)
    assert seen(stranger) == set()
    assert set(queries.people_visible_to(stranger)) == {stranger}
    assert set(queries.areas_visible_to(stranger)) == {neighbour}


@pytest.mark.parametrize("field", ["starts", "ends"])
def test_what_has_not_begun_or_is_over_shows_nothing(cast, field):
    day = today() + timedelta(days=1 if field == "starts" else -1)
    Appointment.objects.filter(inspector=cast.ada).update(**{field: day})
    Membership.objects.filter(user__in=[cast.office, cast.principal]).update(**{field: day})
    assert seen(cast.ada) == seen(cast.office) == seen(cast.principal) == set()
    assert not queries.has_role(cast.office, Membership.Role.OFFICE)
    assert list(queries.contacts_of(cast.school)) == []


@pytest.mark.parametrize("field", ["starts", "ends"])
def test_the_first_and_the_last_day_of_a_term_count(cast, field):
    Appointment.objects.filter(inspector=cast.ada).update(**{field: today()})
    assert seen(cast.ada) == {cast.school}


def test_only_offices_speak_for_schools(cast):
    assert set(queries.schools_in_office_of(cast.town_group)) == {cast.school, cast.other_school}
    assert not queries.schools_in_office_of(cast.ada).exists()
    assert not queries.schools_in_office_of(cast.principal).exists()


def test_areas_are_those_of_ones_role_and_above_ones_schools(cast):
    above = {cast.county, cast.county.parent, cast.county.parent.parent}
    assert set(queries.areas_visible_to(cast.principal)) == {cast.town, *above}
    assert set(queries.areas_visible_to(cast.office)) == {cast.town, cast.far_town, *above}


def test_people_are_seen_by_their_office_and_by_those_who_share_a_school(cast):
    people = queries.people_visible_to
    assert set(people(cast.principal)) == {cast.principal, cast.ada}
    assert set(people(cast.ada)) == {cast.ada, cast.principal}
    assert set(people(cast.expert)) == {cast.expert}
    assert set(people(cast.office)) == set(User.objects.all())
    assert cast.carla not in people(cast.town_group)
    assert {cast.ada, cast.bruno, cast.other_principal} <= set(people(cast.town_group))


def test_the_contacts_of_a_school(cast):
    assert list(queries.contacts_of(cast.school)) == [cast.principal]
    User.objects.update(is_active=False)
    assert list(queries.contacts_of(cast.school)) == []


def test_the_offices_over_an_area_are_those_of_it_and_above(cast):
    assert list(queries.offices_over(cast.town)) == [cast.office]
    assert list(queries.offices_over(cast.town, Membership.Role.TOWN_GROUP)) == [cast.town_group]
    assert list(queries.offices_over(cast.county, Membership.Role.TOWN_GROUP)) == []
    city_office = add_person("city", "市主任", Membership.Role.OFFICE, area=cast.county.parent)
    assert set(queries.offices_over(cast.town)) == {cast.office, city_office}


def test_lists_cost_the_same_however_many_rows_there_are(cast, django_assert_max_num_queries):
    for number in range(30):
        appoint(cast.ada, add_school(f"新校{number}", f"91012201{number:02}", cast.town))
    with django_assert_max_num_queries(2):
        assert len(queries.schools_visible_to(cast.office)) == 33
    with django_assert_max_num_queries(2):
        assert len(queries.schools_visible_to(cast.ada)) == 31
    with django_assert_max_num_queries(3):
        assert len(queries.people_visible_to(cast.office)) == 8
    with django_assert_max_num_queries(3):
        assert len(queries.areas_visible_to(cast.ada)) == 5


def test_a_page_that_remembers_roles_asks_once_and_sees_the_same(cast, django_assert_num_queries):
    for user in (cast.office, cast.town_group, cast.ada, cast.principal):
        before = seen(user), set(queries.areas_visible_to(user))
        asking = User.objects.get(pk=user.pk)
        queries.remember_roles(asking)
        assert (seen(asking), set(queries.areas_visible_to(asking))) == before
        with django_assert_num_queries(1):
            list(queries.schools_visible_to(asking))
