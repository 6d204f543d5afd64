"""The grammar of ODK's XPath subset: text to a syntax tree, with the names of functions checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from server.instruments.xpath_functions import ARITY, ON_PHONE_ONLY

MAX_LENGTH = 8000
MAX_DEPTH = 60
CHAINS = frozenset({"+", "and", "or"})


class ExpressionError(ValueError):
    """The expression is wrong; `code` is syntax, unknown_function or unknown_field."""

    def __init__(self, detail: str, *, code: str = "syntax") -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Literally:
    value: str | float


@dataclass(frozen=True, slots=True)
class Negative:
    operand: Node


@dataclass(frozen=True, slots=True)
class Operation:
    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from the root, or from `start` (None: the field itself). Predicates are kept aside."""

    absolute: bool
    steps: tuple[str, ...]
    start: Node | None = None
    predicates: tuple[Node, ...] = ()


Node = Literally | Negative | Operation | Call | Path

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>\d+(?:\.\d*)?|\.\d+)
    | (?P<text>"[^"]*"|'[^']*')
    | (?P<name>[^\W\d][\w.\-]*(?::[^\W\d][\w.\-]*)?)
    | (?P<sign><=|>=|!=|//|::|\.\.|[=<>+*|/()\[\],@.\-])
    )""",
    re.VERBOSE,
)
_PRECEDENCE = {
    "or": 1,
    "and": 2,
    "=": 3,
    "!=": 3,
    "<": 4,
    "<=": 4,
    ">": 4,
    ">=": 4,
    "+": 5,
    "-": 5,
    "*": 6,
    "div": 6,
    "mod": 6,
    "|": 8,
}
_UNARY = 7


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].strip()
            raise ExpressionError(_("无法识别“%s”处的写法，请检查引号和运算符") % rest[:20])
        found.append((str(match.lastgroup), match.group(str(match.lastgroup))))
        position = match.end()
    return [*found, ("end", "")]


class _Parser:
    """Precedence climbing over XPath 1.0's expression grammar."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def whole(self) -> Node:
        node = self._expression(0)
        if self._peek()[0] != "end":
            self._refuse()
        return node

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _accept(self, sign: str) -> bool:
        if self._peek() == ("sign", sign):
            self._at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            self._refuse()

    def _refuse(self) -> None:
        kind, text = self._peek()
        if kind == "end":
            raise ExpressionError(_("表达式不完整"))
        raise ExpressionError(_("“%s”处的写法有误") % text)

    def _expression(self, floor: int) -> Node:
        left = self._unary()
        while (binds := _PRECEDENCE.get(self._peek()[1], 0)) > floor and self._peek()[0] != "text":
            sign = self._next()[1]
            left = Operation(sign, left, self._expression(binds))
        return left

    def _unary(self) -> Node:
        if self._accept("-"):
            return Negative(self._expression(_UNARY))
        return self._path()

    def _path(self) -> Node:
        kind, text = self._peek()
        if kind == "number":
            return Literally(float(self._next()[1]))
        if kind == "text":
            return Literally(self._next()[1][1:-1])
        if self._accept("("):
            node = self._expression(0)
            self._expect(")")
            return self._after(node)
        if kind == "name" and self._tokens[self._at + 1] == ("sign", "("):
            return self._after(self._call())
        if self._accept("/"):
            return self._steps(absolute=True, start=None)
        if kind == "name" or text in {".", "..", "*", "@", "//"}:
            return self._steps(absolute=False, start=None)
        self._refuse()
        raise AssertionError  # _refuse always raises

    def _call(self) -> Node:
        name = self._next()[1]
        self._expect("(")
        arguments: list[Node] = []
        if not self._accept(")"):
            arguments.append(self._expression(0))
            while self._accept(","):
                arguments.append(self._expression(0))
            self._expect(")")
        return Call(name, tuple(arguments))

    def _after(self, node: Node) -> Node:
        """What may follow a primary expression: predicates and a path from it."""
        predicates = self._predicates()
        if self._accept("/"):
            path = self._steps(absolute=False, start=node)
            return Path(False, path.steps, node, predicates + path.predicates)
        return Path(False, (), node, predicates) if predicates else node

    def _steps(self, *, absolute: bool, start: Node | None) -> Path:
        steps: list[str] = []
        predicates: tuple[Node, ...] = ()
        while True:
            steps.append(self._step())
            predicates += self._predicates()
            if self._accept("//"):
                steps.append("//")
            elif not self._accept("/"):
                return Path(absolute, tuple(steps), start, predicates)

    def _step(self) -> str:
        kind, text = self._next()
        if kind == "sign" and text in {"@", "//"}:
            return text + self._step()
        if kind == "name" and self._accept("::"):
            return f"{text}::{self._step()}"
        if kind == "name" or text in {".", "..", "*"}:
            return text
        self._at -= 1
        self._refuse()
        raise AssertionError  # _refuse always raises

    def _predicates(self) -> tuple[Node, ...]:
        found: list[Node] = []
        while self._accept("["):
            found.append(self._expression(0))
            self._expect("]")
        return tuple(found)


def parse(text: str) -> Node:
    """Raises ExpressionError for what is not XPath, and for a function that ODK does not have."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(_("表达式太长，最多 %d 个字符") % MAX_LENGTH)
    try:
        node = _Parser(text).whole()
    except RecursionError:
        raise ExpressionError(_("表达式嵌套太深")) from None
    _check(node)
    return node


def operands(node: Operation) -> list[Node]:
    """Both sides; of a chain like a + b + c all of them, so that a long sum is not a deep tree."""
    found: list[Node] = []
    left: Node = node
    while isinstance(left, Operation) and left.sign == node.sign:
        found.append(left.right)
        left = left.left
        if node.sign not in CHAINS:
            break
    return [left, *reversed(found)]


def _inner(node: Node) -> Sequence[Node]:
    match node:
        case Negative(operand):
            return (operand,)
        case Operation():
            return operands(node)
        case Call(_name, arguments):
            return arguments
        case Path(_absolute, _steps, start, predicates):
            return predicates if start is None else (start, *predicates)
        case Literally():
            return ()


def _check(whole: Node) -> None:
    """Known functions with a right number of arguments, and no deeper than evaluating can go."""
    waiting = [(whole, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ExpressionError(_("表达式嵌套太深"))
        if isinstance(node, Call):
            _check_call(node.name, len(node.arguments))
        waiting += [(each, depth + 1) for each in _inner(node)]


def _check_call(name: str, count: int) -> None:
    if name in ON_PHONE_ONLY:
        return
    if name not in ARITY:
        raise ExpressionError(_("没有名为 %s 的函数") % name, code="unknown_function")
    least, most = ARITY[name]
    if not least <= count <= most:
        raise ExpressionError(_("函数 %s 的参数个数不对") % name)
