"""The certificate of a deletion: which file, by which rule, who decided, and what the store answers now.

It is written once, when the bytes are gone. Its SHA-256 stands in the deletion's row and in the audit
log, which nobody can change: so a certificate that is shown later can be compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.utils import translation
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from server.care.models import Deletion
from server.care.queries import Use

FORMAT = "duxue-deletion/1"
Document = dict[str, Any]


@dataclass(frozen=True)
class Certificate:
    """What explains an absence: for receipts, pages and answers to a request."""

    media_id: UUID
    number: str
    rule: str
    deleted_at: datetime
    file_sha256: str
    document: Document
    document_sha256: str


def deletion_certificates_of(media_ids: Collection[UUID]) -> dict[UUID, Certificate]:
    """The certificates of those of the files that were deleted. One query."""
    rows = Deletion.objects.filter(media__in=media_ids, state=Deletion.State.DELETED)
    return {row.media_id: certificate_of(row) for row in rows}


def numbers_of(media_ids: Collection[UUID]) -> dict[UUID, str]:
    """The numbers of the certificates of those of the files that were deleted."""
    return {id: each.number for id, each in deletion_certificates_of(media_ids).items()}


def certificate_of(row: Deletion) -> Certificate:
    """Of a deletion that is done."""
    assert row.certificate  # noqa: S101 - deletion_deleted_is_certified
    assert row.deleted_at  # noqa: S101
    return Certificate(
        media_id=row.media_id,
        number=row.number,
        rule=row.rule,
        deleted_at=row.deleted_at,
        file_sha256=row.certificate["file"]["sha256"],
        document=row.certificate,
        document_sha256=row.certificate_sha256,
    )


def digest_of(document: Document) -> str:
    """SHA-256 of the document's canonical form: keys sorted, no blanks, UTF-8."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def is_genuine(document: Document) -> bool:
    """Whether this document is, to the letter, one that this installation issued."""
    number = str(document.get("certificate", ""))
    digest = digest_of(document)
    rows = Deletion.objects.filter(certificate_sha256=digest, state=Deletion.State.DELETED)
    return any(row.number == number for row in rows)


def draw_up(
    row: Deletion,
    *,
    uses: Sequence[Use],
    answers: Mapping[str, str],
    versions: int | None,
    checked_at: datetime,
) -> Document:
    """The certificate's text. `answers`: what the store said of each key after the deletion.

    In Chinese, whoever's request or process writes it: it is a document of the office.
    """
    media = row.media
    with translation.override("zh-hans"):
        return {
            "format": FORMAT,
            "certificate": row.number,
            "file": {
                "id": str(media.pk),
                "name": media.filename,
                "content_type": media.content_type,
                "size": media.size,
                "sha256": media.sha256,
                "taken_at": _moment(media.taken_at),
                "stored_at": _moment(media.stored_at),
                "uploaded_by": str(media.owner) if media.owner else None,
            },
            "used_in": [use.as_json() for use in uses],
            "rule": {"code": row.rule, "text": _rule_text(row), "reason": row.reason},
            "decided_by": str(row.decided_by) if row.decided_by else None,
            "decided_at": _moment(row.found_at),
            "announced_until": _moment(row.delete_after),
            "started_at": _moment(row.started_at),
            "deleted_at": _moment(checked_at),
            "store": _store_name(),
            "objects": [{"key": key, "answer": answers[key]} for key in sorted(answers)],
            "old_versions_removed": versions,
            "checked_at": _moment(checked_at),
        }


def _rule_text(row: Deletion) -> str:
    if row.rule == Deletion.Rule.REQUEST:
        return _("按申请删除")
    if row.activity is None or row.activity.media_kept_until is None:
        return _("保存期满删除")
    return _("“%(activity)s”的佐证材料在活动结束后保存 %(days)s 天，至 %(until)s 期满") % {
        "activity": row.activity.title,
        "days": row.activity.keep_media_days,
        "until": row.activity.media_kept_until.isoformat(),
    }


def _store_name() -> str:
    """The store without its keys."""
    parts = urlsplit(settings.MEDIA_STORE_URL)
    if parts.scheme == "folder":
        return "folder"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _moment(moment: datetime | None) -> str | None:
    return localtime(moment).isoformat(timespec="seconds") if moment else None
