"""The pages outside the admin: the first page of the product, and the choice of language."""

from django.urls import include, path

from server.console.pages import landing

urlpatterns = [
    path("", landing, name="landing"),
    path("i18n/", include("django.conf.urls.i18n")),
]
