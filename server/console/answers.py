"""A filled-in form laid out for reading: sections, questions with answers, files, what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from server.activities.models import Submission, SubmissionAttachment
from server.findings.models import Finding
from server.instruments.answers import findings_in, value_label
from server.instruments.compiled import (
    ATTACHMENTS,
    Field,
    Form,
    Texts,
    form_from_json,
    text_in,
)
from server.instruments.models import InstrumentVersion

Files = Mapping[str, SubmissionAttachment]

# What the phone records by itself or shows to the inspector: no answers of a person.
SILENT = frozenset({"note", "calculate", "start", "end", "today", "deviceid", "hidden"})


@dataclass(frozen=True)
class Line:
    """One question: its label, the answer in words, its files, and the finding that it is.

    `key` is the place of the answer, with the indexes of repeats.
    """

    key: str
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
            return Line(key, label, "", files, [name], wrong, finding)
        return Line(key, label, value_label(each, value, self.language), (), (), wrong, finding)


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


@dataclass(frozen=True)
class Proven:
    """What a photo was taken for: the question with its answer, and the remark beside it.

    Of a photo that stands for itself, `question` is the one that asks for it; it has no answer in words.
    """

    question: Line
    remark: str
    section: str


def proven_by(sections: Sequence[Section], file: SubmissionAttachment) -> Proven | None:
    """The answer that a file proves (see `file.item`), in the read answers."""
    lines = {line.key: (line, section) for section in sections for line in section.lines}
    own = next((key for key, (line, _section) in lines.items() if file.name in line.names), "")
    # The question stands beside the photo, in the same turn of a repeat, or outside of any.
    beside = f"{own.rpartition('/')[0]}/{file.item.rpartition('/')[2]}"
    key = next((each for each in (own and beside, file.item, own) if each in lines), None)
    if key is None:
        return None
    question, section = lines[key]
    remark = lines[f"{key}_note"][0].value if f"{key}_note" in lines else ""
    return Proven(question, remark, section.title)


# ---- the questions of a form by their paths ----------------------------------------------------

Questions = Mapping[str, tuple[int, Texts]]
"""By path: its place in the form's order, and its label."""

_questions: dict[UUID, Questions] = {}


def questions_of(version_ids: Iterable[UUID]) -> Mapping[UUID, Questions]:
    """The questions of publications, which never change: asked for once, in one query for all."""
    wanted = set(version_ids)
    missing = wanted - _questions.keys()
    if missing:
        rows = InstrumentVersion.objects.filter(pk__in=missing).values_list("pk", "form")
        for pk, content in rows:
            fields = form_from_json(content).walk()
            _questions[pk] = {each.path: (at, each.label) for at, each in enumerate(fields)}
    return {pk: _questions[pk] for pk in wanted if pk in _questions}
