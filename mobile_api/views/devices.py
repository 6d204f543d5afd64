"""One's own devices: listing, revoking, push addresses, OpenRosa passwords."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.people import DeviceOut, OpenRosaPasswordOut, PushIn, push_address
from mobile_api.views.base import PhoneView, one
from server.messaging.odk import password_url, settings_qr
from server.messaging.sessions import devices_of, new_openrosa_password, revoke_device, set_push

TAGS = ["Session and device"]


class DevicesView(PhoneView):
    @extend_schema(
        operation_id="list_devices",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(DeviceOut),
    )
    def get(self, request: Request) -> Response:
        """My devices whose session is open."""
        rows = devices_of(self.person)
        ordering = ("-created_at", "-id")
        return self.page(rows, DeviceOut, ordering=ordering, device_id=self.device.pk)


class DeviceView(PhoneView):
    @extend_schema(operation_id="revoke_device", tags=TAGS, responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """End the session of one of my devices, such as a lost phone."""
        revoke_device(device_id=id, by=self.person)
        return Response(status=204)


class PushView(PhoneView):
    @extend_schema(operation_id="set_push", tags=TAGS, request=PushIn, responses={204: None})
    def put(self, request: Request, id: UUID) -> Response:
        """Say where to push for this device; an empty provider ends it."""
        device = one(devices_of(self.person), id)
        push = self.body(PushIn)
        set_push(device=device, provider=push["provider"], address=push_address(push))
        return Response(status=204)


class OpenRosaPasswordView(PhoneView):
    @extend_schema(
        operation_id="new_openrosa_password",
        tags=TAGS,
        request=None,
        responses={201: OpenRosaPasswordOut},
    )
    def post(self, request: Request, id: UUID) -> Response:
        """A new password for ODK Collect on this device, shown once; the earlier one ends."""
        device = one(devices_of(self.person).select_related("user"), id)
        login = {"username": device.user.username, "password": new_openrosa_password(device=device)}
        server_url = password_url(self.base_url)
        qr = settings_qr(server_url=server_url, **login)
        return self.out(
            OpenRosaPasswordOut, {**login, "server_url": server_url, "settings_qr": qr}, 201
        )
