"""Every address of the product, by who calls it."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("mobile_api.urls")),
    path("", include("media_storage.urls")),
    path("admin/", admin.site.urls),
]
