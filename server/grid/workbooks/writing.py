"""Tables written into Excel files so that they can be read again.

What is written into a file is Chinese whatever the page's language: the file goes on to schools.
Import this late: openpyxl takes 8 MB, and few processes ever write a workbook.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from openpyxl import Workbook
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from server.grid.workbooks.sheets import Column

REQUIRED_FILL = PatternFill("solid", fgColor="FFF1D6")
OPTIONAL_FILL = PatternFill("solid", fgColor="E8EEF7")
EXAMPLE_FONT = Font(color="888888", italic=True)
TEXT_FORMAT = "@"
LISTED_ROWS = 1000
"""How far down the template offers its drop-down lists."""


def write_table(
    title: str,
    columns: Sequence[Column],
    rows: Iterable[dict[str, Any]],
    *,
    notes: Sequence[str] = (),
    example: bool = False,
    choices: dict[str, Sequence[str]] | None = None,
) -> bytes:
    """A workbook with the table, drop-down lists, and a sheet of notes.

    `choices` adds lists to columns whose words depend on who asks, such as the names of towns.
    """
    book = Workbook()
    sheet = book.active
    assert sheet is not None  # noqa: S101 - a new workbook has one sheet
    sheet.title = title
    _write_headings(sheet, columns)
    if example:
        sheet.append([column.example for column in columns])
        for cell in sheet[2]:
            cell.font = EXAMPLE_FONT
            cell.number_format = TEXT_FORMAT
    for row in rows:
        _write_row(sheet, columns, row)
    _write_notes(book, columns, notes)
    lists = {column.name: column.choices for column in columns if column.choices}
    _write_choices(book, sheet, columns, {**lists, **(choices or {})})
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _write_headings(sheet: Any, columns: Sequence[Column]) -> None:
    sheet.append([column.heading for column in columns])
    for cell, column in zip(sheet[1], columns, strict=True):
        cell.font = Font(bold=True)
        cell.fill = REQUIRED_FILL if column.required else OPTIONAL_FILL
        if column.note:
            cell.comment = Comment(column.note, "Duxue", width=260, height=110)
        letter = get_column_letter(cell.column)
        sheet.column_dimensions[letter].width = column.width
        # Text, so that Excel keeps long codes and leading zeros as they are typed.
        sheet.column_dimensions[letter].number_format = TEXT_FORMAT
    sheet.freeze_panes = "B2"


def _write_row(sheet: Any, columns: Sequence[Column], row: dict[str, Any]) -> None:
    sheet.append([row.get(column.name) for column in columns])
    for cell in sheet[sheet.max_row]:
        if isinstance(cell.value, str):
            # Never a formula, whatever a name begins with.
            cell.data_type = "s"
            cell.number_format = TEXT_FORMAT


def _write_notes(book: Any, columns: Sequence[Column], notes: Sequence[str]) -> None:
    sheet = book.create_sheet("填写说明")
    for note in notes:
        sheet.append([note])
    if notes:
        sheet.append([])
    sheet.append(["列", "是否必填", "说明", "也可写作"])
    for cell in sheet[sheet.max_row]:
        cell.font = Font(bold=True)
    for column in columns:
        required = "必填" if column.required else "选填"
        sheet.append([column.heading, required, column.note, "、".join(column.aliases)])
    for letter, width in zip("ABCD", (18, 12, 70, 40), strict=True):
        sheet.column_dimensions[letter].width = width
    for row in sheet.iter_rows(min_row=len(notes) + 2):
        for cell in row:
            cell.alignment = Alignment(wrap_text=True, vertical="top")


def _write_choices(
    book: Any, sheet: Any, columns: Sequence[Column], lists: dict[str, Sequence[str]]
) -> None:
    """Drop-down lists, their words in a hidden sheet: a list in the cell ends at 255 characters."""
    words = book.create_sheet("选项")
    words.sheet_state = "hidden"
    names = [column.name for column in columns]
    for index, (name, items) in enumerate(lists.items(), start=1):
        if not items:
            continue
        for number, item in enumerate(items, start=1):
            words.cell(number, index, item)
        letter = get_column_letter(index)
        rule = DataValidation("list", formula1=f"'选项'!${letter}$1:${letter}${len(items)}")
        # A hint, not a lock: the import also takes the other words, and says what it does not.
        rule.showErrorMessage = False
        target = get_column_letter(names.index(name) + 1)
        rule.add(f"{target}2:{target}{LISTED_ROWS}")
        sheet.add_data_validation(rule)
