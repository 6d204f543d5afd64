"""Who enters, and what each of them finds there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib import admin
from django.urls import reverse

from server.activities.models import Visit
from server.console.admin.base import ScopedAdmin
from server.core.clock import today
from server.findings.models import Finding
from tests.cast import Cast

OUTSIDERS = ["ada", "principal", "expert"]


def changelists() -> list[str]:
    return [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for model in admin.site._registry
    ]


@pytest.mark.parametrize("name", OUTSIDERS)
def test_who_holds_no_office_does_not_enter(name, browser, cast: Cast):
    person = getattr(cast, name)
    person.is_staff = True  # even where somebody ticked the box
    person.save()
    for address in ["/admin/", *changelists()]:
        assert browser(person).get(address).status_code == 302, address


def test_a_visitor_is_asked_to_log_in(client, db):
    answer = client.get("/admin/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_an_office_whose_term_is_over_does_not_enter(office, cast: Cast):
    cast.office.memberships.update(ends=today() - timedelta(days=1))
    assert office.get("/admin/").status_code == 302


def test_the_login_says_where_inspectors_belong(client, cast: Cast):
    answer = client.post("/admin/login/", {"username": "ada", "password": cast.password})
    assert "督学和学校请在手机端登录" in answer.content.decode()


def test_everything_registered_is_scoped(db):
    assert admin.site._registry
    assert all(isinstance(each, ScopedAdmin) for each in admin.site._registry.values())


def test_a_town_group_sees_its_town_only(group, made_visit: Visit, cast: Cast):
    far = Visit.objects.get(school=cast.far_school)
    listed = group.get("/admin/activities/visit/").content.decode()
    assert cast.school.name in listed
    assert cast.far_school.name not in listed
    assert group.get(f"/admin/activities/visit/{made_visit.pk}/change/").status_code == 200
    assert group.get(f"/admin/activities/visit/{far.pk}/change/").status_code == 404
    assert group.get(f"/admin/grid/school/{cast.far_school.pk}/change/").status_code == 404
    schools = group.get("/admin/grid/school/").content.decode()
    assert cast.far_school.name not in schools


def test_a_town_group_cannot_press_buttons_elsewhere(group, activity, cast: Cast):
    far = Visit.objects.get(school=cast.far_school)
    far.state = Visit.State.COMPLETED
    far.save()
    assert group.post(f"/admin/activities/visit/{far.pk}/do/review/").status_code == 404
    far.refresh_from_db()
    assert far.state == "completed"


def test_a_town_group_closes_no_activity_of_the_county(group, activity):
    group.post(f"/admin/activities/activity/{activity.pk}/do/close/")
    activity.refresh_from_db()
    assert activity.state == "published"


def test_a_town_group_uploads_no_instruments(group):
    assert group.get("/admin/instruments/instrument/add/").status_code == 404


def test_nothing_is_deleted_by_hand(office, made_visit: Visit):
    finding = Finding.objects.get()
    office.post(f"/admin/findings/finding/{finding.pk}/delete/", {"post": "yes"})
    assert Finding.objects.filter(pk=finding.pk).exists()


def test_get_changes_nothing(office, made_visit: Visit):
    office.get(f"/admin/activities/visit/{made_visit.pk}/do/review/")
    made_visit.refresh_from_db()
    assert made_visit.state == "completed"
