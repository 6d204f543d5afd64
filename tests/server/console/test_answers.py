"""Which answer a photo proves, in the answers as they are read."""

from __future__ import annotations

from server.activities.models import SubmissionAttachment
from server.console.answers import Line, Section, proven_by


def section(title: str, *lines: Line) -> Section:
    return Section(title, 1, list(lines))


def photo(key: str, name: str) -> Line:
    return Line(key, "照片", "", (), (name,))


def file(name: str, item: str) -> SubmissionAttachment:
    return SubmissionAttachment(name=name, item=item)


LICENCE = Line("/licence", "许可证是否公示", "不符合", is_finding=True)
NOTE = Line("/licence_note", "说明", "证件在柜子里")
ROOMS = [
    section(
        f"教室 {n + 1}",
        Line(f"/rooms/{n}/exit", "出口", ("畅通", "堵塞")[n]),
        photo(f"/rooms/{n}/exit_photo", f"{n}.jpg"),
    )
    for n in range(2)
]
READ = [section("许可", LICENCE, NOTE, photo("/licence_photo", "licence.jpg")), *ROOMS]


def test_the_question_beside_the_photo_comes_with_its_remark():
    proven = proven_by(READ, file("licence.jpg", "/licence"))
    assert proven
    assert (proven.question, proven.remark, proven.section) == (LICENCE, "证件在柜子里", "许可")


def test_in_a_repeat_it_is_the_answer_of_the_same_turn():
    found = [proven_by(READ, file(f"{n}.jpg", "/rooms/exit")) for n in range(2)]
    assert [(each.question.value, each.section) for each in found if each] == [
        ("畅通", "教室 1"),
        ("堵塞", "教室 2"),
    ]


def test_a_question_elsewhere_is_found_by_its_path():
    read = [section("许可", LICENCE), section("附件", photo("/files/front", "a.jpg"))]
    proven = proven_by(read, file("a.jpg", "/licence"))
    assert proven
    assert proven.question == LICENCE


def test_a_photo_that_stands_for_itself_is_its_own_question():
    own = photo("/yard", "yard.jpg")
    proven = proven_by([section("", own)], file("yard.jpg", "/yard"))
    assert proven
    assert proven.question == own


def test_before_it_is_derived_the_photo_s_own_question_serves():
    proven = proven_by(READ, file("licence.jpg", ""))
    assert proven
    assert proven.question.key == "/licence_photo"


def test_a_file_that_no_answer_names_proves_nothing():
    assert proven_by(READ, file("audit.csv", "")) is None
