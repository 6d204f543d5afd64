"""The addresses that phones call."""

from django.urls import URLPattern, URLResolver, include, path, re_path

from mobile_api.problems import unknown_address
from mobile_api.views import devices, me, sessions

V1 = "api/v1"

urlpatterns: list[URLPattern | URLResolver] = [
    path(f"{V1}/auth/sessions", sessions.SessionsView.as_view()),
    path(f"{V1}/auth/sessions/current", sessions.CurrentSessionView.as_view()),
    path(f"{V1}/me", me.MeView.as_view()),
    path(f"{V1}/devices", devices.DevicesView.as_view()),
    path(f"{V1}/devices/<uuid:id>", devices.DeviceView.as_view()),
    path(f"{V1}/devices/<uuid:id>/push", devices.PushView.as_view()),
    path(f"{V1}/devices/<uuid:id>/openrosa-password", devices.OpenRosaPasswordView.as_view()),
    path("", include("mobile_api.openrosa.urls")),
    re_path(rf"^{V1}/", unknown_address),
]
