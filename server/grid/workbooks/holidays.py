"""The workbook of holidays: one row per day, known by its date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from server.core.errors import Problem
from server.grid.holidays import check_may_keep, record_import
from server.grid.models import Holiday, User
from server.grid.workbooks import cells
from server.grid.workbooks.sheets import (
    EXAMPLE,
    Column,
    ImportResult,
    Table,
    all_or_nothing,
    read_table,
)

TITLE = "节假日"
OFF, WORKED = "放假", "上班"
KIND_WORDS = {
    **dict.fromkeys((OFF, "休", "休息", "节假日", "假"), False),
    **dict.fromkeys((WORKED, "班", "调休", "调休上班", "补班", "工作日"), True),
}

COLUMNS = (
    Column(
        name="name",
        heading="名称",
        aliases=("节日", "节假日", "说明"),
        parse=cells.text(40),
        required=True,
        example=f"{EXAMPLE}国庆节",
        note="假日的名称；调休上班的日子写所补的假日。",
    ),
    Column(
        name="day",
        heading="日期",
        aliases=("日子", "时间"),
        parse=cells.day,
        required=True,
        example="2026-10-01",
        note="每天一行。同一日期再次导入即更新。",
    ),
    Column(
        name="is_workday",
        heading="放假或上班",
        aliases=("类型", "安排", "性质"),
        parse=cells.choice(KIND_WORDS, lambda: f"{OFF}、{WORKED}"),  # type: ignore[arg-type]
        required=True,
        choices=(OFF, WORKED),
        example=OFF,
        note="放假，或周末调休上班。",
    ),
)
NOTES = (
    "一天一行：放假的每一天，和因调休上班的周末。平常的周末不必写。",
    "按国务院办公厅每年公布的节假日安排填写。",
    "只要有一处错误，整个文件都不会导入；错误会逐行逐列列出。",
    "以“（示例）”开头的行不会导入。",
)


def holidays_template(*, by: User) -> bytes:
    """An empty workbook with headings, lists, an example row and notes."""
    from server.grid.workbooks.writing import write_table  # late, as it says there

    return write_table(TITLE, COLUMNS, (), notes=NOTES, example=True)


def export_holidays(rows: QuerySet[Holiday]) -> bytes:
    """The holidays as a workbook that `import_holidays` takes back without a change."""
    from server.grid.workbooks.writing import write_table  # late, as it says there

    lines = (
        {
            "name": row.name,
            "day": row.day.isoformat(),
            "is_workday": WORKED if row.is_workday else OFF,
        }
        for row in rows.order_by("day")
    )
    return write_table(TITLE, COLUMNS, lines, notes=NOTES)


@all_or_nothing
def import_holidays(*, file: BinaryIO, by: User) -> ImportResult:
    """Create and update days, all or nothing. Raises NotAllowed, Malformed, TooLarge, Invalid."""
    check_may_keep(by)
    table = read_table(file, COLUMNS)
    table.problems += _repeated(table)
    table.refuse_problems()
    days = [row.values["day"] for row in table.rows]
    stored = {row.day: row for row in Holiday.objects.select_for_update().filter(day__in=days)}
    created = [Holiday(**row.values) for row in table.rows if row.values["day"] not in stored]
    Holiday.objects.bulk_create(created)
    updated = 0
    for row in table.rows:
        known = stored.get(row.values["day"])
        if known and (known.name, known.is_workday) != (row.get("name"), row.get("is_workday")):
            known.name, known.is_workday = row.get("name"), row.get("is_workday")
            known.save()
            updated += 1
    record_import(by, created=len(created), updated=updated)
    return ImportResult(
        created=len(created),
        updated=updated,
        unchanged=len(table.rows) - len(created) - updated,
    )


def _repeated(table: Table) -> Iterator[Problem]:
    first: dict[object, int] = {}
    for row in table.rows:
        day = row.get("day")
        if day and day in first:
            detail = _("与第 {row} 行的日期重复，请删去一行").format(row=first[day])
            yield row.problem("day", "duplicate", detail)
        if day:
            first.setdefault(day, row.number)
