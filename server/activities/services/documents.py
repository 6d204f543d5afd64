"""A filled-in form as it came from a phone, read and checked: XML and JSON become one Document."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from django.utils.translation import gettext as _

from server.activities.models import Submission
from server.core import clock
from server.core.errors import Invalid, Problem
from server.instruments.answers import attachments_named
from server.instruments.queries import PublishedForm, published_form
from server.instruments.xmldoc import answers_from_xml, read_header

VISIT_FIELD = "visit_id"


@dataclass(frozen=True, kw_only=True)
class Document:
    """One filled-in instrument, checked against its form, not yet stored."""

    id: UUID
    form: PublishedForm
    format: str
    raw: bytes
    sha256: str
    answers: dict[str, Any]
    files: frozenset[str]
    visit_id: UUID | None = None
    replaces_id: UUID | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    device_time: datetime | None = None


def document_from_xml(raw: bytes) -> Document:
    """Read an OpenRosa submission. Raises Malformed, UnknownForm, Invalid with the fields."""
    header = read_header(raw)
    form = published_form(header.form_id, header.version)
    checked = form.checker.check(answers_from_xml(form.form, header.root))
    answers = checked.answers
    own_id = instance_uuid(header.instance_id)
    replaces = instance_uuid(header.deprecated_id) if header.deprecated_id else None
    return Document(
        id=own_id,
        form=form,
        format=Submission.Format.XML,
        raw=raw,
        sha256=hashlib.sha256(raw).hexdigest(),
        answers=answers,
        files=frozenset(attachments_named(form.form, answers) | ({header.audit} - {""})),
        visit_id=_visit_in(form, answers),
        replaces_id=None if replaces == own_id else replaces,
        started_at=_moment(answers.get("start")),
        ended_at=_moment(answers.get("end")),
    )


def document_from_json(
    *,
    submission_id: UUID,
    form_id: str,
    version: str,
    answers: dict[str, Any],
    raw: bytes,
    visit_id: UUID | None,
    started_at: datetime | None,
    ended_at: datetime | None,
    device_time: datetime | None,
) -> Document:
    """Check a JSON submission. Its digest leaves out what a retry may change (files, device_time).

    Raises UnknownForm, Invalid with pointers into the request.
    """
    _check_moments(started_at=started_at, ended_at=ended_at, device_time=device_time)
    form = published_form(form_id, version)
    checked = form.checker.check(answers, at=ended_at or device_time)
    content = [form_id, version, visit_id, checked.answers, started_at, ended_at]
    canonical = msgspec.json.encode(content, order="sorted")
    return Document(
        id=submission_id,
        form=form,
        format=Submission.Format.JSON,
        raw=raw,
        sha256=hashlib.sha256(canonical).hexdigest(),
        answers=checked.answers,
        files=frozenset(attachments_named(form.form, checked.answers)),
        visit_id=visit_id or _visit_in(form, checked.answers),
        started_at=started_at,
        ended_at=ended_at,
        device_time=device_time,
    )


def instance_uuid(instance_id: str) -> UUID:
    """The id of an instanceID: its UUID ("uuid:…"), or one made from any other text."""
    try:
        return UUID(instance_id.removeprefix("uuid:"))
    except ValueError:
        return uuid5(NAMESPACE_URL, instance_id)


def _visit_in(form: PublishedForm, answers: dict[str, Any]) -> UUID | None:
    named = answers.get(VISIT_FIELD) or form.checker.answer_named(answers, VISIT_FIELD)
    try:
        return UUID(str(named))
    except ValueError:
        return None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo and clock.is_possible(moment) else None


def _check_moments(**moments: datetime | None) -> None:
    """Raises Invalid for what no calendar of a database or of another zone can hold."""
    problems = [
        Problem(f"/{name}", "out_of_range", _("这个时间不可能，请检查手机的时钟。"))
        for name, moment in moments.items()
        if moment and not clock.is_possible(moment)
    ]
    if problems:
        raise Invalid(problems=problems)
