"""Compiling workbooks: what comes out, and what is said about those that are wrong."""

from __future__ import annotations

import zipfile
from io import BytesIO
from typing import Any

import pytest
from lxml import etree

from server.core.errors import Invalid, Malformed, Problem, TooLarge
from server.instruments import xlsform
from server.instruments.compiled import form_from_json, form_to_json
from server.instruments.xlsform import compile_xlsform
from tests.server.instruments.workbooks import END_GROUP, END_REPEAT, form_of, q, xlsx

XFORMS = "{http://www.w3.org/2002/xforms}"


def problems_of(survey: list[dict[str, Any]], **rest: Any) -> list[Problem]:
    with pytest.raises(Invalid) as refused:
        compile_xlsform(xlsx(survey, **rest), version="1")
    return list(refused.value.problems)


def test_the_xform_carries_the_id_and_the_version_of_publication() -> None:
    compiled = compile_xlsform(
        xlsx([q("text", "a")], version="by hand"), form_id="kitchen", version="2026-03"
    )
    (model,) = etree.fromstring(compiled.xform.encode()).iter(f"{XFORMS}model")
    root = model.find(f"{XFORMS}instance")[0]
    assert (root.get("id"), root.get("version")) == ("kitchen", "2026-03")
    assert root.find(f"{XFORMS}meta/{XFORMS}instanceID") is not None
    assert (compiled.form.form_id, compiled.form.version) == ("kitchen", "2026-03")


def test_labels_are_kept_by_language_code() -> None:
    row = {"label::中文 (zh)": "许可证", "label::English (en)": "Licence", "hint": "看一看"}
    form = form_of(q("text", "a", **row))
    assert form.fields[0].label == {"zh": "许可证", "en": "Licence"}
    assert form.fields[0].hint == {"zh": "看一看"}
    assert form.languages == ("zh", "en")


def test_a_label_without_a_language_is_in_chinese() -> None:
    assert form_of(q("text", "a", label="许可证")).fields[0].label == {"zh": "许可证"}


def test_sections_hold_their_fields_and_paths_follow_them() -> None:
    form = form_of(
        q("begin_group", "kitchen"),
        q("begin_repeat", "fridges"),
        q("decimal", "degrees"),
        END_REPEAT,
        END_GROUP,
    )
    assert [(each.path, each.type) for each in form.walk()] == [
        ("/kitchen", "group"),
        ("/kitchen/fridges", "repeat"),
        ("/kitchen/fridges/degrees", "decimal"),
    ]


@pytest.mark.parametrize(
    ("written", "compiled"),
    [
        ("image", "image"),
        ("photo", "image"),
        ("select_one yn", "select_one"),
        ("select_multiple yn", "select_multiple"),
        ("rank yn", "rank"),
        ("integer", "integer"),
        ("range", "integer"),
        ("dateTime", "dateTime"),
        ("geopoint", "geopoint"),
        ("acknowledge", "acknowledge"),
        ("barcode", "barcode"),
        ("note", "note"),
    ],
)
def test_types_have_one_name_each(written: str, compiled: str) -> None:
    assert form_of(q(written, "a")).fields[0].type == compiled


def test_choices_keep_their_labels_and_scores() -> None:
    choices = form_of(q("select_one yn", "a")).fields[0].choices
    assert choices is not None
    assert [(each.value, each.label, each.score) for each in choices] == [
        ("yes", {"zh": "符合"}, 1.0),
        ("no", {"zh": "不符合"}, 0.0),
    ]


def test_a_count_that_pyxform_generates_is_a_calculation() -> None:
    form = form_of(
        q("integer", "n"),
        q("begin_repeat", "r", repeat_count="${n} + 1"),
        q("text", "a"),
        END_REPEAT,
    )
    assert [(each.name, each.type) for each in form.fields] == [
        ("n", "integer"),
        ("r_count", "calculate"),
        ("r", "repeat"),
    ]


def test_files_that_a_form_needs_are_listed_and_entity_lists_need_no_upload() -> None:
    compiled = compile_xlsform(
        xlsx(
            [
                q("select_one_from_file visits.csv", "visit_id"),
                q("select_one_from_file shops.csv", "shop"),
                q("note", "n", **{"image": "plan.png"}),
            ]
        ),
        version="1",
    )
    assert set(compiled.form.external_files) == {"visits.csv", "shops.csv", "plan.png"}
    assert set(compiled.attachments_needed) == {"shops.csv", "plan.png"}
    assert compiled.form.fields[1].external_file == "shops.csv"
    assert compiled.form.fields[1].choices is None


def test_a_form_survives_its_json() -> None:
    form = form_of(q("select_one yn", "a", finding="no", finding_severity="major", finding_days=7))
    again = form_from_json(form_to_json(form))
    assert again == form
    assert hash(again) == hash(form)


def test_the_digest_follows_the_rules_of_findings() -> None:
    row = q("select_one yn", "a", finding="no", finding_severity="major", finding_days=7)
    assert form_of(row).digest == form_of(row).digest
    assert form_of(row).digest != form_of({**row, "finding_days": 8}).digest


# --- findings -------------------------------------------------------------------------------------


def test_a_finding_may_be_written_in_chinese() -> None:
    row = {"问题": "不符合", "严重程度": "较重", "整改天数": 7, "问题名称": "无证经营"}
    finding = form_of(q("select_one yn", "a", **row)).fields[0].finding
    assert finding is not None
    assert (finding.values, finding.severity, finding.days) == (("no",), "major", 7)
    assert finding.title == {"zh": "无证经营"}


def test_a_finding_may_be_an_expression_over_other_answers() -> None:
    form = form_of(
        q("integer", "staff"),
        q("integer", "healthy", finding=". < ${staff}", finding_severity="severe", finding_days=3),
    )
    finding = form.fields[1].finding
    assert finding is not None
    assert finding.when == ". < /data/staff"


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ({"finding": "no", "finding_days": 7}, "finding_severity"),
        ({"finding": "no", "finding_severity": "huge", "finding_days": 7}, "finding_severity"),
        ({"finding": "no", "finding_severity": "major"}, "finding_days"),
        ({"finding": "no", "finding_severity": "major", "finding_days": 0}, "finding_days"),
        ({"finding": "no", "finding_severity": "major", "finding_days": "a week"}, "finding_days"),
        ({"finding": "maybe", "finding_severity": "major", "finding_days": 7}, "finding"),
        ({"finding": ". >", "finding_severity": "major", "finding_days": 7}, "finding"),
        ({"finding": "${x} = 1", "finding_severity": "major", "finding_days": 7}, "finding"),
        ({"finding": "random() > 1", "finding_severity": "major", "finding_days": 7}, "finding"),
        ({"finding_severity": "major", "finding_days": 7}, "finding"),
    ],
)
def test_a_wrong_finding_is_shown_by_row_and_column(cells: dict[str, Any], column: str) -> None:
    problems = problems_of([q("text", "first"), q("select_one yn", "a", **cells)])
    assert [problem.pointer for problem in problems] == [f"/survey/3/{column}"]


def test_a_section_cannot_be_a_finding() -> None:
    rule = {"finding": ". = 1", "finding_severity": "major", "finding_days": 7}
    problems = problems_of([q("begin_group", "g", **rule), q("text", "a"), END_GROUP])
    assert [problem.pointer for problem in problems] == ["/survey/2/finding"]


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "column", "code"),
    [
        ({"relevant": "frobnicate(${a})"}, "relevant", "unknown_function"),
        ({"constraint": ". > pow(2)"}, "constraint", "syntax"),
        ({"constraint": ". >"}, "constraint", "syntax"),
        ({"required": "/data/nothing = 1"}, "required", "unknown_field"),
        ({"relevant": "/form/a = 1"}, "relevant", "unknown_field"),
    ],
)
def test_a_wrong_expression_is_shown_by_row_and_column(
    cells: dict[str, str], column: str, code: str
) -> None:
    problems = problems_of([q("text", "a"), q("text", "b", **cells)])
    assert [(each.pointer, each.code) for each in problems] == [(f"/survey/3/{column}", code)]


def test_all_mistakes_are_shown_at_once() -> None:
    problems = problems_of(
        [q("text", "a", relevant="foo()"), q("text", "b", constraint="bar(.)")],
    )
    assert [each.pointer for each in problems] == ["/survey/2/relevant", "/survey/3/constraint"]


def test_a_choice_filter_may_not_use_an_unknown_function() -> None:
    problems = problems_of(
        [q("text", "a"), q("select_one yn", "b", choice_filter="foo(${a}) = name")]
    )
    assert [each.pointer for each in problems] == ["/survey/3/choice_filter"]


def test_a_function_that_only_phones_have_is_a_warning() -> None:
    compiled = compile_xlsform(
        xlsx([q("text", "a"), q("text", "b", relevant="pulldata('t', 'x', 'y', ${a}) = 1")]),
        version="1",
    )
    assert [each for each in compiled.warnings if "pulldata()" in each and "3" in each]


@pytest.mark.parametrize(
    ("survey", "pointer"),
    [
        ([q("text", "a"), q("text", "b", relevant="${nobody} = 1")], "/survey/3/relevant"),
        ([q("text", "a"), q("text", "a")], "/survey/3/name"),
        ([q("text", "a"), q("begin_group", "g")], "/survey/3"),
        ([q("text", "1a")], "/survey/2/name"),
    ],
)
def test_what_pyxform_refuses_is_shown_in_place(survey: list[dict[str, Any]], pointer: str) -> None:
    (problem,) = problems_of(survey)
    assert problem.pointer == pointer


def test_an_unknown_type_is_refused() -> None:
    (problem,) = problems_of([q("telepathy", "a")])
    assert "telepathy" in str(problem.detail)


def test_a_score_must_be_a_number() -> None:
    choices = [{"list_name": "yn", "name": "a", "label": "甲", "score": "many"}]
    problems = problems_of([q("select_one yn", "x")], choices=choices)
    assert [each.pointer for each in problems] == ["/choices/2/score"]


@pytest.mark.parametrize("form_id", [None, "9lives", "a b", "../etc", "检查"])
def test_a_form_needs_an_id_that_fits_an_address(form_id: str | None) -> None:
    problems = problems_of([q("text", "a")], form_id=form_id)
    assert [each.pointer for each in problems] == ["/settings/2/form_id"]


def test_an_encrypted_form_is_refused() -> None:
    problems = problems_of([q("text", "a")], public_key="MIIB")
    assert [each.pointer for each in problems] == ["/settings/2/public_key"]


def test_a_workbook_without_questions_is_refused() -> None:
    assert problems_of([])[0].pointer == "/survey"


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"PK\x03\x04 broken", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old excel"],
)
def test_what_is_not_a_workbook_is_refused(content: bytes) -> None:
    with pytest.raises(Malformed):
        compile_xlsform(content, version="1")


def test_a_zip_that_is_not_a_workbook_is_refused() -> None:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(Malformed):
        compile_xlsform(content.getvalue(), version="1")


def test_a_workbook_with_a_broken_part_is_refused() -> None:
    content = BytesIO()
    with (
        zipfile.ZipFile(BytesIO(xlsx([q("text", "a")]))) as good,
        zipfile.ZipFile(content, "w") as bad,
    ):
        for name in good.namelist():
            bad.writestr(name, b"<worksheet" if "sheet1" in name else good.read(name))
    with pytest.raises(Malformed):
        compile_xlsform(content.getvalue(), version="1")


def test_a_zip_bomb_is_refused_unread() -> None:
    content = BytesIO(xlsx([q("text", "a")]))
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/bomb.xml", b"0" * (xlsform.MAX_UNPACKED_BYTES + 1))
    assert len(content.getvalue()) < xlsform.MAX_BYTES
    with pytest.raises(TooLarge):
        compile_xlsform(content.getvalue(), version="1")


def test_a_file_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLarge):
        compile_xlsform(b"PK" + bytes(xlsform.MAX_BYTES), version="1")


def test_a_giant_sheet_is_refused() -> None:
    rows = [q("text", f"a{number}") for number in range(xlsform.MAX_ROWS["survey"] + 1)]
    with pytest.raises(TooLarge):
        compile_xlsform(xlsx(rows), version="1")


@pytest.mark.parametrize(
    ("heading", "written", "blur"),
    [
        ("blur_faces", "yes", True),
        ("遮挡人脸", "是", True),
        ("Blur Faces", True, True),
        ("blur_faces", "否", False),
        ("blur_faces", None, None),
        ("style", "pages", None),
    ],
)
def test_the_settings_sheet_says_whether_faces_are_blurred(
    heading: str, written: object, blur: bool | None
) -> None:
    content = xlsx([q("text", "a")], **{heading: written})
    compiled = compile_xlsform(content, version="1")
    assert compiled.blur_faces is blur
    assert not any("blur" in each or "遮挡" in each for each in compiled.warnings)


def test_a_blur_setting_that_is_neither_yes_nor_no_is_refused() -> None:
    problems = problems_of([q("text", "a")], blur_faces="maybe")
    assert [each.pointer for each in problems] == ["/settings/2/blur_faces"]
