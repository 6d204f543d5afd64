"""Planning an activity, previewing the visits that it makes, publishing and closing it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Prefetch
from django.utils.translation import gettext as _

from server.activities.models import Activity, Visit
from server.activities.queries import activities_managed_by, target_schools
from server.core import clock
from server.core.changes import record_change
from server.core.errors import (
    ContentConflict,
    Invalid,
    NotAllowed,
    NotFound,
    Problem,
    Text,
    WrongState,
)
from server.core.ids import new_id
from server.grid.models import Appointment, Area, Membership, School, User, in_term
from server.grid.queries import (
    areas_visible_to,
    contacts_of,
    offices_over,
    roles_of,
    schools_in_office_of,
)
from server.instruments.models import Instrument
from server.instruments.queries import instruments_visible_to
from server.messaging.services import notify

T = TypeVar("T")

TEAM_FLOOR = 3
"""Inspectors of a special or comprehensive supervision (order 624, art. 16)."""


MAX_KEEP_DAYS = 36_500


class Default(Enum):
    """What stands for "as the installation's setting says", where None already means something."""

    DEFAULT = auto()


DEFAULT = Default.DEFAULT


class NothingToPublish(Invalid):
    code = "nothing_to_publish"


@dataclass(frozen=True)
class PlannedVisit:
    """A visit that publishing would make: the school, its team, and what the office should know."""

    school: School
    team: Sequence[User]
    warnings: Sequence[Text]


@dataclass(frozen=True)
class Preview:
    """What publishing would make: visits, and schools that stay without for want of an inspector."""

    visits: Sequence[PlannedVisit]
    without_inspector: Sequence[School]


@transaction.atomic
def create_activity(
    *,
    by: User,
    kind: str,
    title: str,
    starts: date,
    ends: date,
    instruments: Sequence[str],
    schools: Sequence[UUID] = (),
    areas: Sequence[UUID] = (),
    announced: bool = True,
    keep_media_days: int | Default | None = DEFAULT,
    activity_id: UUID | None = None,
) -> Activity:
    """A draft, owned by the person's office. `instruments` are form ids, `starts`..`ends` inclusive.

    `keep_media_days`: how long photos are kept after `ends`, None for ever; without it KEEP_MEDIA_DAYS.
    The same `activity_id` with the same content is the same activity. Raises NotAllowed for who is
    no office; Invalid with the field for what the office may not target; ContentConflict.
    """
    office = roles_of(by).filter(role__in=_PLANNERS).order_by("area__path").first()
    if office is None or office.area is None:
        raise NotAllowed(_("只有教育督导办和镇街督导组可以安排督导活动。"))
    targets = _targets(
        by, office.area, starts, ends, instruments=instruments, schools=schools, areas=areas
    )
    plan = Activity(ends=ends)
    plan.keep_media_for(checked_keep_days(_default_keep_days(keep_media_days)))
    values = {
        "kind": kind,
        "title": title,
        "area": office.area,
        "starts": starts,
        "ends": ends,
        "announced": announced,
        "keep_media_days": plan.keep_media_days,
        "media_kept_until": plan.media_kept_until,
        "created_by": by,
    }
    activity, created = Activity.objects.get_or_create(id=activity_id or new_id(), defaults=values)
    if not created:
        _check_same(activity, values, targets)
        return activity
    targets.give_to(activity)
    return activity


@transaction.atomic
def change_draft(
    *,
    activity_id: UUID,
    by: User,
    kind: str,
    title: str,
    starts: date,
    ends: date,
    instruments: Sequence[str],
    schools: Sequence[UUID] = (),
    areas: Sequence[UUID] = (),
    announced: bool = True,
    keep_media_days: int | None = None,
) -> Activity:
    """Plan a draft anew. Raises as `create_activity` does, NotFound; WrongState once published."""
    activity = _managed(activity_id, by)
    if activity.state != Activity.State.DRAFT:
        raise WrongState(_("活动已发布，不能再修改。"))
    targets = _targets(
        by, activity.area, starts, ends, instruments=instruments, schools=schools, areas=areas
    )
    activity.kind, activity.title, activity.announced = kind, title, announced
    activity.starts, activity.ends = starts, ends
    activity.keep_media_for(checked_keep_days(keep_media_days))
    activity.save()
    targets.give_to(activity)
    return activity


def checked_keep_days(days: int | None) -> int | None:
    """Raises Invalid for days that no calendar has."""
    if days is not None and not 1 <= days <= MAX_KEEP_DAYS:
        detail = _("保存天数应为 1 到 %d；不填即长期保存。") % MAX_KEEP_DAYS
        raise _invalid("/keep_media_days", "out_of_range", detail)
    return days


def _default_keep_days(days: int | Default | None) -> int | None:
    return settings.KEEP_MEDIA_DAYS if isinstance(days, Default) else days


def preview_activity(activity: Activity) -> Preview:
    """Which visits publishing makes from today's appointments, and which schools have no inspector."""
    appointments = Appointment.objects.filter(in_term(), inspector__is_active=True).select_related(
        "inspector"
    )
    schools = target_schools(activity).select_related("area").order_by("area__path", "name")
    visits, without = [], []
    for school in schools.prefetch_related(Prefetch("appointments", appointments)):
        team = [appointment.inspector for appointment in school.appointments.all()]
        if team:
            visits.append(PlannedVisit(school, team, _team_warnings(activity, team)))
        else:
            without.append(school)
    return Preview(visits, without)


@transaction.atomic
def publish_activity(*, activity_id: UUID, by: User) -> Activity:
    """Make the visits and tell inspectors, and schools where the activity is announced.

    Publishing again changes nothing. Raises NotFound, WrongState, NothingToPublish.
    """
    activity = _managed(activity_id, by)
    if activity.state == Activity.State.PUBLISHED:
        return activity
    if activity.state != Activity.State.DRAFT:
        raise WrongState(_("活动已结束，不能发布。"))
    preview = preview_activity(activity)
    if not preview.visits:
        raise NothingToPublish(_("所选学校都没有责任督学，无法生成任务。请先聘任。"))
    activity.state, activity.published_at = Activity.State.PUBLISHED, clock.now()
    activity.save(update_fields=["state", "published_at"])
    for planned in preview.visits:
        assign_visit(activity=activity, school=planned.school, team=planned.team)
    return activity


def assign_visit(*, activity: Activity, school: School, team: Sequence[User]) -> Visit:
    """Make one visit and tell its team, and the school where it may know. In a transaction."""
    visit = Visit.objects.create(activity=activity, school=school)
    visit.team.set(team)
    record_visit_change(visit, activity)
    _tell(visit, "visit.assigned", team)
    if activity.announced:
        _tell(visit, "visit.announced", contacts_of(school))
    return visit


def record_visit_change(visit: Visit, activity: Activity) -> None:
    """Tell the change feed's readers. A school must not learn of an unannounced visit from it.

    The team is named apart, because an inspector may have no appointment at the school.
    """
    readers = set(visit.team.values_list("pk", flat=True))
    if activity.announced or visit.checked_in_at:
        record_change("visit", visit.pk, school_id=visit.school_id, user_ids=readers)
        return
    offices = offices_over(visit.school.area, *_PLANNERS)
    readers |= set(offices.values_list("pk", flat=True))
    record_change("visit", visit.pk, user_ids=readers)


@transaction.atomic
def close_activity(*, activity_id: UUID, by: User) -> Activity:
    """End the activity: its open visits take no check-in any more, and who expected one is told.

    Closing again changes nothing.
    """
    activity = _managed(activity_id, by)
    if activity.state == Activity.State.DRAFT:
        raise WrongState(_("活动尚未发布。"))
    if activity.state == Activity.State.PUBLISHED:
        activity.state = Activity.State.CLOSED
        activity.save(update_fields=["state"])
        for visit in activity.visits.select_related("school__area"):
            record_visit_change(visit, activity)
            if visit.state == Visit.State.ASSIGNED:
                _tell_of(visit, activity, "visit.cancelled", visit.team.all())
                if activity.announced:
                    _tell_of(visit, activity, "visit.cancelled", contacts_of(visit.school))
    return activity


@dataclass(frozen=True)
class _Targets:
    """What an activity uses and reaches, as rows that the planner may use."""

    instruments: Sequence[Instrument]
    schools: Sequence[School]
    areas: Sequence[Area]

    def give_to(self, activity: Activity) -> None:
        activity.instruments.set(self.instruments)
        activity.schools.set(self.schools)
        activity.areas.set(self.areas)

    def are_those_of(self, activity: Activity) -> bool:
        return (
            set(activity.instruments.all()) == set(self.instruments)
            and set(activity.schools.all()) == set(self.schools)
            and set(activity.areas.all()) == set(self.areas)
        )


def _targets(
    by: User,
    office: Area,
    starts: date,
    ends: date,
    *,
    instruments: Sequence[str],
    schools: Sequence[UUID],
    areas: Sequence[UUID],
) -> _Targets:
    """Raises Invalid with the field for what is out of order or out of the planner's reach."""
    if ends < starts:
        raise _invalid("/ends", "before_start", _("结束日期不能早于开始日期。"))
    tools = _all_of(
        Instrument.objects.filter(
            form_id__in=instruments, pk__in=instruments_visible_to(by), current__isnull=False
        ),
        instruments,
        "form_id",
        "/instruments",
    )
    targets = _all_of(schools_in_office_of(by).filter(pk__in=schools), schools, "pk", "/schools")
    whole = _all_of(areas_visible_to(by).filter(pk__in=areas), areas, "pk", "/areas")
    _check_reach(whole, office)
    if not targets and not whole:
        raise _invalid("/schools", "required", _("请选择学校或行政区。"))
    return _Targets(tools, targets, whole)


_PLANNERS = (Membership.Role.OFFICE, Membership.Role.TOWN_GROUP)


def _managed(activity_id: UUID, by: User) -> Activity:
    rows = activities_managed_by(by).select_for_update(of=("self",))
    activity = rows.filter(pk=activity_id).first()
    if activity is None:
        raise NotFound
    return activity


def _tell(visit: Visit, event: str, recipients: Iterable[User]) -> None:
    activity = visit.activity
    period = {"starts": activity.starts.isoformat(), "ends": activity.ends.isoformat()}
    _tell_of(visit, activity, event, recipients, **period)


def _tell_of(
    visit: Visit, activity: Activity, event: str, recipients: Iterable[User], **words: str
) -> None:
    notify(
        event,
        recipients=recipients,
        subject=("visit", visit.pk),
        school=visit.school,
        activity=activity.title,
        **words,  # type: ignore[arg-type]  # all of them texts of the event
    )


def _check_same(activity: Activity, values: Mapping[str, object], targets: _Targets) -> None:
    if not (
        all(getattr(activity, name) == value for name, value in values.items())
        and targets.are_those_of(activity)
    ):
        raise ContentConflict(_("此编号已用于另一个活动，请使用新的编号。"))


def _team_warnings(activity: Activity, team: Sequence[User]) -> list[Text]:
    needs_team = activity.kind in (Activity.Kind.SPECIAL, Activity.Kind.COMPREHENSIVE)
    if needs_team and len(team) < TEAM_FLOOR:
        return [_("专项或综合督导应由 3 名以上督学组成督导小组（教育督导条例第十六条）。")]
    return []


def _check_reach(areas: Sequence[Area], office: Area) -> None:
    for area in areas:
        if not area.path.startswith(office.path):
            raise _invalid("/areas", "out_of_reach", _("“%s”不在您的辖区内。") % area.name)


def _all_of(rows: Iterable[T], wanted: Sequence[object], key: str, pointer: str) -> list[T]:
    found = {getattr(row, key): row for row in rows}
    problems = [
        Problem(f"{pointer}/{index}", "unknown", _("找不到“%s”，或您无权使用。") % value)
        for index, value in enumerate(wanted)
        if value not in found
    ]
    if problems:
        raise Invalid(problems=problems)
    return list(found.values())


def _invalid(pointer: str, code: str, detail: str) -> Invalid:
    return Invalid(problems=[Problem(pointer, code, detail)])
