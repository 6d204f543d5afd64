"""OpenRosa's three documents: the list of forms, a form's manifest, the answer to a submission."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lxml import etree

FORM_LIST = "http://openrosa.org/xforms/xformsList"
MANIFEST = "http://openrosa.org/xforms/xformsManifest"
RESPONSE = "http://openrosa.org/http/response"
METADATA = "http://www.opendatakit.org/xforms"


@dataclass(frozen=True)
class ListedForm:
    """A form as the list shows it. `manifest_url` is empty where nothing goes with the form."""

    form_id: str
    name: str
    version: str
    hash: str
    download_url: str
    manifest_url: str = ""


@dataclass(frozen=True)
class ListedFile:
    """A file that goes with a form; an entity list is made anew for each person."""

    filename: str
    hash: str
    download_url: str
    is_entity_list: bool = False


def form_list_xml(forms: Iterable[ListedForm]) -> bytes:
    root = _root(FORM_LIST, "xforms")
    for form in forms:
        element = etree.SubElement(root, f"{{{FORM_LIST}}}xform")
        _add(element, FORM_LIST, "formID", form.form_id)
        _add(element, FORM_LIST, "name", form.name)
        _add(element, FORM_LIST, "version", form.version)
        _add(element, FORM_LIST, "hash", form.hash)
        _add(element, FORM_LIST, "downloadUrl", form.download_url)
        if form.manifest_url:
            _add(element, FORM_LIST, "manifestUrl", form.manifest_url)
    return _bytes(root)


def manifest_xml(files: Iterable[ListedFile]) -> bytes:
    root = _root(MANIFEST, "manifest")
    for file in files:
        element = etree.SubElement(root, f"{{{MANIFEST}}}mediaFile")
        if file.is_entity_list:
            element.set("type", "entityList")
        _add(element, MANIFEST, "filename", file.filename)
        _add(element, MANIFEST, "hash", file.hash)
        _add(element, MANIFEST, "downloadUrl", file.download_url)
    return _bytes(root)


def message_xml(message: str, *, failed: bool, metadata: Mapping[str, str] | None = None) -> bytes:
    """What the phone shows; `metadata` are the attributes of the submission that it answers."""
    root = _root(RESPONSE, "OpenRosaResponse")
    element = _add(root, RESPONSE, "message", message)
    element.set("nature", "submit_failure" if failed else "submit_success")
    if metadata:
        etree.SubElement(
            root, f"{{{METADATA}}}submissionMetadata", dict(metadata), nsmap={None: METADATA}
        )
    return _bytes(root)


def _root(namespace: str, name: str) -> etree._Element:
    return etree.Element(f"{{{namespace}}}{name}", nsmap={None: namespace})


def _add(parent: etree._Element, namespace: str, name: str, text: str) -> etree._Element:
    element = etree.SubElement(parent, f"{{{namespace}}}{name}")
    # A sentence may quote what a client sent, and XML has no way to write control characters.
    if not text.isprintable():
        text = "".join(each for each in text if each.isprintable() or each in "\n\t")
    element.text = text
    return element


def _bytes(root: etree._Element) -> bytes:
    return etree.tostring(root, encoding="utf-8", xml_declaration=True)
