"""docs/refusals.md: every refusal of an upload as a phone shows it, in Chinese and English.

Each case is really sent. `UPDATE_REFUSALS=1 pytest tests/mobile_api/test_refusals.py` writes the page.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from django.utils import translation
from lxml import etree

from server.activities.models import Activity, Visit
from server.activities.services.planning import close_activity
from server.core.errors import registry
from server.messaging.sessions import close_session
from tests.cast import Cast
from tests.clients import Phone, now
from tests.forms import kitchen_answers, kitchen_xml
from tests.mobile_api.openrosa.conftest import Collector, Part, multipart, xml_part

PAGE = Path(__file__).parents[2] / "docs" / "refusals.md"
LANGUAGES = ("zh-hans", "en")
FORMS_OWN_WORDS = ("说明：", "冷藏温度：冷藏应不高于 10 度")
ID = UUID(int=7)
VERSION = "@version@"

Raw = bytes | Callable[[bytes], bytes]
JPEG: Part = ("stray.jpg", "image/jpeg", b"\xff\xd8\xff\xe0 not named")

OPENROSA: dict[str, tuple[str, Callable[[Collector, str], bytes]]] = {
    "truncated": (
        "A document that ends early",
        lambda phone, version: multipart([xml_part(kitchen_xml(version)[:-40])]),
    ),
    "utf8": (
        "Bytes that are not UTF-8",
        lambda phone, version: multipart([xml_part(kitchen_xml(version) + b"\xff")]),
    ),
    "doctype": (
        "A document with a DOCTYPE",
        lambda phone, version: multipart(
            [xml_part(b"<!DOCTYPE data>" + kitchen_xml(version, instance=str(ID)))]
        ),
    ),
    "no_instance": (
        "A document without an instanceID",
        lambda phone, version: multipart(
            [xml_part(f'<data id="kitchen" version="{version}"><meta/></data>'.encode())]
        ),
    ),
    "unknown_version": (
        "A version that the server does not know",
        lambda phone, version: multipart([xml_part(kitchen_xml("1999010101"))]),
    ),
    "wrong_type": (
        "An answer of the wrong type",
        lambda phone, version: multipart(
            [xml_part(kitchen_xml(version).replace(b">41<", b">forty<"))]
        ),
    ),
    "choice": (
        "A choice that the form does not have",
        lambda phone, version: multipart([xml_part(kitchen_xml(version, licence="perhaps"))]),
    ),
    "required": (
        "A required answer is missing",
        lambda phone, version: multipart([xml_part(kitchen_xml(version, licence="no"))]),
    ),
    "constraint": (
        "An answer that the form's constraint forbids",
        lambda phone, version: multipart(
            [xml_part(kitchen_xml(version).replace(b">4.5<", b">45<"))]
        ),
    ),
    "unknown_field": (
        "An element that the form does not have",
        lambda phone, version: multipart([xml_part(kitchen_xml(version, unheard="1"))]),
    ),
    "not_named": (
        "A file that the document does not name",
        lambda phone, version: multipart([xml_part(kitchen_xml(version)), JPEG]),
    ),
    "no_document": ("Files without a document", lambda phone, version: multipart([JPEG])),
    "broken_off": (
        "A body that broke off",
        lambda phone, version: multipart([xml_part(kitchen_xml(version))])[:-30],
    ),
}


def openrosa_message(content: bytes) -> str:
    return etree.fromstring(content).findtext("{http://openrosa.org/http/response}message") or ""


def sent(phone: Collector, body: bytes, kind: str = "multipart/form-data; boundary=b0und4ry"):
    answers = [
        phone.client.post(
            f"{phone.root}/submission",
            body,
            content_type=kind,
            headers={"Accept-Language": language},
        )
        for language in LANGUAGES
    ]
    return answers[0].status_code, [openrosa_message(answer.content) for answer in answers]


def put(phone: Phone, version: str, **changes: object):
    body = {
        "form_id": "kitchen",
        "version": version,
        "visit_id": None,
        "answers": kitchen_answers(),
        "started_at": now(),
        "ended_at": now(),
        "device_time": now(),
        "attachments": [],
        **changes,
    }
    return put_raw(phone, json.dumps(body).encode())


def put_raw(phone: Phone, body: bytes):
    answers = [
        phone.client.put(
            f"/api/v1/submissions/{ID}",
            body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {phone.token}", "Accept-Language": language},
        )
        for language in LANGUAGES
    ]
    return answers[0].status_code, [problem_text(answer.json()) for answer in answers]


def problem_text(problem: dict) -> str:
    lines = [problem["detail"]]
    lines += [f"`{each['pointer']}` {each['detail']}" for each in problem.get("errors", [])]
    return "<br>".join([f"`{problem['code']}`", *lines])


@pytest.fixture
def cases(cast: Cast, kitchen, activity: Activity, visit: Visit, phone, settings):
    """Every refusal as (interface, what, status, Chinese, English)."""
    version, rows = kitchen.version, []

    def note(interface: str, what: str, answer: tuple[int, list[str]]) -> None:
        status, texts = answer
        assert status not in (200, 201, 202), what
        rows.append((interface, what, status, *(text.replace(version, VERSION) for text in texts)))

    ada = Collector(cast.ada)
    for what, body in OPENROSA.values():
        note("OpenRosa", what, sent(ada, body(ada, version)))
    note("OpenRosa", "Another kind of body", sent(ada, b"{}", "application/json"))
    stranger = multipart([xml_part(kitchen_xml(version, visit_id=str(visit.pk)))])
    note("OpenRosa", "Somebody else's visit", sent(Collector(cast.carla), stranger))
    json_phone = phone(cast.ada)
    note("JSON", "A body that is no JSON", put_raw(json_phone, b"{"))
    note("JSON", "A field of the wrong shape", put_raw(json_phone, b'{"form_id": 1}'))
    note("JSON", "Several wrong answers", put(json_phone, version, answers=_wrong()))
    unknown = [{"name": "1.jpg", "media_id": str(ID)}]
    answers = kitchen_answers(licence_photo="1.jpg")
    note(
        "JSON",
        "A file that was never declared",
        put(json_phone, version, answers=answers, attachments=unknown),
    )
    _conflicts(note, ada, json_phone, version)
    _ends(note, ada, json_phone, version, cast, activity, visit, settings)
    return rows


def _wrong() -> dict:
    return {"licence": "perhaps", "storage": {"fridge": 45, "age": "old"}, "unheard": 1}


def _conflicts(note: Callable, ada: Collector, json_phone: Phone, version: str) -> None:
    xml = kitchen_xml(version, instance=str(UUID(int=8)))
    ada.send(xml_part(xml))
    other = multipart([xml_part(xml.replace(b">41<", b">4<"))])
    note("OpenRosa", "Other content under the same id", sent(ada, other))
    json_phone.put(
        f"/submissions/{ID}",
        {"form_id": "kitchen", "version": version, "answers": kitchen_answers()},
        status=201,
    )
    changed = put(json_phone, version, answers=kitchen_answers(licence_photo="2.jpg"))
    note("JSON", "Other content under the same id", changed)


def _ends(note, ada, json_phone, version, cast, activity, visit, settings) -> None:
    xml = multipart([xml_part(kitchen_xml(version, visit_id=str(visit.pk)))])
    Visit.objects.filter(pk=visit.pk).update(state=Visit.State.REVIEWED)
    note("OpenRosa", "The visit has been reviewed", sent(ada, xml))
    Visit.objects.filter(pk=visit.pk).update(state=Visit.State.ASSIGNED)
    close_activity(activity_id=activity.pk, by=cast.office)
    note("OpenRosa", "The activity is closed", sent(ada, xml))
    settings.MAX_UPLOAD_BYTES = 100
    note("OpenRosa", "More than the limit of one request", sent(ada, xml))
    close_session(ada.device)
    note("OpenRosa", "A revoked device", sent(ada, xml))
    json_phone.delete("/auth/sessions/current", status=204)
    note("JSON", "A session that has ended", put(json_phone, version))


def page(cases: list[tuple]) -> str:
    rows = [
        f"| {interface} | {what} | {status} | {_cell(zh)} | {_cell(en)} |"
        for interface, what, status, zh, en in cases
    ]
    codes = [
        f"| `{code}` | {_in('zh-hans', cls.title)} | {_in('en', cls.title)} |"
        for code, cls in sorted(registry().items())
        if cls.__module__.startswith(("server.", "media_storage.", "mobile_api."))
    ]
    return "\n".join(
        [
            _HEAD,
            "| interface | what was sent | status | 中文 | English |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            _CODES,
            "| code | 中文 | English |",
            "| --- | --- | --- |",
            *codes,
            "",
        ]
    )


_HEAD = """# What a refused upload looks like

What is refused is refused whole: no row, no file. The phone keeps its document, because nothing but
201 and 202 (JSON: 200 and 201) tells it to forget. A document that came whole and was refused is also
kept for the office for 30 days, with who, when, why and the raw bytes (web admin, 被拒绝的填报).

Over OpenRosa the sentence stands in the message of an `OpenRosaResponse`, over JSON in the `detail` and
`errors` of a problem (RFC 9457). The language is the phone's. Every line below was sent and answered by
`tests/mobile_api/test_refusals.py`, which also holds this page in step; `@version@` stands for the form's
version.
"""

_CODES = """
## The registry of codes

Every error of the product has one of these codes; a problem's `code` is never anything else.
"""


def _cell(text: str) -> str:
    return text.replace("\n", "<br>").replace("|", "\\|")


def _in(language: str, text: object) -> str:
    with translation.override(language):
        return _cell(str(text))


@pytest.mark.django_db
def test_the_page_of_refusals_shows_what_is_answered(cases):
    written = page(cases)
    if os.environ.get("UPDATE_REFUSALS"):
        PAGE.write_text(written)
    assert PAGE.read_text() == written


@pytest.mark.django_db
def test_every_refusal_speaks_the_phones_language(cases):
    for _interface, what, _status, zh, english in cases:
        en = english
        assert any("一" <= letter <= "鿿" for letter in zh), what
        for label in FORMS_OWN_WORDS:  # the form speaks Chinese alone
            en = en.replace(label, "")
        stray = [letter for letter in en if "一" <= letter <= "鿿"]
        assert not stray, (what, english)
