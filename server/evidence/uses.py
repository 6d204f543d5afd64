"""Where photos are used, and which uses belong to one occasion, so that sharing a photo is in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from server.activities.models import SubmissionAttachment
from server.findings.machine import ANSWER, VERIFY
from server.findings.models import FindingAction


@dataclass(frozen=True, kw_only=True)
class Use:
    """One photo in one place: a visit, the rectification of a finding, or a submission that stands alone.

    All submissions of a visit are one place, and so are all steps of a rectification: a photo may be
    in several of them, in edits, and in what is sent again.
    """

    media_id: UUID
    owner_id: UUID | None
    visit_id: UUID | None = None
    finding_id: UUID | None = None
    root_id: UUID | None = None
    school_id: UUID | None = None
    device_id: UUID | None = None
    raised_at_visit: UUID | None = None
    by_school: bool = False
    verifies: bool = False

    @property
    def place(self) -> str:
        """The same for all uses of one place."""
        if self.visit_id:
            return f"visit:{self.visit_id}"
        return f"finding:{self.finding_id}" if self.finding_id else f"alone:{self.root_id}"

    @property
    def kind(self) -> str:
        return self.place.partition(":")[0]


def uses_of(media_ids: Iterable[UUID]) -> dict[UUID, list[Use]]:
    """Every use of these photos, in two queries; in an order that does not depend on when they came."""
    ids = list(media_ids)
    found: defaultdict[UUID, dict[str, Use]] = defaultdict(dict)
    for use in [*_in_submissions(ids), *_in_rectifications(ids)]:
        known = found[use.media_id].setdefault(use.place, use)
        found[use.media_id][use.place] = replace(
            known,
            device_id=min(filter(None, (known.device_id, use.device_id)), default=None),
            by_school=known.by_school or use.by_school,
            verifies=known.verifies or use.verifies,
        )
    return {pk: [uses[place] for place in sorted(uses)] for pk, uses in found.items()}


def _in_submissions(ids: list[UUID]) -> Iterable[Use]:
    rows = SubmissionAttachment.objects.filter(media__in=ids).order_by()
    for media, owner, visit, school, root, device in rows.values_list(
        "media_id",
        "media__owner_id",
        "submission__visit_id",
        "submission__visit__school_id",
        "submission__root_id",
        "submission__device_id",
    ):
        yield Use(
            media_id=media,
            owner_id=owner,
            visit_id=visit,
            root_id=None if visit else root,
            school_id=school,
            device_id=device,
        )


def _in_rectifications(ids: list[UUID]) -> Iterable[Use]:
    rows: Any = FindingAction.media.through.objects.filter(mediaobject__in=ids).order_by()
    for media, owner, action, finding, school, visit in rows.values_list(
        "mediaobject_id",
        "mediaobject__owner_id",
        "findingaction__action",
        "findingaction__finding_id",
        "findingaction__finding__school_id",
        "findingaction__finding__visit_id",
    ):
        yield Use(
            media_id=media,
            owner_id=owner,
            finding_id=finding,
            school_id=school,
            raised_at_visit=visit,
            by_school=action == ANSWER,
            verifies=action == VERIFY,
        )


def shows_the_problem(use: Use, other: Use) -> bool:
    """Whether `use` mends, with a photo, what was found at the visit that `other` belongs to."""
    mends = use.by_school or use.verifies
    return mends and other.visit_id is not None and use.raised_at_visit == other.visit_id


def one_occasion(use: Use, other: Use) -> bool:
    """Whether one photo may be in both places without a question.

    One place; findings of one visit, which are mended together; a visit and what was found at it (the
    other way round see `shows_the_problem`); an inspector's photo of a school, in a visit and in the
    verification of an earlier finding there.
    """
    if use.place == other.place:
        return True
    if use.finding_id and other.finding_id:
        return use.raised_at_visit is not None and use.raised_at_visit == other.raised_at_visit
    if use.finding_id or other.finding_id:
        finding, visit = (use, other) if use.finding_id else (other, use)
        if visit.visit_id is None:
            return False
        if finding.raised_at_visit == visit.visit_id:
            return True
        same_hand = finding.owner_id == visit.owner_id and finding.school_id == visit.school_id
        return same_hand and not finding.by_school
    return False
