"""Who calls: the bearer token of a device, checked with one indexed query."""

from __future__ import annotations

from django.utils import translation
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from server.grid.models import User
from server.messaging.models import Device
from server.messaging.sessions import TokenUnknown, device_for_token

CHALLENGE = 'Bearer realm="Duxue"'


class DeviceTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`: the person is `request.user`, the device `request.auth`."""

    def authenticate(self, request: Request) -> tuple[User, Device] | None:
        scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenUnknown
        device = device_for_token(token.strip())
        if "Accept-Language" not in request.headers:
            translation.activate(device.user.language)
        return device.user, device

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
