"""Outgoing webhooks: an office's endpoints, their log, sending again."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.webhooks import (
    MadeWebhookOut,
    RedeliveredOut,
    RedeliverIn,
    WebhookChangeIn,
    WebhookDeliveryOut,
    WebhookDeliveryQuery,
    WebhookEventsOut,
    WebhookIn,
    WebhookOut,
)
from mobile_api.views.base import PhoneView, one
from server.webhooks.catalogue import event_types
from server.webhooks.queries import deliveries_visible_to, endpoints_visible_to
from server.webhooks.services import (
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    redeliver,
    redeliver_since,
    rotate_secret,
    send_test,
    take_over,
)

TAGS = ["Webhooks"]


class WebhooksView(PhoneView):
    @extend_schema(
        operation_id="list_webhooks",
        tags=TAGS,
        parameters=[PageQuery],
        responses=page_shape(WebhookOut),
    )
    def get(self, request: Request) -> Response:
        """The endpoints of my office's areas."""
        rows = endpoints_visible_to(self.person)
        return self.page(rows, WebhookOut, ordering=("created_at", "id"))

    @extend_schema(
        operation_id="create_webhook",
        tags=TAGS,
        request=WebhookIn,
        responses={200: MadeWebhookOut, 201: MadeWebhookOut},
    )
    def post(self, request: Request) -> Response:
        """Have events sent to an address. The answer shows the secret, once. County offices only."""
        asked = self.body(WebhookIn)
        made = create_endpoint(
            endpoint_id=asked["id"],
            by=self.person,
            area_id=asked["area"],
            url=asked["url"],
            events=asked["events"],
            description=asked["description"],
        )
        status = 201 if made.secret else 200
        return self.out(MadeWebhookOut, made.endpoint, status, secret=made.secret)


class WebhookEventsView(PhoneView):
    @extend_schema(operation_id="list_webhook_events", tags=TAGS, responses=WebhookEventsOut)
    def get(self, request: Request) -> Response:
        """The types of events that an endpoint can choose, each with its JSON Schema."""
        return self.out(WebhookEventsOut, {"results": event_types().values()})


class WebhookView(PhoneView):
    @extend_schema(operation_id="get_webhook", tags=TAGS, responses=WebhookOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One endpoint."""
        return self.out(WebhookOut, one(endpoints_visible_to(self.person), id))

    @extend_schema(
        operation_id="change_webhook", tags=TAGS, request=WebhookChangeIn, responses=WebhookOut
    )
    def patch(self, request: Request, id: UUID) -> Response:
        """Change it, switch it on or off."""
        endpoint = change_endpoint(endpoint_id=id, by=self.person, **self.body(WebhookChangeIn))
        return self.out(WebhookOut, endpoint)

    @extend_schema(operation_id="delete_webhook", tags=TAGS, responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete it and its log."""
        delete_endpoint(endpoint_id=id, by=self.person)
        return Response(status=204)


class WebhookSecretView(PhoneView):
    @extend_schema(
        operation_id="rotate_webhook_secret", tags=TAGS, request=None, responses=MadeWebhookOut
    )
    def post(self, request: Request, id: UUID) -> Response:
        """A new secret, shown once. For a day the old one signs too."""
        made = rotate_secret(endpoint_id=id, by=self.person)
        return self.out(MadeWebhookOut, made.endpoint, secret=made.secret)


class WebhookTestView(PhoneView):
    @extend_schema(
        operation_id="test_webhook", tags=TAGS, request=None, responses={202: WebhookDeliveryOut}
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Send an event that says nothing."""
        return self.out(WebhookDeliveryOut, send_test(endpoint_id=id, by=self.person), 202)


class WebhookTakeOverView(PhoneView):
    @extend_schema(operation_id="take_over_webhook", tags=TAGS, request=None, responses=WebhookOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Be responsible for an endpoint whose person has left the office."""
        return self.out(WebhookOut, take_over(endpoint_id=id, by=self.person))


class WebhookDeliveriesView(PhoneView):
    @extend_schema(
        operation_id="list_webhook_deliveries",
        tags=TAGS,
        parameters=[WebhookDeliveryQuery, PageQuery],
        responses=page_shape(WebhookDeliveryOut),
    )
    def get(self, request: Request, id: UUID) -> Response:
        """What was sent to it and what is to be, the newest first."""
        endpoint = one(endpoints_visible_to(self.person), id)
        rows = deliveries_visible_to(self.person).filter(endpoint=endpoint)
        rows = self.narrowed(rows, WebhookDeliveryQuery)
        return self.page(rows, WebhookDeliveryOut, ordering=("-id",))


class WebhookRedeliverSinceView(PhoneView):
    @extend_schema(
        operation_id="redeliver_webhook_since",
        tags=TAGS,
        request=RedeliverIn,
        responses={202: RedeliveredOut},
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Send all events from then on once more, with their ids."""
        since = self.body(RedeliverIn)["since"]
        count = redeliver_since(endpoint_id=id, by=self.person, since=since)
        return self.out(RedeliveredOut, {"count": count}, 202)


class WebhookRedeliverView(PhoneView):
    @extend_schema(
        operation_id="redeliver_webhook",
        tags=TAGS,
        request=None,
        responses={202: WebhookDeliveryOut},
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Send one event once more, with its id."""
        return self.out(WebhookDeliveryOut, redeliver(delivery_id=id, by=self.person), 202)
