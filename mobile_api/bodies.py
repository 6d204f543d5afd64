"""Reading a JSON body: within its limit, UTF-8, no duplicate keys, nothing that a database refuses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any, cast

from django.conf import settings
from django.http import HttpRequest
from django.http.request import UnreadablePostError
from django.utils.translation import gettext_lazy as _
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from server.core.errors import Malformed, TooLarge

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and halves of surrogate pairs: JSON can write them, PostgreSQL and UTF-8 cannot."""
MAX_DIGITS = 18  # fits 64 bits


class ApiRequest(Request):
    """DRF's request, whose body may also come in chunks of no declared length."""

    @property
    def stream(self) -> Any:
        found = super().stream
        if found is None and "chunked" in self.headers.get("Transfer-Encoding", ""):
            return _unmeasured(self._request)
        return found


class JSONParser(BaseParser):
    """`application/json`, strictly."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return parse_json(read_body(stream, (parser_context or {})["request"]))


def check_length(request: HttpRequest | Request, limit: int) -> None:
    """Raises TooLarge by the declared length, before a byte is read."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
        raise TooLarge(_("内容不能超过 %d MB，请减少后重新提交") % (limit // 2**20))


def read_body(stream: IO[Any], request: HttpRequest | Request) -> bytes:
    """The body, cut off at the limit. Raises TooLarge, Malformed."""
    limit = settings.MAX_DOCUMENT_BYTES
    check_length(request, limit)
    try:
        raw = cast(bytes, stream.read(limit + 1))
    except UnreadablePostError:
        raise Malformed(_("上传中断，请重试")) from None
    if len(raw) > limit:
        raise TooLarge(_("内容不能超过 %d MB，请减少后重新提交") % (limit // 2**20))
    if len(raw) < int(request.META.get("CONTENT_LENGTH") or 0):
        # The line broke: that is no fault of the document's, and nothing to keep for the office.
        raise Malformed(_("上传中断，请重试"))
    return raw


def parse_json(raw: bytes) -> Any:
    """Raises Malformed for what is not exactly one JSON value in UTF-8."""
    try:
        value = json.loads(
            raw.decode(),
            object_pairs_hook=_object_without_repeats,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_machine_integer,
        )
    except UnicodeDecodeError:
        raise Malformed(_("内容不是 UTF-8 编码")) from None
    except RecursionError:
        raise Malformed(_("JSON 嵌套过深")) from None
    except ValueError as error:
        raise Malformed(_("JSON 格式有误：%s") % error) from None
    if b"\\u" in raw:
        _check_storable(value)
    return value


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed(_("JSON 对象中有重复的键"))
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Malformed(_("JSON 中不能有 %s") % text[:20])
    return number


def _machine_integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise Malformed(_("数字过大：%s") % text[:30])
    return int(text)


def _check_storable(value: Any) -> None:
    if isinstance(value, str):
        if UNSTORABLE.search(value):
            raise Malformed(_("内容含有无法保存的字符（空字符或不完整的字符）"))
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_storable(name)
            _check_storable(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_storable(inner)


def _unmeasured(request: HttpRequest) -> IO[bytes] | None:
    """The stream of a chunked body, where the server marks its end."""
    environ = request.META
    if environ.get("wsgi.input_terminated"):
        return cast(IO[bytes], environ["wsgi.input"])
    return None if "wsgi.input" in environ else cast(IO[bytes], request)
