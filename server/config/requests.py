"""Requests that survive any Content-Type: Django raises for some before its own error handling begins."""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest


class _AnyContentType:
    content_type: str | None
    content_params: dict[str, str] | None
    encoding: str | None

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        """An unreadable header is none; a charset that cannot decode text is not one."""
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
            b"".decode(self.encoding or "utf-8")
        except (LookupError, ValueError):
            self.content_type, self.content_params = "", {}
            self.encoding = None


class WsgiRequest(_AnyContentType, WSGIRequest):
    pass


class AsgiRequest(_AnyContentType, ASGIRequest):
    pass
