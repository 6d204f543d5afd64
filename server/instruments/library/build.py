"""Write the workbooks of the library from their tables: the same tables, the same bytes."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from openpyxl import Workbook as Excel
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter

from server.instruments.library import (
    food_safety,
    parent_questionnaire,
    supervision_week,
    workbook_path,
)
from server.instruments.library.sheets import CHOICES_COLUMNS, SURVEY_COLUMNS, ZH, Row, Workbook

WORKBOOKS = (food_safety.WORKBOOK, supervision_week.WORKBOOK, parent_questionnaire.WORKBOOK)

_HEADING = PatternFill("solid", start_color="FFDCE6F1")
_WIDE = {"label": 44, "hint": 24, "constraint_message": 24, "问题名称": 32, "relevant": 28}
_MOMENT = (2026, 1, 1, 0, 0, 0)


def excel_of(workbook: Workbook) -> bytes:
    """The .xlsx file. Times of writing are fixed, so that a rebuild changes nothing."""
    excel = Excel()
    excel.remove(excel.worksheets[0])
    settings = {
        "form_title": workbook.title,
        "form_id": workbook.form_id,
        "default_language": ZH,
    }
    _fill(excel, "survey", SURVEY_COLUMNS, workbook.survey)
    _fill(excel, "choices", CHOICES_COLUMNS, workbook.choices)
    _fill(excel, "settings", tuple(settings), [settings])
    written = BytesIO()
    excel.save(written)
    return _without_times(written.getvalue())


def _fill(excel: Excel, name: str, columns: Sequence[str], rows: list[Row]) -> None:
    sheet: Any = excel.create_sheet(name)
    sheet.append(list(columns))
    for row in rows:
        sheet.append([row.get(column) for column in columns])
    sheet.freeze_panes = "C2"
    for index, column in enumerate(columns, start=1):
        heading = sheet.cell(1, index)
        heading.font, heading.fill = Font(bold=True), _HEADING
        width = _WIDE.get(column.partition("::")[0], 18)
        sheet.column_dimensions[get_column_letter(index)].width = width
    for cells in sheet.iter_rows():
        for cell in cells:
            cell.alignment = Alignment(wrap_text=True, vertical="top")


def _without_times(content: bytes) -> bytes:
    written = BytesIO()
    with (
        zipfile.ZipFile(BytesIO(content)) as source,
        zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            part = source.read(name)
            if name == "docProps/core.xml":
                part = re.sub(rb">[0-9T:.\-]+Z<", b">2026-01-01T00:00:00Z<", part)
            target.writestr(zipfile.ZipInfo(name, _MOMENT), part, zipfile.ZIP_DEFLATED)
    return written.getvalue()


def main() -> None:
    """Write every workbook beside this file."""
    for workbook in WORKBOOKS:
        workbook_path(workbook.form_id).write_bytes(excel_of(workbook))


if __name__ == "__main__":
    main()
