"""Small XLSForm workbooks for tests, written as rows."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from openpyxl import Workbook

from server.instruments.compiled import Form
from server.instruments.xlsform import compile_xlsform

Row = dict[str, Any]

YES_NO = [
    {"list_name": "yn", "name": "yes", "label": "符合", "score": 1},
    {"list_name": "yn", "name": "no", "label": "不符合", "score": 0},
]


def q(kind: str, name: str, **cells: Any) -> Row:
    """One row of the survey sheet; its label is its name where none is given."""
    label = {} if any(key.startswith("label") for key in cells) else {"label": name}
    return {"type": kind, "name": name, **label, **cells}


END_GROUP: Row = {"type": "end_group"}
END_REPEAT: Row = {"type": "end_repeat"}


def xlsx(survey: list[Row], choices: list[Row] | None = None, **settings: Any) -> bytes:
    """The workbook as an office would upload it."""
    excel = Workbook()
    excel.remove(excel.worksheets[0])
    sheets = {"survey": survey, "choices": YES_NO if choices is None else choices}
    sheets["settings"] = [{"form_title": "检查表", "form_id": "check", **settings}]
    for name, rows in sheets.items():
        columns = list(dict.fromkeys(key for row in rows for key in row))
        sheet = excel.create_sheet(name)
        for at, column in enumerate(columns, start=1):
            sheet.cell(1, at, column)
            for number, row in enumerate(rows, start=2):
                sheet.cell(number, at, row.get(column))
    content = BytesIO()
    excel.save(content)
    return content.getvalue()


def form_of(*survey: Row, choices: list[Row] | None = None) -> Form:
    """The compiled form of these rows."""
    return compile_xlsform(xlsx(list(survey), choices), version="1").form
