"""The addresses that phones call."""

from django.urls import URLPattern, URLResolver, include, path, re_path, register_converter
from django.urls.converters import StringConverter
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from mobile_api.problems import unknown_address
from mobile_api.views import (
    activities,
    care,
    chat_groups,
    devices,
    findings,
    flags,
    instruments,
    me,
    media,
    notices,
    receipts,
    schools,
    sessions,
    sharing,
    submissions,
    sync,
    visits,
    webhooks,
)


class NameConverter(StringConverter):
    """A form's id, a version, a file's name: text without what a database refuses."""

    regex = r"[^/\x00]{1,160}"


register_converter(NameConverter, "name")

VERSION = "instruments/<name:form_id>/versions/<name:version>"

v1: list[URLPattern | URLResolver] = [
    # First, because they are tried in this order, and of a day's requests most are these.
    path("media/<uuid:id>/complete", media.CompleteView.as_view()),
    path("media", media.MediaView.as_view()),
    path("media/<uuid:id>/upload", media.UploadView.as_view()),
    path("media/<uuid:id>", media.OneMediaView.as_view()),
    path("auth/sessions", sessions.SessionsView.as_view()),
    path("auth/sessions/current", sessions.CurrentSessionView.as_view()),
    path("me", me.MeView.as_view()),
    path("devices", devices.DevicesView.as_view()),
    path("devices/<uuid:id>", devices.DeviceView.as_view()),
    path("devices/<uuid:id>/push", devices.PushView.as_view()),
    path("devices/<uuid:id>/openrosa-password", devices.OpenRosaPasswordView.as_view()),
    path("sync", sync.SyncView.as_view()),
    path("schools", schools.SchoolsView.as_view()),
    path("schools/<uuid:id>", schools.SchoolView.as_view()),
    path("schools/<uuid:id>/chat-groups", chat_groups.ChatGroupsView.as_view()),
    path("schools/<uuid:id>/chat-groups/<uuid:group_id>", chat_groups.ChatGroupView.as_view()),
    path(
        "schools/<uuid:id>/chat-groups/<uuid:group_id>/test",
        chat_groups.ChatGroupTestView.as_view(),
    ),
    path("instruments", instruments.InstrumentsView.as_view()),
    path("instruments/<name:form_id>", instruments.InstrumentView.as_view()),
    path("instruments/<name:form_id>/publish", instruments.PublishView.as_view()),
    path(VERSION, instruments.VersionView.as_view()),
    path(f"{VERSION}/xform", instruments.XFormView.as_view()),
    path(f"{VERSION}/media/<name:name>", instruments.FormFileView.as_view()),
    path("activities", activities.ActivitiesView.as_view()),
    path("activities/<uuid:id>", activities.ActivityView.as_view()),
    path("activities/<uuid:id>/preview", activities.PreviewView.as_view()),
    path("activities/<uuid:id>/publish", activities.PublishView.as_view()),
    path("activities/<uuid:id>/close", activities.CloseView.as_view()),
    path("activities/<uuid:id>/retention", care.RetentionView.as_view()),
    path("activities/<uuid:id>/exports", care.ExportsView.as_view()),
    path("exports/<uuid:id>", care.ExportView.as_view()),
    path("figures/storage", care.StorageView.as_view()),
    path("activities/<uuid:id>/shared-copies", sharing.SharedCopiesView.as_view()),
    path("visits", visits.VisitsView.as_view()),
    path("visits/<uuid:id>", visits.VisitView.as_view()),
    path("visits/<uuid:id>/check-in", visits.CheckInView.as_view()),
    path("visits/<uuid:id>/complete", visits.CompleteView.as_view()),
    path("visits/<uuid:id>/review", visits.ReviewView.as_view()),
    path("visits/<uuid:id>/return", visits.ReturnView.as_view()),
    path("submissions", submissions.SubmissionsView.as_view()),
    path("submissions/<uuid:id>", submissions.SubmissionView.as_view()),
    path("submissions/<uuid:id>/attach", submissions.AttachView.as_view()),
    path("submissions/<uuid:id>/receipts", receipts.SubmissionReceiptsView.as_view()),
    path("receipts/keys", receipts.KeysView.as_view()),
    path("receipts/days", receipts.DaysView.as_view()),
    path("media/<uuid:id>/blur-boxes", sharing.BlurBoxesView.as_view()),
    path("media/<uuid:id>/original", care.OriginalView.as_view()),
    path("flags/<uuid:id>/notes", flags.FlagNotesView.as_view()),
    path("findings", findings.FindingsView.as_view()),
    path("findings/matrix", findings.MatrixView.as_view()),
    path("findings/<uuid:id>", findings.FindingView.as_view()),
    path("findings/<uuid:id>/actions", findings.FindingActionsView.as_view()),
    path("webhooks", webhooks.WebhooksView.as_view()),
    path("webhooks/events", webhooks.WebhookEventsView.as_view()),
    path("webhooks/<uuid:id>", webhooks.WebhookView.as_view()),
    path("webhooks/<uuid:id>/secret", webhooks.WebhookSecretView.as_view()),
    path("webhooks/<uuid:id>/test", webhooks.WebhookTestView.as_view()),
    path("webhooks/<uuid:id>/take-over", webhooks.WebhookTakeOverView.as_view()),
    path("webhooks/<uuid:id>/deliveries", webhooks.WebhookDeliveriesView.as_view()),
    path("webhooks/<uuid:id>/redeliver", webhooks.WebhookRedeliverSinceView.as_view()),
    path("webhooks/deliveries/<uuid:id>/redeliver", webhooks.WebhookRedeliverView.as_view()),
    path("notices", notices.NoticesView.as_view()),
    path("notices/<uuid:id>/read", notices.ReadView.as_view()),
    path("notices/<uuid:id>/acknowledge", notices.AcknowledgeView.as_view()),
    path("notices/<uuid:id>/deliveries", notices.DeliveriesView.as_view()),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include(v1)),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include("mobile_api.openrosa.urls")),
    re_path("^api/v1(?:/|$)", unknown_address),
]
