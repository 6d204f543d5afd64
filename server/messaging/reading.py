"""What recipients do with a notice: read it, confirm it, answer its form, open its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from media_storage.models import MediaObject
from media_storage.services import READ_TIME, readable_url
from server.core import clock
from server.core.changes import record_change
from server.core.errors import Conflict, ContentConflict, NotFound
from server.grid.models import User
from server.messaging.models import (
    Delivery,
    Device,
    Notice,
    NoticeAnswer,
    NoticeAttachment,
    PastReceipt,
)
from server.messaging.queries import INBOX, inbox_shown_to, notices_written_by_office_of
from server.messaging.questions import checked_answers

State = MediaObject.State
READABLE = (State.STORED, State.PROCESSING, State.READY)


class NoticeClosed(Conflict):
    code = "notice_closed"
    title = _("这条通知已截止或已撤回，不能再填写；如仍需提交，请联系发出单位")


class NoQuestions(Conflict):
    code = "no_questions"
    title = _("这条通知不需要填写回执")


@dataclass(frozen=True)
class OpenedFile:
    """A signed address of a notice's file; it works until `expires_at`."""

    media: MediaObject
    url: str
    expires_at: datetime


def mark_read(
    *, notice_id: UUID, by: User, device: Device | None = None, at: datetime | None = None
) -> Delivery:
    """The person has read the notice; `at` is their device's clock. Repeating it changes nothing."""
    with transaction.atomic():
        row = _own(notice_id, by)
        _save(row, by, _read(row, device, at, clock.now()))
    return row


def acknowledge(
    *, notice_id: UUID, by: User, device: Device | None = None, at: datetime | None = None
) -> Delivery:
    """The person confirms the notice as it is now, which reads it too. Repeating it changes nothing."""
    with transaction.atomic():
        row = _own(notice_id, by)
        moment = clock.now()
        changed = _read(row, device, at, moment)
        if row.acknowledged_since is None:
            _keep_past(row)
            row.acknowledged_at, row.acknowledged_device_time = moment, at
            row.acknowledged_by_device = device
            changed += ["acknowledged_at", "acknowledged_device_time", "acknowledged_by_device"]
        _save(row, by, changed)
    return row


def answer(
    *,
    notice_id: UUID,
    answer_id: UUID,
    by: User,
    answers: Mapping[str, Any],
    device: Device | None = None,
    at: datetime | None = None,
) -> Delivery:
    """The person answers the notice's form, which reads it too; a later answer replaces this one.

    The same id and answers, or the answers as they are, change nothing. Raises NotFound, NoQuestions,
    NoticeClosed, Invalid with /answers/{question}, ContentConflict.
    """
    with transaction.atomic():
        row = _own(notice_id, by)
        if row.notice.form is None:
            raise NoQuestions
        known = NoticeAnswer.objects.filter(id=answer_id).first()
        checked = checked_answers(row.notice.form, answers)
        if known is not None:
            if (known.notice_id, known.person_id) != (notice_id, by.pk) or known.answers != checked:
                raise ContentConflict
            return row
        moment = clock.now()
        if row.notice.state != Notice.State.SENT or row.notice.is_closed(moment):
            raise NoticeClosed
        current = NoticeAnswer.objects.filter(notice=notice_id, person=by, replaced_at=None).first()
        if current and current.answers == checked and row.answered_since:
            return row
        NoticeAnswer.objects.filter(notice=notice_id, person=by, replaced_at=None).update(
            replaced_at=moment
        )
        NoticeAnswer.objects.create(
            id=answer_id,
            notice_id=notice_id,
            person=by,
            number=current.number + 1 if current else 1,
            answers=checked,
            at=moment,
            device_time=at,
            device=device,
        )
        row.answered_at = moment
        _save(row, by, [*_read(row, device, at, moment), "answered_at"])
    return row


def shown_to(by: User, notice_id: UUID) -> Delivery:
    """The notice in the person's inbox, with all that is shown of it. Raises NotFound."""
    row = inbox_shown_to(by).filter(notice_id=notice_id).first()
    if row is None:
        raise NotFound
    return row


def open_attachment(*, notice_id: UUID, media_id: UUID, by: User, base_url: str) -> OpenedFile:
    """A short-lived address of a file, for recipients while the notice stands, and its office.

    Raises NotFound for everybody else, Conflict for what cannot be opened.
    """
    attached = NoticeAttachment.objects.filter(notice=notice_id, media=media_id)
    if not notices_written_by_office_of(by).filter(id=notice_id).exists():
        attached = attached.filter(
            removed_at=None,
            notice__state=Notice.State.SENT,
            notice__deliveries__in=Delivery.objects.filter(recipient=by, channel=INBOX),
        )
    found = attached.select_related("media").first()
    if found is None:
        raise NotFound
    media = found.media
    if media.state not in READABLE:
        raise Conflict(media.reject_reason or _("文件尚未上传。"))
    url = readable_url(media, base_url=base_url)
    return OpenedFile(media, url, clock.now() + READ_TIME)


# ---- steps ------------------------------------------------------------------------------------


def _own(notice_id: UUID, by: User) -> Delivery:
    """The person's inbox row, locked: of two that answer at once, the second sees the first's."""
    row = (
        Delivery.objects.select_for_update(of=("self",))
        .select_related("notice__school", "notice__office", "recipient")
        .filter(notice_id=notice_id, recipient=by, channel=INBOX)
        .first()
    )
    if row is None:
        raise NotFound
    return row


def _read(row: Delivery, device: Device | None, at: datetime | None, moment: datetime) -> list[str]:
    if row.read_at is not None:
        return []
    row.read_at, row.read_device_time, row.read_by_device = moment, at, device
    return ["read_at", "read_device_time", "read_by_device"]


def _keep_past(row: Delivery) -> None:
    """A confirmation of an earlier version stays in the history."""
    if row.acknowledged_at is not None:
        PastReceipt.objects.create(
            notice_id=row.notice_id,
            person=row.person,
            acknowledged_at=row.acknowledged_at,
            device_time=row.acknowledged_device_time,
            device=row.acknowledged_by_device,
        )


def _save(row: Delivery, by: User, changed: list[str]) -> None:
    if changed:
        row.save(update_fields=changed)
        record_change("notice", row.notice_id, user_ids=[by.pk])
