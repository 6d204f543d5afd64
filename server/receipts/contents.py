"""What a receipt says of the thing that it is for: read from the rows, written the same way each time.

Each kind has a Source. `fixed` is what never changes once the row is there, `growing` what may still be
added: the visit that a submission is attached to, files that arrive later. Nobody's name and no answer
stands in a receipt: a chain that cannot forget holds ids and hashes, and names of schools, activities
and instruments as labels.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from media_storage.models import MediaObject
from server.activities.models import (
    Submission,
    SubmissionAttachment,
    SubmissionConflict,
    Visit,
    VisitAction,
)
from server.core.actions import ActionRecord
from server.findings.models import Finding, FindingAction
from server.instruments.models import InstrumentVersion
from server.receipts.models import Receipt
from server.receipts.proof import LABELS, canonical, sha256

logger = logging.getLogger(__name__)

D = TypeVar("D", Submission, SubmissionConflict)
Content = dict[str, Any]
Contents = dict[UUID, Content]
FEW_DOCUMENTS = 10
"""Documents may be of 4 MB: so many of them are in memory at once."""


class Source(Protocol):
    """One kind of things that get receipts."""

    @property
    def kind(self) -> str:
        """One of Receipt.Kind."""

    @property
    def feed(self) -> str:
        """The type of the change feed that tells of them; empty: only the patrol finds them."""

    def rows(self) -> QuerySet[Any]:
        """All of them."""

    def told(self, object_ids: Collection[UUID]) -> list[UUID]:
        """The subjects that changes of these objects are about."""

    def growing(self, ids: Collection[UUID]) -> Contents:
        """What may still be added, with labels. Only of rows that exist."""

    def fixed(self, ids: Collection[UUID]) -> Contents:
        """What stays."""


def contents_of(source: Source, ids: Collection[UUID]) -> Contents:
    """The whole content of each subject that exists, as a receipt made now would have it."""
    fixed, growing = source.fixed(ids), source.growing(ids)
    return {id: joined(fixed[id], growing[id]) for id in ids if id in fixed and id in growing}


def joined(fixed: Content, growing: Content) -> Content:
    """One content of both parts."""
    return {**fixed, **growing, LABELS: {**fixed[LABELS], **growing[LABELS]}}


# ---- values ------------------------------------------------------------------------------------


def moment(value: datetime | None) -> str | None:
    """UTC with microseconds."""
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z" if value else None


def exact(value: float | None) -> str | None:
    """A number as text: its exact decimal value, shortest for floats, without an exponent."""
    if value is None:
        return None
    text = f"{Decimal(repr(value)) + 0:f}"  # a database may forget the sign of nothing
    return text.rstrip("0").rstrip(".") if "." in text else text


def statement_hash(value: Any) -> str:
    """SHA-256 of any JSON, by the values of its numbers: a database may turn 1e2 into 100."""
    return sha256(canonical(_with_exact_numbers(value)))


def _with_exact_numbers(value: Any) -> Any:
    """Whole numbers as such, others as {"$": text}; no field of a form can be called that."""
    if isinstance(value, dict):
        return {name: _with_exact_numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_exact_numbers(each) for each in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else {"$": exact(value)}
    return value


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _file(media: MediaObject | None) -> dict[str, Any] | None:
    """A file whose bytes have arrived and were compared with its hash; None while it is missing."""
    if media is None or not media.is_uploaded or media.stored_at is None:
        return None
    return {
        "id": str(media.pk),
        "filename": media.filename,
        "size": media.size,
        "sha256": media.sha256,
        "taken_at": moment(media.taken_at),
        "latitude": exact(media.latitude),
        "longitude": exact(media.longitude),
        "accuracy_m": exact(media.accuracy_m),
        "origin": media.origin,
    }


def _document(row: Submission | SubmissionConflict) -> dict[str, Any]:
    raw = bytes(row.raw)
    return {"format": row.format, "size": len(raw), "sha256": sha256(raw)}


def _few_by_few(rows: QuerySet[D], ids: Collection[UUID]) -> Iterator[D]:
    """The rows with these ids."""
    wanted = list(ids)
    for start in range(0, len(wanted), FEW_DOCUMENTS):
        yield from rows.filter(pk__in=wanted[start : start + FEW_DOCUMENTS])


def _place(visit: Visit | None) -> Content:
    if visit is None:
        return {"visit": None, "activity": None, "school": None, LABELS: {}}
    school = visit.school
    return {
        "visit": str(visit.pk),
        "activity": str(visit.activity_id),
        "school": str(school.pk),
        LABELS: {
            "school": f"{school.code} {school.name}",
            "activity": visit.activity.title,
        },
    }


# ---- submissions -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Submissions:
    """Documents with their answers and files."""

    kind: str = Receipt.Kind.SUBMISSION.value
    feed: str = "submission"

    def rows(self) -> QuerySet[Submission]:
        return Submission.objects.all()

    def told(self, object_ids: Collection[UUID]) -> list[UUID]:
        return list(object_ids)

    def growing(self, ids: Collection[UUID]) -> Contents:
        rows = (
            Submission.objects.filter(pk__in=ids)
            .select_related("visit__school", "visit__activity")
            .only(
                *("visit", "visit__activity", "visit__school"),
                *("visit__activity__title", "visit__school__code", "visit__school__name"),
            )
            .order_by()
        )
        contents = {row.pk: {**_place(row.visit), "files": []} for row in rows}
        files = SubmissionAttachment.objects.filter(submission__in=list(contents))
        for file in files.select_related("media").order_by("submission", "name"):
            contents[file.submission_id]["files"].append(
                {"name": file.name, "media": _file(file.media)}
            )
        return contents

    def fixed(self, ids: Collection[UUID]) -> Contents:
        forms, contents = _Forms(), {}
        for row in _few_by_few(Submission.objects.order_by(), ids):
            try:
                contents[row.pk] = self._fixed(row, forms)
            except (ValueError, RecursionError):
                # One document that cannot be written down must not stop the chain for all others.
                logger.exception("receipts: submission %s", row.pk)
        return contents

    def _fixed(self, row: Submission, forms: _Forms) -> Content:
        form, title = forms[row.version_id]
        return {
            "document": _document(row),
            "digest": row.sha256,
            "answers": statement_hash(row.answers),
            "form": form,
            "sender": str(row.sender_id),
            "device": _text(row.device_id),
            "replaces": _text(row.replaces_id),
            "started_at": moment(row.started_at),
            "ended_at": moment(row.ended_at),
            "device_time": moment(row.device_time),
            "received_at": moment(row.received_at),
            LABELS: {"instrument": title},
        }


class _Forms(dict[UUID, tuple[Content, str]]):
    """The forms of one reading, each read once."""

    def __missing__(self, pk: UUID) -> tuple[Content, str]:
        version = (
            InstrumentVersion.objects.select_related("instrument")
            .only("version", "xform", "instrument__form_id", "instrument__title")
            .filter(pk=pk)
            .first()
        )
        if version is None:  # only a check after a crude hand ever sees this
            self[pk] = ({}, "")
            return self[pk]
        form = {
            "id": version.instrument.form_id,
            "version": version.version,
            "sha256": sha256(version.xform.encode()),
        }
        self[pk] = (form, version.instrument.title)
        return self[pk]


@dataclass(frozen=True)
class Conflicts:
    """Other contents that came under the id of a stored submission."""

    kind: str = Receipt.Kind.CONFLICT.value
    feed: str = ""

    def rows(self) -> QuerySet[SubmissionConflict]:
        return SubmissionConflict.objects.all()

    def told(self, object_ids: Collection[UUID]) -> list[UUID]:
        return []

    def growing(self, ids: Collection[UUID]) -> Contents:
        rows = SubmissionConflict.objects.filter(pk__in=ids).select_related("media").defer("raw")
        return {
            row.pk: {
                "files": [{"name": row.name, "media": _file(row.media)}] if row.name else [],
                LABELS: {},
            }
            for row in rows.order_by()
        }

    def fixed(self, ids: Collection[UUID]) -> Contents:
        return {
            row.pk: {
                "submission": str(row.submission_id),
                "document": _document(row),
                "digest": row.sha256,
                "sender": str(row.sender_id),
                "device": _text(row.device_id),
                "received_at": moment(row.received_at),
                LABELS: {},
            }
            for row in _few_by_few(SubmissionConflict.objects.order_by(), ids)
        }


# ---- what was done -----------------------------------------------------------------------------


def _deed(row: ActionRecord) -> Content:
    return {
        "action": row.action,
        "by": str(row.by_id),
        "at": moment(row.at),
        "received_at": moment(row.received_at),
        "from_state": row.from_state,
        "to_state": row.to_state,
    }


@dataclass(frozen=True)
class FindingActions:
    """The steps of a rectification, with their evidence."""

    kind: str = Receipt.Kind.FINDING_ACTION.value
    feed: str = "finding"

    def rows(self) -> QuerySet[FindingAction]:
        return FindingAction.objects.all()

    def told(self, object_ids: Collection[UUID]) -> list[UUID]:
        return _actions(FindingAction, "finding", object_ids)

    def growing(self, ids: Collection[UUID]) -> Contents:
        rows = FindingAction.objects.filter(pk__in=ids).prefetch_related("media").order_by()
        return {row.pk: {"files": _evidence(row.media.all()), LABELS: {}} for row in rows}

    def fixed(self, ids: Collection[UUID]) -> Contents:
        rows = FindingAction.objects.filter(pk__in=ids).select_related("finding__school")
        return {row.pk: self._fixed(row, row.finding) for row in rows.order_by()}

    def _fixed(self, row: FindingAction, finding: Finding) -> Content:
        words = [row.content, row.note, row.measures, _iso(row.due_on)]
        return {
            **_deed(row),
            "finding": str(finding.pk),
            "school": str(finding.school_id),
            "statement": statement_hash(words),
            LABELS: {"school": f"{finding.school.code} {finding.school.name}"},
        }


def _evidence(media: Iterable[MediaObject]) -> list[Content]:
    """By id: two photos of one action may have the same name."""
    rows = sorted(media, key=lambda each: each.pk)
    return [{"name": str(each.pk), "media": _file(each)} for each in rows]


@dataclass(frozen=True)
class VisitActions:
    """Check-in with its place, completion with its summary, return and review."""

    kind: str = Receipt.Kind.VISIT_ACTION.value
    feed: str = "visit"

    def rows(self) -> QuerySet[VisitAction]:
        return VisitAction.objects.all()

    def told(self, object_ids: Collection[UUID]) -> list[UUID]:
        return _actions(VisitAction, "visit", object_ids)

    def growing(self, ids: Collection[UUID]) -> Contents:
        rows = VisitAction.objects.filter(pk__in=ids).order_by().values_list("pk", flat=True)
        return {pk: {LABELS: {}} for pk in rows}

    def fixed(self, ids: Collection[UUID]) -> Contents:
        rows = VisitAction.objects.filter(pk__in=ids).order_by()
        rows = rows.select_related("visit__school", "visit__activity")
        return {
            row.pk: {**_deed(row), "statement": statement_hash(row.content), **_place(row.visit)}
            for row in rows
        }


def _actions(model: type[Model], subject: str, object_ids: Collection[UUID]) -> list[UUID]:
    rows = model._default_manager.filter(**{f"{subject}__in": list(object_ids)})
    return list(rows.order_by("pk").values_list("pk", flat=True))


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


SOURCES: Mapping[str, Source] = {
    source.kind: source for source in (Submissions(), Conflicts(), FindingActions(), VisitActions())
}
"""By kind, in the order in which one batch gets its receipts."""
