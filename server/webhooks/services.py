"""What an office does with its endpoints: make, change, test, take over, send again, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from server.core import clock
from server.core.audit import AuditAction, record_audit
from server.core.errors import ContentConflict, Invalid, NotAllowed, NotFound, Problem, WrongState
from server.core.following import take_place
from server.core.ids import new_id
from server.grid.models import Membership, User
from server.grid.queries import has_role
from server.webhooks.actions import (
    CHANGED,
    CREATED,
    DELETED,
    REDELIVERED,
    SECRET_ROTATED,
    TAKEN_OVER,
    TESTED,
)
from server.webhooks.addresses import UrlRefused, check_url
from server.webhooks.catalogue import TEST, event_types
from server.webhooks.deriving import envelope, wake_endpoints
from server.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from server.webhooks.queries import (
    areas_with_webhooks_of,
    deliveries_visible_to,
    endpoints_visible_to,
)
from server.webhooks.secrets import sealed
from server.webhooks.signing import new_secret

FOLLOWER = "webhooks"
OLD_SECRET = timedelta(days=1)
"""So long both secrets sign after a rotation."""
MOST = 20
"""Endpoints of one area."""

State = WebhookEndpoint.State


@dataclass(frozen=True)
class Made:
    """An endpoint, and its secret where it is new: nobody sees it again."""

    endpoint: WebhookEndpoint
    secret: str | None


@transaction.atomic
def create_endpoint(
    *,
    endpoint_id: UUID,
    by: User,
    area_id: UUID,
    url: str,
    events: Sequence[str],
    description: str = "",
) -> Made:
    """Have events of the area sent to the address. The same again makes nothing, and shows no secret.

    Raises NotAllowed, NotFound (an area that is not the office's), Invalid, ContentConflict.
    """
    if not (by.is_superuser or has_role(by, Membership.Role.OFFICE)):
        raise NotAllowed(_("只有教育督导办可以设置外发推送。"))
    area = areas_with_webhooks_of(by).filter(pk=area_id).first()
    if area is None:
        raise NotFound(_("找不到这个行政区，或它不在您的督导办管辖范围内。"))
    chosen = _checked_events(events)
    content = {"area": area, "url": url, "events": chosen, "description": description.strip()}
    known = WebhookEndpoint.objects.filter(pk=endpoint_id).first()
    if known is not None:
        if any(getattr(known, name) != value for name, value in content.items()):
            raise ContentConflict(_("此编号已用于另一个外发推送。"))
        return Made(known, None)
    _check_url(url)
    if WebhookEndpoint.objects.filter(area=area).count() >= MOST:
        raise Invalid(
            problems=[Problem("/area", "too_many", _("每个行政区最多 %d 个外发推送。") % MOST)]
        )
    secret = new_secret()
    take_place(FOLLOWER)
    endpoint = WebhookEndpoint.objects.create(
        id=endpoint_id,
        **content,
        secret=sealed(secret),
        created_by=by,
        responsible=by,
        since=clock.now(),
    )
    _note(CREATED, endpoint, by, url=url, events=chosen)
    return Made(endpoint, secret)


@transaction.atomic
def change_endpoint(
    *,
    endpoint_id: UUID,
    by: User,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> WebhookEndpoint:
    """Change what is given. Switching on begins to send what waits. Raises NotFound, Invalid."""
    endpoint = _locked(endpoint_id, by)
    if url is not None and url != endpoint.url:
        _check_url(url)
        endpoint.url = url
    if description is not None:
        endpoint.description = description.strip()
    if events is not None:
        chosen = _checked_events(events)
        if chosen != endpoint.events:
            endpoint.events, endpoint.since = chosen, clock.now()
    if enabled is not None:
        _switch(endpoint, on=enabled)
    endpoint.save()
    _note(CHANGED, endpoint, by, url=endpoint.url, events=endpoint.events, state=endpoint.state)
    return endpoint


def _switch(endpoint: WebhookEndpoint, *, on: bool) -> None:
    if not on:
        endpoint.state, endpoint.state_reason, endpoint.work_due_at = State.OFF, "", None
        return
    if endpoint.state == State.OWNERLESS:
        raise WrongState(_("请先接管，再启用。"))
    if endpoint.state in (State.OFF, State.GONE):
        endpoint.since = clock.now()
    _start(endpoint)


def _start(endpoint: WebhookEndpoint) -> None:
    endpoint.state, endpoint.state_reason = State.ON, ""
    endpoint.failures, endpoint.failing_since = 0, None
    endpoint.work_due_at, endpoint.work_dead_at = clock.now(), None
    endpoint.work_attempts = endpoint.work_lost = 0
    # What waits gets its whole patience again, and at once.
    pending = WebhookDelivery.objects.filter(endpoint=endpoint, state=WebhookDelivery.State.PENDING)
    pending.update(next_at=None, first_tried_at=None, attempts=0)


@transaction.atomic
def take_over(*, endpoint_id: UUID, by: User) -> WebhookEndpoint:
    """Be responsible for the endpoint; one that waited for somebody goes on. Raises NotFound."""
    endpoint = _locked(endpoint_id, by)
    before = endpoint.responsible.name
    endpoint.responsible = by
    if endpoint.state == State.OWNERLESS:
        _start(endpoint)
    endpoint.save()
    _note(TAKEN_OVER, endpoint, by, before=before)
    return endpoint


@transaction.atomic
def rotate_secret(*, endpoint_id: UUID, by: User) -> Made:
    """A new secret, shown now and never again; for a day the old one signs too. Raises NotFound."""
    endpoint = _locked(endpoint_id, by)
    secret = new_secret()
    endpoint.old_secret, endpoint.old_secret_until = endpoint.secret, clock.now() + OLD_SECRET
    endpoint.secret = sealed(secret)
    endpoint.save()
    _note(SECRET_ROTATED, endpoint, by)
    return Made(endpoint, secret)


@transaction.atomic
def delete_endpoint(*, endpoint_id: UUID, by: User) -> None:
    """The endpoint and its log are gone; the audit log keeps that it was. Raises NotFound."""
    endpoint = _locked(endpoint_id, by)
    _note(DELETED, endpoint, by, url=endpoint.url)
    endpoint.delete()


@transaction.atomic
def send_test(*, endpoint_id: UUID, by: User) -> WebhookDelivery:
    """Send an event that says nothing, as any other is sent. Raises NotFound, WrongState."""
    endpoint = _locked(endpoint_id, by)
    _check_on(endpoint)
    event_id, moment = new_id(), clock.now()
    data = {"message": "这是一条测试 This is a test"}
    event = WebhookEvent.objects.create(
        id=event_id,
        type=TEST,
        subject_type="webhook",
        subject_id=event_id,
        area_path=endpoint.area.path,
        occurred_at=moment,
        payload=envelope(event_id, TEST, moment, data),
    )
    wake_endpoints([endpoint.pk])
    delivery = WebhookDelivery.objects.create(
        endpoint=endpoint, event=event, subject_id=event.subject_id
    )
    _note(TESTED, endpoint, by)
    return delivery


def redeliver(*, delivery_id: UUID, by: User) -> WebhookDelivery:
    """Send an event once more, with its id. Raises NotFound, WrongState."""
    rows = deliveries_visible_to(by).filter(pk=delivery_id)
    found = rows.first()
    if found is None:
        raise NotFound
    _send_again(found.endpoint_id, by, rows, one=str(found.event_id))
    return rows.get()


def redeliver_since(*, endpoint_id: UUID, by: User, since: datetime) -> int:
    """Send everything of the endpoint from then on once more. Returns how many. Raises as above."""
    rows = deliveries_visible_to(by).filter(endpoint=endpoint_id, event__occurred_at__gte=since)
    return _send_again(endpoint_id, by, rows, since=since.isoformat())


@transaction.atomic
def _send_again(
    endpoint_id: UUID, by: User, rows: QuerySet[WebhookDelivery], **details: Any
) -> int:
    endpoint = _locked(endpoint_id, by)
    _check_on(endpoint)
    wake_endpoints([endpoint.pk])
    again = WebhookDelivery.objects.filter(pk__in=list(rows.values_list("pk", flat=True)))
    count = again.update(
        state=WebhookDelivery.State.PENDING,
        attempts=0,
        next_at=None,
        first_tried_at=None,
        delivered_at=None,
    )
    _note(REDELIVERED, endpoint, by, count=count, **details)
    return count


# ---- what they share -------------------------------------------------------------------------


def _locked(endpoint_id: UUID, by: User) -> WebhookEndpoint:
    rows = endpoints_visible_to(by).select_for_update(of=("self",))
    endpoint = rows.filter(pk=endpoint_id).first()
    if endpoint is None:
        raise NotFound
    return endpoint


def _check_on(endpoint: WebhookEndpoint) -> None:
    if endpoint.state != State.ON:
        raise WrongState(_("此外发推送未启用，请先启用。"))


def _check_url(url: str) -> None:
    try:
        check_url(url)
    except UrlRefused as refused:
        raise Invalid(problems=[Problem("/url", "refused", str(refused))]) from None


def _checked_events(events: Sequence[str]) -> list[str]:
    problems = [
        Problem(f"/events/{index}", "unknown", _("没有这种事件：%(name)s") % {"name": name[:80]})
        for index, name in enumerate(events)
        if name not in event_types()
    ]
    if not events:
        problems = [Problem("/events", "required", _("请至少选择一种事件。"))]
    if problems:
        raise Invalid(problems=problems)
    return [name for name in event_types() if name in events]


def _note(action: AuditAction, endpoint: WebhookEndpoint, by: User, **details: Any) -> None:
    record_audit(
        action,
        by=by,
        subject=("webhook", endpoint.pk),
        details={"area": endpoint.area.name, **details},
    )
