"""The table of holidays in the console."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime

import openpyxl
import pytest

from server.core import clock
from server.grid.models import Holiday

LIST = "/admin/grid/holiday/"


@pytest.fixture(autouse=True)
def one_day(db: None) -> Holiday:
    Holiday.objects.all().delete()
    return Holiday.objects.create(day=date(2026, 10, 1), name="国庆节")


def test_an_office_adds_changes_and_removes_a_day(office, one_day: Holiday):
    office.post(f"{LIST}add/", {"day": "2027-01-03", "name": "元旦调休", "is_workday": "on"})
    row = Holiday.objects.get(day=date(2027, 1, 3))
    assert row.is_workday
    office.post(f"{LIST}{row.pk}/edit/", {"day": "2027-01-04", "name": "元旦调休"})
    row.refresh_from_db()
    assert (row.day, row.is_workday) == (date(2027, 1, 4), False)
    answer = office.post(f"{LIST}{row.pk}/do/remove/", follow=True)
    assert "已删除" in answer.content.decode()
    assert list(Holiday.objects.all()) == [one_day]


def test_a_day_that_is_there_is_refused_at_its_field(office):
    answer = office.post(f"{LIST}add/", {"day": "2026-10-01", "name": "国庆节"})
    assert "已经有记录" in answer.context["form"].errors["day"][0]


def test_the_page_warns_of_a_year_without_holidays(office, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 11, 25, 4, tzinfo=UTC))
    assert "2027 年还没有节假日安排" in office.get(LIST).content.decode()
    Holiday.objects.create(day=date(2027, 1, 1), name="元旦")
    assert "还没有节假日安排" not in office.get(LIST).content.decode()


def test_what_is_shipped_is_added_by_a_button(office):
    answer = office.post(f"{LIST}shipped/", follow=True)
    assert "已补入 71 天" in answer.content.decode()


def test_a_workbook_is_imported_and_its_faults_are_shown(office):
    book = openpyxl.Workbook()
    for row in (["名称", "日期", "放假或上班"], ["元旦", "2027-01-01", "放假"]):
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    stream.seek(0)
    stream.name = "holidays.xlsx"
    answer = office.post(f"{LIST}import/", {"file": stream}, follow=True)
    assert "新增 1 条" in answer.content.decode()
    wrong = io.BytesIO(b"no workbook")
    wrong.name = "holidays.xlsx"
    answer = office.post(f"{LIST}import/", {"file": wrong})
    assert "不是可读取的 Excel 文件" in answer.content.decode()
    assert office.get(f"{LIST}export/").status_code == 200
    assert office.get(f"{LIST}template/").status_code == 200


def test_a_town_group_reads_and_does_not_write(group, one_day: Holiday):
    assert group.get(LIST).status_code == 200
    assert group.get(f"{LIST}add/").status_code in (403, 404)
    group.post(f"{LIST}add/", {"day": "2027-01-03", "name": "元旦"})
    group.post(f"{LIST}{one_day.pk}/edit/", {"day": "2027-01-04", "name": "元旦"})
    group.post(f"{LIST}{one_day.pk}/do/remove/")
    group.post(f"{LIST}shipped/")
    one_day.refresh_from_db()
    assert list(Holiday.objects.all()) == [one_day]
    assert one_day.name == "国庆节"
