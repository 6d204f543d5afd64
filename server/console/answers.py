"""A filled-in form laid out for reading: sections, questions with answers, files, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.activities.models import Submission, SubmissionAttachment
from server.findings.models import Finding
from server.instruments.answers import findings_in, value_label
from server.instruments.compiled import ATTACHMENTS, Field, Form, form_from_json, text_in

Files = Mapping[str, SubmissionAttachment]

# What the phone records by itself or shows to the inspector: no answers of a person.
SILENT = frozenset({"note", "calculate", "start", "end", "today", "deviceid", "hidden"})


@dataclass(frozen=True)
class Line:
    """One question: its label, the answer in words, its files, and the finding that it is."""

    label: str
    value: str
    files: Sequence[SubmissionAttachment] = ()
    names: Sequence[str] = ()
    is_finding: bool = False
    finding: Finding | None = None


@dataclass
class Section:
    """A group of questions; `level` 0 is the form itself."""

    title: str
    level: int
    lines: list[Line] = field(default_factory=list)

    @property
    def found(self) -> int:
        return sum(line.is_finding for line in self.lines)


@dataclass(frozen=True)
class _Reader:
    form: Form
    language: str
    files: Files
    wrong: frozenset[str]
    findings: Mapping[str, Finding]

    def sections(
        self, fields: Sequence[Field], answers: Mapping[str, Any], section: Section, at: str
    ) -> Iterator[Section]:
        """The section itself with its own questions, then those inside it, in the form's order."""
        yield section
        for each in fields:
            value, key = answers.get(each.name), f"{at}/{each.name}"
            if each.type == "group":
                inside = value or {}
                yield from self.sections(each.children, inside, self._titled(each, section), key)
            elif each.type == "repeat":
                yield from self._repeated(each, value or [], section, key)
            elif each.type not in SILENT and value not in (None, "", []):
                section.lines.append(self._line(each, value, key))

    def _repeated(
        self, each: Field, instances: Sequence[Any], section: Section, key: str
    ) -> Iterator[Section]:
        for index, inside in enumerate(instances):
            titled = self._titled(each, section, number=index + 1)
            yield from self.sections(each.children, inside, titled, f"{key}/{index}")

    def _titled(self, each: Field, section: Section, number: int = 0) -> Section:
        title = text_in(each.label, self.language) or (section.title if not number else each.name)
        return Section(f"{title} {number}" if number else title, section.level + 1)

    def _line(self, each: Field, value: Any, key: str) -> Line:
        label = text_in(each.label, self.language) or each.name
        wrong, finding = key in self.wrong, self.findings.get(key)
        if each.type in ATTACHMENTS:
            name = str(value)
            files = [self.files[name]] if name in self.files else []
            return Line(label, "", files, [name], wrong, finding)
        return Line(label, value_label(each, value, self.language), (), (), wrong, finding)


def read_answers(
    submission: Submission, findings: Sequence[Finding], language: str
) -> list[Section]:
    """The submission's answers in its form's words. Sections without answers are left out.

    `findings`: those of the visit or of the chain of edits, whatever their state.
    """
    form = form_from_json(submission.version.form)
    prefix = f"{submission.root_id}:"
    reader = _Reader(
        form=form,
        language="en" if language.startswith("en") else "zh",
        files={file.name: file for file in submission.attachments.all()},
        wrong=frozenset(found.key for found in findings_in(form, submission.answers)),
        findings={
            finding.source_key.removeprefix(prefix): finding
            for finding in findings
            if finding.source_key and finding.source_key.startswith(prefix)
        },
    )
    sections = reader.sections(form.fields, submission.answers, Section("", 0), "")
    return [section for section in list(sections) if section.lines]
