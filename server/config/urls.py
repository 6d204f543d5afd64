"""Every address of the product, by who calls it."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("mobile_api.urls")),
    path("", include("media_storage.urls")),
    path("", include("server.console.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "server.config.refusals.bad_request"
handler403 = "server.config.refusals.forbidden"
handler404 = "server.config.refusals.not_found"
handler500 = "server.config.refusals.server_error"
