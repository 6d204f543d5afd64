"""Whatever goes wrong: a problem document, never a page and never a trace."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError
from django.test import Client

from mobile_api.problems import MEDIA_TYPE
from server.config.limits import BodyLimit
from server.core.errors import registry
from tests.clients import Phone, new

MEMBERS = {"type", "title", "status", "detail", "code", "errors", "request_id"}


def problem_of(answer, status: int) -> dict:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"].startswith(MEDIA_TYPE)
    problem = answer.json()
    assert problem.keys() == MEMBERS
    assert problem["status"] == status
    assert problem["code"] in registry()
    assert problem["request_id"] == answer["X-Request-ID"]
    return problem


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/visits/7", "/api/nothing", "/api/v1"])
def test_an_unknown_address_is_a_problem(db, path):
    problem_of(Client().get(path), 404)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"username": "a\xff"}',
        b'{"username": "a", "username": "b"}',
        b'{"n": NaN}',
        b'{"n": 1e999}',
        b'{"n": ' + b"9" * 5000 + b"}",
        b'{"username": "\\u0000"}',
        b'{"username": "\\ud800"}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_sound_json_object_is_malformed(db, body):
    answer = Phone().raw("POST", "/auth/sessions", body)
    assert answer.status_code == 422 if body == b"" else problem_of(answer, 400)


def test_another_content_type_is_unsupported(cast, phone):
    ada = phone(cast.ada)
    for method, path in (("POST", "/auth/sessions"), ("PUT", f"/submissions/{new()}")):
        for content_type in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ):
            problem_of(ada.raw(method, path, b"a=b", content_type=content_type), 415)


def test_another_method_is_refused_with_those_allowed(cast, phone):
    answer = phone(cast.ada).raw("DELETE", "/me")
    problem_of(answer, 405)
    assert "GET" in answer["Allow"]


def test_a_client_that_takes_no_json_is_told(cast, phone):
    problem_of(phone(cast.ada).raw("GET", "/me", headers={"Accept": "text/html"}), 406)


def test_a_body_over_the_limit_is_refused_unread(cast, phone, settings):
    ada = phone(cast.ada)
    settings.MAX_DOCUMENT_BYTES = 100
    for method, path in (("POST", "/auth/sessions"), ("PUT", f"/submissions/{new()}")):
        problem_of(ada.raw(method, path, b" " * 101), 413)


def test_parameters_are_named_by_their_question_mark(cast, phone):
    ada = phone(cast.ada)
    problem = problem_of(ada.raw("GET", "/visits", query={"limit": "0", "school": "x"}), 400)
    assert {error["pointer"] for error in problem["errors"]} <= {"?limit", "?school"}
    assert problem["errors"]


@pytest.mark.parametrize("path", ["/schools", "/visits", "/findings", "/notices", "/submissions"])
@pytest.mark.parametrize("cursor", ["rubbish", "W10", "WzEsIDJd", "bnVsbA", "é", "WzFd"])
def test_a_bad_cursor_is_a_problem_of_its_own(cast, phone, path, cursor):
    answer = phone(cast.ada).raw("GET", path, query={"cursor": cursor})
    assert problem_of(answer, 400)["code"] == "cursor_invalid"


def test_a_fault_of_ours_tells_nothing_of_itself(cast, phone, monkeypatch):
    def broken(user):
        raise RuntimeError("secret")

    ada = phone(cast.ada)
    monkeypatch.setattr("mobile_api.views.me.roles_of", broken)
    answer = ada.raw("GET", "/me")
    problem_of(answer, 500)
    assert "secret" not in answer.content.decode()


def test_a_database_that_is_away_asks_to_try_again(cast, phone, monkeypatch):
    def broken(user):
        raise OperationalError("connection refused")

    ada = phone(cast.ada)
    monkeypatch.setattr("mobile_api.views.me.roles_of", broken)
    answer = ada.raw("GET", "/me")
    assert problem_of(answer, 503)["code"] == "unavailable"
    assert int(answer["Retry-After"]) > 0


def test_the_language_is_the_headers_else_the_persons(cast, phone):
    ada = phone(cast.ada)
    assert "地址" in ada.get("/nothing", status=404)["detail"]
    cast.ada.language = "en"
    cast.ada.save()
    assert ada.raw("GET", "/me")["Content-Language"] == "en"
    headers = {"Accept-Language": "zh-CN"}
    assert ada.raw("GET", "/me", headers=headers)["Content-Language"] == "zh-hans"


def test_a_poll_of_what_did_not_change_is_304(cast, phone):
    ada = phone(cast.ada)
    for path in ("/schools", "/visits", "/findings", "/notices", "/instruments", "/sync"):
        first = ada.raw("GET", path)
        again = ada.raw("GET", path, headers={"If-None-Match": first["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert "Authorization" in first["Vary"]


def test_answers_are_compressed_where_the_client_can(cast, phone):
    answer = phone(cast.office).raw("GET", "/schools", headers={"Accept-Encoding": "gzip"})
    assert answer["Content-Encoding"] == "gzip"


async def call_asgi(headers, chunks):
    """What BodyLimit lets through to an application that reads its whole body, and what it sends."""
    pieces, sent, seen = list(chunks), [], []

    async def app(scope, receive, send):
        while (message := await receive())["more_body"]:
            seen.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/api/v1/sync", "headers": headers}
    await BodyLimit(app)(scope, receive, send)
    return sent, seen


def test_a_declared_length_over_the_limit_is_refused_before_a_byte(settings):
    settings.MAX_DOCUMENT_BYTES = 10
    sent, seen = async_to_sync(call_asgi)([(b"content-length", b"11")], [b"x" * 11])
    assert (sent[0]["status"], seen) == (413, [])
    assert json.loads(sent[1]["body"])["code"] == "too_large"


def test_chunks_are_cut_off_where_they_pass_the_limit(settings):
    settings.MAX_DOCUMENT_BYTES = 10
    sent, seen = async_to_sync(call_asgi)([], [b"x" * 6, b"x" * 6, b"x" * 6, b""])
    assert (sent[0]["status"], len(seen)) == (413, 1)
    sent, seen = async_to_sync(call_asgi)([], [b"x" * 6, b""])
    assert sent[0]["status"] == 200


@pytest.mark.parametrize(("room", "status"), [(0, 401), (-1, 413)])
def test_a_chunked_body_is_read_up_to_the_limit(cast, settings, room, status):
    body = json.dumps({"username": "a", "password": "b", "device": {"id": new()}}).encode()
    settings.MAX_DOCUMENT_BYTES = len(body) + room
    environ = {
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "CONTENT_TYPE": "application/json",
    }
    headers = {"Transfer-Encoding": "chunked"}
    answer = Client().generic("POST", "/api/v1/auth/sessions", headers=headers, **environ)
    problem_of(answer, status)
