"""The instruments that come with the product: each compiles, takes a record, says what is wrong."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from openpyxl import load_workbook

from server.core.errors import Invalid
from server.instruments.answers import (
    attachment_items,
    attachments_named,
    check_answers,
    checker_for,
    findings_in,
)
from server.instruments.compiled import ATTACHMENTS
from server.instruments.library import FORM_IDS, workbook_path
from server.instruments.library.build import WORKBOOKS, excel_of
from server.instruments.library.food_safety import ITEMS, PARTS
from server.instruments.library.supervision_week import MATTERS
from server.instruments.xlsform import CompiledXLSForm, compile_xlsform
from server.instruments.xmldoc import answers_from_xml, answers_to_xml, read_header

AT = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


@cache
def compiled(form_id: str) -> CompiledXLSForm:
    return compile_xlsform(workbook_path(form_id).read_bytes(), version="1")


def food_safety() -> dict[str, Any]:
    record: dict[str, Any] = {
        part.name: {item.name: "yes" for item in part.items} for part in PARTS
    }
    record["visit_id"] = "0198a7c2-0000-7000-8000-000000000001"
    record["licence"]["licence_expiry"] = "2028-05-01"
    record["staff"] |= {"staff_count": 6, "staff_certified": 6}
    record["storage"] |= {"fridge_temperature": 4.5, "freezer_temperature": -18}
    record["processing"] |= {"core_temperature": 75}
    record["samples"] |= {"sample_grams": 130, "sample_hours": 48}
    record["disinfection"]["last_disinfection"] = "2026-11-23"
    record["conclusion"] = {"verdict": "good", "location": {"lat": 34.1, "lon": 108.9}}
    return record


def supervision_week() -> dict[str, Any]:
    return {
        "week": 8,
        "way": "routine",
        "matters": {name: "good" for name, *_rest in MATTERS},
        "documents": {"documents_seen": ["plans", "timetable"]},
        "interviews": [{"person": "teacher", "people": 3, "content": "课后服务安排合理"}],
        "walk": {"places": ["gate", "canteen"], "hazard": "no", "walk_photo": "walk.jpg"},
        "lessons": [
            {"subject": "chinese", "grade": "3", "teacher": "王老师", "lesson_score": 88},
            {"subject": "art", "grade": "5", "teacher": "赵老师", "lesson_score": 91},
        ],
        "conclusion": {"overall": "good", "suggestions": "继续坚持", "told_school": "yes"},
    }


def parent_questionnaire() -> dict[str, Any]:
    names = [each.name for each in compiled("parent_questionnaire").form.walk()]
    return {
        "about": {"stage": "primary", "grade": 4, "boarder": "no"},
        "satisfaction": {name: "5" for name in names if name.startswith("like_")},
        "life": {
            "homework_minutes": 40,
            "sleep_hours": 9.5,
            "phones": "yes",
            "one_hour_sport": "yes",
            "paid_tutoring": "no",
            "bullying": "unsure",
        },
        "wishes": ["food", "sport"],
        "words": "希望多开展体育活动",
    }


RECORDS = {
    "food_safety": food_safety,
    "supervision_week": supervision_week,
    "parent_questionnaire": parent_questionnaire,
}


@pytest.mark.parametrize("form_id", FORM_IDS)
def test_a_ready_instrument_compiles_without_a_warning(form_id: str) -> None:
    result = compiled(form_id)
    assert result.warnings == []
    assert result.attachments_needed == []
    assert result.form.form_id == form_id
    assert result.form.default_language == "zh"
    assert checker_for(result.form).unchecked == []


@pytest.mark.parametrize("form_id", FORM_IDS)
def test_a_ready_instrument_speaks_chinese_and_english(form_id: str) -> None:
    silent = {"start", "end", "today", "calculate"}
    for field in compiled(form_id).form.walk():
        if field.type not in silent:
            assert set(field.label) == {"zh", "en"}, field.path
        for choice in field.choices or ():
            assert set(choice.label) == {"zh", "en"}, field.path


@pytest.mark.parametrize("form_id", FORM_IDS)
def test_a_plausible_record_is_kept_and_finds_nothing(form_id: str) -> None:
    form = compiled(form_id).form
    checked = check_answers(form, RECORDS[form_id](), at=AT)
    assert checked.dropped == ()
    assert findings_in(form, checked.answers, at=AT) == []


@pytest.mark.parametrize("form_id", FORM_IDS)
def test_a_record_says_the_same_as_xml(form_id: str) -> None:
    form = compiled(form_id).form
    answers = check_answers(form, RECORDS[form_id](), at=AT).answers
    header = read_header(answers_to_xml(form, answers, "uuid:1"))
    assert check_answers(form, answers_from_xml(form, header.root), at=AT).answers == answers


@pytest.mark.parametrize("workbook", WORKBOOKS, ids=lambda workbook: workbook.form_id)
def test_the_committed_workbooks_are_what_the_tables_say(workbook: Any) -> None:
    committed = load_workbook(BytesIO(workbook_path(workbook.form_id).read_bytes()))
    built = load_workbook(BytesIO(excel_of(workbook)))
    assert committed.sheetnames == built.sheetnames
    for name in built.sheetnames:
        assert [*committed[name].values] == [*built[name].values]


def test_building_twice_gives_the_same_bytes() -> None:
    assert excel_of(WORKBOOKS[2]) == excel_of(WORKBOOKS[2])


# --- food safety ----------------------------------------------------------------------------------


def test_food_safety_has_forty_items_and_each_may_be_a_finding() -> None:
    fields = {field.name: field for field in compiled("food_safety").form.walk()}
    assert len(ITEMS) >= 40
    for item in ITEMS:
        finding = fields[item.name].finding
        assert finding is not None
        assert finding.values == ("no",)
    assert set(compiled("food_safety").form.external_files) == {"visits.csv", "schools.csv"}


def test_an_item_that_fails_needs_a_remark() -> None:
    record = food_safety()
    record["purchase"]["expired_food"] = "no"
    with pytest.raises(Invalid) as refused:
        check_answers(compiled("food_safety").form, record, at=AT)
    assert [each.pointer for each in refused.value.problems] == [
        "/answers/purchase/expired_food_note"
    ]


def test_a_failing_kitchen_has_findings_with_their_days() -> None:
    form, record = compiled("food_safety").form, food_safety()
    record["purchase"] |= {
        "expired_food": "no",
        "expired_food_note": "库房有过期酱油 2 瓶",
        "expired_food_photo": "soy.jpg",
    }
    record["staff"]["staff_certified"] = 5
    record["storage"]["fridge_temperature"] = 11.2
    record["samples"]["sample_grams"] = 90
    record["licence"]["licence_expiry"] = "2026-11-22"
    answers = check_answers(form, record, at=AT).answers
    assert answers["conclusion"]["failed_items"] == "1"
    assert attachment_items(form, answers) == {"soy.jpg": "/purchase/expired_food"}
    assert [(each.key, each.severity, each.days) for each in findings_in(form, answers, at=AT)] == [
        ("/licence/licence_expiry", "severe", 7),
        ("/staff/staff_certified", "severe", 3),
        ("/purchase/expired_food", "severe", 1),
        ("/storage/fridge_temperature", "major", 3),
        ("/samples/sample_grams", "major", 3),
    ]


def test_impossible_measurements_are_refused() -> None:
    record = food_safety()
    record["storage"]["fridge_temperature"] = 450
    record["staff"]["staff_certified"] = 7
    record["disinfection"]["last_disinfection"] = "2026-11-24"
    with pytest.raises(Invalid) as refused:
        check_answers(compiled("food_safety").form, record, at=AT)
    assert {(each.pointer, each.code) for each in refused.value.problems} == {
        ("/answers/storage/fridge_temperature", "constraint"),
        ("/answers/staff/staff_certified", "constraint"),
        ("/answers/disinfection/last_disinfection", "constraint"),
    }


# --- supervision week -----------------------------------------------------------------------------


def test_a_supervision_week_finds_problems_in_matters_walk_and_lessons() -> None:
    form, record = compiled("supervision_week").form, supervision_week()
    record["matters"] |= {"safety": "poor", "safety_note": "校门口无硬质隔离"}
    record["walk"] |= {"hazard": "yes", "hazard_note": "灭火器过期", "hazard_photo": "fire.jpg"}
    record["lessons"][1]["lesson_score"] = 55
    answers = check_answers(form, record, at=AT).answers
    assert answers["conclusion"]["lesson_count"] == "2"
    assert attachments_named(form, answers) == {"walk.jpg", "fire.jpg"}
    assert [(each.key, each.value_label) for each in findings_in(form, answers, at=AT)] == [
        ("/matters/safety", "存在问题"),
        ("/walk/hazard", "是"),
        ("/lessons/1/lesson_score", "55"),
    ]


def test_a_supervision_week_has_the_eight_matters() -> None:
    (matters,) = [
        each for each in compiled("supervision_week").form.fields if each.name == "matters"
    ]
    assert len([each for each in matters.children if each.type == "select_one"]) == 8


# --- parents' questionnaire -----------------------------------------------------------------------


def test_the_questionnaire_asks_for_nothing_that_names_the_parent() -> None:
    kinds = {field.type for field in compiled("parent_questionnaire").form.walk()}
    named = {"start", "end", "today", "deviceid", "username", "phonenumber", "email", "geopoint"}
    assert not kinds & (named | ATTACHMENTS)


def test_the_questionnaire_has_fifteen_to_twenty_questions() -> None:
    asked = [
        field
        for field in compiled("parent_questionnaire").form.walk()
        if field.type not in {"group", "note"}
    ]
    assert 15 <= len(asked) <= 20


def test_a_kindergarten_parent_is_not_asked_for_homework() -> None:
    record = copy.deepcopy(parent_questionnaire())
    record["about"]["stage"] = "kindergarten"
    checked = check_answers(compiled("parent_questionnaire").form, record, at=AT)
    assert checked.dropped == ("/answers/about/grade", "/answers/life/homework_minutes")


def test_at_most_three_wishes_are_taken() -> None:
    record = parent_questionnaire() | {"wishes": ["food", "sport", "safety", "teaching"]}
    with pytest.raises(Invalid):
        check_answers(compiled("parent_questionnaire").form, record, at=AT)
