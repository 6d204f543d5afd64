"""The addresses of the folder store."""

from django.urls import URLPattern, URLResolver, path

from media_storage.views import stored_file

urlpatterns: list[URLPattern | URLResolver] = [
    path("store/<str:token>", stored_file, name="stored_file"),
]
