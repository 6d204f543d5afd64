"""The addresses of OpenRosa, once behind a device's secret key and once behind HTTP Digest or Basic."""

from django.urls import include, path

from mobile_api.openrosa import views

_addresses = (
    [
        path("formList", views.form_list, name="form_list"),
        path("forms/<str:form_id>/<str:version>.xml", views.form, name="form"),
        path("forms/<str:form_id>/<str:version>/manifest", views.manifest, name="manifest"),
        path(
            "forms/<str:form_id>/<str:version>/media/<str:filename>",
            views.media_file,
            name="media_file",
        ),
        path("submission", views.submission, name="submission"),
        path("", views.unknown),
        path("<path:rest>", views.unknown),
    ],
    "openrosa",
)

urlpatterns = [
    path("key/<str:key>/", include(_addresses, namespace="openrosa_key")),
    path("openrosa/", include(_addresses, namespace="openrosa")),
]
