"""The person's own page."""

from __future__ import annotations

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.pagination import MAX_LIMIT
from mobile_api.serializers.people import MeOut
from mobile_api.views.base import PhoneView
from server.grid.queries import roles_of
from server.messaging.odk import key_url, settings_qr
from server.messaging.routes import web_push_key


class MeView(PhoneView):
    @extend_schema(operation_id="me", tags=["Session and device"], responses=MeOut)
    def get(self, request: Request) -> Response:
        """Who I am, my roles of today with their scopes, the app's settings, my OpenRosa address."""
        server_url = key_url(self.base_url, self.device)
        me = {
            "user": self.person,
            "roles": roles_of(self.person),
            "settings": app_settings(self.base_url),
            "openrosa": {
                "server_url": server_url,
                "settings_qr": settings_qr(server_url=server_url),
            },
        }
        return self.out(MeOut, me)


def app_settings(base_url: str) -> dict[str, object]:
    """What the phone app must know of this server."""
    return {
        "time_zone": settings.TIME_ZONE,
        "max_document_bytes": settings.MAX_DOCUMENT_BYTES,
        "max_upload_bytes": settings.MAX_UPLOAD_BYTES,
        "sync_limit": MAX_LIMIT,
        "inbox_url": base_url.replace("http", "ws", 1) + "/ws/v1/inbox",
        "webpush_key": web_push_key(),
    }
