"""The demo county: invented, deterministic, Chinese; the same people and schools on every machine.

8 towns, 37 compulsory-education schools, 30 kindergartens, 76 inspectors, a contact for each school,
town groups, a county office, 19 experts. Log-ins: `office`, `town1`…`town8`, `inspector1`…`inspector76`,
`school1`…`school67`, `expert1`…`expert19`, all with settings.DEMO_PASSWORD. `inspector1` is appointed
to the school of `school1`: `make phone` plays the two.

Ids come from names (UUIDv5), so that loading again finds every row and keeps what was changed since.
Other apps add their own content with `add_content`; the command load_demo runs it in order.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from math import cos, radians, sin
from typing import Any, TypeVar
from uuid import UUID, uuid5

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import models, transaction
from django.utils.translation import gettext as _

from server.core.clock import today
from server.core.errors import Conflict
from server.grid.models import Appointment, Area, Membership, School, User
from server.grid.services import last_day_of_term

Role = Membership.Role
Stage = School.Stage

SEED = 20260901
NAMESPACE = UUID("6b0c9a52-5d3e-5f0a-9a64-3f1f0c3d7e11")

# An empty stretch of the Qaidam basin: no real school is meant. Codes that begin with 91 are unused.
CENTRE = (36.0, 96.0)
KM_PER_DEGREE = 111.2
COUNTY_CODE = "910121"

TOWNS = ("东河镇", "西山镇", "南坪镇", "北塬镇", "青石镇", "白杨镇", "柳湾镇", "云城街道")
VILLAGES = re.findall("..", "前进新民双桥石佛龙泉大坪上营下营杏树梨园松林沙河槐树马蹄长岭高庄")
GARDENS = re.findall("..", "春芽朝阳金苗雨点童心阳光百灵蓓蕾星星启蒙彩虹希望乐乐花蕾晨曦")
SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
GIVEN = "建华秀英志强桂兰文军玉梅海涛晓燕永平丽娟国庆春霞明亮雪芳立新慧敏振东佳宁"

PRIMARY, JUNIOR, NINE_YEAR, KINDERGARTENS = 24, 9, 4, 30
INSPECTORS, NEW_INSPECTORS, EXPERTS = 76, 14, 19
KINDERGARTENS_WITHOUT_INSPECTOR = 2
# What a school of the stage has, at least and at most.
ENROLMENT = {
    Stage.PRIMARY: (80, 900),
    Stage.JUNIOR: (300, 1200),
    Stage.NINE_YEAR: (400, 1500),
    Stage.KINDERGARTEN: (40, 320),
}

ModelT = TypeVar("ModelT", bound=models.Model)


@dataclass(frozen=True, kw_only=True)
class County:
    """What was loaded, in the order of the log-ins: `inspectors[0]` is inspector1."""

    province: Area
    city: Area
    county: Area
    towns: tuple[Area, ...]
    schools: tuple[School, ...]
    office: User
    town_groups: tuple[User, ...]
    inspectors: tuple[User, ...]
    contacts: tuple[User, ...]
    experts: tuple[User, ...]


_content: list[Callable[[County], object]] = []


def add_content(load: Callable[[County], object]) -> None:
    """Let `load` add to the demo county; call it when the app is ready. It must be idempotent."""
    if load not in _content:
        _content.append(load)


def load_demo() -> County:
    """The county and what other apps add to it."""
    county = load_county()
    for load in _content:
        load(county)
    return county


@transaction.atomic
def load_county() -> County:
    """Store what is missing of the demo county. Raises Conflict when a log-in is somebody else's."""
    chance = random.Random(SEED)  # noqa: S311 - the same county everywhere, no secret
    province, city, county, towns = _areas()
    schools = _schools(towns, chance)
    people = _People(chance)
    groups = _town_groups(people, towns)
    office = people.add("office", Role.OFFICE, area=county, is_staff=True)
    inspectors = _inspectors(people, county)
    contacts = [
        people.add(f"school{number}", Role.SCHOOL_CONTACT, school=school)
        for number, school in enumerate(schools, start=1)
    ]
    experts = [people.add(f"expert{n}", Role.EXPERT, area=county) for n in range(1, EXPERTS + 1)]
    people.refuse_taken_log_ins()
    areas = _store([province, city, county, *towns])
    schools = _store(schools)
    users = people.store()
    _store(_appointments(inspectors, schools, people, chance))
    return County(
        province=areas[0],
        city=areas[1],
        county=areas[2],
        towns=tuple(areas[3:]),
        schools=tuple(schools),
        office=users[office.pk],
        town_groups=tuple(users[user.pk] for user in groups),
        inspectors=tuple(users[user.pk] for user in inspectors),
        contacts=tuple(users[user.pk] for user in contacts),
        experts=tuple(users[user.pk] for user in experts),
    )


def demo_id(*names: object) -> UUID:
    """The id of the demo thing that bears these names."""
    return uuid5(NAMESPACE, "/".join(map(str, names)))


def _store(rows: Sequence[ModelT]) -> list[ModelT]:
    """Insert what is not there yet; hand back what is stored now, in the same order."""
    manager = type(rows[0])._default_manager
    manager.bulk_create(rows, ignore_conflicts=True)
    stored = manager.in_bulk([row.pk for row in rows])
    return [stored[row.pk] for row in rows]


# ---- places ---------------------------------------------------------------------------------


def _areas() -> tuple[Area, Area, Area, list[Area]]:
    province = _area("江岭省", "91", Area.Level.PROVINCE, None)
    city = _area("云州市", "9101", Area.Level.CITY, province)
    county = _area("云岭县", COUNTY_CODE, Area.Level.COUNTY, city)
    towns = [
        _area(name, f"{COUNTY_CODE}{100 + number}", Area.Level.TOWN, county)
        for number, name in enumerate(TOWNS, start=1)
    ]
    return province, city, county, towns


def _area(name: str, code: str, level: str, parent: Area | None) -> Area:
    # bulk_create does not call save(), which would set the path.
    path = f"{parent.path if parent else ''}{code}/"
    return Area(
        id=demo_id("area", code), name=name, code=code, level=level, parent=parent, path=path
    )


def _schools(towns: Sequence[Area], chance: random.Random) -> list[School]:
    """school1 to school37 give compulsory education, the others are kindergartens."""
    stages = [
        *[Stage.PRIMARY] * PRIMARY,
        *[Stage.JUNIOR] * JUNIOR,
        *[Stage.NINE_YEAR] * NINE_YEAR,
        *[Stage.KINDERGARTEN] * KINDERGARTENS,
    ]
    return [
        _school(number, stage, towns[(number - 1) % len(towns)], chance)
        for number, stage in enumerate(stages, start=1)
    ]


def _school(number: int, stage: Stage, town: Area, chance: random.Random) -> School:
    code = f"{COUNTY_CODE}{number:04}"
    latitude, longitude = _position(TOWNS.index(town.name), chance)
    name = _school_name(number, stage, town.name)
    return School(
        id=demo_id("school", code),
        name=name,
        code=code,
        stage=stage,
        area=town,
        address=f"云岭县{town.name}学府路 {number} 号",
        latitude=latitude,
        longitude=longitude,
        enrolment=chance.randint(*ENROLMENT[stage]),
    )


def _school_name(number: int, stage: Stage, town: str) -> str:
    """The town's first school of a stage is its central one; the others bear a village's name."""
    short = town.removesuffix("镇").removesuffix("街道")
    village = VILLAGES[number % len(VILLAGES)]
    if stage == Stage.KINDERGARTEN:
        nth = number - PRIMARY - JUNIOR - NINE_YEAR
        central = nth <= len(TOWNS)
        return f"{town}中心幼儿园" if central else f"{short}{GARDENS[nth % len(GARDENS)]}幼儿园"
    if stage == Stage.PRIMARY:
        return f"{town}中心小学" if number <= len(TOWNS) else f"{town}{village}小学"
    if stage == Stage.JUNIOR:
        return f"{town}初级中学" if number - PRIMARY <= len(TOWNS) else f"{short}第二初级中学"
    return f"{town}{village}九年制学校"


def _position(town: int, chance: random.Random) -> tuple[float, float]:
    """Within about 4 km of the town's centre; the towns stand around the county seat."""
    angle, distance = radians(town * 51), 20 - 2.5 * town
    north = distance * sin(angle) + chance.uniform(-3, 3)
    east = distance * cos(angle) + chance.uniform(-3, 3)
    latitude = CENTRE[0] + north / KM_PER_DEGREE
    longitude = CENTRE[1] + east / (KM_PER_DEGREE * cos(radians(CENTRE[0])))
    return round(latitude, 6), round(longitude, 6)


# ---- people ---------------------------------------------------------------------------------


class _People:
    """Collects the people and their roles, then stores them at once."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._users: list[User] = []
        self._memberships: list[Membership] = []
        self._names: set[str] = set()
        self.term_ends: dict[UUID, date | None] = {}
        school_year = today().year - (today() < date(today().year, 9, 1))
        self.starts = date(school_year, 9, 1)

    def add(
        self,
        username: str,
        role: str,
        *,
        area: Area | None = None,
        school: School | None = None,
        years_served: int = 0,
        **fields: Any,
    ) -> User:
        number = len(self._users) + 1
        user = User(
            id=demo_id("user", username),
            username=username,
            name=self._new_name(),
            phone=f"120{number:08}",  # no operator has numbers that begin with 120
            is_demo=True,
            **fields,
        )
        starts = self.starts.replace(year=self.starts.year - years_served)
        ends = last_day_of_term(starts) if role == Role.INSPECTOR else None
        membership = Membership(user=user, role=role, starts=starts, ends=ends)
        membership.id, membership.area, membership.school = demo_id(username, role), area, school
        self.term_ends[user.pk] = ends
        self._users.append(user)
        self._memberships.append(membership)
        return user

    def _new_name(self) -> str:
        while True:
            name = self._chance.choice(SURNAMES) + "".join(self._chance.sample(GIVEN, 2))
            if name not in self._names:
                self._names.add(name)
                return name

    def refuse_taken_log_ins(self) -> None:
        """A real person's account must not be taken for a demo one."""
        names = [user.username for user in self._users]
        ids = [user.pk for user in self._users]
        taken = User.objects.filter(username__in=names).exclude(pk__in=ids).values_list("username")
        if first := taken.first():
            raise Conflict(_("登录名 {name} 已被使用，无法载入演示数据").format(name=first[0]))

    def store(self) -> dict[UUID, User]:
        missing = len(self._users) - User.objects.filter(pk__in=self._ids()).count()
        # One hash for all: hashing is slow on purpose, and 170 of it would take a minute.
        password = make_password(settings.DEMO_PASSWORD) if missing else ""
        for user in self._users:
            user.password = password
        users = _store(self._users)
        _store(self._memberships)
        return {user.pk: user for user in users}

    def _ids(self) -> Iterable[UUID]:
        return [user.pk for user in self._users]


def _town_groups(people: _People, towns: Sequence[Area]) -> list[User]:
    """town1 to town8; every second town has a deputy, town2b for one."""
    groups = []
    for number, town in enumerate(towns, start=1):
        groups.append(people.add(f"town{number}", Role.TOWN_GROUP, area=town, is_staff=True))
        if number % 2 == 0:
            people.add(f"town{number}b", Role.TOWN_GROUP, area=town, is_staff=True)
    return groups


def _inspectors(people: _People, county: Area) -> list[User]:
    """The last of them are newly appointed this term; the others have served a year."""
    return [
        people.add(
            f"inspector{number}",
            Role.INSPECTOR,
            area=county,
            years_served=0 if number > INSPECTORS - NEW_INSPECTORS else 1,
            licence=f"YL{number:04}",
        )
        for number in range(1, INSPECTORS + 1)
    ]


def _appointments(
    inspectors: Sequence[User], schools: Sequence[School], people: _People, chance: random.Random
) -> list[Appointment]:
    """Every inspector gets one to five schools, in one town, and nearly every school an inspector.

    Two kindergartens stay without: the preview of an activity lists schools that nobody would
    visit, and a demo in which there are none would not show it.
    """
    covered = schools[: len(schools) - KINDERGARTENS_WITHOUT_INSPECTOR]
    by_town: dict[UUID, list[School]] = {}
    for school in covered:
        by_town.setdefault(school.area_id, []).append(school)
    towns = list(by_town.values())
    pairs: dict[tuple[UUID, School], None] = {}
    for number, inspector in enumerate(inspectors):
        town, turn = towns[number % len(towns)], number // len(towns)
        others = chance.sample(town, chance.choice((0, 0, 0, 1, 1, 2, 4)))
        # inspector1's day shows more than one school, the first of them school1.
        chosen = town[:4] if number == 0 else [town[turn % len(town)], *others]
        pairs |= {(inspector.pk, school): None for school in chosen}
    return [
        Appointment(
            id=demo_id("appointment", inspector, school.pk),
            inspector_id=inspector,
            school=school,
            starts=people.starts,
            ends=people.term_ends[inspector],
        )
        for inspector, school in pairs
    ]
