"""Findings from answers: exactly once per answer, however often the deriving runs.

The key of a finding is the first document of the chain of edits and the place of the answer in the
form, so an edit meets the findings of what it replaces: new ones are added, an open one whose answer
is now in order is withdrawn, and comes back where a later edit has it again. What a school has answered stays with the people.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from server.activities.models import Submission
from server.core import clock
from server.core.changes import record_change
from server.findings.machine import WITHDRAW
from server.findings.models import Finding
from server.findings.services import announce_finding
from server.instruments.answers import FoundFinding, findings_in
from server.instruments.compiled import Form, text_in
from server.instruments.queries import published_form


def derive_findings(submission: Submission) -> None:
    """Write what the submission's chain says is wrong. In the deriver's transaction.

    The last edit speaks for its chain. Two edits of one document, from two phones, both do: what
    either of them has found stays open. So the order of arrival does not matter.
    """
    ends = list(_ends_of(submission.root_id))
    if not ends:
        return
    found: dict[str, tuple[Submission, FoundFinding]] = {}
    for end in ends:
        for item in findings_in(_form_of(end), end.answers):
            found.setdefault(f"{end.root_id}:{item.key}", (end, item))
    _withdraw_mended(submission, list(found))
    stored = {finding.source_key: finding for finding in _of_root(submission.root_id)}
    for key, (end, item) in found.items():
        if key not in stored:
            _raise(end, key, item)
        elif stored[key].state == Finding.State.WITHDRAWN:
            _raise_again(stored[key])


def _ends_of(root_id: UUID) -> QuerySet[Submission]:
    """What nothing replaces, at a visit; of the chain."""
    replacing = Submission.objects.filter(replaces=OuterRef("pk"))
    rows = Submission.objects.filter(~Exists(replacing), root_id=root_id, visit__isnull=False)
    return rows.select_related("visit__school", "version__instrument").order_by("received_at", "pk")


def _form_of(submission: Submission) -> Form:
    version = submission.version
    return published_form(version.instrument.form_id, version.version).form


def _raise(submission: Submission, key: str, item: FoundFinding) -> None:
    visit = submission.visit
    assert visit is not None  # noqa: S101 - `_ends_of` asks for it
    finding = Finding.objects.create(
        source_key=key,
        school=visit.school,
        activity_id=visit.activity_id,
        visit=visit,
        submission=submission,
        item=item.path,
        title=text_in(item.title, "zh")[:300],
        detail=remark_on(submission.answers, item.key) or item.value_label,
        severity=item.severity,
        due_on=clock.today() + timedelta(days=item.days),
        raised_by_id=submission.sender_id,
    )
    announce_finding(finding)


def _raise_again(finding: Finding) -> None:
    """An edit took the finding back and a later one has it again. What a person withdrew stays so."""
    if not finding.actions.filter(action=WITHDRAW).exists():
        finding.state = Finding.State.OPEN
        finding.save()
        announce_finding(finding)


def remark_on(answers: dict[str, Any], key: str) -> str:
    """The text beside the answer, by the convention of our forms: `licence` and `licence_note`."""
    *above, name = key.strip("/").split("/")
    section: Any = answers
    for step in above:
        section = section[int(step)] if isinstance(section, list) else section[step]
    return str(section.get(f"{name}_note") or "")


def move_findings(*, old_root: UUID, new_root: UUID, **_signal: Any) -> None:
    """A chain turned out to be the tail of another: its findings go there, doubles are withdrawn."""
    known = set(_of_root(new_root).values_list("source_key", flat=True))
    for finding in _of_root(old_root):
        key = f"{new_root}:{str(finding.source_key).split(':', 1)[1]}"
        if key not in known:
            finding.source_key = key
            finding.save(update_fields=["source_key"])
        elif finding.state == Finding.State.OPEN:
            _withdraw(finding, _("同一问题已在此前的填报中提出。"))


def _of_root(root_id: UUID) -> QuerySet[Finding]:
    return Finding.objects.filter(source_key__startswith=f"{root_id}:")


def _withdraw_mended(submission: Submission, keys: list[str]) -> None:
    open_ones = _of_root(submission.root_id).filter(state=Finding.State.OPEN)
    for finding in open_ones.exclude(source_key__in=keys):
        _withdraw(finding, _("填报修改后，此项已符合要求。"))


def _withdraw(finding: Finding, why: str) -> None:
    finding.state = Finding.State.WITHDRAWN
    finding.detail = f"{finding.detail}\n{why}".strip()
    finding.save()
    record_change("finding", finding.pk, school_id=finding.school_id)
