"""ODK's expressions, evaluated over answers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.instruments.compiled import Field, Form
from server.instruments.expressions import (
    Environment,
    NotEvaluable,
    Places,
    compile_expression,
)
from server.instruments.xpath import MAX_LENGTH, ExpressionError
from server.instruments.xpath_functions import ARITY

FORM = Form(
    form_id="t",
    version="1",
    title={},
    default_language="zh",
    languages=("zh",),
    fields=(
        Field("/age", "age", "integer"),
        Field("/blank", "blank", "integer"),
        Field("/name", "name", "text"),
        Field("/day", "day", "date"),
        Field("/many", "many", "select_multiple"),
        Field("/kitchen", "kitchen", "group", children=(Field("/kitchen/ok", "ok", "select_one"),)),
        Field(
            "/lessons",
            "lessons",
            "repeat",
            children=(
                Field("/lessons/score", "score", "decimal"),
                Field(
                    "/lessons/inner",
                    "inner",
                    "group",
                    children=(Field("/lessons/inner/x", "x", "text"),),
                ),
                Field(
                    "/lessons/pupils",
                    "pupils",
                    "repeat",
                    children=(Field("/lessons/pupils/n", "n", "integer"),),
                ),
            ),
        ),
    ),
)
ANSWERS: dict[str, Any] = {
    "age": 42,
    "name": "李老师",
    "day": "2026-11-20",
    "many": ["a", "b"],
    "kitchen": {"ok": "no"},
    "lessons": [
        {"score": 80.5, "inner": {"x": "first"}, "pupils": [{"n": 1}, {"n": 2}]},
        {"score": 60.0, "inner": {"x": "second"}, "pupils": [{"n": 10}]},
        {"inner": {}, "pupils": []},
    ],
}
PLACES = Places(FORM)
NOW = Environment("2026-11-23", "2026-11-23T09:30:00.000+08:00")


def value(text: str, context: str = "/age") -> Any:
    return compile_expression(text, places=PLACES, context=context).value((NOW, ANSWERS))


def in_lesson(text: str, index: int, context: str = "/lessons/score") -> Any:
    scope = (NOW._replace(indexes=(index,)), ANSWERS, ANSWERS["lessons"][index])
    return compile_expression(text, places=PLACES, context=context).value(scope)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 div 2", 3.5),
        ("-7 mod 3", -1),
        ("1 - 1 - 1", -1),
        ("- 2 + 5", 3),
        ("1 div 0", math.inf),
        ("2 > 1 and 1 > 2", False),
        ("2 > 1 or 1 div 0 > 2", True),
        ("1 < 2 = true()", True),
        ("'a' = 'a'", True),
        ("'a' != 'a'", False),
        (". >= 18 and . <= 120", True),
        (". = 42", True),
        (". = '42'", True),
        ("/data/name = '李老师'", True),
        ("../kitchen/ok = 'no'", True),
        ("current()/../kitchen/ok", "no"),
        ("/data/blank = ''", True),
        ("/data/blank > 3", False),
        ("/data/blank < 3", False),
        ("/data/age != ''", True),
        ("selected(/data/many, 'b')", True),
        ("selected(/data/many, 'c')", False),
        ("/data/many = 'a b'", True),
        ("count-selected(/data/many)", 2),
        ("selected-at(/data/many, 1)", "b"),
        ("selected-at(/data/many, 5)", ""),
        ("if(. > 18, 'adult', 'child')", "adult"),
        ("coalesce(/data/blank, 7)", 7),
        ("once('x')", 42),
        ("string-length(/data/name)", 3),
        ("substr('hello', 1, 3)", "el"),
        ("substr('hello', -2)", "lo"),
        ("substring('hello', 2, 3)", "ell"),
        ("substring-before('a-b-c', '-')", "a"),
        ("substring-after('a-b-c', '-')", "b-c"),
        ("substring-after('a', '')", "a"),
        ("translate('bar', 'abc', 'AB')", "BAr"),
        ("normalize-space('  a   b ')", "a b"),
        ("concat('a', 1, /data/kitchen/ok)", "a1no"),
        ("concat(/data/lessons/inner/x, '!')", "firstsecond!"),
        ("join('、', /data/lessons/inner/x)", "first、second、"),
        ("contains('hello', 'ell')", True),
        ("starts-with('hello', 'he')", True),
        ("ends-with('hello', 'lo')", True),
        ("regex('13800000000', '^1[0-9]{10}$')", True),
        ("regex('1380', '^1[0-9]{10}$')", False),
        ("number('3.5') + 1", 4.5),
        ("int(-3.7)", -3),
        ("round(2.5)", 3),
        ("round(3.14159, 2)", 3.14),
        ("pow(2, 10)", 1024),
        ("abs(-3)", 3),
        ("string(3)", "3"),
        ("string(0.5)", "0.5"),
        ("boolean('')", False),
        ("boolean-from-string('1')", True),
        ("not(false())", True),
        ("count(/data/lessons)", 3),
        ("count-non-empty(/data/lessons/score)", 2),
        ("sum(/data/lessons/score)", 140.5),
        ("max(/data/lessons/score)", 80.5),
        ("min(/data/lessons/score)", 60.0),
        ("max(1, 5, 3)", 5),
        ("sum(/data/lessons/pupils/n)", 13),
        ("/data/lessons/score = 60", True),
        ("today()", "2026-11-23"),
        ("/data/day <= today()", True),
        ("today() - /data/day", 3),
        ("date(today() + 7)", "2026-11-30"),
        ("date('2026-01-01') < /data/day", True),
        ("format-date(/data/day, '%Y年%n月%e日')", "2026年11月20日"),
        ("format-date-time(now(), '%H:%M')", "09:30"),
        ("decimal-date-time('1970-01-02')", 1),
        ("decimal-time('06:00:00.000+08:00')", 0.25),
    ],
)
def test_expressions_have_the_values_that_odk_gives(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text", ["number('x')", "0 div 0", "sqrt(-1)", "max(/data/blank)", "log(0)"]
)
def test_what_has_no_number_is_not_a_number(text: str) -> None:
    assert math.isnan(value(text))


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        (".", 80.5, 60.0),
        ("../inner/x", "first", "second"),
        ("/data/lessons/score", 80.5, 60.0),
        ("position(..)", 1, 2),
        ("sum(../pupils/n)", 3, 10),
        ("count(/data/lessons)", 3, 3),
        ("sum(../../lessons/score)", 140.5, 140.5),
        ("../../age", 42, 42),
    ],
)
def test_inside_a_repeat_paths_mean_the_current_instance(
    text: str, first: Any, second: Any
) -> None:
    assert (in_lesson(text, 0), in_lesson(text, 1)) == (first, second)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1 +", "syntax"),
        ("(1", "syntax"),
        ("1 2", "syntax"),
        ("", "syntax"),
        ("'open", "syntax"),
        ("/data/age = ‘x’", "syntax"),
        ("concat(1,)", "syntax"),
        ("not()", "syntax"),
        ("frobnicate(1)", "unknown_function"),
        ("if(true(), frobnicate(1), 2)", "unknown_function"),
        ("/data/lessons[frobnicate(1)]/score", "unknown_function"),
        ("/data/nobody", "unknown_field"),
        ("../nobody", "unknown_field"),
        ("../../../age", "unknown_field"),
        ("/other/age", "unknown_field"),
        ("(" * 3000 + "1" + ")" * 3000, "syntax"),
        ("(" * 100 + "1" + ")" * 100 + " = " + "-" * 100 + "1", "syntax"),
        ("1" + " + 1" * MAX_LENGTH, "syntax"),
    ],
)
def test_mistakes_are_named(text: str, code: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        compile_expression(text, places=PLACES, context="/age")
    assert refused.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "instance('visits')/root/item[name = /data/name]/label",
        "pulldata('t', 'a', 'b', .)",
        "jr:choice-name(., '/data/kitchen/ok')",
        "indexed-repeat(/data/lessons/score, /data/lessons, 1)",
        "/data/lessons[position() = 1]/score",
        "count(/data/lessons[score > 70])",
        "random() > 0.5",
        "uuid()",
        "//age",
        "/data/*",
        "@id",
        "regex(., /data/name)",
        "/data/meta/instanceID",
    ],
)
def test_what_only_a_phone_knows_is_not_evaluated(text: str) -> None:
    with pytest.raises(NotEvaluable):
        compile_expression(text, places=PLACES, context="/age")


def test_a_long_sum_is_not_a_deep_one() -> None:
    assert value("1" + " + 1" * 1500) == 1501
    assert value("true()" + " and true()" * 600) is True
    assert value("false()" + " or . = 42" * 600) is True


def test_an_expression_names_the_fields_that_it_reads() -> None:
    text = "/data/kitchen/ok = 'no' and sum(/data/lessons/score) > ."
    expression = compile_expression(text, places=PLACES, context="/age")
    assert expression.reads == {"/kitchen/ok", "/lessons/score", "/age"}


PIECES = (
    *("1", "0", "-", "'a'", "''", "'2026-01-02'", "'0001-01-01T00:00:00+14:00'", ".", "..", "/"),
    *(
        "/data/lessons/score",
        "/data/lessons",
        "/data/blank",
        "/data/many",
        "../name",
        "(",
        ")",
        ",",
    ),
    *("+", "*", "div", "mod", "=", "!=", "<", ">=", "and", "or", "|", "[", "]", "@", "today()"),
    *(f"{name}(" for name in ARITY),
)


@settings(max_examples=500, deadline=None, database=None)
@given(st.lists(st.sampled_from(PIECES), max_size=15).map(" ".join) | st.text(max_size=30))
def test_no_text_breaks_the_compiler_or_its_rules(text: str) -> None:
    try:
        expression = compile_expression(text, places=PLACES, context="/age")
    except (ExpressionError, NotEvaluable):
        return
    assert isinstance(expression.value((NOW, ANSWERS)), str | float | int)
    assert isinstance(expression.truth((NOW, ANSWERS)), bool)
