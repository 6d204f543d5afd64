"""Bodies made to hurt: refused by name, fast, and within a bound of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from django.http import HttpResponse

from server.instruments.models import InstrumentVersion
from tests.cast import Cast
from tests.clients import PhoneOf
from tests.mobile_api.openrosa.conftest import Collector, multipart, xml_part

pytestmark = pytest.mark.django_db

MB = 1024 * 1024
BODY_LIMIT = 4 * MB
CPU_SECONDS = 6
MEMORY = 256 * MB
"""Python's own objects for the worst 4 MB of JSON: 1.4 million empty lists take 80 MB and more."""


def filled(prefix: str, unit: str, suffix: str, size: int = BODY_LIMIT - 1024) -> bytes:
    return (prefix + unit * ((size - len(prefix)) // len(unit)) + suffix).encode()


HEAD = '{"form_id":"kitchen","version":"VERSION","answers":'
HOSTILE_JSON = {
    "deep lists": b"[" * 200_000 + b"]" * 200_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "just too deep to look through": HEAD.encode() + b"[" * 940 + b'"\\u0041"' + b"]" * 940 + b"}",
    "a number of 4 MB": filled(HEAD, "9", "}"),
    "a fraction of 4 MB": filled(HEAD + "0.", "1", "}"),
    "an exponent": (HEAD + "1e999999999}").encode(),
    "repeated keys": filled(HEAD + "{", '"a":1,', '"a":1}}'),
    "many keys": (HEAD + "{" + ",".join(f'"k{n}":1' for n in range(300_000)) + "}}").encode(),
    "many empty lists": filled(HEAD + "[", "[],", "[]]}"),
    "a text of 4 MB": filled(HEAD + '{"licence_note":"', "a", '"}}'),
    "escapes of 4 MB": filled(HEAD + '{"licence_note":"', "\\u0041", '"}}'),
    "surrogates": filled(HEAD + '{"licence_note":"', "\\ud800", '"}}'),
    "too many repeats": filled(HEAD + '{"storage":[', "{},", "{}]}}"),
    "over the limit": b'"' + b"a" * (BODY_LIMIT + 1) + b'"',
    "not UTF-8": b'{"form_id":"\xff"}',
    "infinity": b'{"answers":{"a":Infinity}}',
}
DATA = b'<data id="kitchen" version="VERSION"><meta><instanceID>a</instanceID></meta>'
HOSTILE_XML = {
    "deep": b"<a>" * 200_000 + b"</a>" * 200_000,
    "billion laughs": b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>&d;</a>',
    "an attribute of 3 MB": b'<data id="' + b"a" * 3 * MB + b'"/>',
    "many attributes": b"<data " + b" ".join(b'a%d="1"' % n for n in range(200_000)) + b"/>",
    "many elements": DATA + b"<a/>" * 700_000 + b"</data>",
    "a text of 4 MB": DATA + b"a" * (BODY_LIMIT - 1024) + b"</data>",
    "over the limit": DATA + b"a" * (BODY_LIMIT + 1) + b"</data>",
    "character references": DATA
    + b"<licence_note>"
    + b"&#65;" * 600_000
    + b"</licence_note></data>",
    "namespaces": b"<data " + b" ".join(b'xmlns:a%d="u"' % n for n in range(100_000)) + b"/>",
}


def resident(which: str) -> int:
    """VmRSS, the process's memory now, or VmHWM, the most since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{which}:")[1].split()[0]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def measured(send: Callable[[], HttpResponse]) -> HttpResponse:
    """The answer; fails where it takes too long, too much, or says too much."""
    forget_peak()
    before, began = resident("VmRSS"), time.process_time()
    response = send()
    took, grown = time.process_time() - began, resident("VmHWM") - before
    assert took < CPU_SECONDS
    assert grown < MEMORY, f"{grown / MB:.0f} MB"
    assert len(response.content) < MB
    return response


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_hostile_json_is_refused_fast(name: str, cast: Cast, phone: PhoneOf, kitchen):
    ada, body = phone(cast.ada), HOSTILE_JSON[name].replace(b"VERSION", kitchen.version.encode())
    response = measured(lambda: ada.raw("PUT", f"/submissions/{uuid4()}", body))
    assert response.status_code in {400, 413, 422}, response.content
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_other_addresses_refuse_it_too(name: str, cast: Cast, phone: PhoneOf):
    for path in ("/findings", "/notices", "/auth/sessions"):
        response = phone(cast.ada).raw("POST", path, HOSTILE_JSON[name])
        assert response.status_code in {400, 413, 422}, response.content


@pytest.mark.parametrize("name", HOSTILE_XML)
def test_hostile_xml_is_refused_fast(name: str, cast: Cast, kitchen: InstrumentVersion):
    ada = Collector(cast.ada)
    body = multipart([xml_part(HOSTILE_XML[name].replace(b"VERSION", kitchen.version.encode()))])
    kind = "multipart/form-data; boundary=b0und4ry"
    response = measured(lambda: ada.client.post(f"{ada.root}/submission", body, content_type=kind))
    assert response.status_code in {400, 413}, response.content
