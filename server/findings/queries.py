"""Who may see which findings, and the matrix of a county's rectification (校校清、项项清)."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.activities.queries import activities_visible_to
from server.activities.queries import media_visible_to as activity_media_visible_to
from server.core.clock import today
from server.core.errors import NotFound
from server.findings.models import AT_SCHOOL, Finding, FindingAction
from server.grid.models import Appointment, Membership, User, in_term
from server.grid.queries import schools_in_office_of


def findings_visible_to(user: User, paths: list[str] | None = None) -> QuerySet[Finding]:
    """Offices: their schools; inspectors: their appointments and visits; schools: their own.

    `paths`: the person's `office_paths`, where the caller has them.
    """
    if user.is_superuser:
        return Finding.objects.all()
    at_school = Membership.objects.filter(in_term(), user=user, school=OuterRef("school"))
    appointed = Appointment.objects.filter(in_term(), inspector=user, school=OuterRef("school"))
    on_team = Visit.team.through.objects.filter(visit=OuterRef("visit"), user=user)
    return Finding.objects.filter(
        Q(school__in=schools_in_office_of(user, paths).values("pk"))
        | Q(Exists(at_school))
        | Q(Exists(appointed))
        | Q(Exists(on_team))
    )


def findings_listed_for(user: User) -> QuerySet[Finding]:
    """Visible findings with all that a list shows, in a number of queries that does not grow."""
    return (
        findings_visible_to(user)
        .select_related("school", "activity", "visit", "raised_by")
        .prefetch_related("actions__by", "actions__media")
    )


def overdue(rows: QuerySet[Finding], wanted: bool) -> QuerySet[Finding]:
    """Those that the school should have answered by now and has not, or all but those."""
    late = Q(state__in=AT_SCHOOL, due_on__lt=today())
    return rows.filter(late) if wanted else rows.exclude(late)


@dataclass
class Tally:
    """How many findings there are, and how many are settled."""

    total: int = 0
    settled: int = 0

    def count(self, settled: bool) -> None:
        self.total += 1
        self.settled += settled


@dataclass
class Cell:
    """The findings of one item at one school."""

    item: str
    states: list[str] = field(default_factory=list)
    findings: list[UUID] = field(default_factory=list)
    overdue: bool = False


@dataclass
class SchoolRow(Tally):
    id: UUID | None = None
    name: str = ""
    by_item: dict[str, Cell] = field(default_factory=dict)

    @property
    def cleared(self) -> bool:
        return self.total == self.settled

    @property
    def cells(self) -> list[Cell]:
        return list(self.by_item.values())


@dataclass
class Item(Tally):
    key: str = ""
    title: str = ""


@dataclass(frozen=True)
class Matrix:
    """Schools × items: 校校清 (schools all of whose findings are settled) and 项项清."""

    schools: list[SchoolRow]
    items: list[Item]

    @property
    def totals(self) -> dict[str, int]:
        return {
            "schools": len(self.schools),
            "schools_cleared": sum(row.cleared for row in self.schools),
            "total": sum(row.total for row in self.schools),
            "settled": sum(row.settled for row in self.schools),
        }


def matrix_of(user: User, *, activity_id: UUID | None = None) -> Matrix:
    """The visible findings, of one activity where given, by school and item. Two queries at most.

    An item is a field of a form ("form/path"); what was entered by hand is its own item. Raises
    NotFound for an activity that one may not see.
    """
    rows = findings_visible_to(user)
    if activity_id:
        if not activities_visible_to(user).filter(pk=activity_id).exists():
            raise NotFound
        rows = rows.filter(activity=activity_id)
    schools: dict[UUID, SchoolRow] = {}
    items: dict[str, Item] = {}
    form = "submission__version__instrument__form_id"
    for row in (
        rows.select_related("school")
        .annotate(form_id=F(form))
        .order_by("school__name", "school_id", "item", "created_at", "id")
    ):
        key = f"{row.form_id or ''}{row.item}" if row.item else row.title
        school = schools.setdefault(
            row.school_id, SchoolRow(id=row.school_id, name=row.school.name)
        )
        school.count(row.is_settled)
        items.setdefault(key, Item(key=key, title=row.title)).count(row.is_settled)
        cell = school.by_item.setdefault(key, Cell(key))
        cell.states.append(row.state)
        cell.findings.append(row.pk)
        cell.overdue = cell.overdue or row.is_overdue
    return Matrix(list(schools.values()), sorted(items.values(), key=lambda item: item.key))


def media_visible_to(user: User) -> QuerySet[MediaObject]:
    """Files of visible submissions and of visible findings: the whole product's door to media."""
    evidence = FindingAction.media.through.objects.filter(
        mediaobject=OuterRef("pk"),
        findingaction__finding__in=findings_visible_to(user).values("pk"),
    )
    return MediaObject.objects.filter(
        Q(pk__in=activity_media_visible_to(user).values("pk")) | Q(Exists(evidence))
    )


def inspectors_of_finding(finding: Finding) -> QuerySet[User]:
    """Who verifies: the visit's team, and the school's inspectors of today."""
    appointed = Appointment.objects.filter(in_term(), school=finding.school_id)
    return User.objects.filter(
        Q(visits=finding.visit_id) & Q(visits__isnull=False)
        | Q(pk__in=appointed.values("inspector")),
        is_active=True,
    ).distinct()
