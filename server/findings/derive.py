"""Findings from answers: exactly once per answer, however often the deriving runs.

The key of a finding is the first document of the chain of edits and the place of the answer in the
form, so an edit meets the findings of what it replaces: new ones are added, and an open one whose
answer is now in order is withdrawn. What a school has answered stays with the people.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from server.activities.models import Submission
from server.core import clock
from server.core.changes import record_change
from server.findings.models import Finding
from server.findings.services import announce_finding
from server.grid.models import School
from server.instruments.answers import FoundFinding, findings_in
from server.instruments.compiled import text_in
from server.instruments.queries import published_form


def derive_findings(submission: Submission) -> None:
    """Write what the submission's answers say is wrong. In the deriver's transaction."""
    visit = submission.visit
    if visit is None or submission.replacements.exists():
        return
    version = submission.version
    form = published_form(version.instrument.form_id, version.version).form
    found = {
        f"{submission.root_id}:{item.key}": item for item in findings_in(form, submission.answers)
    }
    _withdraw_mended(submission, list(found))
    stored = set(_of_chain(submission).values_list("source_key", flat=True))
    for key, item in found.items():
        if key not in stored:
            _raise(submission, visit.school, key, item)


def _raise(submission: Submission, school: School, key: str, item: FoundFinding) -> None:
    finding = Finding.objects.create(
        source_key=key,
        school=school,
        activity_id=submission.visit.activity_id if submission.visit else None,
        visit=submission.visit,
        submission=submission,
        item=item.path,
        title=text_in(item.title, "zh")[:300],
        detail=remark_on(submission.answers, item.key) or item.value_label,
        severity=item.severity,
        due_on=clock.today() + timedelta(days=item.days),
        raised_by_id=submission.sender_id,
    )
    announce_finding(finding)


def remark_on(answers: dict[str, Any], key: str) -> str:
    """The text beside the answer, by the convention of our forms: `licence` and `licence_note`."""
    *above, name = key.strip("/").split("/")
    section: Any = answers
    for step in above:
        section = section[int(step)] if isinstance(section, list) else section[step]
    return str(section.get(f"{name}_note") or "")


def _of_chain(submission: Submission) -> QuerySet[Finding]:
    return Finding.objects.filter(source_key__startswith=f"{submission.root_id}:")


def _withdraw_mended(submission: Submission, keys: list[str]) -> None:
    mended = _of_chain(submission).filter(state=Finding.State.OPEN).exclude(source_key__in=keys)
    for finding in mended:
        finding.state = Finding.State.WITHDRAWN
        finding.detail = f"{finding.detail}\n{_('填报修改后，此项已符合要求。')}".strip()
        finding.save()
        record_change("finding", finding.pk, school_id=finding.school_id)
