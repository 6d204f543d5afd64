"""Small instruments for tests: XLSForms made from rows, and one that is published.

`kitchen` asks for the licence (a finding where it is missing), a remark only then, a photo, and a
temperature with a limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from openpyxl import Workbook

from server.instruments.models import InstrumentVersion
from server.instruments.queries import published_form
from server.instruments.services import publish_instrument, upload_xlsform
from tests.cast import Cast

Rows = Sequence[Mapping[str, Any]]

KITCHEN_SURVEY: Rows = [
    {"type": "hidden", "name": "visit_id"},
    {
        "type": "select_one yes_no",
        "name": "licence",
        "label": "食品经营许可证是否公示",
        "required": "yes",
        "finding": "no",
        "finding_severity": "major",
        "finding_days": 7,
        "finding_title": "未公示食品经营许可证",
    },
    {
        "type": "text",
        "name": "licence_note",
        "label": "说明",
        "relevant": "${licence} = 'no'",
        "required": "yes",
    },
    {"type": "image", "name": "licence_photo", "label": "照片"},
    {"type": "begin group", "name": "storage", "label": "贮存"},
    {
        "type": "decimal",
        "name": "fridge",
        "label": "冷藏温度",
        "constraint": ". <= 10",
        "constraint_message": "冷藏应不高于 10 度",
    },
    {"type": "integer", "name": "age", "label": "设备年限"},
    {"type": "end group"},
]
YES_NO: Rows = [
    {"list_name": "yes_no", "name": "yes", "label": "符合"},
    {"list_name": "yes_no", "name": "no", "label": "不符合"},
]


def xlsform(survey: Rows, choices: Rows = (), settings: Mapping[str, Any] | None = None) -> bytes:
    """A workbook with these rows on its sheets."""
    workbook = Workbook()
    workbook.remove(workbook.worksheets[0])
    sheets = {"survey": survey, "choices": choices, "settings": [settings or {}]}
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        headings = list(dict.fromkeys(key for row in rows for key in row))
        sheet.append(headings)
        for row in rows:
            sheet.append([row.get(heading) for heading in headings])
    buffer = BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


def kitchen_xlsform(form_id: str = "kitchen", title: str = "食堂检查") -> bytes:
    return xlsform(KITCHEN_SURVEY, YES_NO, {"form_id": form_id, "form_title": title})


@pytest.fixture(autouse=True)
def forget_published_forms() -> None:
    """A publication never changes in the product, but a test's is gone with its transaction."""
    published_form.cache_clear()


@pytest.fixture
def kitchen(cast: Cast) -> InstrumentVersion:
    """The county office's published instrument."""
    upload_xlsform(by=cast.office, content=kitchen_xlsform())
    return publish_instrument(by=cast.office, form_id="kitchen")


def kitchen_answers(**changes: Any) -> dict[str, Any]:
    """Answers in order, as a JSON phone sends them."""
    return {"licence": "yes", "storage": {"fridge": 4.5, "age": 41}, **changes}


def kitchen_xml(version: str, *, instance: str = "", old: str = "", **answers: str) -> bytes:
    """The same as ODK Collect writes it; `answers` are leaves of the top level."""
    leaves = {"licence": "yes", **answers}
    body = "".join(f"<{name}>{value}</{name}>" for name, value in leaves.items())
    deprecated = f"<deprecatedID>uuid:{old}</deprecatedID>" if old else ""
    return (
        f'<data xmlns:orx="http://openrosa.org/xforms" id="kitchen" version="{version}">{body}'
        "<storage><fridge>4.5</fridge><age>41</age></storage>"
        f"<meta><instanceID>uuid:{instance or uuid4()}</instanceID>{deprecated}</meta></data>"
    ).encode()
