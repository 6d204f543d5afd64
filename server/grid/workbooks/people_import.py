"""Importing people: each row planned against what is stored, every fault collected, then stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.utils.translation import gettext as _

from server.core.changes import record_change
from server.core.clock import today
from server.core.errors import Problem
from server.grid.models import Appointment, Area, Membership, School, User
from server.grid.queries import OFFICES, people_managed_by
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
from server.grid.workbooks.people import COLUMNS, PERSON_FIELDS
from server.grid.workbooks.places import areas_of, schools_of
from server.grid.workbooks.sheets import (
    ImportResult,
    Row,
    Table,
    all_or_nothing,
    read_table,
)

Role = Membership.Role


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
