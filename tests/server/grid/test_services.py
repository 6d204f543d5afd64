"""Appointing, granting, ending: who may, what the regulation demands, and what phones are told."""

from datetime import date, timedelta

import pytest

from server.core.changes import Change
from server.core.clock import today
from server.core.errors import Conflict, Invalid, NotAllowed, NotFound, WrongState
from server.core.ids import new_id
from server.grid import queries, services
from server.grid.models import Appointment, Membership, School
from tests.cast import add_area, add_person, add_school, appoint

Role = Membership.Role


def told():
    """(type, object, school, user) of every change so far."""
    return set(Change.objects.values_list("type", "object_id", "school_id", "user_id"))


def codes(refusal):
    return [(problem.pointer, problem.code) for problem in refusal.value.problems]


def appoint_ada(cast, school, **terms):
    return services.appoint_inspector(
        inspector_id=cast.ada.pk, school_id=school.pk, **{"by": cast.office, **terms}
    )


# ---- appointments


def test_appointing_shows_the_school_to_the_inspector_and_tells_their_phone(cast):
    row = appoint_ada(cast, cast.far_school)
    assert row.starts == today()
    assert cast.far_school in queries.schools_visible_to(cast.ada)
    assert told() == {("school", cast.far_school.pk, None, cast.ada.pk)}


def test_an_appointment_ends_with_the_inspectors_term(cast):
    end = today() + timedelta(days=30)
    cast.ada.memberships.update(ends=end)
    assert appoint_ada(cast, cast.far_school).ends == end
    with pytest.raises(Invalid) as refusal:
        appoint_ada(cast, cast.other_school, ends=end + timedelta(days=1))
    assert codes(refusal) == [("/ends", "beyond_term")]


def test_a_town_group_appoints_in_its_town_only(cast):
    appoint_ada(cast, cast.other_school, by=cast.town_group)
    with pytest.raises(NotFound):
        appoint_ada(cast, cast.far_school, by=cast.town_group)


def test_carla_appoints_nobody_and_does_not_learn_that_the_school_exists(cast):
    with pytest.raises(NotFound):
        appoint_ada(cast, cast.other_school, by=cast.carla)
    with pytest.raises(NotAllowed):
        appoint_ada(cast, cast.far_school, by=cast.carla)
    with pytest.raises(NotFound):
        services.end_appointment(appointment_id=cast.ada.appointments.get().pk, by=cast.carla)
    assert not told()


def test_only_an_inspector_of_that_area_and_time_is_appointed(cast):
    with pytest.raises(Invalid) as refusal:
        services.appoint_inspector(
            inspector_id=cast.expert.pk, school_id=cast.school.pk, by=cast.office
        )
    assert codes(refusal) == [("/inspector_id", "not_an_inspector")]
    with pytest.raises(Invalid):
        appoint_ada(cast, cast.far_school, starts=date(2020, 1, 1))
    cast.ada.memberships.update(area=cast.town)
    with pytest.raises(Invalid):
        appoint_ada(cast, cast.far_school)
    with pytest.raises(NotFound):
        services.appoint_inspector(inspector_id=new_id(), school_id=cast.school.pk, by=cast.office)


def test_appointing_twice_is_refused(cast):
    with pytest.raises(Conflict):
        appoint_ada(cast, cast.school)
    assert cast.ada.appointments.count() == 1


def test_an_area_of_responsibility_has_a_limit(cast, settings):
    settings.INSPECTOR_MAX_SCHOOLS = 2
    appoint_ada(cast, cast.other_school)
    with pytest.raises(Invalid, match="最多 2 所学校，现为 3 所") as refusal:
        appoint_ada(cast, cast.far_school)
    assert codes(refusal) == [("/schools", "too_many_schools")]


def test_the_limit_is_twenty_schools(cast):
    schools = [add_school(f"校{n}", f"91012101{n:02}", cast.town) for n in range(19)]
    appoint(cast.ada, *schools)
    with pytest.raises(Invalid, match="最多 20 所学校，现为 21 所"):
        appoint_ada(cast, cast.far_school)


def test_ending_takes_the_school_away_at_once_and_tells_the_phone(cast):
    row = services.end_appointment(appointment_id=cast.ada.appointments.get().pk, by=cast.office)
    assert row.ends == today() - timedelta(days=1)
    assert not queries.schools_visible_to(cast.ada).exists()
    assert told() == {("school", cast.school.pk, None, cast.ada.pk)}
    with pytest.raises(WrongState):
        services.end_appointment(appointment_id=row.pk, by=cast.office)


def test_an_appointment_may_end_on_a_day_to_come(cast):
    services.end_appointment(
        appointment_id=cast.ada.appointments.get().pk, by=cast.office, last_day=today()
    )
    assert cast.school in queries.schools_visible_to(cast.ada)


def test_an_appointment_that_never_held_is_removed(cast):
    row = appoint_ada(cast, cast.far_school)
    assert services.end_appointment(appointment_id=row.pk, by=cast.office) is None
    assert not Appointment.objects.filter(school=cast.far_school, inspector=cast.ada).exists()


# ---- roles


def grant(cast, user, role, *, area=None, school=None, **terms):
    return services.grant_membership(
        user_id=user.pk,
        role=role,
        area_id=area and area.pk,
        school_id=school and school.pk,
        **{"by": cast.office, **terms},
    )


def test_an_inspectors_term_is_three_years(cast):
    new = add_person("new", "新督学")
    row = grant(cast, new, Role.INSPECTOR, area=cast.county, starts=date(2026, 9, 1))
    assert row.ends == date(2029, 8, 31)
    with pytest.raises(Invalid, match="第六条") as refusal:
        grant(
            cast, new, Role.INSPECTOR, area=cast.town,
            starts=date(2026, 9, 1), ends=date(2029, 9, 1),
        )  # fmt: skip
    assert codes(refusal) == [("/ends", "term_too_long")]


@pytest.mark.parametrize(
    ("starts", "last"),
    [(date(2026, 9, 1), date(2029, 8, 31)), (date(2028, 2, 29), date(2031, 2, 28))],
)
def test_the_last_day_of_a_term(starts, last):
    assert services.last_day_of_term(starts) == last


def test_a_fourth_term_in_a_row_is_refused_but_not_after_a_break(cast):
    new = add_person("new", "老督学")
    for year in (2017, 2020, 2023):
        grant(cast, new, Role.INSPECTOR, area=cast.county, starts=date(year, 9, 1))
    with pytest.raises(Invalid, match="连续任职 3 届") as refusal:
        grant(cast, new, Role.INSPECTOR, area=cast.county, starts=date(2026, 9, 1))
    assert codes(refusal) == [("/starts", "terms_in_a_row")]
    with pytest.raises(Invalid, match="连续任职"):  # a summer is no break
        grant(cast, new, Role.INSPECTOR, area=cast.county, starts=date(2026, 11, 15))
    assert grant(cast, new, Role.INSPECTOR, area=cast.county, starts=date(2027, 9, 1))


def test_a_term_in_order_is_asked_of_every_role(cast):
    with pytest.raises(Invalid) as refusal:
        grant(cast, cast.expert, Role.EXPERT, area=cast.town, ends=date(2020, 1, 1))
    assert codes(refusal) == [("/ends", "term_order")]


def test_a_role_needs_the_place_that_fits_it(cast):
    with pytest.raises(Invalid) as refusal:
        grant(cast, cast.expert, Role.SCHOOL_CONTACT, area=cast.town)
    assert codes(refusal) == [("/school_id", "required")]
    with pytest.raises(Invalid) as refusal:
        grant(cast, cast.expert, Role.EXPERT, school=cast.school)
    assert codes(refusal) == [("/area_id", "required")]


def test_a_role_is_not_granted_twice(cast):
    with pytest.raises(Conflict):
        grant(cast, cast.principal, Role.SCHOOL_CONTACT, school=cast.school)


def test_a_new_contact_is_told_of_the_school(cast):
    grant(cast, cast.expert, Role.SCHOOL_CONTACT, school=cast.far_school)
    assert told() == {
        ("me", cast.expert.pk, None, cast.expert.pk),
        ("school", cast.far_school.pk, None, cast.expert.pk),
    }


def test_an_office_lets_into_the_console_and_its_end_locks_out(cast):
    row = grant(cast, cast.expert, Role.TOWN_GROUP, area=cast.far_town)
    cast.expert.refresh_from_db()
    assert cast.expert.is_staff
    assert services.end_membership(membership_id=row.pk, by=cast.office) is None
    cast.expert.refresh_from_db()
    assert not cast.expert.is_staff


def test_nobody_grants_beyond_their_office(cast):
    with pytest.raises(NotAllowed):
        grant(cast, cast.ada, Role.OFFICE, area=cast.county, by=cast.ada)
    with pytest.raises(NotAllowed):
        grant(cast, cast.ada, Role.EXPERT, area=cast.far_town, by=cast.town_group)
    with pytest.raises(NotAllowed):  # a town group makes no superiors of itself
        grant(cast, cast.ada, Role.OFFICE, area=cast.town, by=cast.town_group)
    assert grant(cast, cast.ada, Role.EXPERT, area=cast.town, by=cast.town_group)
    neighbour = add_area("邻县", "9101210", "county", cast.county.parent)
    with pytest.raises(NotAllowed):
        grant(cast, cast.ada, Role.EXPERT, area=neighbour)


def test_the_end_of_an_inspectors_role_ends_the_appointments(cast):
    services.end_membership(membership_id=cast.ada.memberships.get().pk, by=cast.office)
    assert not queries.schools_visible_to(cast.ada).exists()
    assert told() == {
        ("school", cast.school.pk, None, cast.ada.pk),
        ("me", cast.ada.pk, None, cast.ada.pk),
    }
    assert cast.school in queries.schools_visible_to(cast.principal)


def test_a_role_elsewhere_cannot_be_ended(cast):
    with pytest.raises(NotFound):
        services.end_membership(membership_id=cast.ada.memberships.get().pk, by=cast.town_group)
    with pytest.raises(NotFound):
        services.end_membership(membership_id=cast.principal.memberships.get().pk, by=cast.carla)


# ---- schools


def test_saving_a_school_tells_everybody_who_sees_it(cast):
    cast.school.enrolment = 5
    services.save_school(school=cast.school, by=cast.town_group)
    assert told() == {("school", cast.school.pk, cast.school.pk, None)}


def test_a_school_that_moves_is_taken_from_its_old_town(cast):
    cast.school.area = cast.far_town
    services.save_school(school=cast.school, by=cast.office)
    assert ("school", cast.school.pk, None, cast.town_group.pk) in told()
    assert cast.school not in queries.schools_visible_to(cast.town_group)


def test_a_school_is_saved_within_ones_office_only(cast):
    with pytest.raises(NotFound):
        services.save_school(school=cast.far_school, by=cast.town_group)
    cast.school.area = cast.far_town
    with pytest.raises(NotAllowed):
        services.save_school(school=cast.school, by=cast.town_group)


def test_a_wrong_school_is_refused_by_field(cast):
    school = School(name="新校", code="12", stage="primary", area=cast.town)
    with pytest.raises(Invalid) as refusal:
        services.save_school(school=school, by=cast.office)
    assert [pointer for pointer, _code in codes(refusal)] == ["/code"]
    school.code = "9101219999"
    assert services.save_school(school=school, by=cast.office).pk == school.pk


# ---- the calendar


def test_terms_that_turn_today_are_announced_once(cast):
    cast.ada.appointments.update(starts=today())
    cast.bruno.appointments.update(ends=today() - timedelta(days=1))
    cast.carla.appointments.update(ends=today())
    cast.principal.memberships.update(ends=today() - timedelta(days=1))
    assert services.announce_terms() == 4
    assert told() == {
        ("school", cast.school.pk, None, cast.ada.pk),
        ("school", cast.other_school.pk, None, cast.bruno.pk),
        ("school", cast.school.pk, None, cast.principal.pk),
        ("me", cast.principal.pk, None, cast.principal.pk),
    }
    assert services.announce_terms() == 0


def test_yesterdays_announcement_does_not_stand_for_todays(cast):
    cast.ada.appointments.update(starts=today())
    services.announce_terms()
    Change.objects.update(at=Change.objects.get().at - timedelta(days=1))
    assert services.announce_terms() == 1


# ---- log-ins


def test_an_issued_password_logs_in_and_is_random(cast):
    first = services.issue_password(user_id=cast.ada.pk, by=cast.office)
    second = services.issue_password(user_id=cast.ada.pk, by=cast.office)
    cast.ada.refresh_from_db()
    assert first != second
    assert len(second) == 12
    assert cast.ada.check_password(second)
    assert not cast.ada.check_password(first)


def test_nobody_takes_over_the_log_in_of_a_superior_or_a_neighbour(cast):
    root = add_person("root", "管理员", is_superuser=True)
    roleless = add_person("roleless", "无角色")
    for by, user in [
        (cast.town_group, cast.office),
        (cast.town_group, cast.ada),
        (cast.carla, cast.principal),
        (cast.office, root),
        (cast.office, roleless),
    ]:
        with pytest.raises(NotFound):
            services.issue_password(user_id=user.pk, by=by)
    assert services.issue_password(user_id=cast.principal.pk, by=cast.town_group)
    assert services.issue_password(user_id=roleless.pk, by=root)


def test_a_role_elsewhere_puts_a_person_out_of_reach_until_it_is_over(cast):
    upper = Membership.objects.create(user=cast.ada, role=Role.EXPERT, area=cast.county.parent)
    assert cast.ada not in queries.people_managed_by(cast.office)
    Membership.objects.filter(pk=upper.pk).update(
        starts=date(2020, 1, 1), ends=today() - timedelta(days=1)
    )
    assert cast.ada in queries.people_managed_by(cast.office)
