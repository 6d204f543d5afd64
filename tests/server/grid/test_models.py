"""What the database itself refuses of the grid."""

from datetime import date, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from server.core.clock import today
from server.grid.models import Appointment, Area, Membership, School, User, in_term, not_over
from tests.cast import add_area, add_school


def refused(do):
    with pytest.raises(IntegrityError), transaction.atomic():
        do()
    return True


def test_an_areas_path_leads_from_the_root_to_it(cast):
    assert cast.town.path == "91/9101/910121/910121101/"
    assert str(cast.town) == "东河镇"


def test_codes_of_areas_and_schools_are_unique(cast):
    assert refused(lambda: add_area("又一个", cast.town.code, Area.Level.TOWN, cast.county))
    assert refused(lambda: add_school("又一所", cast.school.code, cast.town))


@pytest.mark.parametrize(("latitude", "longitude"), [(33.0, None), (None, 108.0), (91.0, 108.0)])
def test_a_position_is_whole_or_absent(cast, latitude, longitude):
    values = {"latitude": latitude, "longitude": longitude}
    assert refused(lambda: School.objects.filter(pk=cast.school.pk).update(**values))
    School.objects.filter(pk=cast.school.pk).update(latitude=None, longitude=None)


@pytest.mark.parametrize("code", ["123", "12345678901", "12345abcde"])
def test_a_school_code_has_ten_digits(cast, code):
    cast.school.code = code
    with pytest.raises(ValidationError, match="10 位数字"):
        cast.school.full_clean()


def test_a_role_holds_at_a_place_that_fits_it(cast):
    def grant(role, **place):
        return lambda: Membership.objects.create(user=cast.ada, role=role, **place)

    assert refused(grant("school_contact", area=cast.town))
    assert refused(grant("inspector", school=cast.school))
    assert refused(grant("inspector", school=cast.school, area=cast.town))
    assert refused(grant("office"))


def test_terms_do_not_end_before_they_begin(cast):
    day_before = {"starts": date(2026, 9, 2), "ends": date(2026, 9, 1)}
    ada, school = cast.ada, cast.far_school
    assert refused(
        lambda: Membership.objects.create(user=ada, role="expert", area=cast.county, **day_before)
    )
    assert refused(lambda: Appointment.objects.create(inspector=ada, school=school, **day_before))


def test_an_appointment_is_stored_once_per_start(cast):
    assert refused(
        lambda: Appointment.objects.create(
            inspector=cast.ada, school=cast.school, starts=cast.ada.appointments.get().starts
        )
    )


@pytest.mark.parametrize(
    ("starts", "ends", "covers", "lasts"),
    [(0, 0, True, True), (-9, None, True, True), (1, None, False, True), (-9, -1, False, False)],
)
def test_a_term_covers_both_its_days(cast, starts, ends, covers, lasts):
    Appointment.objects.filter(inspector=cast.ada).update(
        starts=today() + timedelta(days=starts),
        ends=None if ends is None else today() + timedelta(days=ends),
    )
    rows = Appointment.objects.filter(inspector=cast.ada)
    assert rows.filter(in_term()).exists() is covers
    assert rows.filter(not_over()).exists() is lasts


def test_a_person_is_shown_by_name(cast):
    assert str(cast.ada) == cast.ada.get_full_name() == cast.ada.get_short_name() == "安督学"
    assert str(User(username="nameless")) == "nameless"
    assert str(cast.ada.appointments.get()) == "安督学 → 东河镇中心小学"
    assert str(cast.principal.memberships.get()) == "白校长 · 学校联系人 · 东河镇中心小学"
