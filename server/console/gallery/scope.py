"""Which files a selection finds, and what each of them is evidence of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from media_storage.models import MediaObject
from server.activities.models import SubmissionAttachment, Visit
from server.activities.queries import submissions_visible_to
from server.console.gallery.selection import ANY, HINT, UNEXPLAINED, Selection
from server.console.photos import MOMENT, of_kind, shown_to
from server.evidence.models import Flag
from server.evidence.queries import SHOWN, flags_visible_to
from server.findings.models import Finding, FindingAction
from server.findings.queries import findings_visible_to
from server.grid.models import School, User

State = MediaObject.State

PAGE = 500
WORKING = (State.ARRIVED, State.STORED, State.PROCESSING)

# ---- which rows --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scope:
    """Where the selection looks: the files of submissions, and those of rectifications."""

    user: User
    selection: Selection
    files: QuerySet[SubmissionAttachment]
    steps: QuerySet[Any]

    @property
    def found(self) -> QuerySet[MediaObject]:
        """The files that one may see and that the filters leave.

        From the uses to the files: what it costs follows from the scope, not from all that there are.
        """
        rows = MediaObject.objects.alias(moment=MOMENT)
        rows = rows.filter(*_conditions(self.user, self.selection))
        if self.user.is_superuser and not self.selection.is_placed:
            return rows
        ids = [
            self.files.order_by().values("media"),
            self.steps.order_by().values("mediaobject"),
        ]
        if not self.selection.is_placed:
            ids.append(MediaObject.objects.filter(owner=self.user).values("pk"))
        return rows.filter(pk__in=ids[0].union(*ids[1:]))

    def page(self) -> list[MediaObject]:
        """The rows of the page, and one more where there are more."""
        sign = "" if self.selection.order == "old" else "-"
        order = (f"{sign}moment", f"{sign}pk")
        begins = (self.selection.page - 1) * PAGE
        # The ids first, so that nothing wide is sorted.
        ids = self.found.order_by(*order).values("pk")[begins : begins + PAGE + 1]
        rows = shown_to(self.user, MediaObject.objects.filter(pk__in=ids))
        return list(rows.alias(moment=MOMENT).order_by(*order))

    def counts(self) -> dict[str, int]:
        """How many there are, and of those that are worth a look."""
        return self.found.aggregate(
            total=Count("pk"),
            flagged=Count("pk", filter=_flagged(self.user)),
            rejected=Count("pk", filter=Q(state=State.REJECTED)),
            declared=Count("pk", filter=Q(state=State.DECLARED)),
            working=Count("pk", filter=Q(state__in=WORKING)),
        )

    def proofs(self, media: Sequence[MediaObject]) -> dict[UUID, Proof]:
        """By file: the latest use of those that the filters look at. Two queries."""
        ids = [row.pk for row in media]
        visit, found = "submission__visit", "findingaction__finding"
        heavy = ("raw", "answers", "version__xlsform", "version__xform", "version__form")
        files = (
            self.files.filter(media__in=ids)
            .select_related(
                "submission__version__instrument", f"{visit}__school", f"{visit}__activity"
            )
            .defer(*(f"submission__{name}" for name in heavy))
            .order_by("submission__received_at")
        )
        steps = (
            self.steps.filter(mediaobject__in=ids)
            .select_related(
                f"{found}__school",
                f"{found}__visit__activity",
                f"{found}__submission__version__instrument",
            )
            .defer(*(f"{found}__submission__{name}" for name in heavy))
            .order_by("findingaction__received_at")
        )
        proofs = {row.mediaobject_id: _of_step(row.findingaction.finding) for row in steps}
        return proofs | {row.media_id: _of_file(row) for row in files if row.media_id}


def scope_of(user: User, selection: Selection, finding: Finding | None) -> Scope:
    """The uses that the person may see, narrowed. `finding`: the one that the selection names."""
    files = SubmissionAttachment.objects.filter(
        media__isnull=False, submission__in=submissions_visible_to(user).values("pk")
    )
    through: Any = FindingAction.media.through
    steps = through.objects.filter(
        findingaction__finding__in=findings_visible_to(user).values("pk")
    )
    for of_file, of_finding, value in _ways(selection):
        files = files.filter(**{f"submission__{of_file}": value})
        steps = steps.filter(**{f"findingaction__finding__{of_finding}": value})
    if selection.item:
        form_id, _slash, path = selection.item.partition("/")
        form = "submission__version__instrument__form_id"
        files = files.filter(**{"item": f"/{path}", form: form_id})
        on = "findingaction__finding__"
        steps = steps.filter(**{f"{on}item": f"/{path}", f"{on}{form}": form_id})
    if finding:
        files = files.filter(_shows(finding))
        steps = steps.filter(findingaction__finding=finding)
    return Scope(user, selection, files, steps)


def problem_of(user: User, finding: Finding) -> list[MediaObject]:
    """The photos that were sent with the answer which the finding is: what it looked like before."""
    files = SubmissionAttachment.objects.filter(
        _shows(finding), submission__in=submissions_visible_to(user).values("pk")
    )
    rows = shown_to(user, MediaObject.objects.filter(pk__in=files.values("media")))
    return list(rows.alias(moment=MOMENT).order_by("moment", "pk"))


def _ways(selection: Selection) -> Iterator[tuple[str, str, UUID]]:
    """From a submission and from a finding to what a filter names."""
    for name, of_file, of_finding in (
        ("activity", "visit__activity", "activity"),
        ("town", "visit__school__area", "school__area"),
        ("school", "visit__school", "school"),
        ("visit", "visit", "visit"),
    ):
        if value := getattr(selection, name):
            yield of_file, of_finding, value


def _shows(finding: Finding) -> Q:
    """The files that were sent with the answer which the finding is."""
    if finding.submission is None or not finding.item:
        return Q(pk__in=[])
    return Q(submission__root_id=finding.submission.root_id, item=finding.item)


def _conditions(user: User, selection: Selection) -> Iterator[Q]:
    if selection.by:
        yield Q(owner=selection.by)
    if selection.state:
        working = selection.state == State.PROCESSING
        yield Q(state__in=WORKING) if working else Q(state=selection.state)
    if selection.kind:
        yield of_kind(selection.kind)
    if selection.q:
        yield Q(filename__icontains=selection.q) | Q(owner__name__icontains=selection.q)
    if selection.day:
        starts = timezone.make_aware(datetime.combine(selection.day, time.min))
        yield Q(moment__gte=starts, moment__lt=starts + timedelta(days=1))
    if selection.flag:
        yield _flagged(user, selection.flag)


def _flagged(user: User, which: str = ANY) -> Q:
    """Files with flags that stand and that one may see: with a code, or as FLAGGED says.

    A list of ids rather than a look at each file: PostgreSQL makes it once (measured: a tenth).
    """
    flags = flags_visible_to(user).filter(cleared_at=None, media__isnull=False).order_by()
    warned = flags.filter(severity=Flag.Severity.WARN)
    if which == HINT:
        return Q(pk__in=flags.values("media")) & ~Q(pk__in=warned.values("media"))
    chosen = {ANY: warned, UNEXPLAINED: warned.filter(notes=None)}
    return Q(pk__in=chosen.get(which, flags.filter(code=which)).values("media"))


def counted(media: Sequence[MediaObject]) -> dict[str, int]:
    """The counts of a gallery that is one page: nothing needs to be asked."""
    warn = Flag.Severity.WARN
    states = [row.state for row in media]
    return {
        "total": len(media),
        "flagged": sum(any(flag.severity == warn for flag in getattr(row, SHOWN)) for row in media),
        "rejected": states.count(State.REJECTED),
        "declared": states.count(State.DECLARED),
        "working": sum(state in WORKING for state in states),
    }


# ---- what they prove ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Where a file is evidence: in a submission at a question, or in a rectification."""

    school: School | None = None
    visit: Visit | None = None
    finding: Finding | None = None
    version_id: UUID | None = None
    form_id: str = ""
    item: str = ""


def _of_file(row: SubmissionAttachment) -> Proof:
    submission = row.submission
    return Proof(
        school=submission.visit.school if submission.visit else None,
        visit=submission.visit,
        version_id=submission.version_id,
        form_id=submission.version.instrument.form_id,
        item=row.item,
    )


def _of_step(finding: Finding) -> Proof:
    submission = finding.submission
    return Proof(
        school=finding.school,
        visit=finding.visit,
        finding=finding,
        version_id=submission.version_id if submission else None,
        form_id=submission.version.instrument.form_id if submission else "",
        item=finding.item,
    )
