"""Headers that Django stumbles over before its error handling begins."""

from __future__ import annotations

from io import BytesIO

import pytest

from server.config.asgi import http
from server.config.requests import AsgiRequest, WsgiRequest
from server.config.wsgi import django

HOSTILE = [
    "m; a*=UT" + "x" * 200 + "-8''%e7",  # an encoding that no parser should look up
    "application/json; charset=base64",  # a codec, but not one of text
    "application/json; charset=no-such",
]


@pytest.mark.parametrize("header", HOSTILE)
def test_a_content_type_that_cannot_be_read_is_none(header: str):
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "QUERY_STRING": "a=%ff",
        "CONTENT_TYPE": header,
    }
    request = WsgiRequest(environ | {"wsgi.input": BytesIO()})
    assert request.GET["a"] == "\ufffd"


@pytest.mark.parametrize("header", HOSTILE)
def test_the_same_under_asgi(header: str):
    headers = [(b"content-type", header.encode())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"a=%ff",
        "headers": headers,
    }
    assert AsgiRequest(scope, BytesIO()).GET["a"] == "\ufffd"


def test_a_readable_content_type_is_read():
    environ = {
        "REQUEST_METHOD": "GET",
        "CONTENT_TYPE": "text/xml; charset=gbk",
        "wsgi.input": BytesIO(),
    }
    request = WsgiRequest(environ)
    assert (request.content_type, request.encoding) == ("text/xml", "gbk")


def test_both_servers_use_them():
    assert django.request_class is WsgiRequest
    assert http.request_class is AsgiRequest
