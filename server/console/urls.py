"""The pages outside the admin: the first page of the product, and the choice of language."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from server.console import going
from server.console.channels import channels_page, group_deed, push_script, subscription
from server.console.pages import landing

urlpatterns = [
    path("", landing, name="landing"),
    path("login/", going.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="landing"), name="logout"),
    path("go/<slug:kind>/<uuid:id>", going.go, name="go"),
    path("channels/", channels_page, name="channels"),
    path("channels/groups/<uuid:group_id>/<slug:deed>/", group_deed, name="channels-deed"),
    path("push/worker.js", push_script, name="push-worker"),
    path("push/subscription", subscription, name="push-subscription"),
    path("i18n/", include("django.conf.urls.i18n")),
]
