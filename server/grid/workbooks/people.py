"""The workbook of people: one row per role, known by log-in name, role and place.

No passwords travel in the file: new people get an unusable one and are listed in the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _

from server.core.changes import record_change
from server.core.clock import today
from server.core.errors import Problem
from server.grid.models import Appointment, Area, Membership, School, User, not_over
from server.grid.queries import OFFICES, areas_visible_to, people_managed_by
from server.grid.services import (
    Scope,
    announce_membership,
    last_day_of_term,
    school_count_problems,
    scope_of,
    term_problems,
    update_staff,
)
from server.grid.workbooks import cells
from server.grid.workbooks.places import areas_of, schools_of, shared_names, written
from server.grid.workbooks.sheets import (
    EXAMPLE,
    Column,
    ImportResult,
    Row,
    Table,
    all_or_nothing,
    read_table,
    write_table,
)

Role = Membership.Role

TITLE = "人员"
ROLE_WORDS = {
    **{value: value for value in Role.values},
    "教育督导办": Role.OFFICE,
    "县教育督导办": Role.OFFICE,
    "督导办": Role.OFFICE,
    "镇街教育督导组": Role.TOWN_GROUP,
    "镇街督导组": Role.TOWN_GROUP,
    "督导组": Role.TOWN_GROUP,
    "责任督学": Role.INSPECTOR,
    "挂牌督学": Role.INSPECTOR,
    "督学": Role.INSPECTOR,
    "学校联系人": Role.SCHOOL_CONTACT,
    "联系人": Role.SCHOOL_CONTACT,
    "校长": Role.SCHOOL_CONTACT,
    "园长": Role.SCHOOL_CONTACT,
    "督导专家": Role.EXPERT,
    "专家": Role.EXPERT,
}
ROLE_CHOICES = ("教育督导办", "镇街教育督导组", "责任督学", "学校联系人", "督导专家")
ROLE_SHOWN = {ROLE_WORDS[word]: word for word in ROLE_CHOICES}

COLUMNS = (
    Column(
        name="name",
        heading="姓名",
        aliases=("人员姓名", "督学姓名"),
        parse=cells.text(40),
        required=True,
        example=f"{EXAMPLE}张三",
    ),
    Column(
        name="username",
        heading="登录名",
        aliases=("账号", "用户名", "登录账号"),
        parse=cells.pattern(
            r"[\w.@+-]{2,64}",
            "wrong_username",
            lambda: _("登录名应为 2 至 64 个字母、数字、汉字或 . @ + - _，不含空格"),
        ),
        required=True,
        example="zhangsan",
        note="同一登录名再次导入即更新此人。可以用手机号。一人有几个角色时写几行，登录名相同。",
    ),
    Column(
        name="phone",
        heading="手机号",
        aliases=("手机", "电话", "联系电话", "手机号码"),
        parse=cells.pattern(
            r"\+?\d{5,15}", "not_a_phone", lambda: _("应为电话号码，只含数字"), drop="-()"
        ),
        example="12000000000",
    ),
    Column(
        name="email",
        heading="电子邮箱",
        aliases=("邮箱", "E-mail", "Email"),
        parse=cells.email,
        example="zhangsan@example.com",
        width=24,
    ),
    Column(
        name="role",
        heading="角色",
        aliases=("职务", "角色/职务", "身份"),
        parse=cells.choice(ROLE_WORDS, lambda: "、".join(ROLE_CHOICES)),
        required=True,
        choices=ROLE_CHOICES,
        example="责任督学",
        note="从列表中选择。",
    ),
    Column(
        name="licence",
        heading="督学证号",
        aliases=("督学证", "证号", "督学证编号"),
        parse=cells.text(32),
        example="DX2026001",
    ),
    Column(
        name="place",
        heading="单位",
        aliases=("学校", "单位/学校", "所在单位", "任职单位", "行政区"),
        parse=cells.plain,
        example="云岭县",
        note="学校联系人填学校全称或标识码；其他角色填任职的县、镇街全称或代码，留空表示导入者本单位。",
        width=28,
    ),
    Column(
        name="schools",
        heading="负责学校",
        aliases=("挂牌学校", "负责学校/挂牌学校", "责任区学校", "督导学校"),
        parse=cells.several,
        example="东河镇中心小学、东河镇第二小学",
        note=(
            "只有责任督学填写，多所学校用“、”或“;”分开。填写的就是其全部负责学校："
            "新列出的即聘任，未列出的即结束聘任；留空表示不改动。"
        ),
        width=50,
    ),
    Column(
        name="starts",
        heading="任期开始",
        aliases=("聘任开始", "开始日期", "任职开始", "起始日期"),
        parse=cells.day,
        example="2026-09-01",
        note="日期；新任职留空表示从今天起。",
    ),
    Column(
        name="ends",
        heading="任期结束",
        aliases=("聘任结束", "结束日期", "任职结束", "截止日期"),
        parse=cells.day,
        example="2029-08-31",
        note="任期的最后一天。责任督学留空表示满 3 年；其他角色留空表示不限。",
    ),
    Column(
        name="is_active",
        heading="可登录",
        aliases=("是否可登录", "启用"),
        parse=cells.yes_or_no,
        choices=("是", "否"),
        example="是",
        width=10,
    ),
)
NOTES = (
    "一行一人一个角色。橙色列必填；其余列留空表示不改动已有内容。",
    "登录名已存在时更新，不存在时新增；表中没有的人员不受影响。",
    "文件中没有密码：新增人员在导入后由督导办发放初始密码。",
    "只要有一处错误，整个文件都不会导入；错误会逐行逐列列出。",
    "以“（示例）”开头的行不会导入。列的顺序可以调整，多余的列会被忽略。",
)
PERSON_FIELDS = ("name", "phone", "email", "licence", "is_active")


# ---- writing --------------------------------------------------------------------------------


def people_template(*, by: User) -> bytes:
    """An empty workbook with headings, lists, an example row and notes."""
    areas = areas_visible_to(by).filter(level__in=(Area.Level.COUNTY, Area.Level.TOWN))
    lists: dict[str, Sequence[str]] = {"place": list(areas.values_list("name", flat=True))}
    return write_table(TITLE, COLUMNS, (), notes=NOTES, example=True, choices=lists)


def export_people(people: QuerySet[User]) -> bytes:
    """The people's lasting roles as a workbook that `import_people` takes back without a change."""
    roles = Membership.objects.filter(not_over()).select_related("area", "school")
    terms = Appointment.objects.filter(not_over()).select_related("school__area")
    people = people.order_by("username").prefetch_related(
        Prefetch("memberships", roles.order_by("role", "starts")),
        Prefetch("appointments", terms.order_by("school__code")),
    )
    shared = shared_names(Area), shared_names(School)
    rows = (_written_row(user, row, shared) for user in people for row in user.memberships.all())
    return write_table(TITLE, COLUMNS, rows, notes=NOTES)


def _written_row(user: User, row: Membership, shared: tuple[set[str], set[str]]) -> dict[str, Any]:
    place = written(row.area, shared[0]) if row.area else written(row.school, shared[1])  # type: ignore[arg-type]
    return {
        **{name: getattr(user, name) for name in ("username", *PERSON_FIELDS)},
        "is_active": "是" if user.is_active else "否",
        "role": ROLE_SHOWN[row.role],
        "place": place,
        "schools": "、".join(written(school, shared[1]) for school in _inspected(user, row)),
        "starts": row.starts.isoformat(),
        "ends": row.ends.isoformat() if row.ends else None,
    }


def _inspected(user: User, row: Membership) -> list[School]:
    """The schools of the inspector's appointments in the role's area, each once."""
    if row.role != Role.INSPECTOR:
        return []
    path = row.place_path
    schools = (appointment.school for appointment in user.appointments.all())
    return list(dict.fromkeys(s for s in schools if s.area.path.startswith(path)))


# ---- reading --------------------------------------------------------------------------------


@all_or_nothing
def import_people(*, file: BinaryIO, by: User) -> ImportResult:
    """Create and update people, their roles and appointments, all or nothing.

    Raises Malformed, TooLarge; Invalid with a problem for every wrong cell
    (`/人员/12/角色`: sheet, row, column).
    """
    table = read_table(file, COLUMNS)
    work = _Import(table, by)
    for row in table.rows:
        work.read(row)
    table.refuse_problems()
    return work.store()


@dataclass
class _Person:
    """A log-in name of the file, with what is stored of it and what the rows add."""

    user: User
    is_new: bool
    said: dict[str, tuple[Any, int]] = field(default_factory=dict)
    """What the file says of the person's fields, and in which row first."""
    memberships: list[Membership] = field(default_factory=list)
    appointments: list[Appointment] = field(default_factory=list)
    changed: bool = False


class _Import:
    """One run: reads rows against what is stored, collects problems, then stores."""

    def __init__(self, table: Table, by: User) -> None:
        self.table = table
        self.by = by
        self.scope: Scope = scope_of(by)
        self.areas = areas_of(self.scope)
        self.schools = schools_of(self.scope)
        self.people = _stored(table)
        managed = people_managed_by(by).filter(username__in=list(self.people))
        self.managed: set[UUID] = set(managed.values_list("pk", flat=True))
        self.warnings: list[Problem] = []
        self.claimed: set[UUID] = set()
        self.new_memberships: list[Membership] = []
        self.changed_memberships: dict[UUID, Membership] = {}
        self.new_appointments: list[Appointment] = []
        self.changed_appointments: dict[UUID, Appointment] = {}
        self.touched_rows: set[int] = set()
        self.new_rows: set[int] = set()

    # -- one row

    def read(self, row: Row) -> None:
        """Plan what the row asks for; its faults go to the table's problems."""
        if not {"username", "name"} <= row.values.keys():
            return
        person = self._person(row)
        if not person.is_new and person.user.pk not in self.managed:
            detail = _("此登录名属于本单位范围以外的人员，请换一个登录名，或由其主管单位导入")
            self._add(row.problem("username", "not_yours", detail))
            return
        self._read_fields(row, person)
        if "role" not in row.values or row.unreadable & {"starts", "ends"}:
            return
        membership = self._membership(row, person)
        if membership:
            self._read_schools(row, person, membership)

    def _add(self, problem: Problem) -> None:
        self.table.problems.append(problem)

    def _person(self, row: Row) -> _Person:
        username = row.values["username"]
        if username not in self.people:
            user = User(username=username, name=row.values["name"])
            self.people[username] = _Person(user, is_new=True)
        return self.people[username]

    def _read_fields(self, row: Row, person: _Person) -> None:
        for name in PERSON_FIELDS:
            value = row.get(name)
            if value is None:
                continue
            said, number = person.said.setdefault(name, (value, row.number))
            if said != value:
                detail = _("与第 {row} 行同一登录名的内容不一致，请改成一致").format(row=number)
                self._add(row.problem(name, "contradiction", detail))
            elif getattr(person.user, name) != value:
                setattr(person.user, name, value)
                person.changed = True
                self.touched_rows.add(row.number)
        if person.user == self.by and row.get("is_active") is False:
            self._add(row.problem("is_active", "oneself", _("不能停用自己的登录")))

    # -- the role

    def _membership(self, row: Row, person: _Person) -> Membership | None:
        """The role that the row describes: found, corrected or new. None where it cannot be."""
        found = self._place(row)
        if found is None:
            return None
        role, (area, school) = row.values["role"], found
        held = [m for m in person.memberships if m.role == role]
        at_place = [m for m in held if m.area == area and m.school == school]
        membership = _matching(at_place, row.get("starts"), row.get("ends"))
        if membership is None:
            membership = self._new_membership(row, person, area, school)
        elif membership.pk in self.claimed:
            detail = _("与前面某行的登录名、角色、单位重复，请删去一行")
            self._add(row.problem("username", "duplicate", detail))
            return None
        else:
            self._correct(row, person, membership)
        self.claimed.add(membership.pk)
        if membership.pk in self.changed_memberships or membership in self.new_memberships[-1:]:
            self._check_term(row, membership, [m for m in held if m is not membership])
        return membership

    def _place(self, row: Row) -> tuple[Area | None, School | None] | None:
        role = row.values["role"]
        try:
            if role == Role.SCHOOL_CONTACT:
                if not row.get("place"):
                    raise cells.CellError("required", _("学校联系人须填写所在学校"))
                school = self.schools.find(row.values["place"])
                return self._granted(row, None, school, school.area.path)
            area = self._area(row)
            return self._granted(row, area, None, area.path)
        except cells.CellError as error:
            self._add(row.problem("place", error.code, error.detail))
            return None

    def _area(self, row: Row) -> Area:
        """The area named, or the office's own when it has one."""
        if row.get("place"):
            return self.areas.find(row.values["place"])
        own = [*self.scope.office_paths, *self.scope.group_paths]
        if len(own) != 1:
            raise cells.CellError("required", _("请填写任职的行政区"))
        return self.areas.find(own[0].rstrip("/").split("/")[-1])

    def _granted(
        self, row: Row, area: Area | None, school: School | None, path: str
    ) -> tuple[Area | None, School | None] | None:
        if self.scope.may_grant(row.values["role"], path):
            return area, school
        self._add(row.problem("role", "not_allowed", _("本单位无权授予这一角色，请由督导办导入")))
        return None

    def _new_membership(
        self, row: Row, person: _Person, area: Area | None, school: School | None
    ) -> Membership:
        role, starts = row.values["role"], row.get("starts") or today()
        ends = row.get("ends")
        if role == Role.INSPECTOR:
            ends = ends or last_day_of_term(starts)
        membership = Membership(
            user=person.user, role=role, area=area, school=school, starts=starts, ends=ends
        )
        self.new_memberships.append(membership)
        person.memberships.append(membership)
        self.new_rows.add(row.number)
        return membership

    def _correct(self, row: Row, person: _Person, membership: Membership) -> None:
        """Take over the dates that the row gives; appointments to the old end follow."""
        starts, ends = row.get("starts") or membership.starts, row.get("ends") or membership.ends
        if (starts, ends) == (membership.starts, membership.ends):
            return
        for appointment in person.appointments:
            follows = appointment.ends == membership.ends or _later(appointment.ends, ends)
            if (
                membership.role == Role.INSPECTOR
                and follows
                and self._is_here(appointment, membership)
            ):
                appointment.ends = ends
                self.changed_appointments[appointment.pk] = appointment
        membership.starts, membership.ends = starts, ends
        self.changed_memberships[membership.pk] = membership
        self.touched_rows.add(row.number)

    def _check_term(self, row: Row, membership: Membership, others: Sequence[Membership]) -> None:
        problems = term_problems(
            role=membership.role,
            starts=membership.starts,
            ends=membership.ends,
            earlier=[(other.starts, other.ends) for other in others],
        )
        for problem in problems:
            self._add(row.problem(problem.pointer.strip("/"), problem.code, str(problem.detail)))

    # -- the schools of an inspector

    def _read_schools(self, row: Row, person: _Person, membership: Membership) -> None:
        """Make the row's schools the inspector's; those no longer named end."""
        words = row.get("schools")
        is_new = membership in self.new_memberships[-1:]
        if not words or (not is_new and membership.ends and membership.ends < today()):
            return
        if membership.role != Role.INSPECTOR:
            detail = _("只有责任督学填写负责学校，请清空或修改角色")
            self._add(row.problem("schools", "not_an_inspector", detail))
            return
        wanted = {school.pk: school for school in self._found_schools(row, words, membership)}
        lasting = [a for a in person.appointments if a.ends is None or a.ends >= today()]
        here = [a for a in lasting if self._is_here(a, membership)]
        for appointment in here:
            if appointment.school_id not in wanted:
                self._end(appointment, row)
        kept = {a.school_id for a in here}
        for school in wanted.values():
            if school.pk not in kept:
                starts = membership.starts if is_new else max(membership.starts, today())
                self._appoint(row, person, membership, school, starts=starts)
        elsewhere = {a.school_id for a in lasting} - kept
        self._check_count(row, len(elsewhere | wanted.keys()))

    def _found_schools(
        self, row: Row, words: Sequence[str], membership: Membership
    ) -> Iterator[School]:
        path = membership.place_path
        for word in words:
            try:
                school = self.schools.find(word)
                if not school.area.path.startswith(path):
                    detail = _("“{word}”不在该督学任职的行政区内").format(word=word)
                    raise cells.CellError("beyond_area", detail)
                yield school
            except cells.CellError as error:
                self._add(row.problem("schools", error.code, error.detail))

    def _is_here(self, appointment: Appointment, membership: Membership) -> bool:
        """Whether this row may end the appointment: in the role's area, and in our offices."""
        path = appointment.school.area.path
        return path.startswith(membership.place_path) and self.scope.covers(path)

    def _end(self, appointment: Appointment, row: Row) -> None:
        appointment.ends = today() - timedelta(days=1)
        self.changed_appointments[appointment.pk] = appointment
        self.touched_rows.add(row.number)

    def _appoint(
        self, row: Row, person: _Person, membership: Membership, school: School, *, starts: date
    ) -> None:
        self.touched_rows.add(row.number)
        for appointment in person.appointments:
            if appointment.school_id == school.pk and appointment.starts == starts:
                appointment.ends = membership.ends
                self.changed_appointments[appointment.pk] = appointment
                return
        appointment = Appointment(
            inspector=person.user, school=school, starts=starts, ends=membership.ends
        )
        person.appointments.append(appointment)
        self.new_appointments.append(appointment)

    def _check_count(self, row: Row, count: int) -> None:
        problems = school_count_problems(count)
        for problem in problems:
            self._add(row.problem("schools", problem.code, str(problem.detail)))
        usual = settings.INSPECTOR_USUAL_SCHOOLS
        if count > usual and not problems:
            detail = _("负责 {count} 所学校，一般每名督学负责 {usual} 所左右，请确认")
            detail = detail.format(count=count, usual=usual)
            self.warnings.append(row.problem("schools", "many_schools", detail))

    # -- storing

    def store(self) -> ImportResult:
        """Write what was planned and tell the phones."""
        new = [person.user for person in self.people.values() if person.is_new]
        for user in new:
            user.password = make_password(None)
        User.objects.bulk_create(new)
        for person in self.people.values():
            if person.changed and not person.is_new:
                person.user.save(update_fields=PERSON_FIELDS)
                record_change("me", person.user.pk, user_ids=[person.user.pk])
        self._store_memberships()
        self._store_appointments()
        return ImportResult(
            created=len(self.new_rows),
            updated=len(self.touched_rows - self.new_rows),
            unchanged=len(self.table.rows) - len(self.new_rows | self.touched_rows),
            warnings=tuple(self.warnings),
            new_people=tuple(new),
        )

    def _store_memberships(self) -> None:
        Membership.objects.bulk_create(self.new_memberships)
        changed = list(self.changed_memberships.values())
        Membership.objects.bulk_update(changed, ["starts", "ends"], batch_size=200)
        for membership in (*self.new_memberships, *changed):
            announce_membership(membership)
            if membership.role in OFFICES:
                update_staff(membership.user)

    def _store_appointments(self) -> None:
        Appointment.objects.bulk_create(self.new_appointments)
        changed = list(self.changed_appointments.values())
        void = [a.pk for a in changed if a.ends and a.ends < a.starts]
        Appointment.objects.filter(pk__in=void).delete()
        kept = [a for a in changed if a.pk not in set(void)]
        Appointment.objects.bulk_update(kept, ["ends"], batch_size=200)
        for appointment in (*self.new_appointments, *changed):
            record_change("school", appointment.school_id, user_ids=[appointment.inspector_id])


def _stored(table: Table) -> dict[str, _Person]:
    """The people of the file that exist already, locked, with their roles and appointments."""
    names = {row.values["username"] for row in table.rows if "username" in row.values}
    users = User.objects.select_for_update(of=("self",)).filter(username__in=names)
    people = {user.username: _Person(user, is_new=False) for user in users}
    by_id = {person.user.pk: person for person in people.values()}
    rows = Membership.objects.filter(user__in=by_id).select_related("area", "school__area")
    for membership in rows.order_by("starts"):
        by_id[membership.user_id].memberships.append(membership)
    terms = Appointment.objects.filter(inspector__in=by_id).select_related("school__area")
    for appointment in terms.order_by("starts"):
        by_id[appointment.inspector_id].appointments.append(appointment)
    return people


def _later(ends: date | None, other: date | None) -> bool:
    return other is not None and (ends is None or ends > other)


def _matching(
    held: Sequence[Membership], starts: date | None, ends: date | None
) -> Membership | None:
    """Which of the terms at one place a row means: the same start, else the one it overlaps."""
    for membership in held:
        if membership.starts == starts:
            return membership
    begins = starts or today()
    for membership in reversed(held):
        before = membership.ends is not None and membership.ends < begins
        after = ends is not None and membership.starts > ends
        if not before and not after:
            return membership
    return None
