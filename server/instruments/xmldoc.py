"""Submissions as XML: read without trust, typed by the form; and written, for documents and tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext as _
from lxml import etree

from server.core.errors import Invalid, Malformed, Problem, Problems
from server.instruments.compiled import SECTIONS, Field, Form
from server.instruments.expressions import plain_text
from server.instruments.values import WrongValue, file_name

MAX_ID = 255

_DECLARED = re.compile(rb"\s*<\?xml[^>]*\bencoding\s*=\s*[\"']([A-Za-z0-9._\-]+)[\"']")
_INTEGER = re.compile(r"[+-]?\d{1,16}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)

Element = etree._Element


@dataclass(frozen=True, slots=True)
class Header:
    """What a submission says of itself. `root` is the read document, for `answers_from_xml`.

    `audit` is the name of the file in which ODK Collect logs the filling in, where the form asks.
    """

    form_id: str
    version: str
    instance_id: str
    deprecated_id: str
    instance_name: str
    audit: str
    root: Element


def read_header(xml: bytes) -> Header:
    """Read a submission and its meta block.

    Raises Malformed for what is not whole, well-formed UTF-8 XML with a form's id and an instanceID.
    """
    root = _read(xml)
    if root.get("encrypted") == "yes":
        raise Malformed(_("本系统不接收加密的答卷，请更新表单后重新填写"))
    meta = {_local(each): (each.text or "").strip() for block in _meta(root) for each in block}
    form_id, instance_id = root.get("id", "").strip(), meta.get("instanceID", "")
    if not form_id:
        raise Malformed(_("答卷没有写明所用的表单（id）"))
    if not instance_id:
        raise Malformed(_("答卷没有编号（instanceID）"))
    if len(instance_id) > MAX_ID or len(form_id) > MAX_ID:
        raise Malformed(_("答卷的编号太长"))
    return Header(
        form_id=form_id,
        version=root.get("version", "").strip(),
        instance_id=instance_id,
        deprecated_id=meta.get("deprecatedID", "")[:MAX_ID],
        instance_name=meta.get("instanceName", "")[:MAX_ID],
        audit=_file_name(meta.get("audit", "")),
        root=root,
    )


def _file_name(text: str) -> str:
    try:
        return file_name(text)
    except WrongValue as wrong:
        raise Malformed(_("答卷的 audit 不是文件名")) from wrong


def _read(xml: bytes) -> Element:
    if not xml.strip():
        raise Malformed(_("答卷是空的"))
    try:
        xml.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(_("答卷不是 UTF-8 编码，请更新填报软件")) from error
    declared = _DECLARED.match(xml.removeprefix(b"\xef\xbb\xbf"))
    if declared and declared[1].lower() not in {b"utf-8", b"utf8", b"us-ascii"}:
        raise Malformed(_("答卷声明的编码不是 UTF-8"))
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise Malformed(_("答卷不能含有 DOCTYPE 或实体声明"))
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(xml, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Malformed(_("答卷不完整或不是正确的 XML，请在手机上重新发送")) from error


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _meta(root: Element) -> list[Element]:
    return [each for each in root if _local(each) == "meta"]


# --- reading answers ------------------------------------------------------------------------------


class _IllTyped(ValueError):
    """The text is not of the field's type."""


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise _IllTyped(_("应为整数"))
    return int(text)


def _decimal(text: str) -> float:
    if not _DECIMAL.fullmatch(text.strip()):
        raise _IllTyped(_("应为数字"))
    return float(text)


_READ: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "decimal": _decimal,
    "select_multiple": str.split,
    "rank": str.split,
    **dict.fromkeys(("text", "hidden", "calculate", "note", "barcode"), str),
}
"""By type; the checker then judges dates, places and choices as it does those of JSON."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A field as the reader needs it: sections have `children`, the others `read`."""

    read: Callable[[str], Any]
    is_repeat: bool = False
    children: dict[str, _Node] | None = None


def _nodes(fields: tuple[Field, ...]) -> dict[str, _Node]:
    return {
        each.name: _Node(str, each.type == "repeat", _nodes(each.children))
        if each.type in SECTIONS
        else _Node(_READ.get(each.type, str.strip))
        for each in fields
    }


@lru_cache(maxsize=256)
def _nodes_of(form: Form) -> dict[str, _Node]:
    return _nodes(form.fields)


def answers_from_xml(form: Form, root: Element) -> dict[str, Any]:
    """The answers as the JSON API has them: nothing blank, nothing changed on the way.

    Raises Invalid for elements that the form does not have and for texts that are not of their
    field's type; the rest is for the form's `Checker`.
    """
    nodes = _nodes_of(form)
    problems = Problems()
    answers = _section(nodes, root, "/answers", problems, is_root=True)
    if problems:
        detail = _("答卷有 %d 处不符合表单要求") % len(problems)
        raise Invalid(detail, problems=problems)
    return answers


def _section(
    nodes: dict[str, _Node],
    element: Element,
    at: str,
    problems: list[Problem],
    *,
    is_root: bool = False,
) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    if element.text and not element.text.isspace():
        problems.append(Problem(at, "wrong_type", _("这里不应有文字")))
    for child in element:
        name = _local(child)
        node = nodes.get(name)
        if child.tail and not child.tail.isspace():
            problems.append(Problem(at, "wrong_type", _("这里不应有文字")))
        if node is None:
            if not (is_root and name == "meta"):
                problems.append(Problem(f"{at}/{name}", "unknown_field", _("表单中没有这个题目")))
        elif node.is_repeat:
            instances = answers.setdefault(name, [])
            instances.append(_inner(node, child, f"{at}/{name}/{len(instances)}", problems))
        elif name in answers:
            problems.append(Problem(f"{at}/{name}", "duplicate", _("同一题目出现了两次")))
        else:
            answers[name] = _inner(node, child, f"{at}/{name}", problems)
    return {name: value for name, value in answers.items() if value is not None}


def _inner(node: _Node, element: Element, at: str, problems: list[Problem]) -> Any:
    if node.children is not None:
        return _section(node.children, element, at, problems)
    if len(element):
        problems.append(Problem(at, "wrong_type", _("应为一个答案，而不是一组")))
        return None
    text = element.text
    if not text or (text.isspace() and node.read is not str):
        return None
    try:
        return node.read(text)
    except _IllTyped as wrong:
        problems.append(Problem(at, "wrong_type", str(wrong)))
        return None


# --- writing --------------------------------------------------------------------------------------


def answers_to_xml(form: Form, answers: dict[str, Any], instance_id: str) -> bytes:
    """The submission that a phone would send for these answers; unanswered fields are empty."""
    root = etree.Element(form.root, {"id": form.form_id, "version": form.version})
    _write(form.fields, answers, root)
    meta = etree.SubElement(root, "meta")
    etree.SubElement(meta, "instanceID").text = instance_id
    return etree.tostring(root, encoding="utf-8", xml_declaration=True)


def _write(fields: tuple[Field, ...], answers: dict[str, Any], above: Element) -> None:
    for each in fields:
        value = answers.get(each.name)
        if each.type == "repeat":
            for instance in value or []:
                _write(each.children, instance, etree.SubElement(above, each.name))
        elif each.type == "group":
            _write(each.children, value or {}, etree.SubElement(above, each.name))
        else:
            etree.SubElement(above, each.name).text = None if value is None else plain_text(value)
