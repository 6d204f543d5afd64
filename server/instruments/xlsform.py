"""From an office's XLSForm to an XForm for phones and a compiled form for the server.

pyxform does the compiling. Around it: a guard against files that are not what they say, the columns
of our own that say which answers are findings, and a check of every expression, whose mistakes are
reported with sheet, row and column.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import msgspec
from django.utils.translation import gettext as _
from lxml import etree

from server.core.errors import Invalid, Malformed, Problem, TooLarge
from server.instruments.compiled import (
    SECTIONS,
    Choice,
    Field,
    FindingRule,
    Form,
    Severity,
    Texts,
)
from server.instruments.expressions import NotEvaluable, Places, compile_expression
from server.instruments.xpath import ExpressionError, parse

MAX_BYTES = 5 * 2**20
MAX_UNPACKED_BYTES = 50 * 2**20
MAX_PARTS = 1000
MAX_ROWS = {"survey": 3000, "choices": 20_000}
MAX_COLUMNS = 200
FORM_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
OLD_EXCEL = b"\xd0\xcf\x11\xe0"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CompiledXLSForm:
    """What publishing needs. `attachments_needed` are the files that must be given beside the form:
    every external file but the entity lists that the server makes itself. `blur_faces` is what the
    settings sheet says of shared copies; None where it says nothing."""

    form: Form
    xform: str
    warnings: list[str]
    attachments_needed: list[str]
    blur_faces: bool | None = None


ENTITY_LISTS = frozenset({"visits.csv", "schools.csv", "findings.csv"})
"""CSV files that the server makes for each person: nobody uploads them."""


def compile_xlsform(content: bytes, *, form_id: str | None = None, version: str) -> CompiledXLSForm:
    """Compile a workbook; `form_id` goes before the one in its settings.

    Raises Invalid whose problems point to /sheet/row/column, Malformed, TooLarge.
    """
    workbook = _read_workbook(content)
    own = _take_own_columns(workbook)
    blur_faces = _take_blur_faces(workbook)
    settings = _settle(workbook, form_id=form_id, version=version)
    problems = _score_problems(workbook)
    xform, described, warnings = _convert(workbook)
    build = _Build(_XForm(xform), settings, own, described, problems, list(warnings))
    form = build.form()
    if build.problems:
        detail = _("表格有 %d 处错误，请改正后重新上传") % len(build.problems)
        raise Invalid(detail, problems=build.problems)
    needed = [name for name in form.external_files if name not in ENTITY_LISTS]
    return CompiledXLSForm(form, xform, build.warnings, needed, blur_faces)


# --- reading the workbook -------------------------------------------------------------------------


def _read_workbook(content: bytes) -> dict[str, Any]:
    """The workbook as pyxform reads it: rows of texts by sheet."""
    # Late, here and below: pyxform takes 17 MB, and only who publishes a form needs it.
    from pyxform.errors import PyXFormError
    from pyxform.xls2json_backends import get_xlsform

    _refuse_rubbish(content)
    try:
        workbook = dataclasses.asdict(get_xlsform(BytesIO(content), file_type=".xlsx"))
    except PyXFormError as error:
        raise _compiler_refused(error) from error
    except Exception as error:  # whatever openpyxl raises on a file that only looks like a workbook
        raise Malformed(_("无法打开这个 Excel 文件，它可能已损坏")) from error
    for sheet, most in MAX_ROWS.items():
        if len(workbook[sheet] or ()) > most:
            raise TooLarge(_("工作表 %(sheet)s 最多 %(most)d 行") % {"sheet": sheet, "most": most})
        if len(next(iter(workbook[f"{sheet}_header"] or ()), {})) > MAX_COLUMNS:
            raise TooLarge(_("工作表 %(sheet)s 的列太多") % {"sheet": sheet})
    if not any(workbook["survey"] or ()):
        problem = Problem("/survey", "empty", _("缺少 survey 工作表，或者其中没有题目"))
        raise Invalid(_("表格中没有题目"), problems=[problem])
    return workbook


def _refuse_rubbish(content: bytes) -> None:
    if len(content) > MAX_BYTES:
        raise TooLarge(_("表格文件不能超过 %d MB") % (MAX_BYTES // 2**20))
    if content.startswith(OLD_EXCEL):
        raise Malformed(_("这是旧版 .xls 或加密的文件，请另存为不加密的 .xlsx 再上传"))
    try:
        parts = zipfile.ZipFile(BytesIO(content)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, zlib.error) as error:
        raise Malformed(_("这不是 Excel（.xlsx）文件")) from error
    if not any(part.filename == "xl/workbook.xml" for part in parts):
        raise Malformed(_("这不是 Excel（.xlsx）文件"))
    if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
        raise TooLarge(_("表格文件解压后太大"))


# --- columns of our own ---------------------------------------------------------------------------

_OWN_HEADINGS = {
    "finding": "finding",
    "问题": "finding",
    "finding_severity": "finding_severity",
    "严重程度": "finding_severity",
    "finding_days": "finding_days",
    "整改天数": "finding_days",
    "finding_title": "finding_title",
    "问题名称": "finding_title",
}
_SEVERITIES: dict[str, Severity] = {
    "minor": "minor",
    "一般": "minor",
    "major": "major",
    "较重": "major",
    "severe": "severe",
    "严重": "severe",
}
_ROW = "source_row"
MAX_DAYS = 3650


def _own_heading(heading: str) -> str | None:
    """The column's own name, with its language kept: finding_title::English (en)."""
    name, mark, language = heading.partition("::")
    own = _OWN_HEADINGS.get(name.strip().lower().replace(" ", "_"))
    return f"{own}{mark}{language.strip()}" if own else None


def _take_own_columns(workbook: dict[str, Any]) -> dict[int, Row]:
    """Move our columns out of the survey sheet, by row, and number the rows for what comes back."""
    own: dict[int, Row] = {}
    for number, row in enumerate(workbook["survey"], start=2):
        taken = {name: row.pop(key) for key in list(row) if (name := _own_heading(key))}
        if taken:
            own[number] = taken
        if row:
            row[_ROW] = str(number)
    for header in workbook["survey_header"] or ():
        for key in [key for key in header if _own_heading(key)]:
            del header[key]
        header[_ROW] = None
    return own


_BLUR_HEADINGS = frozenset({"blur_faces", "遮挡人脸"})
_YES_NO = {"yes": True, "true": True, "1": True, "是": True} | {
    "no": False,
    "false": False,
    "0": False,
    "否": False,
}


def _take_blur_faces(workbook: dict[str, Any]) -> bool | None:
    """Take the settings sheet's own column; None where it is absent or blank. Raises Invalid."""
    answer = None
    for settings in workbook["settings"] or ():
        for heading in [key for key in settings if _heading(key) in _BLUR_HEADINGS]:
            written = str(settings.pop(heading) or "").strip().lower()
            answer = _YES_NO.get(written)
            if written and answer is None:
                detail = _("blur_faces（遮挡人脸）应为 是（yes）或 否（no）")
                problem = Problem("/settings/2/blur_faces", "blur_faces", detail)
                raise Invalid(_("settings 工作表有误"), problems=[problem])
    return answer


def _heading(text: str) -> str:
    return text.strip().lower().replace(" ", "_")


def _settle(workbook: dict[str, Any], *, form_id: str | None, version: str) -> Row:
    """Put the form's id and version into the settings sheet; refuse what the server cannot serve."""
    settings: Row = dict(next(iter(workbook["settings"] or ()), {}))
    by_heading = {_heading(key): key for key in settings}
    written = [
        settings.pop(by_heading[key]) for key in ("form_id", "id_string") if key in by_heading
    ]
    for key in ("version", "submission_url"):
        settings.pop(by_heading.get(key, key), None)
    chosen = form_id or str(next(iter(written), ""))
    problems = []
    if not FORM_ID.fullmatch(chosen):
        detail = _("form_id 必须填写，以字母开头，只能有字母、数字、下划线、点和连字符，最多 64 个")
        problems.append(Problem("/settings/2/form_id", "form_id", detail))
    if "public_key" in by_heading:
        detail = _("服务器要检查答卷，不能使用加密表单，请删去 public_key")
        problems.append(Problem("/settings/2/public_key", "encrypted", detail))
    if problems:
        raise Invalid(_("settings 工作表有误"), problems=problems)
    settings |= {"form_id": chosen, "version": version}
    settings.setdefault(by_heading.get("form_title", "form_title"), chosen)
    workbook["settings"] = [settings]
    workbook["settings_header"] = [dict.fromkeys(settings)]
    return settings


def _score_problems(workbook: dict[str, Any]) -> list[Problem]:
    return [
        Problem(f"/choices/{number}/score", "score", _("分值应为数字"))
        for number, row in enumerate(workbook["choices"] or (), start=2)
        if "score" in row and _score(row["score"]) is None
    ]


def _score(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII) else None


# --- pyxform --------------------------------------------------------------------------------------

_HARMLESS = ("max-pixels",)  # we want the photo as it was taken


def _convert(workbook: dict[str, Any]) -> tuple[str, Row, list[str]]:
    """The XForm, pyxform's own description of the form, and what it warned of."""
    from pyxform.errors import PyXFormError
    from pyxform.xls2xform import convert

    try:
        result = convert(workbook)
    except PyXFormError as error:
        raise _compiler_refused(error) from error
    except Exception as error:  # pyxform stumbles over some nonsense without a message of its own
        detail = _("表格无法编译，请对照 XLSForm 规范检查：%s") % f"{type(error).__name__} {error}"
        problem = Problem("/survey", "compiler", detail[:500])
        raise Invalid(_("表格无法编译"), problems=[problem]) from error
    warnings = [each for each in result.warnings if not any(word in each for word in _HARMLESS)]
    return result.xform, result._pyxform or {}, warnings


def _compiler_refused(error: Exception) -> Invalid:
    """pyxform's message, with the place that it names as a pointer."""
    text = " ".join(str(error).split())
    row = re.search(r"\[row : (\d+)\]|row (?:number )?'?(\d+)", text)
    sheet = re.search(r"'(survey|choices|settings|entities|external_choices|osm)'", text)
    column = re.search(r"the '([^'/]+)' value", text)
    place = [sheet[1] if sheet else "survey"]
    if row:
        place.append(row[1] or row[2])
        place += [column[1]] if column else []
    where = (
        _("%(sheet)s 工作表第 %(row)s 行") % {"sheet": place[0], "row": place[1]}
        if row
        else place[0]
    )
    detail = _("%(where)s有误：%(text)s") % {
        "where": where,
        "text": re.sub(r"\[row : \d+\] ?", "", text)[:1000],
    }
    problem = Problem("/" + "/".join(place), "compiler", detail)
    return Invalid(_("表格有错误，请改正后重新上传"), problems=[problem])


_XFORMS = "{http://www.w3.org/2002/xforms}"
_JAVAROSA = "{http://openrosa.org/javarosa}"


class _XForm:
    """What the compiled XForm says: the tree of its instance, its binds, the files it needs."""

    def __init__(self, xform: str) -> None:
        document = etree.fromstring(xform.encode(), etree.XMLParser(resolve_entities=False))
        (model,) = document.iter(f"{_XFORMS}model")
        instances = model.findall(f"{_XFORMS}instance")
        self.instance = instances[0][0]
        self.root = etree.QName(self.instance).localname
        self.binds = {
            str(bind.get("nodeset")).removeprefix(f"/{self.root}"): bind.attrib
            for bind in model.iter(f"{_XFORMS}bind")
        }
        sources = [str(each.get("src")) for each in instances if each.get("src")]
        media = [
            value.text or ""
            for value in model.iter(f"{_XFORMS}value")
            if (value.text or "").startswith("jr://")
        ]
        files = [each.rsplit("/", 1)[-1] for each in sources + media if "://instance/" not in each]
        self.files = tuple(dict.fromkeys(files))


# --- building the field tree ----------------------------------------------------------------------

_TYPES = {
    "photo": "image",
    "select one": "select_one",
    "select one external": "select_one",
    "select all that apply": "select_multiple",
    "datetime": "dateTime",
    "trigger": "acknowledge",
    "background-audio": "audio",
}
_SAME_TYPES = frozenset(
    {
        *("text", "integer", "decimal", "date", "time", "dateTime", "rank", "geopoint", "geotrace"),
        *("geoshape", "audio", "video", "file", "barcode", "note", "calculate", "acknowledge"),
        *("group", "repeat", "start", "end", "today", "deviceid", "username", "phonenumber"),
        *("email", "hidden", "start-geopoint"),
    }
)
_BIND_TYPES = {
    **{name: name for name in ("decimal", "date", "time", "dateTime", "barcode")},
    **{name: name for name in ("geopoint", "geotrace", "geoshape")},
    "int": "integer",
    "binary": "file",
}
_COLUMNS = {  # our field → the column that an office knows
    "required": "required",
    "relevance": "relevant",
    "constraint": "constraint",
    "calculation": "calculation",
}
DEFAULT_LANGUAGE = "zh"


def language_code(name: str) -> str:
    """ "中文 (zh)" → "zh"; a name without a code stays as it is."""
    match = re.search(r"\(([A-Za-z][A-Za-z0-9\-]*)\)\s*$", name)
    return match[1] if match else name.strip()


@dataclass(slots=True)
class _Build:
    """Puts together what pyxform says of each row and what the XForm says of each node."""

    xform: _XForm
    settings: Row
    own: dict[int, Row]
    described: Row
    problems: list[Problem]
    warnings: list[str]
    languages: dict[str, None] = field(default_factory=dict)
    default_language: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    filters: dict[str, Row] = field(default_factory=dict)

    def form(self) -> Form:
        self._choose_default_language()
        fields = self._fields(self.xform.instance, self.described.get("children", []), "")
        form = Form(
            form_id=str(self.settings["form_id"]),
            version=str(self.settings["version"]),
            title={self.default_language: str(self.described.get("title", ""))},
            default_language=self.default_language,
            languages=tuple(self.languages),
            fields=fields,
            external_files=self.xform.files,
            root=self.xform.root,
        )
        places = Places(form)
        self._check_expressions(form, places)
        form = msgspec.structs.replace(form, fields=self._with_findings(form.fields, places))
        digest = hashlib.sha256(msgspec.json.encode(form)).hexdigest()
        return msgspec.structs.replace(form, digest=digest)

    # languages

    def _choose_default_language(self) -> None:
        named = str(self.described.get("default_language", "default"))
        if named == "default":
            named = next(iter(_languages_in(self.described)), DEFAULT_LANGUAGE)
        self.default_language = language_code(named)
        self.languages[self.default_language] = None

    def _texts(self, written: Any) -> Texts:
        """A label by language code; one without a language is in the form's default language."""
        if not written:
            return {}
        if not isinstance(written, dict):
            return {self.default_language: str(written)}
        texts: Texts = {}
        for name, text in written.items():
            code = self.default_language if name == "default" else language_code(name)
            texts.setdefault(code, str(text))
            self.languages[code] = None
        return texts

    # fields

    def _fields(self, node: Any, rows: list[Row], above: str) -> tuple[Field, ...]:
        by_name = {str(row["name"]): row for row in rows if "name" in row}
        found: dict[str, Field] = {}
        for child in node:
            name = etree.QName(child).localname
            # A repeat stands twice in the instance: as a template, and once as it begins.
            if name not in found and not (above == "" and name == "meta"):
                found[name] = self._field(child, by_name.get(name, {}), f"{above}/{name}")
        return tuple(found.values())

    def _field(self, node: Any, row: Row, path: str) -> Field:
        bind: Any = self.xform.binds.get(path, {})
        self.rows[path] = int(row.get(_ROW, 0))
        self.filters[path] = row
        kind = self._type(row, bind, path)
        control, messages = row.get("control", {}), row.get("bind", {})
        appearance = str(control.get("appearance", "")) if isinstance(control, dict) else ""
        return Field(
            path=path,
            name=path.rsplit("/", 1)[-1],
            type=kind,
            label=self._texts(row.get("label")),
            hint=self._texts(row.get("hint")),
            required_message=self._texts(messages.get("jr:requiredMsg")),
            constraint_message=self._texts(messages.get("jr:constraintMsg")),
            read_only=bind.get("readonly") == "true()" and kind != "note",
            default=str(row.get("default", "")),
            appearance=appearance,
            parameters={k: str(v) for k, v in (row.get("parameters") or {}).items()},
            choices=self._choices(row, appearance),
            external_file=self._external_file(row),
            children=self._fields(node, row.get("children", []), path) if kind in SECTIONS else (),
            required=_rule(bind, "required").removeprefix("false()"),
            relevance=_rule(bind, "relevant"),
            constraint=_rule(bind, "constraint"),
            calculation=_rule(bind, "calculate"),
        )

    def _type(self, row: Row, bind: Any, path: str) -> str:
        written = str(row.get("type", ""))
        if written == "loop":
            self._report(path, "type", "type", _("不支持 loop，请改用 repeat"))
        kind = _TYPES.get(written, written)
        if kind in _SAME_TYPES or kind in _TYPES.values():
            return kind
        if not row and "calculate" in bind:
            return "calculate"
        return _BIND_TYPES.get(str(bind.get("type")), "text")

    def _choices(self, row: Row, appearance: str) -> tuple[Choice, ...] | None:
        listed = row.get("choices")
        if not listed or "search(" in appearance:
            return None
        return tuple(
            Choice(
                value=str(each["name"]),
                label=self._texts(each.get("label")) or {self.default_language: str(each["name"])},
                score=_score(each.get("score")),
            )
            for each in listed
        )

    @staticmethod
    def _external_file(row: Row) -> str:
        itemset = str(row.get("itemset", ""))
        return itemset if re.search(r"\.(csv|xml|geojson)$", itemset) else ""

    # rules

    def _report(self, path: str, column: str, code: str, detail: str) -> None:
        row = self.rows.get(path) or ""
        pointer = f"/survey/{row}/{column}" if row else f"/survey/{column}"
        self.problems.append(Problem(pointer, code, detail))

    def _check_expressions(self, form: Form, places: Places) -> None:
        for each in form.walk():
            for name, column in _COLUMNS.items():
                if text := getattr(each, name):
                    self._check_expression(text, each, places, column)
            row = self.filters[each.path]
            control = row.get("control", {})
            count = control.get("jr:count", "") if isinstance(control, dict) else ""
            for column, text in (
                ("choice_filter", row.get("choice_filter")),
                ("repeat_count", count),
            ):
                if text:
                    self._check_functions(str(text), each, column)

    def _check_expression(self, text: str, each: Field, places: Places, column: str) -> None:
        try:
            compile_expression(text, places=places, context=each.path)
        except ExpressionError as error:
            self._report(each.path, column, error.code, str(error))
        except NotEvaluable as reason:
            self.warnings.append(
                _("第 %(row)s 行 %(column)s：服务器不检查 %(function)s，只由手机检查")
                % {"row": self.rows[each.path], "column": column, "function": reason}
            )

    def _check_functions(self, text: str, each: Field, column: str) -> None:
        """What only phones evaluate, over columns of choices: at least its functions must exist."""
        try:
            parse(_REFERENCE.sub(r"\1", text))
        except ExpressionError as error:
            self._report(each.path, column, error.code, str(error))

    # findings

    def _with_findings(self, fields: tuple[Field, ...], places: Places) -> tuple[Field, ...]:
        return tuple(
            msgspec.structs.replace(
                each,
                finding=self._finding(each, places),
                children=self._with_findings(each.children, places),
            )
            for each in fields
        )

    def _finding(self, each: Field, places: Places) -> FindingRule | None:
        columns = self.own.get(self.rows[each.path])
        if not columns:
            return None
        count = len(self.problems)
        severity, days = self._severity(each, columns), self._days(each, columns)
        values, when = self._finding_condition(each, columns, places)
        if len(self.problems) > count:
            return None
        title = {
            language_code(key.partition("::")[2]) or self.default_language: str(text)
            for key, text in columns.items()
            if key.startswith("finding_title")
        }
        return FindingRule(severity=severity, days=days, values=values, when=when, title=title)

    def _severity(self, each: Field, columns: Row) -> Severity:
        written = str(columns.get("finding_severity", "")).strip().lower()
        severity = _SEVERITIES.get(written)
        if severity is None:
            detail = _("严重程度应为 一般（minor）、较重（major）或 严重（severe）")
            self._report(each.path, "finding_severity", "finding_severity", detail)
        return severity or "minor"

    def _days(self, each: Field, columns: Row) -> int:
        written = str(columns.get("finding_days", "")).strip()
        days = int(written) if re.fullmatch(r"\d{1,4}", written, re.ASCII) else 0
        if not 0 < days <= MAX_DAYS:
            detail = _("整改天数应为 1 到 %d 的整数") % MAX_DAYS
            self._report(each.path, "finding_days", "finding_days", detail)
        return days

    def _finding_condition(
        self, each: Field, columns: Row, places: Places
    ) -> tuple[tuple[str, ...], str]:
        """Choice values, or an expression; nothing and a problem where it is neither."""
        written = str(columns.get("finding", "")).strip()
        if not written:
            detail = _("请写明哪种答案算问题：选项值或表达式")
        elif each.type in SECTIONS or each.type == "note":
            detail = _("只有题目才能设为问题")
        elif values := _choice_values(each, written):
            return values, ""
        else:
            detail = self._finding_expression_problem(each, written, places)
            if not detail:
                return (), self._resolved(written, places)
        self._report(each.path, "finding", "finding", detail)
        return (), ""

    def _finding_expression_problem(self, each: Field, written: str, places: Places) -> str:
        try:
            text = self._resolved(written, places)
            compile_expression(text, places=places, context=each.path)
        except ExpressionError as error:
            if each.choices is None:
                return str(error)
            return _("“%(text)s”既不是选项值，也不是表达式：%(reason)s") % {
                "text": written[:100],
                "reason": error,
            }
        except NotEvaluable as reason:
            return _("服务器无法计算 %s，不能用来判定问题") % reason
        return ""

    def _resolved(self, text: str, places: Places) -> str:
        """With every ${name} as the path of the only field of that name."""

        def path_of(match: re.Match[str]) -> str:
            named = [path for path, place in places.items() if place.names[-1:] == (match[1],)]
            if len(named) != 1:
                detail = _("没有题目 %s") if not named else _("不止一个题目叫 %s")
                raise ExpressionError(detail % match[1], code="unknown_field")
            return f"/{places.root}{named[0]}"

        return _REFERENCE.sub(path_of, text)


_REFERENCE = re.compile(r"\$\{\s*([^}\s]+?)\s*\}")


def _rule(bind: Any, name: str) -> str:
    return str(bind.get(name, "")).strip()


def _choice_values(each: Field, written: str) -> tuple[str, ...]:
    """The choices that the text lists, by value or by label; () where a word is neither."""
    by_word = {
        text: each_choice.value
        for each_choice in each.choices or ()
        for text in each_choice.label.values()
    }
    by_word |= {choice.value: choice.value for choice in each.choices or ()}
    words = [word for word in re.split(r"[\s,，、;；]+", written) if word]
    if not all(word in by_word for word in words):
        return ()
    return tuple(dict.fromkeys(by_word[word] for word in words))


def _languages_in(row: Row) -> list[str]:
    """The languages of labels, in the order in which the form first uses them."""
    label = row.get("label")
    found = [name for name in label if name != "default"] if isinstance(label, dict) else []
    for child in row.get("children", []):
        if found:
            break
        found = _languages_in(child)
    return found
