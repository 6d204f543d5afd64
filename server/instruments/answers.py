"""Checking answers against their form: types, choices, relevance, required, constraints; and findings.

A `Checker` is prepared once per form version. One check is a walk over the answers that types them,
then three flat lists of compiled rules, relevance first, so that answers which the form does not
ask for are dropped before anything is required of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from server.core import clock
from server.core.errors import Invalid, Problem, Problems
from server.instruments.compiled import (
    ATTACHMENTS,
    SECTIONS,
    Field,
    FindingRule,
    Form,
    Severity,
    Texts,
    text_in,
)
from server.instruments.expressions import (
    Environment,
    Expression,
    NotEvaluable,
    Place,
    Places,
    Scope,
    compile_expression,
    plain_text,
)
from server.instruments.proofs import proven_item
from server.instruments.values import Convert, WrongValue, converter_for
from server.instruments.xpath import ExpressionError
from server.instruments.xpath_functions import to_text

MAX_INSTANCES = 1000

Answers = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CheckedAnswers:
    """Answers that keep the form's rules, typed, in the form's order.

    `dropped` are pointers to answers that the form did not ask for, given the others.
    """

    answers: Answers
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundFinding:
    """An answer that is a finding. `key` is the place with the indexes of repeats."""

    path: str
    key: str
    value: Any
    value_label: str
    severity: Severity
    days: int
    title: Texts


@dataclass(frozen=True, slots=True)
class _Section:
    """The form itself, a group or a repeat, prepared for the walk."""

    leaves: dict[str, Convert]
    groups: dict[str, _Section]
    repeats: dict[str, _Section]

    def blank(self) -> Answers:
        """No answers, every section in its place, as rules expect it."""
        shape: Answers = {name: group.blank() for name, group in self.groups.items()}
        shape.update((name, []) for name in self.repeats)
        return shape


def _section(fields: tuple[Field, ...]) -> _Section:
    return _Section(
        {each.name: converter_for(each) for each in fields if each.type not in SECTIONS},
        {each.name: _section(each.children) for each in fields if each.type == "group"},
        {each.name: _section(each.children) for each in fields if each.type == "repeat"},
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    """One expression of one field. `guards`: itself and sections around it that have a relevance."""

    kind: str
    field: Field
    place: Place
    expression: Expression
    sections: tuple[str, ...]
    guards: tuple[str, ...] = ()

    def container(self, scope: Scope) -> Answers:
        inside: Answers = scope[-1]
        for name in self.sections:
            inside = inside[name]
        return inside


@dataclass(slots=True)
class _Run:
    """What one check collects."""

    environment: Environment
    problems: list[Problem] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    irrelevant: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)


class Checker:
    """The rules of one form version, compiled. Safe to share between threads."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.places = Places(form)
        self.unchecked: list[tuple[str, str, str]] = []
        """(path, rule, function) of what only phones check."""
        self._fields = {each.path: each for each in form.walk()}
        self._shape = _section(form.fields)
        self._unsure: set[str] = set()
        relevance = self._rules("relevance")
        self._ordered = self._in_order(relevance + self._calculations())
        self._required = [rule for rule in self._rules("required") if not self._is_unsure(rule)]
        self._constraints = self._rules("constraint")
        self._findings = self._finding_rules()
        self._proven = self._proven_items(relevance)

    # preparing

    def _rules(self, name: str) -> list[_Rule]:
        found = (self._rule(each, name, getattr(each, name)) for each in self._fields.values())
        return [rule for rule in found if rule]

    def _calculations(self) -> list[_Rule]:
        calculated = [each for each in self._fields.values() if each.type == "calculate"]
        found = (self._rule(each, "calculation", each.calculation) for each in calculated)
        return [rule for rule in found if rule]

    def _rule(self, each: Field, name: str, text: str) -> _Rule | None:
        if not text or (each.type in SECTIONS and name != "relevance"):
            return None
        place = self.places[each.path]
        try:
            expression = compile_expression(text, places=self.places, context=each.path)
        except (NotEvaluable, ExpressionError) as reason:
            # A mistake is refused at publication; a rule that got past it must not stop a phone.
            self.unchecked.append((each.path, name, str(reason)))
            if name == "relevance":
                self._unsure.add(each.path)
            return None
        depth = len(self.places[place.repeats[-1]].names) if place.repeats else 0
        return _Rule(name, each, place, expression, place.names[depth:-1], self._guards(place))

    def _guards(self, place: Place) -> tuple[str, ...]:
        return tuple(path for path in _with_ancestors(place.path) if self._fields[path].relevance)

    def _is_unsure(self, rule: _Rule) -> bool:
        return any(path in self._unsure for path in rule.guards)

    def _in_order(self, rules: list[_Rule]) -> list[_Rule]:
        """Each rule after those of the fields that it reads and of the sections around it."""
        by_path: dict[str, list[_Rule]] = {}
        for rule in rules:
            by_path.setdefault(rule.field.path, []).append(rule)
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for path, own in by_path.items():
            reads = {read for rule in own for read in rule.expression.reads} | {path}
            around = {each for read in reads for each in _with_ancestors(read)}
            sorter.add(path, *(around - {path}))
        try:
            order = list(sorter.static_order())
        except CycleError:  # a phone would refuse such a form: any order is as good
            order = list(by_path)
        return [rule for path in order for rule in by_path.get(path, ())]

    def _finding_rules(self) -> list[tuple[_Rule, FindingRule]]:
        found = []
        for each in self._fields.values():
            if each.finding is None:
                continue
            # A rule by values needs no expression: "." stands for it.
            rule = self._rule(each, "finding", each.finding.when or ".")
            if rule:
                found.append((rule, each.finding))
        return found

    # checking

    def check(self, answers: Any, *, at: datetime | None = None) -> CheckedAnswers:
        """Type and check; raises Invalid with every problem, pointers beginning with /answers.

        `at` is the moment of filling in, for rules with today() and now(); what the form itself
        recorded (`today`, `end`) goes before it, so that a record sent a week later, or written by
        a phone whose clock is wrong, is judged as it was on the phone.
        """
        problems = Problems()
        shaped = self._typed(self._shape, answers, "/answers", problems)
        run = _Run(self._environment(shaped, at), problems)
        self._apply_relevance(shaped, run)
        if not problems:  # rules over values of a wrong type would only add noise
            self._apply_required(shaped, run)
            self._apply_constraints(shaped, run)
        if problems:
            raise Invalid(_("答卷有 %d 处不符合表单要求") % len(problems), problems=problems)
        return CheckedAnswers(_without_empty(shaped), tuple(run.dropped))

    def _typed(self, section: _Section, given: Any, at: str, problems: list[Problem]) -> Answers:
        if not isinstance(given, dict):
            problems.append(Problem(at, "wrong_type", _("应为对象")))
            return section.blank()
        typed: Answers = {}
        for name, convert in section.leaves.items():
            value = given.get(name)
            if value is None or value in ("", []):
                continue
            try:
                typed[name] = convert(value)
            except WrongValue as wrong:
                problems.append(Problem(f"{at}/{name}", wrong.code, str(wrong)))
        for name, group in section.groups.items():
            inner = given.get(name)
            typed[name] = (
                group.blank()
                if inner is None
                else self._typed(group, inner, f"{at}/{name}", problems)
            )
        for name, repeat in section.repeats.items():
            typed[name] = self._instances(repeat, given.get(name), f"{at}/{name}", problems)
        for name in given:
            if name not in section.leaves and name not in typed:
                problems.append(_unknown_field(at, name))
        return typed

    def _instances(
        self, repeat: _Section, given: Any, at: str, problems: list[Problem]
    ) -> list[Answers]:
        if given is None:
            return []
        if not isinstance(given, list):
            problems.append(Problem(at, "wrong_type", _("应为列表")))
            return []
        if len(given) > MAX_INSTANCES:
            detail = _("最多 %d 项") % MAX_INSTANCES
            problems.append(Problem(at, "too_many", detail))
            return []
        return [
            self._typed(repeat, each, f"{at}/{index}", problems) for index, each in enumerate(given)
        ]

    def _environment(self, shaped: Answers, at: datetime | None) -> Environment:
        recorded = {
            each.type: shaped.get(each.name)
            for each in self.form.fields
            if each.type in {"today", "start", "end"}
        }
        moment = timezone.localtime(at or clock.now()).isoformat(timespec="milliseconds")
        now = recorded.get("end") or recorded.get("start") or moment
        return Environment(today=recorded.get("today") or now[:10], now=now)

    def _apply_relevance(self, shaped: Answers, run: _Run) -> None:
        for rule in self._ordered:
            for scope in self._scopes(rule.place, shaped, run.environment):
                if rule.kind == "calculation":
                    self._calculate(rule, scope, run)
                elif not rule.expression.truth(scope):
                    self._drop(rule, scope, run)

    def _calculate(self, rule: _Rule, scope: Scope, run: _Run) -> None:
        """Fill in what a client that does not calculate left out."""
        container, name = rule.container(scope), rule.field.name
        if name in container or _is_irrelevant(rule, scope, run):
            return
        value = to_text(rule.expression.value(scope))
        if value not in {"", "NaN"}:
            container[name] = value

    def _drop(self, rule: _Rule, scope: Scope, run: _Run) -> None:
        container, name = rule.container(scope), rule.field.name
        run.irrelevant.add((rule.field.path, scope[0].indexes))
        dropped = container.pop(name, None)
        if rule.field.type == "group":
            container[name] = _section(rule.field.children).blank()
        elif rule.field.type == "repeat":
            container[name] = []
        if dropped is not None and _has_answers(dropped):
            run.dropped.append("/answers" + self._key(rule.place, scope))

    def _apply_required(self, shaped: Answers, run: _Run) -> None:
        for rule in self._required:
            name = rule.field.name
            for scope in self._scopes(rule.place, shaped, run.environment):
                if name in rule.container(scope) or _is_irrelevant(rule, scope, run):
                    continue
                if rule.expression.truth(scope):
                    detail = _message(rule.field.required_message) or _("必须填写")
                    self._report("required", detail, rule, scope, run)

    def _apply_constraints(self, shaped: Answers, run: _Run) -> None:
        for rule in self._constraints:
            name = rule.field.name
            for scope in self._scopes(rule.place, shaped, run.environment):
                if name in rule.container(scope) and not rule.expression.truth(scope):
                    detail = _message(rule.field.constraint_message) or _("不符合填写要求")
                    self._report("constraint", detail, rule, scope, run)

    def _report(self, code: str, detail: str, rule: _Rule, scope: Scope, run: _Run) -> None:
        label = _message(rule.field.label) or rule.field.name
        pointer = "/answers" + self._key(rule.place, scope)
        run.problems.append(Problem(pointer, code, f"{label}：{detail}"))

    def _scopes(self, place: Place, shaped: Answers, environment: Environment) -> Iterator[Scope]:
        """The scope of every instance of the repeats around the place."""
        scopes: list[Scope] = [(environment, shaped)]
        depth = 0
        for path in place.repeats:
            names = self.places[path].names[depth:]
            depth += len(names)
            scopes = [
                (each[0]._replace(indexes=(*each[0].indexes, index)), *each[1:], instance)
                for each in scopes
                for index, instance in enumerate(_inside(each[-1], names))
            ]
        return iter(scopes)

    def _key(self, place: Place, scope: Scope) -> str:
        """The place with the indexes of its repeats: /lessons/0/score."""
        starts = [0, *(len(self.places[path].names) for path in place.repeats), len(place.names)]
        parts = ["".join(f"/{name}" for name in place.names[a:b]) for a, b in pairwise(starts)]
        indexes = [f"/{index}" for index in scope[0].indexes] + [""]
        return "".join(part + index for part, index in zip(parts, indexes, strict=True))

    # reading checked answers

    def findings(self, answers: Answers, *, at: datetime | None = None) -> list[FoundFinding]:
        """What the checked answers say is wrong at the school, in the form's order."""
        shaped = _filled(self._shape, answers)
        environment = self._environment(shaped, at)
        found = []
        for rule, finding in self._findings:
            for scope in self._scopes(rule.place, shaped, environment):
                value = rule.container(scope).get(rule.field.name)
                if value is not None and _is_finding(finding, rule, scope, value):
                    found.append(self._found(finding, rule, scope, value))
        return found

    def _found(self, finding: FindingRule, rule: _Rule, scope: Scope, value: Any) -> FoundFinding:
        return FoundFinding(
            path=rule.field.path,
            key=self._key(rule.place, scope),
            value=value,
            value_label=value_label(rule.field, value, self.form.default_language),
            severity=finding.severity,
            days=finding.days,
            title=finding.title
            or rule.field.label
            or {self.form.default_language: rule.field.name},
        )

    def attachments(self, answers: Answers) -> set[str]:
        """The names of the files that the checked answers speak of."""
        return set(self.attachment_items(answers))

    def attachment_items(self, answers: Answers) -> dict[str, str]:
        """The same names, each with the path of the question that the file proves."""
        shaped = _filled(self._shape, answers)
        environment = Environment("", "")
        return {
            name: item
            for path, item in self._proven.items()
            for name in self._answers_at(self.places[path], shaped, environment)
        }

    def _proven_items(self, relevance: list[_Rule]) -> dict[str, str]:
        """By the path of what asks for a file: the question that is proven by it."""
        reads = {rule.field.path: rule.expression.reads for rule in relevance}
        return {
            path: proven_item(each, self._fields, reads.get(path, ()))
            for path, each in self._fields.items()
            if each.type in ATTACHMENTS
        }

    def answer_named(self, answers: Answers, name: str) -> Any:
        """The answer to the first field of this name outside repeats, or None."""
        shaped = _filled(self._shape, answers)
        for path, each in self._fields.items():
            place = self.places[path]
            if each.name == name and each.type not in SECTIONS and not place.repeats:
                return next(self._answers_at(place, shaped, Environment("", "")), None)
        return None

    def _answers_at(self, place: Place, shaped: Answers, environment: Environment) -> Iterator[Any]:
        depth = len(self.places[place.repeats[-1]].names) if place.repeats else 0
        *sections, name = place.names[depth:]
        for scope in self._scopes(place, shaped, environment):
            value = _inside(scope[-1], sections).get(name)
            if value is not None:
                yield value


def _with_ancestors(path: str) -> list[str]:
    """ "/a/b" → ["/a", "/a/b"]."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]


def _unknown_field(at: str, name: object) -> Problem:
    escaped = str(name)[:100].replace("~", "~0").replace("/", "~1")
    return Problem(f"{at}/{escaped}", "unknown_field", _("表单中没有这个题目"))


def _message(texts: Texts) -> str:
    return text_in(texts, (get_language() or "zh")[:2])


def _is_irrelevant(rule: _Rule, scope: Scope, run: _Run) -> bool:
    """A guard outside the scope's repeats needs no look: dropping it left no instance to come to."""
    indexes = scope[0].indexes
    return bool(run.irrelevant) and any((path, indexes) in run.irrelevant for path in rule.guards)


def _has_answers(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_answers, value.values()))
    if isinstance(value, list):
        return bool(value)
    return True


def _inside(value: Any, names: Iterable[str]) -> Any:
    for name in names:
        value = value[name]
    return value


def _without_empty(answers: Answers) -> Answers:
    """Without sections that hold nothing; an empty instance of a repeat keeps its place."""
    kept = {name: _shortened(value) for name, value in answers.items()}
    return {name: value for name, value in kept.items() if value not in ({}, [])}


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return _without_empty(value)
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    return value


def _filled(section: _Section, answers: Answers) -> Answers:
    """Checked answers with every section in its place again."""
    filled = dict(answers)
    for name, group in section.groups.items():
        filled[name] = _filled(group, answers.get(name, {}))
    for name, repeat in section.repeats.items():
        filled[name] = [_filled(repeat, each) for each in answers.get(name, [])]
    return filled


def _is_finding(finding: FindingRule, rule: _Rule, scope: Scope, value: Any) -> bool:
    if finding.when:
        return rule.expression.truth(scope)
    chosen = value if isinstance(value, list) else [value]
    return any(plain_text(each) in finding.values for each in chosen)


def value_label(field: Field, value: Any, language: str) -> str:
    """The answer as a person reads it: labels of choices, else the plain text."""
    labels = {choice.value: text_in(choice.label, language) for choice in field.choices or ()}
    if isinstance(value, list) and field.choices is not None:
        return "、".join(labels.get(each) or each for each in value)
    return (labels.get(value) if labels else "") or plain_text(value)


@lru_cache(maxsize=256)
def checker_for(form: Form) -> Checker:
    """The checker of this form version; prepared once, while the process lives."""
    return Checker(form)


def check_answers(form: Form, answers: Any, *, at: datetime | None = None) -> CheckedAnswers:
    """See `Checker.check`."""
    return checker_for(form).check(answers, at=at)


def findings_in(form: Form, answers: Answers, *, at: datetime | None = None) -> list[FoundFinding]:
    """What the checked answers say is wrong at the school, in the form's order."""
    return checker_for(form).findings(answers, at=at)


def attachments_named(form: Form, answers: Answers) -> set[str]:
    """The names of the files that the checked answers speak of."""
    return checker_for(form).attachments(answers)


def attachment_items(form: Form, answers: Answers) -> dict[str, str]:
    """The same names, each with the path of the question that the file proves."""
    return checker_for(form).attachment_items(answers)
