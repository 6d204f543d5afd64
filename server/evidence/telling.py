"""Phones learn of flags with what they show the photo in: its submission, its finding, its visit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from server.activities.models import Submission, Visit
from server.activities.services.planning import record_visit_change
from server.core.changes import record_change
from server.evidence.models import Flag
from server.findings.models import Finding


def tell_phones(flags: Sequence[Flag]) -> None:
    """Record, in the caller's transaction, what shows these flags of one photo or one visit."""
    _tell_of_records([flag for flag in flags if flag.media_id])
    _tell_of_findings({flag.finding_id for flag in flags if flag.finding_id})
    _tell_of_visits({flag.visit_id for flag in flags if flag.visit_id and not flag.media_id})


def _tell_of_records(flags: Sequence[Flag]) -> None:
    visits = {flag.visit_id for flag in flags if flag.visit_id}
    roots = {flag.root_id for flag in flags if flag.root_id}
    photos = {flag.media_id for flag in flags}
    records = Submission.objects.filter(attachments__media__in=photos).order_by("pk").distinct()
    if visits:
        at_visits = records.filter(visit__in=visits)
        for pk, school_id in at_visits.values_list("pk", "visit__school_id"):
            record_change("submission", pk, school_id=school_id)
    if roots:
        alone = records.filter(visit=None, root_id__in=roots)
        for pk, sender_id in alone.values_list("pk", "sender_id"):
            record_change("submission", pk, user_ids=[sender_id])


def _tell_of_findings(finding_ids: Iterable[UUID]) -> None:
    if finding_ids:
        rows = Finding.objects.filter(pk__in=finding_ids).order_by("pk")
        for pk, school_id in rows.values_list("pk", "school_id"):
            record_change("finding", pk, school_id=school_id)


def _tell_of_visits(visit_ids: Iterable[UUID]) -> None:
    if visit_ids:
        rows = Visit.objects.filter(pk__in=visit_ids).order_by("pk")
        for visit in rows.select_related("activity", "school__area"):
            record_visit_change(visit, visit.activity)
