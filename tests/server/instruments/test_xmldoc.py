"""Submissions as XML: what is read, and what is not trusted."""

from __future__ import annotations

from typing import Any

import pytest

from server.core.errors import Invalid, Malformed
from server.instruments.answers import check_answers
from server.instruments.compiled import Form
from server.instruments.xmldoc import answers_from_xml, answers_to_xml, read_header
from tests.server.instruments.workbooks import END_GROUP, END_REPEAT, form_of, q

META = "<meta><instanceID>uuid:1</instanceID></meta>"


@pytest.fixture(scope="module")
def form() -> Form:
    return form_of(
        q("text", "name"),
        q("begin_group", "kitchen"),
        q("integer", "age"),
        q("decimal", "degrees"),
        q("select_multiple yn", "several"),
        q("geopoint", "place"),
        END_GROUP,
        q("begin_repeat", "lessons"),
        q("text", "teacher"),
        END_REPEAT,
    )


def document(body: str, meta: str = META) -> bytes:
    return f'<data id="check" version="1">{body}{meta}</data>'.encode()


def answers(form: Form, body: str) -> dict[str, Any]:
    return answers_from_xml(form, read_header(document(body)).root)


def refused(form: Form, body: str) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as error:
        answers(form, body)
    return [(problem.pointer, problem.code) for problem in error.value.problems]


# --- the header -----------------------------------------------------------------------------------


def test_a_header_says_which_form_and_which_submission() -> None:
    meta = (
        "<meta><instanceID> uuid:2 </instanceID><deprecatedID>uuid:1</deprecatedID>"
        "<instanceName>某校</instanceName><audit>audit.csv</audit></meta>"
    )
    header = read_header(document("", meta))
    assert (header.form_id, header.version, header.instance_id) == ("check", "1", "uuid:2")
    assert (header.deprecated_id, header.instance_name) == ("uuid:1", "某校")
    assert header.audit == "audit.csv"


def test_meta_may_be_in_the_openrosa_namespace(form: Form) -> None:
    xml = (
        b'\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?><data xmlns:orx="http://openrosa.org/xforms"'
        b' id="check"><name>a</name><orx:meta><orx:instanceID>uuid:3</orx:instanceID></orx:meta></data>'
    )
    header = read_header(xml)
    assert (header.instance_id, header.version) == ("uuid:3", "")
    assert answers_from_xml(form, header.root) == {"name": "a"}


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"   ",
        b"hello",
        b"{}",
        document("<kitchen><age>4")[:-60],
        b'<data id="check"><kitchen><age>4',
        document("<name>a & b</name>"),
        document("<name>\x01</name>"),
        document("")[:-1],
        document("") + b"<data/>",
        document("<name>").replace(b"<name>", b"<name>\xff\xfe</name>"),
        "<?xml version='1.0' encoding='gb2312'?><data id='a'/>".encode("gb2312"),
        "<?xml version='1.0' encoding='gb2312'?><data id='a'>中</data>".encode("gb2312"),
        document("").decode().encode("utf-16"),
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + document("<name>&e;</name>"),
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + document("<name>&b;</name>"),
        document("", ""),
        document("", "<meta><instanceID/></meta>"),
        document("", f"<meta><instanceID>{'x' * 256}</instanceID></meta>"),
        b"<data>" + META.encode() + b"</data>",
        b'<data id="check" encrypted="yes">' + META.encode() + b"</data>",
        document("<a>" * 300 + "</a>" * 300),
    ],
)
def test_what_is_not_a_whole_submission_is_malformed(xml: bytes) -> None:
    with pytest.raises(Malformed):
        read_header(xml)


# --- answers --------------------------------------------------------------------------------------


def test_answers_are_typed_by_their_fields(form: Form) -> None:
    body = """
      <name> 李 &amp; 王 </name>
      <kitchen><age> 41 </age><degrees>-18.5</degrees><several>no yes</several>
        <place>34.1 108.9 0 5</place></kitchen>
      <lessons><teacher>甲</teacher></lessons><lessons><teacher/></lessons>"""
    assert answers(form, body) == {
        "name": " 李 & 王 ",
        "kitchen": {
            "age": 41,
            "degrees": -18.5,
            "several": ["no", "yes"],
            "place": "34.1 108.9 0 5",
        },
        "lessons": [{"teacher": "甲"}, {}],
    }


def test_comments_and_empty_elements_are_no_answers(form: Form) -> None:
    assert answers(form, "<!-- x --><name></name><kitchen><age/></kitchen>") == {"kitchen": {}}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ("<kitchen><age>4x</age></kitchen>", "/answers/kitchen/age", "wrong_type"),
        ("<kitchen><age>4.5</age></kitchen>", "/answers/kitchen/age", "wrong_type"),
        ("<kitchen><age>４</age></kitchen>", "/answers/kitchen/age", "wrong_type"),
        ("<kitchen><age>4_1</age></kitchen>", "/answers/kitchen/age", "wrong_type"),
        ("<kitchen><age><b>4</b></age></kitchen>", "/answers/kitchen/age", "wrong_type"),
        ("<kitchen><degrees>nan</degrees></kitchen>", "/answers/kitchen/degrees", "wrong_type"),
        ("<kitchen>text</kitchen>", "/answers/kitchen", "wrong_type"),
        ("<kitchen><age/>text</kitchen>", "/answers/kitchen", "wrong_type"),
        ("<kitchen><zoo>1</zoo></kitchen>", "/answers/kitchen/zoo", "unknown_field"),
        ("<kitchen><meta/></kitchen>", "/answers/kitchen/meta", "unknown_field"),
        ("<zoo/>", "/answers/zoo", "unknown_field"),
        ("<name>a</name><name>b</name>", "/answers/name", "duplicate"),
        ("<kitchen/><kitchen/>", "/answers/kitchen", "duplicate"),
        ("<lessons/><lessons><zoo/></lessons>", "/answers/lessons/1/zoo", "unknown_field"),
    ],
)
def test_nothing_is_guessed_or_left_out(form: Form, body: str, pointer: str, code: str) -> None:
    assert refused(form, body) == [(pointer, code)]


def test_all_problems_are_shown_at_once(form: Form) -> None:
    assert len(refused(form, "<zoo/><kitchen><age>x</age><degrees>y</degrees></kitchen>")) == 3


def test_what_is_written_reads_back_the_same(form: Form) -> None:
    given = {
        "name": "<李> & “王”\n第二行",
        "kitchen": {
            "age": 41,
            "degrees": 0.1,
            "several": ["yes", "no"],
            "place": {"lat": 34.1, "lon": 108.9, "altitude_m": 0.0, "accuracy_m": 5.0},
        },
        "lessons": [{"teacher": "甲"}, {}, {"teacher": "乙"}],
    }
    header = read_header(answers_to_xml(form, given, "uuid:9"))
    assert (header.form_id, header.version, header.instance_id) == ("check", "1", "uuid:9")
    assert check_answers(form, answers_from_xml(form, header.root)).answers == given
