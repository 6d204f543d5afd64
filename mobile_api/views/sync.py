"""The phone's copy and what changed since."""

from __future__ import annotations

from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.feed import next_page
from mobile_api.openapi import DEVICE_TIME
from mobile_api.pagination import MAX_LIMIT
from mobile_api.serializers.sync import MAX_CURSOR, SyncOut, SyncQuery
from mobile_api.views.base import PhoneView


class Encoded(JSONRenderer):
    """The objects of a page are JSON already (mobile_api.feed)."""

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return msgspec.json.encode(data)


class SyncView(PhoneView):
    renderer_classes = (Encoded,)

    @extend_schema(
        operation_id="sync",
        tags=["Work"],
        parameters=[DEVICE_TIME, SyncQuery],
        responses=SyncOut,
    )
    def get(self, request: Request) -> Response:
        """All that I may see, page by page, then what changed after the cursor.

        Without a cursor: a full copy (schools, instruments with their forms, open and recent visits,
        their submissions, findings, notices and conversations without their messages). Keep the cursor of the last page and ask with it
        from then on, again at once while `has_more`. `put` brings the latest data of an object,
        `delete` ends it, and with a school all that belongs to it. `reset`: my roles or appointments
        changed; drop the copy, a whole one begins with this page.
        """
        self.read_clock(self.device)
        page = next_page(self.person, **self._place(), context=self.context)
        return Response(
            {
                "changes": page.changes,
                "cursor": str(page.position),
                "has_more": page.has_more,
                "reset": page.reset,
            }
        )

    def _place(self) -> dict[str, Any]:
        """An idle phone sends its cursor alone, which needs no serializer."""
        parameters = self.request.query_params
        cursor = parameters.get("cursor", "")
        if len(parameters) == 1 and cursor.isascii() and 0 < len(cursor) <= MAX_CURSOR:
            return {"cursor": cursor, "limit": MAX_LIMIT}
        return self.query(SyncQuery)
