"""The receipts of a notice as a workbook, or as CSV of any length. Everything in it is text: no formula,
whatever a name says.
"""

from __future__ import annotations

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from django.utils import translation
from django.utils.timezone import localtime
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from server.care.archive import safe_cell
from server.console.notices.page import clock_words
from server.messaging.board import Receipt, receipts_of, recipients_by
from server.messaging.models import Delivery, Notice
from server.messaging.questions import shown_answer

BATCH = 1000
MOST_IN_WORKBOOK = 5000
"""Recipients, a matter of two seconds: for a workbook the browser waits until the last row is written."""
MAX_CELL = 32_000
"""Excel takes 32,767 characters."""


def receipts_workbook(notice: Notice, *, standing: str = "", words: str = "") -> bytes:
    """Every recipient in this standing, a batch of rows in memory at a time. 0.4 ms for each."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet(_("回执"))
    sheet.freeze_panes = "B2"
    for row in _table(notice, standing, words):
        sheet.append(_texts(sheet, row))
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def receipts_csv(notice: Notice, *, standing: str = "", words: str = "") -> Iterator[bytes]:
    """The same table as it is read, for audiences too large to wait for: UTF-8 with a mark for Excel."""
    # The response is read when the request's language is no longer active.
    return _parts(_table(notice, standing, words), get_language())


def _parts(rows: Iterator[list[str]], language: str | None) -> Iterator[bytes]:
    yield BOM_UTF8
    while True:
        with translation.override(language):
            batch = list(islice(rows, BATCH))
        if not batch:
            return
        text = io.StringIO()
        csv.writer(text).writerows([safe_cell(value) for value in row] for row in batch)
        yield text.getvalue().encode()


def _table(notice: Notice, standing: str, words: str) -> Iterator[list[str]]:
    questions = notice.form or []
    yield [*_headings(), *(question["label"] for question in questions)]
    channels = dict(Delivery.Channel.choices)
    states = dict(Delivery.State.choices)
    for receipt in _receipts(notice, standing, words):
        ways = [
            f"{channels[way.channel]}：{states[way.state]} "
            f"{_time(way.delivered_at or way.sent_at)} {way.reason}".strip()
            for way in receipt.ways
        ]
        yield _values(receipt, "\n".join(ways), questions)


def _headings() -> list[str]:
    return [
        _("姓名"),
        _("手机号"),
        _("学校"),
        _("镇街"),
        _("收到时间"),
        _("阅读时间"),
        _("阅读设备"),
        _("手机显示的阅读时间"),
        _("手机时钟"),
        _("确认时间"),
        _("确认设备"),
        _("手机显示的确认时间"),
        _("填写时间"),
        _("消息送达"),
    ]


def _values(receipt: Receipt, ways: str, questions: Sequence[dict[str, Any]]) -> list[str]:
    row, answers = receipt.delivery, receipt.answers or {}
    return [
        receipt.addressee.name,
        receipt.person.phone,
        receipt.addressee.school,
        receipt.addressee.area,
        _time(row.delivered_at),
        _time(row.read_at),
        str(row.read_by_device or ""),
        _time(row.read_device_time),
        clock_words(receipt.clock_offset_ms),
        _time(row.acknowledged_since),
        str(row.acknowledged_by_device or ""),
        _time(row.acknowledged_device_time),
        _time(row.answered_since),
        ways,
        *(shown_answer(answers.get(question["id"])) for question in questions),
    ]


def _receipts(notice: Notice, standing: str, words: str) -> Iterator[Receipt]:
    rows = recipients_by(notice, standing=standing, words=words)
    last = None
    while True:
        page = list((rows.filter(recipient__gt=last) if last else rows)[:BATCH])
        for row in page:
            row.notice = notice
        yield from receipts_of(notice, page)
        if len(page) < BATCH:
            return
        last = page[-1].recipient_id


def _texts(sheet: Any, values: Sequence[str]) -> list[Any]:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    cells = []
    for value in values:
        cell = WriteOnlyCell(sheet)
        if value:
            cell.value = ILLEGAL_CHARACTERS_RE.sub("", str(value))[:MAX_CELL]
            cell.data_type = "s"
        cells.append(cell)
    return cells


def _time(moment: datetime | None) -> str:
    return f"{localtime(moment):%Y-%m-%d %H:%M:%S}" if moment else ""
