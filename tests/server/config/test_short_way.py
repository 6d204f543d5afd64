"""The short way answers as Django's own way does, header for header, and leaves it what is not its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from io import BytesIO
from typing import Any
from uuid import UUID, uuid4

import pytest

from server.activities.models import Visit
from server.config.short_way import SHORT, ShortWay
from server.config.wsgi import application, django
from server.core import clock
from server.instruments.models import InstrumentVersion
from server.messaging.models import Device
from server.messaging.sessions import close_session, key_for
from tests.activities import device_of
from tests.cast import Cast
from tests.forms import kitchen_xml

pytestmark = pytest.mark.django_db(transaction=True)

BOUNDARY = "short-way"
Answer = tuple[str, dict[str, str], bytes]


def ask(way: Callable[..., Any], method: str, path: str, body: bytes = b"", **more: str) -> Answer:
    path, _mark, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_REQUEST_ID": "the-same",
        "wsgi.input": BytesIO(body),
        "wsgi.url_scheme": "http",
        **more,
    }
    told: list[Any] = []
    answer = way(environ, lambda status, headers: told.extend((status, dict(headers))))
    content = b"".join(answer)
    return told[0], told[1], re.sub(rb"(submissionDate|expires_at)[^ ,>]*", rb"\1", content)


def both(method: str, path: str, body: bytes = b"", **more: str) -> tuple[Answer, Answer]:
    assert SHORT.fullmatch(f"{method} {path.partition('?')[0]}")
    return (
        ask(application, method, path, body, **more),
        ask(django, method, path, body, **more),
    )


def multipart(xml: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="xml_submission_file"\r\n\r\n'
    return head.encode() + xml + f"\r\n--{BOUNDARY}--\r\n".encode()


POSTED = {"CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}"}


def test_production_goes_the_short_way():
    assert isinstance(application, ShortWay)
    assert application.django is django


@pytest.mark.parametrize("language", ["", "en", "zh-CN"])
def test_a_submission_is_answered_alike(
    kitchen: InstrumentVersion, cast: Cast, visit: Visit, language: str
):
    key = key_for(device_of(cast.ada))
    # The first answer is "new", later ones are "the same again", in the same words.
    body = multipart(kitchen_xml(kitchen.version))
    short, long = both(
        "POST", f"/key/{key}/submission", body, HTTP_ACCEPT_LANGUAGE=language, **POSTED
    )
    assert short == long
    assert short[0] == "201 Created"


def test_refusals_are_answered_alike(kitchen: InstrumentVersion, cast: Cast, visit: Visit):
    key = key_for(device_of(cast.ada))
    bodies = [b"", multipart(b"<data"), multipart(kitchen_xml("no-such"))]
    for body in bodies:
        short, long = both("POST", f"/key/{key}/submission", body, **POSTED)
        assert short == long
        assert short[0].startswith("4")
    short, long = both("POST", "/key/nobodys/submission", bodies[-1], **POSTED)
    assert short == long
    assert short[0].startswith("404")


def test_the_form_list_is_answered_alike(kitchen: InstrumentVersion, cast: Cast, visit: Visit):
    for more in ({}, {"HTTP_ACCEPT_LANGUAGE": "en"}):
        short, long = both("GET", f"/key/{key_for(device_of(cast.ada))}/formList", **more)
        assert short == long
        assert b"<formID>" in short[2]


def test_sync_is_answered_alike(cast: Cast, visit: Visit):
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {token_of(cast)}"}
    short, long = both("GET", "/api/v1/sync", **bearer)
    assert short == long
    cursor = json.loads(short[2])["cursor"]
    for path in (f"/api/v1/sync?cursor={cursor}", "/api/v1/sync?cursor=rubbish"):
        short, long = both("GET", path, **bearer)
        assert short == long
    short, long = both("GET", "/api/v1/sync", HTTP_AUTHORIZATION="Bearer nobodys")
    assert short == long
    assert short[0].startswith("401")


def test_a_json_submission_is_answered_alike(kitchen: InstrumentVersion, cast: Cast, visit: Visit):
    bearer = {
        "HTTP_AUTHORIZATION": f"Bearer {token_of(cast)}",
        "CONTENT_TYPE": "application/json",
    }
    path = f"/api/v1/submissions/{uuid4()}"
    for body in (
        b"{",
        b"{}",
        json.dumps({"form_id": "no", "version": "1", "answers": {}}).encode(),
    ):
        short, long = both("PUT", path, body, **bearer)
        assert short == long
        assert short[0].startswith("4")


def test_a_photo_is_declared_alike(cast: Cast, visit: Visit):
    bearer = {
        "HTTP_AUTHORIZATION": f"Bearer {token_of(cast)}",
        "CONTENT_TYPE": "application/json",
    }
    declaration = {
        "id": str(uuid4()),
        "filename": "a.jpg",
        "content_type": "image/jpeg",
        "size": 3,
        "sha256": "0" * 64,
    }
    short, long = both("POST", "/api/v1/media", json.dumps(declaration).encode(), **bearer)
    assert (short[0], long[0]) == ("201 Created", "200 OK")
    assert short[1].keys() == long[1].keys()
    short, long = both("POST", f"/api/v1/media/{declaration['id']}/complete", **bearer)
    assert short == long
    assert short[0].startswith("409")


def test_a_session_that_ended_a_moment_ago_stores_nothing(
    kitchen: InstrumentVersion, cast: Cast, visit: Visit
):
    device = device_of(cast.ada)
    path = f"/key/{key_for(device)}/submission"
    body = multipart(kitchen_xml(kitchen.version))
    assert ask(application, "POST", path, body, **POSTED)[0] == "201 Created"
    close_session(device)
    other = multipart(kitchen_xml(kitchen.version))
    assert ask(application, "POST", path, other, **POSTED)[0].startswith("401")


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /key/abc/submission",
        "POST /key/a/b/submission",
        f"PUT /api/v1/submissions/{str(UUID(int=10)).upper()}",
        f"GET /api/v1/submissions/{UUID(int=10)}",
        "POST /api/v1/sync",
        "GET /api/v1/sync/",
    ],
)
def test_what_is_not_exactly_its_own_goes_djangos_way(request_line: str):
    assert SHORT.fullmatch(request_line) is None


def token_of(cast: Cast) -> str:
    token = uuid4().hex
    Device.objects.create(
        id=uuid4(),
        user=cast.ada,
        token_digest=sha256(token.encode()).hexdigest(),
        token_expires_at=clock.now() + timedelta(days=1),
        last_seen_at=clock.now(),
    )
    return token
