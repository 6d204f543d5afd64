"""Variables of hand-written notices."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from server.messaging.addressees import addressees
from server.messaging.variables import Addressee, fill, variable_problems
from tests.cast import Cast, add_school, appoint

ADA = Addressee(name="安督学", school="东河镇中心小学", area="东河镇")
MOMENT = datetime(2026, 11, 24, 17, 0, tzinfo=UTC)  # the 25th in the county


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{name}您好", "安督学您好"),
        ("{ school }（{area}）", "东河镇中心小学（东河镇）"),
        ("{date}", "2026-11-25"),
        ("{{name}}", "{name}"),
        ("{{{name}}}", "{安督学}"),
        ("没有变量", "没有变量"),
        ("100 %(title)s %", "100 %(title)s %"),
    ],
)
def test_a_text_is_filled_in_for_its_reader(text, filled):
    assert variable_problems("/body", text) == []
    assert fill(text, ADA, MOMENT) == filled


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("{nam}", "unknown_variable", "{nam}"),
        ("{名字}您好", "unknown_variable", "{名字}"),
        ("{}", "unknown_variable", "{}"),
        ("{name.__class__}", "unknown_variable", "{name.__class__}"),
        ("一个 { 括号", "brace", "{"),
        ("一个 } 括号", "brace", "}"),
    ],
)
def test_an_unknown_variable_and_a_lone_brace_are_refused_by_name(text, code, named):
    (problem,) = variable_problems("/body", text)
    assert (problem.pointer, problem.code) == ("/body", code)
    assert named in str(problem.detail)


def test_a_value_that_looks_like_a_variable_is_not_filled_in_again():
    assert fill("{name}", Addressee(name="{school}", school="x"), MOMENT) == "{school}"


def test_a_thousand_braces_are_a_handful_of_problems():
    assert len(variable_problems("/body", "".join(f"{{v{i}}}" for i in range(1000)))) == 5


def test_addressees_are_named_by_their_schools_and_towns(cast: Cast, django_assert_num_queries):
    more = [add_school(f"第{n}小学", f"910121010{n}", cast.town) for n in range(4)]
    appoint(cast.bruno, *more)
    people = [cast.principal, cast.ada, cast.bruno, cast.office]
    with django_assert_num_queries(3):
        known = addressees([person.pk for person in people])
    assert known[cast.principal.pk] == Addressee("白校长", "东河镇中心小学", "东河镇")
    assert known[cast.ada.pk] == Addressee("安督学", "东河镇中心小学", "东河镇")
    assert known[cast.bruno.pk].school == "东河镇第二小学、第0小学、第1小学 等 5 所"
    assert known[cast.office.pk] == Addressee("方主任", "", "云岭县")
