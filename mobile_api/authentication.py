"""Who calls: the bearer token of a device, checked with one indexed query."""

from __future__ import annotations

from django.utils import translation
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from server.grid.models import User
from server.messaging.models import Device
from server.messaging.sessions import (
    TokenUnknown,
    device_for_token,
    device_known_lately,
    remember_device,
)

CHALLENGE = 'Bearer realm="Duxue"'


class DeviceTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`: the person is `request.user`, the device `request.auth`.

    `lately`, for the accept path: a device that was usable within the last minute needs no look-up of
    its own. The view has to make sure that it still is: what it writes carries that as a condition.
    """

    def __init__(self, *, lately: bool = False) -> None:
        self.lately = lately

    def authenticate(self, request: Request) -> tuple[User, Device] | None:
        scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenUnknown
        device = self._device(token.strip())
        if "Accept-Language" not in request.headers:
            translation.activate(device.user.language)
        return device.user, device

    def _device(self, token: str) -> Device:
        if not self.lately:
            return device_for_token(token)
        if known := device_known_lately(token):
            return known
        device = device_for_token(token)
        remember_device(token, device)
        return device

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
