"""Answers against their form: what is kept, what is dropped, what is refused and where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from server.core.errors import Invalid
from server.instruments.answers import (
    MAX_INSTANCES,
    attachment_items,
    attachments_named,
    check_answers,
    checker_for,
    findings_in,
)
from server.instruments.compiled import Form, form_from_json, form_to_json
from tests.server.instruments.workbooks import END_GROUP, END_REPEAT, form_of, q

AT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def kept(form: Form, answers: Any) -> dict[str, Any]:
    return check_answers(form, answers, at=AT).answers


def refused(form: Form, answers: Any) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as error:
        check_answers(form, answers, at=AT)
    return [(problem.pointer, problem.code) for problem in error.value.problems]


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        ("text", "李老师 & <b>", "李老师 & <b>"),
        ("integer", 4, 4),
        ("integer", 4.0, 4),
        ("integer", 0, 0),
        ("decimal", 4, 4.0),
        ("decimal", -18.5, -18.5),
        ("date", "2024-02-29", "2024-02-29"),
        ("time", "09:30", "09:30"),
        ("time", "09:30:00.000+08:00", "09:30:00.000+08:00"),
        ("dateTime", "2026-11-23T09:30:00.000+08:00", "2026-11-23T09:30:00.000+08:00"),
        ("dateTime", "2026-11-23T01:30:00Z", "2026-11-23T01:30:00Z"),
        ("select_one yn", "no", "no"),
        ("select_multiple yn", ["no", "yes"], ["no", "yes"]),
        ("rank yn", ["no", "yes"], ["no", "yes"]),
        ("acknowledge", "OK", "OK"),
        ("acknowledge", True, "OK"),
        ("image", "照片 1.jpg", "照片 1.jpg"),
        ("geopoint", {"lat": 34, "lon": 108.9}, {"lat": 34.0, "lon": 108.9}),
        (
            "geopoint",
            "34.1 108.9 400 5.5",
            {"lat": 34.1, "lon": 108.9, "altitude_m": 400.0, "accuracy_m": 5.5},
        ),
        ("geotrace", "1 2;3 4", [{"lat": 1.0, "lon": 2.0}, {"lat": 3.0, "lon": 4.0}]),
        ("select_one_from_file shops.csv", "anything", "anything"),
    ],
)
def test_answers_of_every_type_are_kept(kind: str, sent: Any, expected: Any) -> None:
    found = kept(form_of(q(kind, "a")), {"a": sent})["a"]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "sent", "code"),
    [
        ("text", 5, "wrong_type"),
        ("text", ["a"], "wrong_type"),
        ("text", "a\x00b", "wrong_type"),
        ("text", "\ud800", "wrong_type"),
        ("text", "字" * 50_001, "too_long"),
        ("integer", "4", "wrong_type"),
        ("integer", 4.5, "wrong_type"),
        ("integer", True, "wrong_type"),
        ("integer", 2**60, "wrong_type"),
        ("decimal", "4.5", "wrong_type"),
        ("decimal", float("nan"), "wrong_type"),
        ("decimal", float("inf"), "wrong_type"),
        ("decimal", 10**400, "wrong_type"),
        ("date", "2026-02-30", "wrong_type"),
        ("date", "20261123", "wrong_type"),
        ("date", "2026-11-23T09:30:00", "wrong_type"),
        ("time", "25:00", "wrong_type"),
        ("dateTime", "2026-11-23", "wrong_type"),
        ("select_one yn", "maybe", "not_a_choice"),
        ("select_one yn", ["yes"], "wrong_type"),
        ("select_multiple yn", "yes no", "wrong_type"),
        ("select_multiple yn", ["yes", "maybe"], "not_a_choice"),
        ("select_multiple yn", ["yes", "yes"], "not_a_choice"),
        ("acknowledge", "yes", "wrong_type"),
        ("image", "../../etc/passwd", "wrong_type"),
        ("image", "..", "wrong_type"),
        ("geopoint", "34.1", "wrong_type"),
        ("geopoint", {"lat": 91, "lon": 0}, "wrong_type"),
        ("geopoint", {"lat": 9}, "wrong_type"),
        ("geopoint", "nan nan", "wrong_type"),
    ],
)
def test_answers_of_a_wrong_type_are_refused_in_place(kind: str, sent: Any, code: str) -> None:
    form = form_of(q("begin_group", "g"), q(kind, "a"), END_GROUP)
    assert refused(form, {"g": {"a": sent}}) == [("/answers/g/a", code)]


@pytest.mark.parametrize("blank", [None, "", []])
def test_a_blank_answer_is_no_answer(blank: Any) -> None:
    assert (
        kept(form_of(q("text", "a"), q("select_multiple yn", "b")), {"a": blank, "b": blank}) == {}
    )


def test_answers_come_back_in_the_order_of_the_form() -> None:
    form = form_of(q("text", "a"), q("text", "b"), q("text", "c"))
    assert list(kept(form, {"c": "3", "a": "1", "b": "2"})) == ["a", "b", "c"]


@pytest.mark.parametrize("answers", [None, [], "text", 5])
def test_answers_must_be_an_object(answers: Any) -> None:
    assert refused(form_of(q("text", "a")), answers) == [("/answers", "wrong_type")]


def test_fields_that_the_form_does_not_have_are_refused() -> None:
    form = form_of(q("begin_group", "g"), q("text", "a"), END_GROUP)
    assert refused(form, {"g": {"b": 1}, "x/y~": 2}) == [
        ("/answers/g/b", "unknown_field"),
        ("/answers/x~1y~0", "unknown_field"),
    ]


def test_sections_of_a_wrong_shape_are_refused() -> None:
    form = form_of(
        q("begin_group", "g"),
        q("text", "a"),
        END_GROUP,
        q("begin_repeat", "r"),
        q("text", "b"),
        END_REPEAT,
    )
    assert refused(form, {"g": [], "r": {}}) == [
        ("/answers/g", "wrong_type"),
        ("/answers/r", "wrong_type"),
    ]
    assert refused(form, {"r": [{"b": "x"}, 7]}) == [("/answers/r/1", "wrong_type")]
    assert refused(form, {"r": [{}] * (MAX_INSTANCES + 1)}) == [("/answers/r", "too_many")]


# --- rules ----------------------------------------------------------------------------------------


def test_what_is_required_must_be_answered() -> None:
    form = form_of(q("begin_group", "g"), q("text", "a", required="yes"), END_GROUP)
    assert refused(form, {}) == [("/answers/g/a", "required")]
    assert kept(form, {"g": {"a": "x"}}) == {"g": {"a": "x"}}


def test_a_required_answer_of_a_wrong_type_is_one_problem() -> None:
    assert refused(form_of(q("integer", "a", required="yes")), {"a": "4"}) == [
        ("/answers/a", "wrong_type")
    ]


def test_something_may_be_required_only_sometimes() -> None:
    form = form_of(q("select_one yn", "ok"), q("text", "why", required="${ok} = 'no'"))
    assert refused(form, {"ok": "no"}) == [("/answers/why", "required")]
    assert kept(form, {"ok": "yes"}) == {"ok": "yes"}


def test_what_is_not_asked_is_neither_required_nor_kept() -> None:
    form = form_of(
        q("select_one yn", "ok"), q("text", "why", required="yes", relevant="${ok} = 'no'")
    )
    checked = check_answers(form, {"ok": "yes", "why": "stale"}, at=AT)
    assert checked.answers == {"ok": "yes"}
    assert checked.dropped == ("/answers/why",)
    assert refused(form, {"ok": "no"}) == [("/answers/why", "required")]


def test_a_group_that_is_not_asked_drops_all_that_it_holds() -> None:
    form = form_of(
        q("select_one yn", "has_kitchen"),
        q("begin_group", "kitchen", relevant="${has_kitchen} = 'yes'"),
        q("text", "cook", required="yes"),
        q("begin_repeat", "fridges"),
        q("integer", "degrees", required="yes"),
        END_REPEAT,
        END_GROUP,
    )
    answers = {"has_kitchen": "no", "kitchen": {"cook": "x", "fridges": [{}]}}
    assert kept(form, answers) == {"has_kitchen": "no"}


def test_relevance_follows_answers_that_are_themselves_dropped() -> None:
    form = form_of(
        q("text", "third", relevant="${second} != ''"),
        q("text", "second", relevant="${first} = 'go'"),
        q("text", "first"),
    )
    assert kept(form, {"first": "stop", "second": "b", "third": "c"}) == {"first": "stop"}


def test_constraints_speak_with_the_words_of_the_form() -> None:
    form = form_of(
        q("decimal", "t", label="温度", constraint=". <= 8", constraint_message="不能高于 8 ℃")
    )
    with pytest.raises(Invalid) as error:
        check_answers(form, {"t": 9}, at=AT)
    (problem,) = error.value.problems
    assert (problem.pointer, problem.code) == ("/answers/t", "constraint")
    assert problem.detail == "温度：不能高于 8 ℃"
    assert kept(form, {}) == {}


def test_rules_in_a_repeat_look_at_their_own_instance() -> None:
    form = form_of(
        q("begin_repeat", "lessons"),
        q("integer", "score", constraint=". <= 100"),
        q("text", "why", required="yes", relevant="${score} < 60"),
        END_REPEAT,
    )
    answers = {"lessons": [{"score": 50}, {"score": 90}, {"score": 101}, {"score": 40, "why": "x"}]}
    assert refused(form, answers) == [
        ("/answers/lessons/0/why", "required"),
        ("/answers/lessons/2/score", "constraint"),
    ]


def test_an_empty_instance_keeps_its_place() -> None:
    form = form_of(q("begin_repeat", "r"), q("text", "a"), END_REPEAT)
    assert kept(form, {"r": [{}, {"a": "x"}]}) == {"r": [{}, {"a": "x"}]}


def test_a_rule_that_only_phones_can_check_refuses_nothing() -> None:
    form = form_of(
        q("text", "a", constraint="pulldata('t', 'x', 'y', .) = 1"),
        q("text", "b", relevant="random() > 2", required="yes"),
    )
    assert kept(form, {"a": "x"}) == {"a": "x"}
    assert {path for path, _rule, _by in checker_for(form).unchecked} == {"/a", "/b"}


def test_today_is_the_day_of_filling_in_not_of_arrival() -> None:
    form = form_of(q("end", "end"), q("date", "due", constraint=". >= today()"))
    late = datetime(2026, 12, 24, tzinfo=UTC)
    answers = {"end": "2026-11-23T09:00:00.000+08:00", "due": "2026-11-24"}
    assert check_answers(form, answers, at=late).answers == answers
    assert refused(form, {"end": "2026-11-25T09:00:00.000+08:00", "due": "2026-11-24"})
    assert check_answers(form, {"due": "2026-11-24"}, at=AT).answers
    with pytest.raises(Invalid):
        check_answers(form, {"due": "2026-11-24"}, at=late)


def test_the_day_is_the_countys_not_greenwichs() -> None:
    form = form_of(q("date", "d", constraint=". = today()"))
    evening = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)  # 01:00 of the 23rd in China
    assert check_answers(form, {"d": "2026-11-23"}, at=evening).answers


def test_what_a_client_does_not_calculate_is_calculated() -> None:
    form = form_of(
        q("integer", "a"),
        q("calculate", "double", calculation="${a} * 2"),
        q("text", "big", relevant="${double} > 10", required="yes"),
    )
    assert refused(form, {"a": 6}) == [("/answers/big", "required")]
    assert kept(form, {"a": 3}) == {"a": 3, "double": "6"}
    assert kept(form, {"a": 3, "double": "7"})["double"] == "7"
    assert kept(form, {"a": 3, "double": 7})["double"] == "7"


# --- what is read from checked answers ------------------------------------------------------------

RULE = {"finding_severity": "major", "finding_days": 7}


def test_an_answer_among_the_values_is_a_finding() -> None:
    form = form_of(q("select_one yn", "a", label="许可证", finding="不符合", **RULE))
    (found,) = findings_in(form, {"a": "no"})
    assert (found.path, found.key, found.value, found.value_label) == ("/a", "/a", "no", "不符合")
    assert (found.severity, found.days, found.title) == ("major", 7, {"zh": "许可证"})
    assert findings_in(form, {"a": "yes"}) == []
    assert findings_in(form, {}) == []


def test_one_of_several_choices_is_enough_for_a_finding() -> None:
    form = form_of(q("select_multiple yn", "a", finding="no", **RULE))
    (found,) = findings_in(form, {"a": ["yes", "no"]})
    assert found.value_label == "符合、不符合"


def test_findings_in_a_repeat_have_keys_of_their_own() -> None:
    form = form_of(
        q("begin_group", "g"),
        q("begin_repeat", "lessons"),
        q("begin_group", "marks"),
        q("integer", "score", finding=". < 60", **RULE),
        END_GROUP,
        END_REPEAT,
        END_GROUP,
    )
    answers = {"g": {"lessons": [{"marks": {"score": s}} for s in (50, 90, 40)] + [{}]}}
    assert [found.key for found in findings_in(form, answers)] == [
        "/g/lessons/0/marks/score",
        "/g/lessons/2/marks/score",
    ]


def test_a_finding_may_compare_with_another_answer() -> None:
    form = form_of(q("integer", "staff"), q("integer", "healthy", finding=". < ${staff}", **RULE))
    assert findings_in(form, {"staff": 5, "healthy": 5}) == []
    assert [found.value_label for found in findings_in(form, {"staff": 5, "healthy": 4})] == ["4"]


def test_attachments_are_found_wherever_they_are() -> None:
    form = form_of(
        q("image", "front"),
        q("begin_repeat", "walk"),
        q("image", "photo"),
        q("text", "note"),
        END_REPEAT,
    )
    answers = {"front": "1.jpg", "walk": [{"photo": "2.jpg", "note": "3.jpg"}, {"photo": "4.jpg"}]}
    assert attachments_named(form, answers) == {"1.jpg", "2.jpg", "4.jpg"}


def test_a_photo_proves_the_question_that_it_is_named_after_else_the_one_it_is_asked_after() -> (
    None
):
    form = form_of(
        q("begin_group", "fire"),
        q("integer", "exit"),
        q("integer", "exit_blocked"),
        q("text", "exit_blocked_note"),
        q("image", "exit_blocked_photo"),
        END_GROUP,
        q("integer", "bottles"),
        q("image", "shelf", relevant="${bottles} > 3"),
        q("image", "yard"),
    )
    answers = {
        "fire": {"exit": 1, "exit_blocked": 2, "exit_blocked_photo": "1.jpg"},
        "bottles": 5,
        "shelf": "2.jpg",
        "yard": "3.jpg",
    }
    assert attachment_items(form, answers) == {
        "1.jpg": "/fire/exit_blocked",
        "2.jpg": "/bottles",
        "3.jpg": "/yard",
    }


def test_an_answer_is_found_by_its_name() -> None:
    form = form_of(
        q("begin_group", "head"), q("select_one_from_file visits.csv", "visit_id"), END_GROUP
    )
    checker = checker_for(form)
    assert checker.answer_named({"head": {"visit_id": "v1"}}, "visit_id") == "v1"
    assert checker.answer_named({}, "visit_id") is None
    assert checker.answer_named({}, "nothing") is None


def test_a_checker_is_prepared_once_per_version() -> None:
    form = form_of(q("text", "a"))
    assert checker_for(form) is checker_for(form_from_json(form_to_json(form)))
    assert checker_for(form) is not checker_for(form_of(q("text", "b")))
