"""What offices do with the grid: appoint, grant, end, save; with the regulation's floors.

Every function asks who is acting (`by`) and works only within that person's offices. Phones learn
of it through the change feed: "school" for whoever gains, loses or sees a school; "me" for whoever
gains or loses a role.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext as _

from server.core.changes import Change, record_change
from server.core.clock import today
from server.core.errors import Conflict, Invalid, NotAllowed, NotFound, Problem, WrongState
from server.grid.coordinates import CoordinateSystem, to_wgs84
from server.grid.models import Appointment, Area, Membership, School, User, not_over
from server.grid.queries import (
    OFFICES,
    area_paths,
    offices_over,
    people_managed_by,
    schools_in_office_of,
    schools_visible_to,
)

Role = Membership.Role

# A summer between two terms does not break the row that article 6 counts.
GAP_IN_A_ROW = timedelta(days=92)

# No letters or digits that are taken for one another when read aloud or copied by hand.
READABLE = "abcdefghjkmnpqrstuvwxyz23456789"
PASSWORD_LENGTH = 12

schools_moved = Signal()
"""The positions of these schools changed: `school_ids`. Sent inside the transaction."""

Term = tuple[date, date | None]
"""First and last day, both included; None: no end."""

Row = TypeVar("Row", User, Membership, Appointment)
Held = TypeVar("Held", Membership, Appointment)


@dataclass(frozen=True, slots=True)
class Scope:
    """The subtrees in which somebody acts as an office or as a town group."""

    everywhere: bool
    office_paths: tuple[str, ...]
    group_paths: tuple[str, ...]

    def covers(self, path: str) -> bool:
        return self.everywhere or path.startswith((*self.office_paths, *self.group_paths))

    def may_grant(self, role: str, path: str) -> bool:
        """Offices grant every role below them; a town group does not make its own superiors."""
        if self.everywhere or path.startswith(self.office_paths):
            return True
        return role not in OFFICES and path.startswith(self.group_paths)


def scope_of(user: User) -> Scope:
    """Where the person may change the grid today."""
    return Scope(
        everywhere=user.is_superuser,
        office_paths=tuple(area_paths(user, Role.OFFICE)),
        group_paths=tuple(area_paths(user, Role.TOWN_GROUP)),
    )


# ---- the regulation's floors ----------------------------------------------------------------


def last_day_of_term(starts: date) -> date:
    """The last day of the longest term that begins on `starts`: 3 years (order 624, art. 6)."""
    year = starts.year + settings.INSPECTOR_TERM_YEARS
    try:
        return starts.replace(year=year) - timedelta(days=1)
    except ValueError:  # 29 February
        return date(year, 2, 28)


def terms_in_a_row(starts: date, terms: Iterable[Term]) -> int:
    """How many earlier terms lead up to `starts` without a break."""
    ended = sorted(((ends, begun) for begun, ends in terms if ends), reverse=True)
    count = 0
    for ends, begun in ended:
        if ends < starts <= ends + GAP_IN_A_ROW:
            count, starts = count + 1, begun
    return count


def term_problems(
    *, role: str, starts: date, ends: date | None, earlier: Iterable[Term]
) -> list[Problem]:
    """What is wrong with a new term of the role; `earlier` are the person's terms in this role."""
    if ends and ends < starts:
        return [Problem("/ends", "term_order", _("任期结束不能早于任期开始，请核对两个日期"))]
    if role != Role.INSPECTOR:
        return []
    problems = []
    latest = last_day_of_term(starts)
    if ends is None or ends > latest:
        text = _("督学每届任期 {years} 年（《教育督导条例》第六条），任期结束最晚填 {latest}")
        text = text.format(years=settings.INSPECTOR_TERM_YEARS, latest=latest.isoformat())
        problems.append(Problem("/ends", "term_too_long", text))
    if terms_in_a_row(starts, earlier) >= settings.INSPECTOR_TERMS_IN_A_ROW:
        text = _("该督学已连续任职 {terms} 届，不得再连任（《教育督导条例》第六条），请另聘他人")
        text = text.format(terms=settings.INSPECTOR_TERMS_IN_A_ROW)
        problems.append(Problem("/starts", "terms_in_a_row", text))
    return problems


def school_count_problems(count: int) -> list[Problem]:
    """What is wrong with one inspector having this many schools at a time."""
    limit = settings.INSPECTOR_MAX_SCHOOLS
    if count <= limit:
        return []
    text = _("一名督学的责任区最多 {limit} 所学校，现为 {count} 所，请分给其他督学")
    return [Problem("/schools", "too_many_schools", text.format(limit=limit, count=count))]


# ---- schools --------------------------------------------------------------------------------


@transaction.atomic
def save_school(
    *, school: School, by: User, system: CoordinateSystem = CoordinateSystem.WGS84
) -> School:
    """Store a new or changed school and tell everybody who sees it, or did before it moved.

    Its position is given in the coordinates of `system`, and stored in WGS-84.

    Raises NotFound and NotAllowed for a school or a town outside the person's offices, Invalid.
    """
    before = School.objects.select_related("area").filter(pk=school.pk).first()
    scope = scope_of(by)
    if before and not scope.covers(before.area.path):
        raise NotFound
    if not scope.covers(school.area.path):
        raise NotAllowed(_("只能把学校放在本单位所辖的镇街"))
    _full_clean(school)
    _refuse(_bring_to_wgs84(school, before, system))
    school.save()
    announce_school(school, old_area=before.area if before else None)
    if before and position_of(before) != position_of(school):
        schools_moved.send(School, school_ids=[school.pk])
    return school


def _bring_to_wgs84(
    school: School, before: School | None, system: CoordinateSystem
) -> list[Problem]:
    """Convert what was entered. What is stored is WGS-84 already, and must not be shifted again."""
    if system is CoordinateSystem.WGS84 or school.latitude is None or school.longitude is None:
        return []
    if before and position_of(before) == position_of(school):
        text = _("经纬度没有改动，已是 WGS-84 坐标，请选择 WGS-84")
        return [Problem("/system", "not_changed", text)]
    point = school.latitude, school.longitude
    school.latitude, school.longitude = to_wgs84(point, system)
    return []


def position_of(school: School) -> tuple[float | None, float | None]:
    """Latitude and longitude, as far as they are known."""
    return school.latitude, school.longitude


def announce_school(school: School, *, old_area: Area | None) -> None:
    """Record that a school changed; who saw it only through its former town hears of it too."""
    record_change("school", school.pk, school_id=school.pk)
    if old_area and old_area != school.area:
        left = offices_over(old_area, *OFFICES).values_list("pk", flat=True)
        record_change("school", school.pk, school_id=school.pk, user_ids=left)


# ---- appointments ---------------------------------------------------------------------------


@transaction.atomic
def appoint_inspector(
    *,
    inspector_id: UUID,
    school_id: UUID,
    by: User,
    starts: date | None = None,
    ends: date | None = None,
) -> Appointment:
    """Appoint an inspector to a school; from today and to the end of their own term by default.

    Raises NotFound, NotAllowed; Conflict when the term overlaps one at the same school; Invalid
    when the person is no inspector there then, or would have more schools than the limit.
    """
    school = _school_in_office(school_id, by)
    inspector = _locked(User.objects.filter(is_active=True), inspector_id)
    starts = starts or today()
    membership = _inspector_membership(inspector, school, starts)
    ends = ends or membership.ends
    problems = term_problems(role="", starts=starts, ends=ends, earlier=())
    if membership.ends and ends and ends > membership.ends:
        text = _("聘任不能超过督学的任期，最晚填 {latest}").format(latest=membership.ends)
        problems.append(Problem("/ends", "beyond_term", text))
    _refuse(problems)
    overlapping = _overlapping(Appointment.objects.filter(inspector=inspector), starts, ends)
    if overlapping.filter(school=school).exists():
        raise Conflict(_("该督学在此期间已负责这所学校，无需重复聘任"))
    _refuse(school_count_problems(overlapping.values("school").distinct().count() + 1))
    row = Appointment.objects.create(inspector=inspector, school=school, starts=starts, ends=ends)
    record_change("school", school.pk, user_ids=[inspector.pk])
    return row


@transaction.atomic
def end_appointment(
    *, appointment_id: UUID, by: User, last_day: date | None = None
) -> Appointment | None:
    """End an appointment with `last_day`, by default so that it no longer holds today.

    One that would end before it began is removed, and None returned. Raises NotFound, WrongState.
    """
    rows = Appointment.objects.filter(school__in=schools_in_office_of(by).values("pk"))
    row = _locked(rows, appointment_id)
    record_change("school", row.school_id, user_ids=[row.inspector_id])
    return row if _end(row, last_day) else None


# ---- roles ----------------------------------------------------------------------------------


@transaction.atomic
def grant_membership(
    *,
    user_id: UUID,
    role: str,
    by: User,
    area_id: UUID | None = None,
    school_id: UUID | None = None,
    starts: date | None = None,
    ends: date | None = None,
) -> Membership:
    """Give a person a role in an area, or at a school where the role is school contact.

    An inspector's term ends by itself after three years. Raises NotFound, NotAllowed, Conflict
    when the person holds the role there already, Invalid for what the regulation does not allow.
    """
    user = _locked(User.objects.all(), user_id)
    area, school = _place(area_id=area_id, school_id=school_id, role=role)
    starts = starts or today()
    if role == Role.INSPECTOR:
        ends = ends or last_day_of_term(starts)
    row = Membership(user=user, role=role, area=area, school=school, starts=starts, ends=ends)
    if not scope_of(by).may_grant(role, row.place_path):
        raise NotAllowed(_("只能在本单位范围内、按本单位权限授予角色"))
    held = Membership.objects.filter(user=user, role=role)
    earlier = list(held.values_list("starts", "ends"))
    _refuse(term_problems(role=role, starts=starts, ends=ends, earlier=earlier))
    if _overlapping(held.filter(area=area, school=school), starts, ends).exists():
        raise Conflict(_("此人在此期间已有这一角色，无需重复授予"))
    row.save()
    announce_membership(row)
    update_staff(user)
    return row


@transaction.atomic
def end_membership(
    *, membership_id: UUID, by: User, last_day: date | None = None
) -> Membership | None:
    """End a role with `last_day`, by default so that it no longer holds today; None: it never did.

    With an inspector's role end the appointments that rest on it. Raises NotFound, NotAllowed.
    """
    rows = Membership.objects.select_related("area", "school__area", "user")
    row = _locked(rows, membership_id)
    scope, path = scope_of(by), row.place_path
    if not scope.covers(path):
        raise NotFound
    if not scope.may_grant(row.role, path):
        raise NotAllowed
    if row.role == Role.INSPECTOR:
        _end_appointments(row.user, path, last_day)
    announce_membership(row)
    kept = _end(row, last_day)
    update_staff(row.user)
    return row if kept else None


def announce_membership(row: Membership) -> None:
    """Record that a person's roles changed; a school contact's phone gains or loses the school."""
    record_change("me", row.user_id, user_ids=[row.user_id])
    if row.school_id:
        record_change("school", row.school_id, user_ids=[row.user_id])


def update_staff(user: User) -> None:
    """Let into the console exactly those who hold an office now or later (superusers stay)."""
    holds = user.memberships.filter(not_over(), role__in=OFFICES).exists()
    if user.is_staff != (holds or user.is_superuser):
        user.is_staff = holds or user.is_superuser
        user.save(update_fields=["is_staff"])


def announce_terms() -> int:
    """Record what the calendar changed: terms that begin today or ended yesterday.

    Runs hourly and is idempotent: a change that is recorded since midnight is not repeated.
    Returns how many were recorded.
    """
    turned = Q(starts=today()) | Q(ends=today() - timedelta(days=1))
    appointments = Appointment.objects.filter(turned).values_list("school", "inspector")
    contacts = Membership.objects.filter(turned, school__isnull=False)
    members = Membership.objects.filter(turned).values_list("user", flat=True)
    due = {("school", school, user) for school, user in appointments}
    due |= {("school", school, user) for school, user in contacts.values_list("school", "user")}
    due |= {("me", user, user) for user in members}
    midnight = timezone.make_aware(datetime.combine(today(), time.min))
    told = Change.objects.filter(user_id__in={user for _type, _id, user in due}, at__gte=midnight)
    due -= set(told.values_list("type", "object_id", "user_id"))
    for kind, object_id, user_id in sorted(due):
        record_change(kind, object_id, user_ids=[user_id])
    return len(due)


# ---- log-ins --------------------------------------------------------------------------------


@transaction.atomic
def issue_password(*, user_id: UUID, by: User) -> str:
    """Set a random password and hand it back once: only its hash is kept. Raises NotFound."""
    user = _locked(people_managed_by(by), user_id)
    password = "".join(secrets.choice(READABLE) for _place in range(PASSWORD_LENGTH))
    user.set_password(password)
    user.save(update_fields=["password"])
    return password


# ---- steps ----------------------------------------------------------------------------------


def _locked(rows: QuerySet[Row], pk: UUID) -> Row:
    """The row, locked until the transaction ends. Raises NotFound."""
    row = rows.select_for_update(of=("self",)).filter(pk=pk).first()
    if row is None:
        raise NotFound
    return row


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise Invalid(problems[0].detail, problems=problems)


def _full_clean(school: School) -> None:
    try:
        school.full_clean()
    except ValidationError as error:
        _refuse(
            [
                Problem(f"/{field}", item.code or "invalid", " ".join(item.messages))
                for field, items in error.error_dict.items()
                for item in items
            ]
        )


def _school_in_office(school_id: UUID, by: User) -> School:
    school = schools_in_office_of(by).select_related("area").filter(pk=school_id).first()
    if school:
        return school
    if schools_visible_to(by).filter(pk=school_id).exists():
        raise NotAllowed
    raise NotFound


def _place(
    *, area_id: UUID | None, school_id: UUID | None, role: str
) -> tuple[Area | None, School | None]:
    """The one place that fits the role."""
    if role == Role.SCHOOL_CONTACT:
        schools = School.objects.select_related("area")
        school = schools.filter(pk=school_id).first() if school_id else None
        if school is None or area_id:
            _refuse([Problem("/school_id", "required", _("学校联系人须选择一所学校"))])
        return None, school
    area = Area.objects.filter(pk=area_id).first() if area_id else None
    if area is None or school_id:
        _refuse([Problem("/area_id", "required", _("这一角色须选择一个行政区"))])
    return area, None


def _inspector_membership(inspector: User, school: School, starts: date) -> Membership:
    """The term as inspector, in an area that holds the school, on which an appointment rests."""
    rows = inspector.memberships.filter(role=Role.INSPECTOR, starts__lte=starts)
    rows = rows.filter(Q(ends=None) | Q(ends__gte=starts)).select_related("area")
    for row in rows.order_by("-starts"):
        if row.area and school.area.path.startswith(row.area.path):
            return row
    text = _("此人在该日期不是这一区域的责任督学，请先登记其督学任职")
    raise Invalid(text, problems=[Problem("/inspector_id", "not_an_inspector", text)])


def _overlapping(rows: QuerySet[Held], starts: date, ends: date | None) -> QuerySet[Held]:
    rows = rows.filter(Q(ends=None) | Q(ends__gte=starts))
    return rows.filter(starts__lte=ends) if ends else rows


def _end(row: Membership | Appointment, last_day: date | None) -> bool:
    """Let the row end with `last_day`; False when that removed it. Raises WrongState."""
    last_day = last_day or today() - timedelta(days=1)
    if row.ends and row.ends <= last_day:
        raise WrongState(_("已于 {day} 结束，无需再次结束").format(day=row.ends.isoformat()))
    if last_day < row.starts:
        row.delete()
        return False
    row.ends = last_day
    row.save(update_fields=["ends"])
    return True


def _end_appointments(inspector: User, path: str, last_day: date | None) -> None:
    """End what rests on the inspector's role in the subtree."""
    last_day = last_day or today() - timedelta(days=1)
    rows = Appointment.objects.filter(inspector=inspector, school__area__path__startswith=path)
    for row in rows.filter(Q(ends=None) | Q(ends__gt=last_day)):
        record_change("school", row.school_id, user_ids=[inspector.pk])
        _end(row, last_day)
