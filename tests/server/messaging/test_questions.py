"""The small form of a notice."""

from __future__ import annotations

import pytest

from server.core.errors import Invalid
from server.messaging.questions import MAX_QUESTIONS, checked_answers, checked_form

FORM = checked_form(
    [
        {"kind": "number", "label": "参加人数"},
        {"kind": "choice", "label": "是否用餐", "options": ["是", "否"]},
        {"kind": "choices", "label": "到场日", "options": ["周一", "周二"], "required": False},
        {"kind": "date", "label": "到达日期", "required": False},
        {"kind": "text", "label": "备注", "required": False},
    ]
)


def test_questions_without_ids_are_named_by_their_place():
    assert [question["id"] for question in FORM] == ["q1", "q2", "q3", "q4", "q5"]


@pytest.mark.parametrize(
    ("questions", "pointer"),
    [
        ([], "/questions"),
        ([{"kind": "text", "label": "问"}] * (MAX_QUESTIONS + 1), "/questions"),
        ([{"kind": "photo", "label": "问"}], "/questions/0/kind"),
        ([{"kind": "text", "label": " "}], "/questions/0/label"),
        ([{"kind": "choice", "label": "问", "options": ["一"]}], "/questions/0/options"),
        ([{"kind": "choice", "label": "问", "options": ["一", "一"]}], "/questions/0/options"),
        ([{"kind": "text", "label": "问", "id": "Q 1"}], "/questions/0/id"),
        (
            [{"kind": "text", "label": "问", "id": "q2"}, {"kind": "text", "label": "又问"}],
            "/questions/1/id",
        ),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(questions, pointer):
    with pytest.raises(Invalid) as refusal:
        checked_form(questions)
    assert pointer in [problem.pointer for problem in refusal.value.problems]


def test_answers_are_kept_without_the_empty_ones():
    given = {"q1": 12, "q2": "是", "q3": ["周二"], "q4": "2026-11-30", "q5": "  "}
    answers = checked_answers(FORM, given)
    assert answers == {"q1": 12, "q2": "是", "q3": ["周二"], "q4": "2026-11-30"}
    assert checked_answers(FORM, {"q1": 0, "q2": "否", "q3": []}) == {"q1": 0, "q2": "否"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"q1": None}, "q1"),
        ({"q1": "12"}, "q1"),
        ({"q1": True}, "q1"),
        ({"q1": 1e300}, "q1"),
        ({"q1": float("nan")}, "q1"),
        ({"q2": "也许"}, "q2"),
        ({"q2": ["是"]}, "q2"),
        ({"q2": {"是": 1}}, "q2"),
        ({"q3": "周一"}, "q3"),
        ({"q3": ["周一", "周一"]}, "q3"),
        ({"q3": [{}]}, "q3"),
        ({"q4": "明天"}, "q4"),
        ({"q4": "20261130"}, "q4"),
        ({"q4": 20261130}, "q4"),
        ({"q5": "字" * 2001}, "q5"),
        ({"q5": 5}, "q5"),
        ({"q9": "多余"}, "q9"),
    ],
)
def test_an_answer_that_breaks_the_form_is_refused_at_its_question(changes, name):
    with pytest.raises(Invalid) as refusal:
        checked_answers(FORM, {"q1": 1, "q2": "是", **changes})
    assert [problem.pointer for problem in refusal.value.problems] == [f"/answers/{name}"]
