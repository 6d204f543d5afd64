"""Where a picture is used, as far as its shared copy is concerned: what is written on it, and whether
faces are hidden."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from media_storage.models import MediaObject
from server.activities.models import Activity, SubmissionAttachment
from server.findings.models import FindingAction
from server.grid.models import School
from server.instruments.models import Instrument


@dataclass(frozen=True, kw_only=True)
class Use:
    """One place of a picture. `blur`: its instrument wants faces hidden."""

    at: datetime
    id: UUID
    blur: bool
    school: School | None = None
    activity: str = ""
    finding: str = ""

    @property
    def order(self) -> tuple[bool, datetime, UUID]:
        """What has a school comes first, then what came first."""
        return self.school is None, self.at, self.id


def uses_of(media_id: UUID) -> list[Use]:
    """Every use of the picture, in an order that does not depend on when it became known."""
    found = [*_in_submissions(media_id), *_in_rectifications(media_id)]
    return sorted(found, key=lambda use: use.order)


def wants_blur(instrument: Instrument) -> bool:
    """Whether faces are hidden on the shared copies of this instrument's pictures."""
    return instrument.blur_faces


def _in_submissions(media_id: UUID) -> Iterator[Use]:
    rows = SubmissionAttachment.objects.filter(media=media_id).order_by()
    for row in rows.select_related(
        "submission__version__instrument",
        "submission__visit__school",
        "submission__visit__activity",
    ).defer(
        "submission__raw",
        "submission__answers",
        "submission__version__xform",
        "submission__version__xlsform",
        "submission__version__form",
    ):
        submission, visit = row.submission, row.submission.visit
        yield Use(
            at=submission.received_at,
            id=submission.pk,
            blur=wants_blur(submission.version.instrument),
            school=visit.school if visit else None,
            activity=visit.activity.title if visit else "",
        )


def _in_rectifications(media_id: UUID) -> Iterator[Use]:
    for action in FindingAction.objects.filter(media=media_id).select_related(
        "finding__school", "finding__activity", "finding__submission__version__instrument"
    ):
        finding = action.finding
        yield Use(
            at=action.received_at,
            id=action.pk,
            blur=_of_finding(finding),
            school=finding.school,
            activity=finding.activity.title if finding.activity else "",
            finding=finding.title,
        )


def _of_finding(finding: Any) -> bool:
    """As its instrument says, else any of its activity's. Where nobody has said anything: hidden."""
    if finding.submission:
        return wants_blur(finding.submission.version.instrument)
    if finding.activity:
        return any(map(wants_blur, finding.activity.instruments.all()))
    return True


def pictures_used_in(activity: Activity) -> QuerySet[MediaObject]:
    """The pictures of the activity's submissions and of the rectification of its findings."""
    attached = SubmissionAttachment.objects.filter(
        media__isnull=False, submission__visit__activity=activity
    )
    evidence: Any = FindingAction.media.through.objects.filter(
        findingaction__finding__activity=activity
    )
    return pictures().filter(
        Q(pk__in=attached.values("media")) | Q(pk__in=evidence.values("mediaobject"))
    )


def pictures() -> QuerySet[MediaObject]:
    """Media of which a shared copy can be made: they are ready, and have something to be seen."""
    return MediaObject.objects.filter(
        state=MediaObject.State.READY, renditions__name="large"
    ).distinct()
