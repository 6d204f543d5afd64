"""Sending what is pending: one endpoint by one worker at a time, in order, with patience.

    pending ──2xx──────────────────────▶ delivered
       │  ▲                                  │
       │  └───────────redelivered────────────┘
       ├──anything else: again later, with backoff, for PATIENCE──▶ dead
       └──410 Gone: the endpoint takes nothing any more───────────▶ dead

The endpoint's row is what a worker claims, so that its lease keeps all others from sending to it, and a
receiver that hangs holds up its own endpoint alone. An event waits for the earlier ones of its subject; a
receiver that refuses one event still gets those of other subjects, until it refuses several in a row: then
it is taken to be away, and asked seldom, with one event at a time.

What was sent is recorded after the answer. A worker that dies between the two leaves the delivery pending:
it is sent again with the same id, which is how receivers know it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec
from django.conf import settings
from django.db import Error, close_old_connections, connections, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from server.core import clock, work
from server.core.audit import record_audit
from server.core.hosts import NoAnswer
from server.core.outbound import post
from server.core.secrets import SecretUnreadable
from server.core.work import Pump
from server.grid.queries import offices_over
from server.messaging.services import notify
from server.webhooks.actions import STOPPED
from server.webhooks.addresses import UrlRefused, check_url
from server.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from server.webhooks.queries import first_of_their_subjects, is_owned, pending_of
from server.webhooks.secrets import keys_of
from server.webhooks.signing import signed_headers

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
SENDERS = 4
"""Endpoints that one worker process sends to at once."""
TURN_SECONDS = 30.0
TIMEOUT_SECONDS = 8.0
"""For the connection and for the answer's head; twice that for all of it (server.core.outbound)."""
IN_A_ROW = 3
"""So many failures one after the other, and the receiver is taken to be away."""
FIRST_BACKOFF, LONGEST_BACKOFF = 5.0, 6 * 3600.0
PATIENCE = timedelta(days=3)
"""So long an event is tried, and so long an endpoint may fail, before it is stopped."""
ANSWER_KEPT = 1024
FORGET_ROWS = 1000

State = WebhookEndpoint.State


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended. `status` 0: there was no answer."""

    status: int = 0
    answer: str = ""
    error: str = ""
    retry_after: float | None = None

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        return self.status == 410


# ---- one endpoint ----------------------------------------------------------------------------


def send_to(endpoint: WebhookEndpoint) -> None:
    """Send what is due to the endpoint, until nothing is, it fails, or the turn is over."""
    if endpoint.state != State.ON:
        _rest(endpoint)
        return
    if not is_owned(endpoint):
        why = _("负责人已不在该督导办任职，请由在任人员接管后继续推送。")
        _stop(endpoint, State.OWNERLESS, why)
        return
    stop = time.monotonic() + TURN_SECONDS
    while time.monotonic() < stop and endpoint.state == State.ON:
        delivery = _next(endpoint)
        if delivery is None:
            break
        work.extend(PUMP, endpoint)
        _record(endpoint, delivery, _attempt(endpoint, delivery))
        if endpoint.failures >= IN_A_ROW:
            break
    _rest(endpoint)


def _next(endpoint: WebhookEndpoint) -> WebhookDelivery | None:
    rows = first_of_their_subjects(endpoint)
    moment = clock.now()
    fresh = rows.filter(next_at=None).first()
    again = rows.filter(next_at__lte=moment).first()
    if fresh and again:
        return min(fresh, again, key=lambda row: row.pk)
    return fresh or again


def _attempt(endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> Outcome:
    body = msgspec.json.encode(delivery.event.payload)
    try:
        # The name may lead elsewhere by now, and the settings allow something else.
        check_url(endpoint.url)
        headers = signed_headers(
            str(delivery.event_id), clock.now(), body, keys_of(endpoint, clock.now())
        )
    except UrlRefused as refused:
        return Outcome(error=str(refused))
    except SecretUnreadable as unreadable:
        return Outcome(error=str(unreadable))
    headers |= {"Content-Type": "application/json", "User-Agent": "Duxue-Webhooks/1"}
    try:
        answer = post(endpoint.url, body, headers, timeout=TIMEOUT_SECONDS)
    except NoAnswer as failure:
        return Outcome(error=str(failure))
    text = answer.body[:ANSWER_KEPT].decode(errors="replace").replace("\x00", "")
    error = "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"
    return Outcome(answer.status, text, error, answer.retry_after)


def _record(endpoint: WebhookEndpoint, delivery: WebhookDelivery, outcome: Outcome) -> None:
    moment = clock.now()
    delivery.attempts += 1
    delivery.first_tried_at = delivery.first_tried_at or moment
    delivery.last_tried_at, delivery.next_at = moment, None
    delivery.status, delivery.answer = outcome.status or None, outcome.answer
    delivery.error = outcome.error[:500]
    if outcome.is_good:
        delivery.state, delivery.delivered_at = WebhookDelivery.State.DELIVERED, moment
    elif outcome.is_gone or moment - delivery.first_tried_at >= PATIENCE:
        delivery.state = WebhookDelivery.State.DEAD
    else:
        wait = max(backoff(delivery.attempts), min(outcome.retry_after or 0.0, LONGEST_BACKOFF))
        delivery.next_at = moment + timedelta(seconds=wait)
    with transaction.atomic():
        delivery.save()
        _note(endpoint, outcome, moment)


def _note(endpoint: WebhookEndpoint, outcome: Outcome, moment: datetime) -> None:
    """What the attempt says about the endpoint."""
    if outcome.is_good:
        endpoint.failures, endpoint.failing_since = 0, None
        endpoint.last_success_at = moment
    else:
        endpoint.failures += 1
        endpoint.failing_since = endpoint.failing_since or moment
    endpoint.save(update_fields=["failures", "failing_since", "last_success_at"])
    if outcome.is_gone:
        _stop(endpoint, State.GONE, _("接收方回答 410：此地址不再接收。"))
        pending_of(endpoint).update(state=WebhookDelivery.State.DEAD, error="HTTP 410")
    elif endpoint.failing_since and moment - endpoint.failing_since >= PATIENCE:
        _stop(endpoint, State.FAILED, _("连续三天未能送达：%(why)s") % {"why": outcome.error})


@transaction.atomic
def _stop(endpoint: WebhookEndpoint, state: str, why: str) -> None:
    """Send no more, and tell the office."""
    rows = WebhookEndpoint.objects.filter(pk=endpoint.pk, state=State.ON)
    endpoint.state, endpoint.state_reason = state, why[:500]
    if not rows.update(state=state, state_reason=why[:500], work_due_at=None):
        return
    record_audit(
        STOPPED,
        by=None,
        subject=("webhook", endpoint.pk),
        details={"url": endpoint.url, "state": state, "reason": why},
    )
    notify(
        "webhook.stopped",
        recipients=offices_over(endpoint.area),
        subject=("webhook", endpoint.pk),
        area=endpoint.area,
        webhook=str(endpoint),
        office=endpoint.area.name,
        reason=why,
    )


@transaction.atomic
def _rest(endpoint: WebhookEndpoint) -> None:
    """Say when there is something to do again; see `wake_endpoints` for the lock."""
    row = WebhookEndpoint.objects.select_for_update(of=("self",)).get(pk=endpoint.pk)
    if row.work_due_at != endpoint.work_due_at:
        return  # the lease went to another worker, or somebody stopped or woke it meanwhile
    due = _due(row) if row.state == State.ON else None
    row.work_due_at, row.work_attempts, row.work_lost, row.work_error = due, 0, 0, ""
    row.save(update_fields=["work_due_at", "work_attempts", "work_lost", "work_error"])


def _due(endpoint: WebhookEndpoint) -> datetime | None:
    rows = first_of_their_subjects(endpoint)
    first = rows.order_by(F("next_at").asc(nulls_first=True)).values_list("next_at", flat=True)[:1]
    if not first:
        return None
    moment = clock.now()
    due = first[0] or moment
    if endpoint.failures >= IN_A_ROW:
        away = moment + timedelta(seconds=backoff(endpoint.failures))
        return max(due, away)
    return max(due, moment)


def backoff(attempts: int) -> float:
    """Seconds until the next attempt: 5 s, then three times as long each time, 6 hours at most."""
    longest = min(FIRST_BACKOFF * 3.0 ** min(attempts - 1, 12), LONGEST_BACKOFF)
    return longest * random.uniform(0.7, 1.0)  # noqa: S311 - jitter


def _given_up(endpoint: WebhookEndpoint, reason: str) -> None:
    _stop(endpoint, State.FAILED, reason)


PUMP = Pump(
    name="webhooks",
    rows=lambda: WebhookEndpoint.objects.select_related("area", "responsible"),
    handle=send_to,
    given_up=_given_up,
    lease_seconds=120,
    batch=SENDERS,
    max_attempts=100,
    backoff_limit_seconds=600.0,
)
"""Not registered with the other work: strangers' servers must not hold up our own deliveries."""


# ---- all of them -----------------------------------------------------------------------------


def send_due() -> int:
    """Send to every endpoint that is due, one after the other. Returns how many there were."""
    return work.drain(PUMP)


def run_until(stop: threading.Event, *, interval: float = LOOK_SECONDS) -> None:
    """Look every `interval` seconds for endpoints that are due; SENDERS at once, until `stop` is set."""
    sending: set[Future[None]] = set()
    with ThreadPoolExecutor(SENDERS, thread_name_prefix="webhooks") as senders:
        while not stop.wait(interval):
            close_old_connections()
            sending = {each for each in sending if not each.done()}
            try:
                for endpoint in _claim(SENDERS - len(sending)):
                    sending.add(senders.submit(_run, endpoint))
            except (
                Error
            ) as error:  # the database may be away for a moment: a later look tries again
                logger.warning("webhooks: %s", error)
                close_old_connections()
    close_old_connections()


def _claim(free: int) -> list[WebhookEndpoint]:
    if free < 1 or not work.due(PUMP).exists():
        return []
    return work.claim(replace(PUMP, batch=free))


def _run(endpoint: WebhookEndpoint) -> None:
    """In a thread of the pool, whose connection to the database ends with the turn."""
    try:
        work.run(PUMP, endpoint)
    except Error as error:
        logger.warning("webhooks: %s: %s", endpoint.pk, error)
    finally:
        connections.close_all()


def forget_events() -> int:
    """Delete events, and their deliveries, that were kept long enough. Returns how many."""
    before = clock.now() - timedelta(days=settings.WEBHOOK_EVENT_DAYS)
    old = WebhookEvent.objects.filter(recorded_at__lt=before).order_by("recorded_at")
    ids = list(old.values_list("pk", flat=True)[:FORGET_ROWS])
    WebhookEvent.objects.filter(pk__in=ids).delete()
    WebhookEndpoint.objects.filter(old_secret_until__lt=clock.now()).update(
        old_secret="", old_secret_until=None
    )
    return len(ids)
