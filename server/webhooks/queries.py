"""Who may see which endpoints and their deliveries: the county office over the endpoint's area."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, QuerySet

from server.grid.models import Area, Membership, User
from server.grid.queries import area_paths, offices_over, under
from server.webhooks.models import WebhookDelivery, WebhookEndpoint

PENDING = WebhookDelivery.State.PENDING


def areas_with_webhooks_of(user: User) -> QuerySet[Area]:
    """The areas for which the person may have events sent: those of their offices, and below."""
    if user.is_superuser:
        return Area.objects.all()
    return Area.objects.filter(under(area_paths(user, Membership.Role.OFFICE), "path"))


def endpoints_visible_to(user: User) -> QuerySet[WebhookEndpoint]:
    """The endpoints of these areas."""
    rows = WebhookEndpoint.objects.select_related("area", "responsible", "created_by")
    if user.is_superuser:
        return rows
    return rows.filter(under(area_paths(user, Membership.Role.OFFICE), "area__path"))


def deliveries_visible_to(user: User) -> QuerySet[WebhookDelivery]:
    """What was sent, or is to be, to these endpoints."""
    rows = WebhookDelivery.objects.select_related("event", "endpoint")
    if user.is_superuser:
        return rows
    return rows.filter(under(area_paths(user, Membership.Role.OFFICE), "endpoint__area__path"))


def is_owned(endpoint: WebhookEndpoint) -> bool:
    """Whether who is responsible still speaks for the area today."""
    person = endpoint.responsible
    if not person.is_active:
        return False
    return person.is_superuser or offices_over(endpoint.area).filter(pk=person.pk).exists()


def pending_of(endpoint: WebhookEndpoint) -> QuerySet[WebhookDelivery]:
    """What is still to be sent, in order."""
    return WebhookDelivery.objects.filter(endpoint=endpoint, state=PENDING).order_by("id")


def first_of_their_subjects(endpoint: WebhookEndpoint) -> QuerySet[WebhookDelivery]:
    """Of these, what has no earlier one of the same subject before it."""
    before = WebhookDelivery.objects.filter(
        endpoint=endpoint,
        state=PENDING,
        subject_id=OuterRef("subject_id"),
        id__lt=OuterRef("id"),
    )
    return pending_of(endpoint).filter(~Exists(before)).select_related("event")
