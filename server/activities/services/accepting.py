"""The accept path: store what a phone sent, once, whole, and derive everything else later.

One statement inserts the submission, the files that it names and the change-log row; a unique id
decides races, so that identical posts at the same moment all succeed. No row that other submissions
touch is locked or updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.models import MediaObject
from server.activities.accept_sql import Conditions, insert_if_allowed, insert_submission
from server.activities.machine import FILLABLE_STATES
from server.activities.models import (
    Activity,
    Submission,
    SubmissionAttachment,
    SubmissionConflict,
    Visit,
)
from server.activities.queries import missing, open_visits_of
from server.activities.services.documents import Document
from server.activities.services.visits import ActivityClosed
from server.core import clock
from server.core.changes import record_change
from server.core.errors import ContentConflict, Invalid, NotFound, Problem, WrongState
from server.core.standing import StandingQuery
from server.core.work import wake
from server.instruments.queries import PublishedForm, UnknownForm, instruments_visible_to
from server.messaging.models import Device
from server.messaging.sessions import device_of_now, usable_device


class Outcome(Enum):
    """What became of a post."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Accepted:
    """A stored submission, and the files that it names but nobody has brought yet."""

    submission_id: UUID
    outcome: Outcome
    missing: frozenset[str]


@dataclass(frozen=True)
class BroughtFile:
    """A file for a submission. `fresh`: its bytes came with this post, its row is not saved yet."""

    name: str
    media: MediaObject
    fresh: bool = False


class FileNotNamed(Invalid):
    code = "attachment_not_named"
    title = gettext_lazy("文件不属于这份填报")


class VisitFinished(WrongState):
    code = "visit_reviewed"


class FormNotOfVisit(Invalid):
    code = "form_not_of_visit"
    title = gettext_lazy("此任务不使用这个表单")


@dataclass(frozen=True)
class _Place:
    """Where a submission belongs: nowhere, until somebody attaches it, or at a visit."""

    visit_id: UUID | None = None
    school_id: UUID | None = None


def accept_submission(
    *, document: Document, device: Device, files: Sequence[BroughtFile] = (), lately: bool = False
) -> Accepted:
    """Store the document and join the files to it. The same again is a success.

    `lately`: the device was usable within the last minute, and nobody has asked since. Raises
    NotFound (somebody else's visit), ActivityClosed, VisitFinished, FormNotOfVisit, UnknownForm,
    FileNotNamed; ContentConflict for other content under the same id, after keeping it; and
    NotAuthenticated where the device is not usable any more.
    """
    check_files_named(document, [file.name for file in files])
    if accepted := _store_at_once(document, device, files):
        return accepted
    if lately:
        device = device_of_now(device)
    place = _place_of(document, device)
    accepted = _store(document, device, files, place)
    if accepted.outcome is Outcome.CONFLICT:
        raise ContentConflict(
            _("服务器上已有同一编号但内容不同的填报。两份都已保留，请联系督导办处理。")
        )
    return accepted


def check_files_named(document: Document, names: Sequence[str]) -> None:
    """Raises FileNotNamed for files that the document does not speak of."""
    strangers = [name for name in names if name not in document.files]
    if strangers:
        raise FileNotNamed(
            _("填报中没有提到文件“%s”，请检查后重新发送。") % "、".join(strangers),
            problems=[
                Problem(f"/attachments/{name}", "attachment_not_named", _("填报没有提到此文件。"))
                for name in strangers
            ],
        )


def _store_at_once(
    document: Document, device: Device, files: Sequence[BroughtFile]
) -> Accepted | None:
    """The usual case in one statement: a new submission of a visit, by somebody who may send it."""
    if document.visit_id is None:
        return None
    row = _row(document, device, _Place(document.visit_id))
    conditions = Conditions(
        usable_device(device),
        _FILLABLE.written(document.visit_id, device.user_id, document.form.instrument_id),
    )
    if insert_if_allowed(row, _attachments(document, files), _fresh(files), conditions):
        return _new(document, files)
    return None


def _store(
    document: Document, device: Device, files: Sequence[BroughtFile], place: _Place
) -> Accepted:
    row = _row(document, device, place)
    # One statement, so it needs no transaction around it.
    if insert_submission(row, _attachments(document, files), _fresh(files), place):
        return _new(document, files)
    return _join(document, device, files)


def _new(document: Document, files: Sequence[BroughtFile]) -> Accepted:
    wake("submissions")
    absent = document.files.difference(file.name for file in files if file.media.is_uploaded)
    return Accepted(document.id, Outcome.NEW, absent)


def _fresh(files: Sequence[BroughtFile]) -> list[MediaObject]:
    return [file.media for file in files if file.fresh]


def _row(document: Document, device: Device, place: _Place) -> Submission:
    moment = clock.now()
    return Submission(
        id=document.id,
        root_id=document.replaces_id or document.id,
        replaces_id=document.replaces_id,
        version_id=document.form.version_id,
        visit_id=place.visit_id,
        sender_id=device.user_id,
        device_id=device.pk,
        format=document.format,
        raw=document.raw,
        sha256=document.sha256,
        answers=document.answers,
        started_at=document.started_at,
        ended_at=document.ended_at,
        device_time=document.device_time,
        received_at=moment,
        work_due_at=moment,
    )


def _attachments(document: Document, files: Sequence[BroughtFile]) -> list[SubmissionAttachment]:
    brought = {file.name: file.media for file in files}
    return [
        SubmissionAttachment(
            submission_id=document.id,
            name=name,
            media_id=brought[name].pk if name in brought else None,
        )
        for name in sorted(document.files)
    ]


@transaction.atomic
def _join(document: Document, device: Device, files: Sequence[BroughtFile]) -> Accepted:
    """The id is taken: add what the stored submission lacks, keep what contradicts it."""
    MediaObject.objects.bulk_create([file.media for file in files if file.fresh])
    stored = Submission.objects.select_for_update().only("pk", "sha256").get(pk=document.id)
    if stored.sha256 != document.sha256:
        _keep_conflict(document, device)
        for file in files:
            _keep_conflict(document, device, file)
        return Accepted(document.id, Outcome.CONFLICT, frozenset())
    attachments = {row.name: row for row in stored.attachments.select_related("media")}
    outcome = Outcome.SAME
    free = {name for name, row in attachments.items() if row.media_id is None}
    for file in files:
        if _join_file(attachments[file.name], file, document, device) is Outcome.CONFLICT:
            outcome = Outcome.CONFLICT
    if any(file.name in free for file in files):
        # What is derived from the submission may depend on its files.
        Submission.objects.filter(pk=document.id).update(work_due_at=clock.now())
        wake("submissions")
    absent = stored.attachments.filter(missing()).values_list("name", flat=True)
    return Accepted(document.id, outcome, frozenset(absent))


def _join_file(
    attachment: SubmissionAttachment, file: BroughtFile, document: Document, device: Device
) -> Outcome:
    if attachment.media is None:
        attachment.media = file.media
        attachment.save(update_fields=["media"])
        record_change("submission", document.id, user_ids=[device.user_id])
    elif attachment.media_id == file.media.pk:
        pass
    elif attachment.media.sha256 == file.media.sha256:
        _drop_duplicate(file)
    else:
        _keep_conflict(document, device, file)
        return Outcome.CONFLICT
    return Outcome.SAME


def _drop_duplicate(file: BroughtFile) -> None:
    if file.fresh:
        from media_storage.services import discard

        file.media.delete()
        transaction.on_commit(lambda: discard(key=file.media.key), robust=True)


def _keep_conflict(document: Document, device: Device, file: BroughtFile | None = None) -> None:
    _conflict, is_new = SubmissionConflict.objects.get_or_create(
        submission_id=document.id,
        sha256=file.media.sha256 if file else document.sha256,
        name=file.name if file else "",
        defaults={
            "sender_id": device.user_id,
            "device": device,
            "format": document.format,
            "raw": document.raw,
            "media": file.media if file else None,
        },
    )
    if file and not is_new:
        _drop_duplicate(file)


def _place_of(document: Document, device: Device) -> _Place:
    """The visit that the document names, else the sender's only open one with this form, else none."""
    if document.visit_id is not None:
        return _named_visit(document.visit_id, document.form, device)
    candidates = list(
        open_visits_of(device.user)
        .filter(activity__instruments=document.form.instrument_id)
        .values_list("pk", "school_id")[:2]
    )
    if len(candidates) == 1:
        return _Place(*candidates[0])
    visible = instruments_visible_to(device.user).filter(pk=document.form.instrument_id)
    if not candidates and not visible.exists():
        raise UnknownForm
    return _Place()


def _named_visit(visit_id: UUID, form: PublishedForm, device: Device) -> _Place:
    found = _VISIT.first_values(visit_id, device.user_id, form.instrument_id)
    if found is None:
        raise NotFound(_("找不到这个任务，或它没有分配给您。请更新任务列表。"))
    school_id, state, activity_state, uses_form = found
    if not uses_form:
        raise FormNotOfVisit
    if activity_state == Activity.State.CLOSED:
        raise ActivityClosed(_("活动已结束，不能再填报。手机上的记录请保留，并联系督导办。"))
    if state not in FILLABLE_STATES:
        raise VisitFinished(_("任务已审核，不能再填报。如需补充，请联系督导办退回任务。"))
    return _Place(visit_id, school_id)


def _visit_with_form(visit_id: UUID, user_id: UUID, instrument_id: UUID) -> QuerySet[Visit, Any]:
    """What decides whether somebody of the visit's team may fill in this form there."""
    return (
        Visit.objects.filter(pk=visit_id, team=user_id)
        .annotate(uses_form=_uses_form(instrument_id))
        .order_by()
        .values_list("school_id", "state", "activity__state", "uses_form")
    )


def _fillable_visit(visit_id: UUID, user_id: UUID, instrument_id: UUID) -> QuerySet[Visit, Any]:
    """The school of the visit, where `_named_visit` has nothing to say against it."""
    return (
        Visit.objects.filter(_uses_form(instrument_id), pk=visit_id, team=user_id)
        .filter(state__in=FILLABLE_STATES)
        .exclude(activity__state=Activity.State.CLOSED)
        .order_by()
        .values_list("school_id")
    )


def _uses_form(instrument_id: UUID) -> Exists:
    return Exists(
        Activity.instruments.through.objects.filter(
            activity=OuterRef("activity"), instrument=instrument_id
        )
    )


_VISIT = StandingQuery(_visit_with_form, UUID, UUID, UUID)
_FILLABLE = StandingQuery(_fillable_visit, UUID, UUID, UUID)
