"""ODK's XPath subset, compiled once per form version to closures over the answers.

A scope is a tuple: the environment, the whole answers, then the current instance of every repeat
around the field, outermost first. All paths are resolved against the form when compiling, so that
evaluating is a few dictionary look-ups. Values are str, int, float, bool; a blank answer is "".
Dates are ISO strings and count as days since 1970 where a number is needed.

As in the ODK XForms specification, an absolute path to a field of the same repeat means the
current instance's field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from server.instruments.compiled import SECTIONS, Field, Form
from server.instruments.xpath import (
    Call,
    ExpressionError,
    Literally,
    Negative,
    Node,
    Operation,
    Path,
    operands,
    parse,
)
from server.instruments.xpath_functions import (
    ARITHMETIC,
    COMPARE,
    ON_PHONE_ONLY,
    OVER_NODES,
    SIMPLE,
    Kind,
    Value,
    number_text,
    to_number,
    to_text,
    to_truth,
)


class NotEvaluable(Exception):
    """The expression may be right, but only a phone can evaluate it; says by what it is so."""


class Environment(NamedTuple):
    """What an expression can know besides the answers: the moment of filling in, and where it is."""

    today: str
    now: str
    indexes: tuple[int, ...] = ()


Scope = tuple[Any, ...]
Read = Callable[[Scope], Value]


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression: its value, its truth, and the paths of the fields that it reads."""

    value: Read
    truth: Callable[[Scope], bool]
    reads: frozenset[str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field's answer lies: `repeats` are the paths of the repeats around it."""

    path: str
    names: tuple[str, ...]
    type: str
    repeats: tuple[str, ...]


class Places(Mapping[str, Place]):
    """The places of all fields of a form, by path; "" is the form itself."""

    def __init__(self, form: Form) -> None:
        self.root = form.root
        self._places = {"": Place("", (), "group", ())}
        self._add(form.fields, (), ())

    def _add(
        self, fields: Sequence[Field], names: tuple[str, ...], repeats: tuple[str, ...]
    ) -> None:
        for each in fields:
            inner = (*names, each.name)
            self._places[each.path] = Place(each.path, inner, each.type, repeats)
            around = (*repeats, each.path) if each.type == "repeat" else repeats
            self._add(each.children, inner, around)

    def __getitem__(self, path: str) -> Place:
        return self._places[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass(slots=True)
class _Compiler:
    """Turns syntax into closures, for one field (`context`) of one form."""

    places: Places
    context: Place
    reads: set[str] = field(default_factory=set)

    def value(self, node: Node) -> tuple[Kind, Read]:
        match node:
            case Literally(value):
                return ("text" if isinstance(value, str) else "number"), lambda _scope: value
            case Negative(operand):
                number = self.number(operand)
                return "number", lambda scope: -number(scope)
            case Operation():
                return self._operation(node)
            case Call():
                return self._call(node)
            case Path():
                return self._path(node)

    def single(self, node: Node) -> tuple[Kind, Read]:
        """As `value`, a set of nodes by its first."""
        kind, read = self.value(node)
        if kind != "nodes":
            return kind, read
        return "any", lambda scope: next(iter(read(scope)), "")

    def text(self, node: Node) -> Read:
        kind, read = self.single(node)
        return read if kind == "text" else lambda scope: to_text(read(scope))

    def number(self, node: Node) -> Read:
        kind, read = self.single(node)
        return read if kind == "number" else lambda scope: to_number(read(scope))

    def truth(self, node: Node) -> Callable[[Scope], bool]:
        kind, read = self.single(node)
        return read if kind == "boolean" else lambda scope: to_truth(read(scope))

    def nodes(self, node: Node) -> Callable[[Scope], list[Value]]:
        kind, read = self.value(node)
        return read if kind == "nodes" else lambda scope: [read(scope)]

    # operators

    def _operation(self, node: Operation) -> tuple[Kind, Read]:
        if node.sign in {"and", "or"}:
            return "boolean", self._logic(node)
        if node.sign in COMPARE:
            return "boolean", self._comparison(node)
        if node.sign == "|":
            raise NotEvaluable("|")
        reads = [self.number(each) for each in operands(node)]
        if node.sign == "+":
            return "number", lambda scope: sum([read(scope) for read in reads])
        (left, right), apply = reads, ARITHMETIC[node.sign]
        return "number", lambda scope: apply(left(scope), right(scope))

    def _logic(self, node: Operation) -> Read:
        truths = [self.truth(each) for each in operands(node)]
        if len(truths) > 2:
            found = all if node.sign == "and" else any
            return lambda scope: found(truth(scope) for truth in truths)
        left, right = truths
        if node.sign == "and":
            return lambda scope: left(scope) and right(scope)
        return lambda scope: left(scope) or right(scope)

    def _comparison(self, node: Operation) -> Read:
        (left_kind, left), (right_kind, right) = self.value(node.left), self.value(node.right)
        compare = COMPARE[node.sign]
        if "nodes" in {left_kind, right_kind}:
            return self._any_node(node, compare)
        if left_kind == right_kind == "text" and node.sign in {"=", "!="}:
            return _text_comparison(node, left, right)
        return lambda scope: compare(left(scope), right(scope))

    def _any_node(self, node: Operation, compare: Callable[[Value, Value], bool]) -> Read:
        left, right = self.nodes(node.left), self.nodes(node.right)
        return lambda scope: any(compare(a, b) for a in left(scope) for b in right(scope))

    # functions

    def _call(self, node: Call) -> tuple[Kind, Read]:
        name, arguments = node.name, node.arguments
        if name in ON_PHONE_ONLY:
            raise NotEvaluable(f"{name}()")
        if name in SIMPLE:
            return self._simple(name, arguments)
        if name in OVER_NODES:
            kind, over = OVER_NODES[name]
            values = self._all(arguments)
            return kind, lambda scope: over(values(scope))
        special: Callable[..., tuple[Kind, Read]] = getattr(self, f"_{name}")
        return special(*arguments)

    def _simple(self, name: str, arguments: tuple[Node, ...]) -> tuple[Kind, Read]:
        kind, kinds, function = SIMPLE[name]
        as_kind: dict[str, Callable[[Node], Read]] = {
            "t": self.text,
            "n": self.number,
            "b": self.truth,
            "v": lambda node: self.single(node)[1],
        }
        letters = kinds.replace("?", "")
        reads = [as_kind[letter](each) for letter, each in zip(letters, arguments, strict=False)]
        if len(reads) == 1:
            (only,) = reads
            return kind, lambda scope: function(only(scope))
        return kind, lambda scope: function(*[read(scope) for read in reads])

    def _all(self, arguments: Sequence[Node]) -> Callable[[Scope], list[Value]]:
        reads = [self.nodes(argument) for argument in arguments]
        if len(reads) == 1:
            return reads[0]
        return lambda scope: [value for read in reads for value in read(scope)]

    def _count(self, node: Node) -> tuple[Kind, Read]:
        """The only function for which the instances of a repeat are values by themselves."""
        if not isinstance(node, Path):
            raise NotEvaluable("count()")
        kind, read = self._path(node, counting=True)
        return "number", lambda scope: len(read(scope)) if kind == "nodes" else 1

    def _join(self, separator: Node, *rest: Node) -> tuple[Kind, Read]:
        mark, values = self.text(separator), self._all(rest)
        return "text", lambda scope: mark(scope).join(map(to_text, values(scope)))

    def _if(self, condition: Node, then: Node, otherwise: Node) -> tuple[Kind, Read]:
        truth = self.truth(condition)
        (then_kind, yes), (else_kind, no) = self.single(then), self.single(otherwise)
        kind: Kind = then_kind if then_kind == else_kind else "any"
        return kind, lambda scope: yes(scope) if truth(scope) else no(scope)

    def _coalesce(self, *arguments: Node) -> tuple[Kind, Read]:
        reads = [self.single(argument)[1] for argument in arguments]
        return "any", lambda scope: next(
            (value for read in reads if (value := read(scope)) != ""), ""
        )

    def _once(self, argument: Node) -> tuple[Kind, Read]:
        return self._coalesce(Path(False, (".",)), argument)

    def _selected(self, answers: Node, choice: Node) -> tuple[Kind, Read]:
        text, wanted = self.text(answers), self.text(choice)
        return "boolean", lambda scope: wanted(scope) in text(scope).split()

    def _regex(self, text: Node, pattern: Node) -> tuple[Kind, Read]:
        if not isinstance(pattern, Literally):
            raise NotEvaluable("regex()")
        try:
            search = re.compile(to_text(pattern.value)).search
        except re.error:
            raise NotEvaluable("regex()") from None
        read = self.text(text)
        return "boolean", lambda scope: search(read(scope)[:1000]) is not None

    def _today(self) -> tuple[Kind, Read]:
        return "text", lambda scope: scope[0].today

    def _now(self) -> tuple[Kind, Read]:
        return "text", lambda scope: scope[0].now

    def _current(self) -> tuple[Kind, Read]:
        return self._path(Path(False, (".",)))

    def _position(self, node: Node | None = None) -> tuple[Kind, Read]:
        if isinstance(node, Path) and not node.predicates and not node.start and not node.absolute:
            place, level = self._resolve(node)
            if place.type == "repeat" and level > len(place.repeats):
                return "number", lambda scope: scope[0].indexes[level - 1] + 1
        raise NotEvaluable("position()")

    # paths

    def _path(self, path: Path, *, counting: bool = False) -> tuple[Kind, Read]:
        if path.start is not None and path.start != Call("current", ()):
            self.value(path.start)
        if path.predicates:
            raise NotEvaluable("[…]")
        place, level = self._resolve(path)
        self.reads.add(place.path)
        if counting and place.type == "repeat" and level <= len(place.repeats):
            return "nodes", _read_nodes(place, level, self.places)
        if place.type in SECTIONS:
            raise NotEvaluable("/".join(path.steps))
        if level < len(place.repeats):
            return "nodes", _read_nodes(place, level, self.places)
        return _read_one(place, self.places)

    def _resolve(self, path: Path) -> tuple[Place, int]:
        """The place that the path leads to, and how many of its repeats are the current ones."""
        names = [] if path.absolute else list(self.context.names)
        top = len(self.context.names)
        for step in self._plain_steps(path):
            if step == "..":
                if not names:
                    raise ExpressionError(_("路径超出了表单的最外层"), code="unknown_field")
                names.pop()
                top = min(top, len(names))
            elif step != ".":
                names.append(step)
        place = self.places.get("".join(f"/{name}" for name in names))
        if place is None:
            detail = _("表单中没有题目 %s") % "/".join(names)
            raise ExpressionError(detail, code="unknown_field")
        return place, self._current_repeats(place, top, absolute=path.absolute)

    def _plain_steps(self, path: Path) -> tuple[str, ...]:
        steps = path.steps
        if any(step[0] in "@*/" or "::" in step for step in steps):
            raise NotEvaluable("/".join(steps))
        if path.absolute:
            if steps[0] != self.places.root:
                detail = _("路径应以 /%s 开头") % self.places.root
                raise ExpressionError(detail, code="unknown_field")
            steps = steps[1:]
            if steps[:1] == ("meta",):
                raise NotEvaluable("meta")
        return steps

    def _current_repeats(self, place: Place, top: int, *, absolute: bool) -> int:
        inside = place.repeats
        if place.type == "repeat" and not absolute:
            inside = (*inside, place.path)
        count = 0
        for ours, theirs in zip(self.context.repeats, inside, strict=False):
            climbed_above = len(self.places[ours].names) > top
            if ours != theirs or climbed_above:
                break
            count += 1
        return count


def _text_comparison(node: Operation, left: Read, right: Read) -> Read:
    """The commonest rule of all, `${licence} = 'no'`, without a call for the literal."""
    if isinstance(node.right, Literally):
        wanted = node.right.value
        if node.sign == "=":
            return lambda scope: bool(left(scope) == wanted)
        return lambda scope: bool(left(scope) != wanted)
    if node.sign == "=":
        return lambda scope: bool(left(scope) == right(scope))
    return lambda scope: bool(left(scope) != right(scope))


_NUMERIC = frozenset({"integer", "decimal", "range"})
_LISTS = frozenset({"select_multiple", "rank"})
_POINTS = frozenset({"geopoint", "geotrace", "geoshape"})


def _inner_names(place: Place, places: Places) -> tuple[str, ...]:
    """The names from the innermost repeat around the place down to it."""
    depth = len(places[place.repeats[-1]].names) if place.repeats else 0
    return place.names[depth:]


def _read_one(place: Place, places: Places) -> tuple[Kind, Read]:
    names, level = _inner_names(place, places), len(place.repeats) + 1
    read = _reader(names, level)
    if place.type in _NUMERIC:
        return "any", read
    if place.type in _LISTS:
        return "text", lambda scope: " ".join(read(scope))
    if place.type in _POINTS:
        return "text", lambda scope: point_text(read(scope))
    return "text", read


def _reader(names: tuple[str, ...], level: int) -> Read:
    """Sections are always there in the answers that rules see, so only the last name may miss."""
    *sections, last = names
    if not sections:
        return lambda scope: scope[level].get(last, "")
    if len(sections) == 1:
        (section,) = sections
        return lambda scope: scope[level][section].get(last, "")

    def read(scope: Scope) -> Value:
        inside = scope[level]
        for name in sections:
            inside = inside[name]
        return inside.get(last, "")

    return read


def _read_nodes(place: Place, level: int, places: Places) -> Callable[[Scope], list[Value]]:
    """All answers at the place, over all instances of the repeats that are not the current ones."""
    depth = len(places[place.repeats[level - 1]].names) if level else 0
    names = place.names[depth:]
    as_text = place.type in _LISTS or place.type in _POINTS

    def read(scope: Scope) -> list[Value]:
        found: list[Value] = [scope[level + 1]]
        for name in names:
            inner = [each.get(name, "") for each in found]
            found = [
                item
                for each in inner
                for item in (each if isinstance(each, list) and not as_text else [each])
            ]
        return [plain_text(value) for value in found] if as_text else found

    return read


def point_text(value: Value) -> str:
    """A point or a line as ODK writes it: "lat lon altitude accuracy", points parted by ";"."""
    if isinstance(value, list):
        return ";".join(map(point_text, value))
    if not value:
        return ""
    numbers = [value["lat"], value["lon"]]
    if {"altitude_m", "accuracy_m"} & value.keys():
        numbers.append(value.get("altitude_m", 0))
    if "accuracy_m" in value:
        numbers.append(value["accuracy_m"])
    return " ".join(number_text(float(number)) for number in numbers)


def plain_text(value: Value) -> str:
    """Any answer as the text that an XForm holds."""
    if isinstance(value, dict) or (
        isinstance(value, list) and value and isinstance(value[0], dict)
    ):
        return point_text(value)
    return " ".join(value) if isinstance(value, list) else to_text(value)


def compile_expression(text: str, *, places: Places, context: str) -> Expression:
    """Compile for the field at path `context`.

    Raises ExpressionError for a mistake, NotEvaluable for what only a phone can evaluate.
    """
    node = parse(text)
    compiler = _Compiler(places, places[context])
    _kind, value = compiler.single(node)
    return Expression(value, compiler.truth(node), frozenset(compiler.reads))
