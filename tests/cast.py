"""The cast: a handful of people fixed by what they may see, for every test that needs somebody.

    云岭县 county ── office, expert
    ├── 东河镇 town ── town_group
    │   ├── school        ada inspects it, principal is its contact
    │   └── other_school  bruno inspects it, other_principal is its contact
    └── 西山镇 far_town
        └── far_school    carla inspects it

All log in with PASSWORD.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pytest
from django.contrib.auth.hashers import make_password

from server.grid.models import Appointment, Area, Membership, School, User

PASSWORD = "correct-horse-7"
FAST_HASHER = "django.contrib.auth.hashers.MD5PasswordHasher"
TERM_STARTS = date(2024, 9, 1)


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who is who; see the module's drawing."""

    county: Area
    town: Area
    far_town: Area
    school: School
    other_school: School
    far_school: School
    ada: User
    bruno: User
    carla: User
    principal: User
    other_principal: User
    town_group: User
    office: User
    expert: User
    password: str = PASSWORD


def add_area(name: str, code: str, level: str, parent: Area | None = None) -> Area:
    """A node below `parent`."""
    return Area.objects.create(name=name, code=code, level=level, parent=parent)


def add_school(name: str, code: str, area: Area, **fields: object) -> School:
    """A primary school in the area with a position, unless `fields` say otherwise."""
    values = {"stage": School.Stage.PRIMARY, "latitude": 33.0, "longitude": 108.0, "enrolment": 300}
    return School.objects.create(name=name, code=code, area=area, **{**values, **fields})


def add_person(
    username: str,
    name: str,
    role: str = "",
    *,
    area: Area | None = None,
    school: School | None = None,
    **fields: object,
) -> User:
    """A person who can log in with PASSWORD, and their membership where a role is given."""
    values = {"password": make_password(PASSWORD), "phone": "12000000000"}
    user = User.objects.create(username=username, name=name, **{**values, **fields})
    if role:
        Membership.objects.create(
            user=user, role=role, area=area, school=school, starts=TERM_STARTS
        )
    return user


def appoint(inspector: User, *schools: School) -> None:
    """Appointments whose term has begun and has no end."""
    for school in schools:
        Appointment.objects.create(inspector=inspector, school=school, starts=TERM_STARTS)


@pytest.fixture
def fast_passwords(settings) -> None:
    """Passwords cost nothing to make and to check."""
    settings.PASSWORD_HASHERS = [FAST_HASHER]


@pytest.fixture
def cast(db: None, fast_passwords: None) -> Cast:
    """The whole cast, stored."""
    role = Membership.Role
    province = add_area("江岭省", "91", Area.Level.PROVINCE)
    city = add_area("云州市", "9101", Area.Level.CITY, province)
    county = add_area("云岭县", "910121", Area.Level.COUNTY, city)
    town = add_area("东河镇", "910121101", Area.Level.TOWN, county)
    far_town = add_area("西山镇", "910121102", Area.Level.TOWN, county)
    school = add_school("东河镇中心小学", "9101210001", town)
    other_school = add_school("东河镇第二小学", "9101210002", town, latitude=33.01)
    far_school = add_school("西山镇初级中学", "9101210003", far_town, stage="junior", latitude=33.2)
    ada = add_person("ada", "安督学", role.INSPECTOR, area=county, licence="DX0001")
    bruno = add_person("bruno", "卜督学", role.INSPECTOR, area=county, licence="DX0002")
    carla = add_person("carla", "柯督学", role.INSPECTOR, area=county, licence="DX0003")
    appoint(ada, school)
    appoint(bruno, other_school)
    appoint(carla, far_school)
    return Cast(
        county=county,
        town=town,
        far_town=far_town,
        school=school,
        other_school=other_school,
        far_school=far_school,
        ada=ada,
        bruno=bruno,
        carla=carla,
        principal=add_person("principal", "白校长", role.SCHOOL_CONTACT, school=school),
        other_principal=add_person("other", "常校长", role.SCHOOL_CONTACT, school=other_school),
        town_group=add_person("group", "杜组长", role.TOWN_GROUP, area=town, is_staff=True),
        office=add_person("office", "方主任", role.OFFICE, area=county, is_staff=True),
        expert=add_person("expert", "葛专家", role.EXPERT, area=county),
    )
