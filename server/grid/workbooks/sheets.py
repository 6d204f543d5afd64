"""Tables in Excel files, read with every fault collected."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, BinaryIO, NoReturn, ParamSpec

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from server.core.errors import Conflict, DuxueError, Invalid, Malformed, Problem, TooLarge
from server.grid.models import User
from server.grid.workbooks.cells import CellError, Parse, key, plain

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_UNPACKED_BYTES = 80 * 1024 * 1024
MAX_PARTS = 2000
MAX_ROWS = 5000
MAX_COLUMNS = 60
MAX_PROBLEMS = 500
HEADING_ROWS = 10
"""The headings stand in one of the first rows: offices like a title above them."""
EXAMPLE = "（示例）"
"""A row whose first column begins with this word is not imported."""

P = ParamSpec("P")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its heading, what else offices call it, and how a cell is read and written."""

    name: str
    heading: str
    aliases: tuple[str, ...] = ()
    parse: Parse
    required: bool = False
    choices: tuple[str, ...] = ()
    example: str = ""
    note: str = ""
    width: int = 16

    def is_called(self, heading: str) -> bool:
        return heading in {key(word) for word in (self.heading, *self.aliases)}


@dataclass(frozen=True)
class Row:
    """One line of a table. `values` holds what could be read; blank cells are absent."""

    sheet: str
    number: int
    headings: dict[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)

    def get(self, name: str) -> Any:
        return self.values.get(name)

    def problem(self, name: str, code: str, detail: str) -> Problem:
        """A problem of this row's cell in the column `name`."""
        return Problem(pointer(self.sheet, str(self.number), self.headings[name]), code, detail)


@dataclass
class Table:
    """What was read, and every problem that was met."""

    rows: list[Row]
    problems: list[Problem]

    def refuse_problems(self) -> None:
        """Raises Invalid when there is any problem: then nothing may be stored."""
        if not self.problems:
            return
        detail = _("发现 {count} 处问题，未导入任何内容。请按提示修改后重新导入")
        raise Invalid(
            detail.format(count=len(self.problems)), problems=self.problems[:MAX_PROBLEMS]
        )


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """What an import did. `new_people` have no password yet: see services.issue_password."""

    created: int
    updated: int
    unchanged: int
    warnings: tuple[Problem, ...] = ()
    new_people: tuple[User, ...] = ()


def pointer(*parts: str) -> str:
    """A JSON pointer (RFC 6901): sheet, row, column."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def all_or_nothing(do: Callable[P, ImportResult]) -> Callable[P, ImportResult]:
    """One transaction; when another import stored the same rows meanwhile, Conflict."""

    @wraps(do)
    def run(*args: P.args, **kwargs: P.kwargs) -> ImportResult:
        try:
            with transaction.atomic():
                return do(*args, **kwargs)
        except IntegrityError:
            raise Conflict(_("另一次导入正在写入相同的内容，请稍后重新导入")) from None

    return run


# ---- reading --------------------------------------------------------------------------------


def read_table(file: BinaryIO, columns: Sequence[Column]) -> Table:
    """The first sheet that has the columns' headings, wherever they stand and in whatever order.

    Raises Malformed for what is no workbook, TooLarge, Invalid when no sheet has the headings.
    Problems of single cells are collected in the table.
    """
    content = _guarded(file)
    for sheet, rows in _sheets(content, values=True):
        head = _find_head(sheet, rows, columns)
        if head:
            table = _read_rows(head, rows, columns)
            if _has_formulas(content):
                table.problems += _empty_formulas(head, content, rows)
            if not table.rows and not table.problems:
                detail = _("“{sheet}”中没有可导入的行，请在表头下面填写后再导入")
                detail = detail.format(sheet=sheet)
                raise Invalid(detail, problems=[Problem(pointer(sheet), "no_rows", detail)])
            return table
    needed = "、".join(column.heading for column in columns if column.required)
    detail = _("没有找到表头。请下载模板，第一行至少要有这些列：{headings}").format(headings=needed)
    raise Invalid(detail, problems=[Problem("/file", "no_headings", detail)])


def _guarded(file: BinaryIO) -> bytes:
    """The file's bytes, once they are known to be a workbook that is safe to open."""
    content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        _too_large(_("文件超过 {limit} MB，请分几次导入"), limit=MAX_FILE_BYTES >> 20)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            # The sizes that the archive declares bound what reading it yields: more is an error.
            if len(parts) > MAX_PARTS or sum(p.file_size for p in parts) > MAX_UNPACKED_BYTES:
                _too_large(_("文件展开后过大，请只保留要导入的工作表"))
            if "xl/workbook.xml" not in archive.namelist():
                _not_a_workbook()
            # No office program writes a DTD; one in the file is an attempt at entity expansion.
            if any(b"<!DOCTYPE" in archive.read(p).upper() for p in parts if _is_xml(p)):
                _not_a_workbook()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        _not_a_workbook()
    return content


def _is_xml(part: zipfile.ZipInfo) -> bool:
    return part.filename.lower().endswith((".xml", ".rels"))


def _not_a_workbook() -> NoReturn:
    detail = _("不是可读取的 Excel 文件，请另存为 .xlsx 格式（不加密码）后再导入")
    raise Malformed(detail, problems=[Problem("/file", "not_a_workbook", detail)]) from None


def _too_large(detail: str, **numbers: int) -> NoReturn:
    detail = detail.format(**numbers)
    raise TooLarge(detail, problems=[Problem("/file", "too_large", detail)])


Cells = tuple[Any, ...]


def _sheets(content: bytes, *, values: bool) -> list[tuple[str, list[Cells]]]:
    """Every visible sheet with its rows; formulas as their stored values where `values`."""
    from openpyxl import load_workbook  # late: 8 MB in every process that never opens a workbook

    try:
        with warnings.catch_warnings():
            # openpyxl warns of what it will not keep when it saves; we only read.
            warnings.simplefilter("ignore")
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=values)
            sheets = [
                (sheet.title, _filled_rows(sheet))
                for sheet in book.worksheets
                if sheet.sheet_state == "visible"
            ]
    except DuxueError:
        raise
    except Exception:  # a damaged part raises whatever openpyxl stumbles over
        _not_a_workbook()
    return sheets


def _filled_rows(sheet: Any) -> list[Cells]:
    """The sheet's rows down to the last that holds something."""
    rows: list[Cells] = []
    filled = last = 0
    sheet.reset_dimensions()  # some programs write a dimension that is too small
    for cells in sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True):
        rows.append(() if all(_blank(value) for value in cells) else cells)
        if rows[-1]:
            filled, last = filled + 1, len(rows)
        if filled > MAX_ROWS + HEADING_ROWS:
            _too_large(
                _("“{sheet}”超过 {limit} 行，请分几次导入"), sheet=sheet.title, limit=MAX_ROWS
            )
    return rows[:last]


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not plain(value))


@dataclass(frozen=True)
class Head:
    """The row of headings: where each column stands, and what this file calls it."""

    sheet: str
    number: int
    places: dict[str, int]
    headings: dict[str, str]

    def row(self, number: int) -> Row:
        return Row(self.sheet, number, self.headings)


def _find_head(sheet: str, rows: list[Cells], columns: Sequence[Column]) -> Head | None:
    """The first row in which every required heading stands."""
    for number, cells in enumerate(rows[:HEADING_ROWS], start=1):
        places = _places(cells, columns)
        if all(column.name in places for column in columns if column.required):
            headings = {column.name: column.heading for column in columns}
            headings |= {name: plain(cells[index]) for name, index in places.items()}
            return Head(sheet, number, places, headings)
    return None


def _places(cells: Cells, columns: Sequence[Column]) -> dict[str, int]:
    """Column name → index in the row."""
    places: dict[str, int] = {}
    for index, cell in enumerate(cells):
        heading = "" if _blank(cell) else key(cell).strip("*").split("(")[0]
        for column in columns:
            if heading and column.is_called(heading):
                places.setdefault(column.name, index)
    return places


def _read_rows(head: Head, rows: list[Cells], columns: Sequence[Column]) -> Table:
    table = Table([], [])
    for number, cells in enumerate(rows[head.number :], start=head.number + 1):
        if cells and not _is_example(cells, head, columns):
            row = head.row(number)
            table.problems += _read_cells(row, cells, head, columns)
            table.rows.append(row)
    return table


def _is_example(cells: Cells, head: Head, columns: Sequence[Column]) -> bool:
    first = cells[head.places[columns[0].name]]
    return isinstance(first, str) and key(first).startswith(key(EXAMPLE))


def _read_cells(row: Row, cells: Cells, head: Head, columns: Sequence[Column]) -> Iterator[Problem]:
    """Fill the row's values; yields what could not be read."""
    for column in columns:
        value = cells[head.places[column.name]] if column.name in head.places else None
        if _blank(value):
            if column.required:
                yield row.problem(column.name, "required", _("不能为空，请填写"))
            continue
        try:
            row.values[column.name] = column.parse(value)
        except CellError as error:
            row.unreadable.add(column.name)
            yield row.problem(column.name, error.code, error.detail)


def _has_formulas(content: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sheets = (p for p in archive.infolist() if p.filename.startswith("xl/worksheets/"))
        return any(b"<f>" in part or b"<f " in part for part in map(archive.read, sheets))


def _empty_formulas(head: Head, content: bytes, rows: list[Cells]) -> Iterator[Problem]:
    """Formulas whose result the file does not hold: reading them as blank would lose something."""
    written = dict(_sheets(content, values=False))[head.sheet]
    detail = _("公式没有结果，请在 Excel 中打开并保存，或改填数值")
    both = zip(written, _padded(rows), strict=False)
    for number, (cells, values) in enumerate(both, start=1):
        for name, index in head.places.items() if number > head.number and cells else ():
            if str(cells[index]).startswith("=") and (not values or _blank(values[index])):
                yield head.row(number).problem(name, "formula_without_value", detail)


def _padded(rows: list[Cells]) -> Iterator[Cells]:
    """The rows, and blank ones for ever: rows of empty formulas are missing at the end."""
    yield from rows
    while True:
        yield ()
