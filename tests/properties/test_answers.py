"""Answers by XML and by JSON come to the same; what was checked once stays as it is."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from server.core.errors import Invalid
from server.instruments.answers import check_answers, checker_for, findings_in
from server.instruments.compiled import Form
from server.instruments.expressions import Environment, Places, compile_expression
from server.instruments.xmldoc import answers_from_xml, answers_to_xml, read_header
from server.instruments.xpath import ExpressionError, parse
from tests.server.instruments.workbooks import END_GROUP, END_REPEAT, form_of, q

EXAMPLES = settings(max_examples=200, deadline=None, print_blob=True)


@cache
def form() -> Form:
    return form_of(
        q("text", "name"),
        q("select_one yn", "ok", finding="no", finding_severity="minor", finding_days=5),
        q("text", "why", relevant="${ok} = 'no'"),
        q("begin_group", "kitchen", relevant="${name} != 'none'"),
        q("integer", "age", constraint=". < 1000"),
        q("decimal", "degrees"),
        q("select_multiple yn", "several"),
        q("geopoint", "place"),
        q("calculate", "twice", calculation="${age} * 2"),
        END_GROUP,
        q("begin_repeat", "lessons"),
        q("text", "teacher"),
        q("integer", "minutes"),
        q("begin_group", "more", relevant="${minutes} > 40"),
        q("date", "day"),
        END_GROUP,
        END_REPEAT,
        q("calculate", "total", calculation="sum(${minutes})"),
        q("image", "photo"),
    )


# What XML can hold: no control characters, a carriage return is a line feed to every reader.
TEXT = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff"),
    min_size=1,
    max_size=20,
)
YES_NO = st.sampled_from(["yes", "no"])
POINT = st.fixed_dictionaries(
    {"lat": st.floats(-90, 90), "lon": st.floats(-180, 180)},
    optional={"altitude_m": st.floats(-100, 9000)},
)
LESSON = st.fixed_dictionaries(
    {},
    optional={
        "teacher": TEXT,
        "minutes": st.integers(0, 90),
        "more": st.fixed_dictionaries({}, optional={"day": st.dates().map(str)}),
    },
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXT | st.just("none"),
        "ok": YES_NO,
        "why": TEXT,
        "kitchen": st.fixed_dictionaries(
            {},
            optional={
                "age": st.integers(-999, 999),
                "degrees": st.floats(allow_nan=False, allow_infinity=False),
                "several": st.lists(YES_NO, unique=True, min_size=1),
                "place": POINT,
            },
        ),
        "lessons": st.lists(LESSON, max_size=4),
        "photo": st.sampled_from(["1.jpg", "照片.jpg"]),
    },
)
NAMES = st.sampled_from([each.name for each in form().walk()] + ["stranger"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@EXAMPLES
@given(answers=ANSWERS)
def test_the_same_answers_by_xml_and_by_json_are_the_same(answers: dict[str, Any]):
    checked = check_answers(form(), answers).answers
    xml = answers_to_xml(form(), answers, "uuid:1")
    by_xml = check_answers(form(), answers_from_xml(form(), read_header(xml).root)).answers
    assert by_xml == checked
    assert findings_in(form(), by_xml) == findings_in(form(), checked)


@EXAMPLES
@given(answers=ANSWERS)
def test_checking_what_was_checked_changes_nothing(answers: dict[str, Any]):
    checked = check_answers(form(), answers)
    again = check_answers(form(), checked.answers)
    assert again.answers == checked.answers
    assert again.dropped == ()


@EXAMPLES
@given(answers=JSON)
def test_whatever_is_sent_is_checked_or_refused_by_name(answers: Any):
    try:
        checked = check_answers(form(), answers).answers
    except Invalid as refusal:
        assert refusal.problems  # noqa: PT017 - refusing is one of two right answers
        return
    assert check_answers(form(), checked).answers == checked


# ---- expressions --------------------------------------------------------------------------------

TOKENS = """
    ( ) , . .. / // + - * | = != < <= > >= and or div mod not if count sum today regex selected
    'yes' "no" 1 2.5 0 /check/name /check/kitchen/age /check/lessons ../ok @a [ ] $ :: true()
    coalesce string-length substr concat number round int pow once position current()
"""


@EXAMPLES
@given(
    text=st.text(max_size=30) | st.lists(st.sampled_from(TOKENS.split()), max_size=14).map(" ".join)
)
def test_any_text_parses_or_is_refused_with_a_reason(text: str):
    try:
        parse(text)
    except ExpressionError as refusal:
        assert str(refusal)  # noqa: PT017 - as above


NUMBERS = st.recursive(
    st.integers(-50, 50).map(str) | st.sampled_from(["2.5", "0", "${age}"]),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "div", "mod"]), inner).map(
        lambda parts: f"({' '.join(parts)})"
    ),
    max_leaves=8,
)


@EXAMPLES
@given(left=NUMBERS, right=NUMBERS, age=st.integers(-50, 50) | st.none())
def test_comparisons_and_their_opposites_agree(left: str, right: str, age: int | None):
    """a < b is b > a, and a = b is not a != b, whatever arithmetic stands on the sides."""
    scope = (Environment("2026-11-23", "2026-11-23T10:00:00+08:00"), _answers(age))

    def truth(text: str) -> bool:
        text = text.replace("${age}", f"/{form().root}/kitchen/age")
        return compile_expression(text, places=Places(form()), context="/name").truth(scope)

    assert truth(f"{left} < {right}") == truth(f"{right} > {left}")
    assert truth(f"{left} = {right}") == truth(f"not({left} != {right})")


def _answers(age: int | None) -> dict[str, Any]:
    return {"kitchen": {} if age is None else {"age": age}, "lessons": []}


def test_the_form_has_no_rule_that_only_phones_check():
    assert checker_for(form()).unchecked == []
