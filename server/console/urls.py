"""The pages outside the admin: the first page of the product, the choice of language, conversations."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from server.console import going
from server.console.channels import channels_page, group_deed, push_script, subscription
from server.console.inbox import inbox, notice_file
from server.console.pages import landing
from server.console.talk import pages as talk

ABOUT = "about/<slug:subject>/<uuid:subject_id>/"
MESSAGE = "<uuid:id>/messages/<uuid:message_id>/"

conversations = [
    path("", talk.index, name="conversations"),
    path(ABOUT, talk.about, name="conversation-about"),
    path(f"{ABOUT}send/", talk.send_about, name="conversation-about-send"),
    path("<uuid:id>/", talk.show, name="conversation"),
    path("<uuid:id>/messages/", talk.fragment, name="conversation-messages"),
    path("<uuid:id>/send/", talk.send, name="conversation-send"),
    path("<uuid:id>/files/<uuid:media_id>/", talk.file, name="conversation-file"),
    path("<uuid:id>/read/", talk.read, name="conversation-read"),
    path("<uuid:id>/mute/", talk.mute, name="conversation-mute"),
    path("<uuid:id>/export/", talk.export, name="conversation-export"),
    path(f"{MESSAGE}withdraw/", talk.withdraw, name="conversation-withdraw"),
    path(f"{MESSAGE}remove/", talk.remove, name="conversation-remove"),
]

urlpatterns = [
    path("", landing, name="landing"),
    path("login/", going.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="landing"), name="logout"),
    path("go/<slug:kind>/<uuid:id>", going.go, name="go"),
    path("inbox/", inbox, name="inbox"),
    path("inbox/<uuid:id>/files/<uuid:media_id>/", notice_file, name="notice-file"),
    path("channels/", channels_page, name="channels"),
    path("channels/groups/<uuid:group_id>/<slug:deed>/", group_deed, name="channels-deed"),
    path("push/worker.js", push_script, name="push-worker"),
    path("push/subscription", subscription, name="push-subscription"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("conversations/", include(conversations)),
]
