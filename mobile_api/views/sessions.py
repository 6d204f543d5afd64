"""Logging in and out."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import DEVICE_TIME
from mobile_api.serializers.people import SessionIn, SessionOut
from mobile_api.views.base import PhoneView
from server.core import clock
from server.messaging.sessions import close_session, open_session

EXAMPLE = OpenApiExample(
    "An inspector's phone",
    value={
        "username": "inspector1",
        "password": "duxue-demo",
        "device": {
            "id": "3f0c9a52-6f6e-4c52-9d3a-0c1f6f9f2a11",
            "name": "Redmi 12",
            "platform": "android",
        },
    },
    request_only=True,
)


class SessionsView(PhoneView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="log_in",
        tags=["Session and device"],
        parameters=[DEVICE_TIME],
        request=SessionIn,
        responses={201: SessionOut},
        examples=[EXAMPLE],
    )
    def post(self, request: Request) -> Response:
        """Log in on a device. Logging in again replaces the device's token."""
        arrived = clock.now()  # checking the password takes half a second
        session = self.body(SessionIn)
        device = session["device"]
        token, opened = open_session(
            username=session["username"],
            password=session["password"],
            device_id=device["id"],
            device_name=device["name"],
            platform=device["platform"],
            request=request._request,
        )
        self.read_clock(opened, at=arrived)
        return self.out(SessionOut, {"token": token, "device": opened}, 201)


class CurrentSessionView(PhoneView):
    @extend_schema(operation_id="log_out", tags=["Session and device"], responses={204: None})
    def delete(self, request: Request) -> Response:
        """Log out: the token, the OpenRosa address and the push address end."""
        close_session(self.device)
        return Response(status=204)
