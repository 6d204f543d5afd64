"""Working days, and the table of holidays behind them."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta

import openpyxl
import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from server.core import clock
from server.core.audit import AuditEntry
from server.core.errors import Conflict, Invalid, NotAllowed, NotFound
from server.grid.holidays import add_shipped, remove_holiday, save_holiday
from server.grid.models import Holiday
from server.grid.workbooks.holidays import (
    export_holidays,
    holidays_template,
    import_holidays,
)
from server.grid.workdays import (
    WHOLE_DAYS,
    add_workdays,
    after_working_time,
    is_reminding_time,
    is_workday,
    office_hours,
    shipped_holidays,
    workdays_between,
    years_without_holidays,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def arrangement() -> None:
    """What the release ships, whatever an earlier test emptied."""
    Holiday.objects.all().delete()
    Holiday.objects.bulk_create(shipped_holidays())


def at(text: str) -> datetime:
    """A moment by the clock of the county."""
    return datetime.fromisoformat(f"{text}+08:00").astimezone(UTC)


@pytest.mark.parametrize(
    ("day", "works"),
    [
        ("2026-11-25", True),  # a Wednesday
        ("2026-11-28", False),  # a Saturday
        ("2026-10-01", False),  # a Thursday: National Day
        ("2026-10-10", True),  # a Saturday: worked for National Day
        ("2026-09-20", True),  # a Sunday: worked for National Day
        ("2025-01-26", True),  # a Sunday: worked for the Spring Festival
        ("2025-10-08", False),  # a Wednesday: Mid-Autumn and National Day
    ],
)
def test_a_day_is_what_its_row_says_and_else_what_its_weekday_says(day, works):
    assert is_workday(date.fromisoformat(day)) is works


@pytest.mark.parametrize(
    ("day", "count", "found"),
    [
        ("2026-11-27", 1, "2026-11-30"),  # over a weekend
        ("2026-09-30", 1, "2026-10-08"),  # over National Day
        ("2026-10-09", 1, "2026-10-10"),  # a worked Saturday
        ("2026-10-08", -1, "2026-09-30"),
        ("2026-11-28", 1, "2026-11-30"),  # from a Saturday
        ("2026-11-28", 0, "2026-11-28"),
        ("2026-02-13", 2, "2026-02-24"),  # the worked Saturday, then the longest holiday
    ],
)
def test_adding_working_days_steps_over_days_off(day, count, found):
    assert add_workdays(date.fromisoformat(day), count) == date.fromisoformat(found)


def test_working_days_between_are_those_that_adding_steps_over():
    first = date(2026, 9, 18)
    for count in range(1, 30):
        last = add_workdays(first, count)
        assert workdays_between(first, last) == count
        assert workdays_between(last, first) == -count
    assert workdays_between(first, first) == 0


def test_counting_asks_once(django_assert_num_queries):
    with django_assert_num_queries(3):
        add_workdays(date(2026, 1, 1), 200)
        workdays_between(date(2026, 1, 1), date(2026, 12, 31))
        after_working_time(at("2026-09-30T12:00"), timedelta(hours=200))


def test_a_calendar_without_a_working_day_ends_the_search():
    Holiday.objects.all().delete()
    days = [date(2026, 1, 1) + timedelta(days=each) for each in range(1000)]
    Holiday.objects.bulk_create(Holiday(day=day, name="长假") for day in days)
    assert add_workdays(date(2026, 1, 1), 1) < date(2028, 1, 1)
    moment = at("2026-01-01T12:00")
    assert after_working_time(moment, timedelta(hours=1)) == moment + timedelta(hours=1)


@pytest.mark.parametrize(
    ("begins", "hours", "ends"),
    [
        ("2026-11-25T15:00", 24, "2026-11-26T15:00"),
        ("2026-11-27T15:00", 24, "2026-11-30T15:00"),  # Friday to Monday
        ("2026-11-28T10:00", 1, "2026-11-30T01:00"),  # a Saturday counts from Monday 0:00
        ("2026-09-30T15:00", 24, "2026-10-08T15:00"),
    ],
)
def test_whole_working_days_leave_out_days_off(begins, hours, ends):
    assert after_working_time(at(begins), timedelta(hours=hours), WHOLE_DAYS) == at(ends)


@pytest.mark.parametrize(
    ("begins", "hours", "ends"),
    [
        ("2026-11-25T15:30", 2, "2026-11-25T17:30"),
        ("2026-11-25T16:30", 2, "2026-11-26T09:30"),
        ("2026-11-25T20:00", 1, "2026-11-26T09:30"),
        ("2026-11-25T06:00", 1, "2026-11-25T09:30"),
        ("2026-11-27T16:30", 2, "2026-11-30T09:30"),
    ],
)
def test_office_hours_leave_out_the_night_too(begins, hours, ends, settings):
    settings.OFFICE_HOURS = "08:30-17:30"
    assert after_working_time(at(begins), timedelta(hours=hours), office_hours()) == at(ends)


@pytest.mark.parametrize(
    ("moment", "now"),
    [
        ("2026-11-25T08:29", False),
        ("2026-11-25T08:30", True),
        ("2026-11-25T20:59", True),
        ("2026-11-25T21:00", False),
        ("2026-11-28T10:00", False),
        ("2026-10-01T10:00", False),
    ],
)
def test_reminders_go_out_in_the_morning_of_working_days(moment, now, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: at(moment))
    assert is_reminding_time() is now


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REMIND_AT", "half past eight"),
        ("REMIND_AT", "08:30-09:00"),
        ("OFFICE_HOURS", "08:30"),
        ("OFFICE_HOURS", "17:30-08:30"),
    ],
)
def test_a_time_that_nobody_can_read_stops_the_start(settings, name, value):
    setattr(settings, name, value)
    with pytest.raises(SystemCheckError, match=r"duxue\.E012"):
        call_command("check")


# ---- what is shipped --------------------------------------------------------------------------------


def test_the_shipped_arrangements_are_whole():
    """Days off and worked days as the State Council's two notices count them."""
    for year, off, worked in ((2025, 28, 5), (2026, 33, 6)):
        rows = [row for row in shipped_holidays() if row.day.year == year]
        assert sum(not row.is_workday for row in rows) == off
        assert sum(row.is_workday for row in rows) == worked
        assert all(row.day.weekday() >= 5 for row in rows if row.is_workday)


def test_a_year_without_rows_is_missed_from_november_on(monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: at("2026-10-31T12:00"))
    assert years_without_holidays() == []
    monkeypatch.setattr(clock, "now", lambda: at("2026-11-01T12:00"))
    assert years_without_holidays() == [2027]
    Holiday.objects.create(day=date(2027, 1, 1), name="元旦")
    assert years_without_holidays() == []


# ---- keeping the table ------------------------------------------------------------------------------


def test_an_office_keeps_the_table_and_the_log_knows(cast):
    row = save_holiday(by=cast.office, day=date(2027, 1, 1), name="元旦", is_workday=False)
    save_holiday(
        by=cast.office, holiday_id=row.pk, day=date(2027, 1, 2), name="元旦", is_workday=False
    )
    assert is_workday(date(2027, 1, 1))
    remove_holiday(by=cast.office, holiday_id=row.pk)
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["holiday.saved", "holiday.saved", "holiday.removed"]


def test_a_day_has_one_row(cast):
    with pytest.raises(Conflict):
        save_holiday(by=cast.office, day=date(2026, 10, 1), name="国庆", is_workday=False)
    with pytest.raises(Invalid):
        save_holiday(by=cast.office, day=date(2027, 10, 1), name=" ", is_workday=False)


@pytest.mark.parametrize("who", ["town_group", "ada", "principal", "carla"])
def test_who_is_no_office_keeps_nothing(cast, who):
    by, row = getattr(cast, who), Holiday.objects.first()
    assert row
    for do in (
        lambda: save_holiday(by=by, day=date(2027, 1, 1), name="元旦", is_workday=False),
        lambda: remove_holiday(by=by, holiday_id=row.pk),
        lambda: add_shipped(by=by),
        lambda: import_holidays(file=io.BytesIO(), by=by),
    ):
        with pytest.raises(NotAllowed):
            do()


def test_what_is_not_there_is_not_removed(cast):
    with pytest.raises(NotFound):
        remove_holiday(by=cast.office, holiday_id=cast.school.pk)


def test_adding_what_is_shipped_changes_nothing_that_is_there(cast):
    Holiday.objects.filter(day__year=2025).delete()
    Holiday.objects.filter(day=date(2026, 10, 1)).update(name="自己的")
    assert add_shipped(by=cast.office) == 33
    assert add_shipped(by=cast.office) == 0
    assert Holiday.objects.get(day=date(2026, 10, 1)).name == "自己的"


# ---- Excel ------------------------------------------------------------------------------------------


def workbook(*rows) -> io.BytesIO:
    book = openpyxl.Workbook()
    for row in (["名称", "日期", "放假或上班"], *rows):
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    stream.seek(0)
    return stream


def test_a_workbook_adds_and_changes_days(cast):
    rows = [["元旦", "2027年1月1日", "放假"], ["元旦调休", date(2027, 1, 3), "上班"]]
    result = import_holidays(file=workbook(*rows), by=cast.office)
    assert (result.created, result.updated) == (2, 0)
    assert not is_workday(date(2027, 1, 1))
    assert is_workday(date(2027, 1, 3))
    result = import_holidays(file=workbook(["新年", "2027-1-1", "休"], rows[1]), by=cast.office)
    assert (result.created, result.updated, result.unchanged) == (0, 1, 1)


def test_faults_are_named_by_row_and_column_and_nothing_is_stored(cast):
    rows = [
        ["元旦", "2027-01-01", "放假"],
        ["元旦", "2027-01-01", "放假"],
        ["元旦", "2027-13-01", "也许"],
        [None, "2027-01-04", None],
    ]
    with pytest.raises(Invalid) as refused:
        import_holidays(file=workbook(*rows), by=cast.office)
    assert [problem.pointer for problem in refused.value.problems] == [
        "/Sheet/4/日期",
        "/Sheet/4/放假或上班",
        "/Sheet/5/名称",
        "/Sheet/5/放假或上班",
        "/Sheet/3/日期",
    ]
    assert not Holiday.objects.filter(day__year=2027).exists()


def test_what_is_exported_is_imported_without_a_change(cast):
    content = export_holidays(Holiday.objects.all())
    result = import_holidays(file=io.BytesIO(content), by=cast.office)
    assert (result.created, result.updated, result.unchanged) == (0, 0, 72)


def test_the_template_s_example_is_not_imported(cast):
    with pytest.raises(Invalid, match="没有可导入的行"):
        import_holidays(file=io.BytesIO(holidays_template(by=cast.office)), by=cast.office)
