"""From the change feed to events: what happened, once each, and to whom it is told.

The feed says that a visit changed, not how. How stands in rows that are written with the change and stay:
the actions of visits and findings, the rows themselves. An event's id follows from such a row, so whoever
derives it again, after a crash or because of a later change, derives the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from django.conf import settings
from django.db.models import Q

from server.activities.machine import CHECK_IN, COMPLETE, RETURN, REVIEW
from server.activities.models import Submission, Visit, VisitAction
from server.core import clock
from server.core.changes import Change
from server.findings import machine
from server.findings.models import Finding, FindingAction
from server.grid.models import Area, Membership, School
from server.grid.queries import area_paths
from server.messaging.models import Notice
from server.webhooks.models import (
    QUEUEING,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)

IDS = UUID("6a9d0f3e-4f0b-5b52-9a55-2f5b3f0d7a11")
"""The name space of events' ids."""
LOOK_BACK = timedelta(days=1)
"""Rows that are older than a change by more than this were told with an earlier one. It covers clocks
that differ and transactions that took long; events are kept for longer, so none is told twice."""
KEPT_SURELY = timedelta(days=1)
"""An event that is younger than the time for which events are kept, less this, is still there."""
BEFORE = timedelta(minutes=1)
"""An endpoint begins with the events of so long before it was made or changed: clocks differ."""

VISIT_EVENTS = {
    CHECK_IN: "visit.checked_in.v1",
    COMPLETE: "visit.completed.v1",
    RETURN: "visit.returned.v1",
    REVIEW: "visit.reviewed.v1",
}
FINDING_EVENTS = {
    machine.ANSWER: "finding.answered.v1",
    machine.VERIFY: "finding.closed.v1",
    machine.RETURN: "finding.returned.v1",
    machine.POSTPONE: "finding.postponed.v1",
    machine.WITHDRAW: "finding.withdrawn.v1",
    machine.REOPEN: "finding.reopened.v1",
}

Json = dict[str, Any]


def tell(changes: Sequence[Change]) -> None:
    """Write the events of these changes and their deliveries; in the transaction that moves the place."""
    endpoints = list(
        WebhookEndpoint.objects.filter(state__in=QUEUEING).select_related("area").order_by("pk")
    )
    if not endpoints:
        return
    events = [event for event in _events_of(changes) if _wanted(event, endpoints)]
    if not events:
        return
    events.sort(key=lambda event: (event.occurred_at, event.id))
    WebhookEvent.objects.bulk_create(events, ignore_conflicts=True)
    told = [
        WebhookDelivery(endpoint=endpoint, event=event, subject_id=event.subject_id)
        for event in events
        for endpoint in endpoints
        if is_for(event, endpoint)
    ]
    wake_endpoints({row.endpoint_id for row in told})
    WebhookDelivery.objects.bulk_create(told, ignore_conflicts=True)


def is_for(event: WebhookEvent, endpoint: WebhookEndpoint) -> bool:
    """Whether the endpoint chose such events, and this one lies in its area and time."""
    return (
        event.type in endpoint.events
        and event.area_path.startswith(endpoint.area.path)
        and event.occurred_at >= endpoint.since - BEFORE
    )


def wake_endpoints(ids: Iterable[UUID]) -> None:
    """Make what rests due, and leave who is being sent to or waits alone. Locks; in a transaction.

    Taking the lock before the deliveries are written makes a sender that is about to rest see them,
    or makes us see that it rests.
    """
    rows = WebhookEndpoint.objects.select_for_update(of=("self",)).filter(pk__in=list(ids))
    resting = [
        row.pk
        for row in rows.order_by("pk")
        if row.work_due_at is None and row.state == WebhookEndpoint.State.ON
    ]
    WebhookEndpoint.objects.filter(pk__in=resting).update(work_due_at=clock.now())


def _wanted(event: WebhookEvent, endpoints: Sequence[WebhookEndpoint]) -> bool:
    return any(is_for(event, endpoint) for endpoint in endpoints)


def _events_of(changes: Sequence[Change]) -> list[WebhookEvent]:
    since = min(change.at for change in changes) - LOOK_BACK
    found: list[WebhookEvent] = []
    for kind, derive in _DERIVERS.items():
        ids = {change.object_id for change in changes if change.type == kind}
        if ids:
            found += derive(ids, since)
    return found


# ---- visits ----------------------------------------------------------------------------------


def _of_visits(ids: set[UUID], since: datetime) -> list[WebhookEvent]:
    """An unannounced visit is told from its check-in on: a portal may be read by schools."""
    rows = Visit.objects.filter(pk__in=ids).select_related("activity", "school__area")
    visits = rows.in_bulk()
    actions = VisitAction.objects.filter(visit__in=ids, received_at__gte=since)
    events = [
        _event(
            VISIT_EVENTS[action.action],
            ("visit", action.visit_id),
            source=str(action.pk),
            state=action.to_state,
            at=action.received_at,
            data=_visit_data(visits[action.visit_id], action.to_state),
            area=visits[action.visit_id].school.area.path,
        )
        for action in actions
    ]
    return events + [
        _event(
            "visit.planned.v1",
            ("visit", visit.pk),
            source=str(visit.pk),
            state=Visit.State.ASSIGNED,
            at=visit.created_at,
            data=_visit_data(visit, Visit.State.ASSIGNED),
            area=visit.school.area.path,
        )
        for visit in visits.values()
        if visit.activity.announced and visit.created_at >= since
    ]


def _visit_data(visit: Visit, state: str) -> Json:
    return {
        "visit": {
            "id": str(visit.pk),
            "state": state,
            "announced": visit.activity.announced,
            "checked_in_at": _moment(visit.checked_in_at),
            "completed_at": _moment(visit.completed_at),
            "reviewed_at": _moment(visit.reviewed_at),
        },
        "activity": {
            "id": str(visit.activity_id),
            "title": visit.activity.title,
            "kind": visit.activity.kind,
        },
        "school": _school_data(visit.school),
    }


# ---- submissions -----------------------------------------------------------------------------


def _of_submissions(ids: set[UUID], since: datetime) -> list[WebhookEvent]:
    """Of records that belong to a visit; one that stands alone is told when it is attached."""
    since += LOOK_BACK - timedelta(days=settings.WEBHOOK_EVENT_DAYS) + KEPT_SURELY
    rows = (
        Submission.objects.filter(pk__in=ids, visit__isnull=False, received_at__gte=since)
        .select_related("version__instrument", "visit__school__area")
        .defer("raw", "answers")
    )
    events = []
    for row in rows:
        visit = row.visit
        assert visit is not None  # noqa: S101 - asked for above
        events.append(
            _event(
                "submission.accepted.v1",
                ("submission", row.pk),
                source=str(row.pk),
                state="",
                at=row.received_at,
                data={
                    "submission": {
                        "id": str(row.pk),
                        "form_id": row.version.instrument.form_id,
                        "version": row.version.version,
                        "replaces": str(row.replaces_id) if row.replaces_id else None,
                        "received_at": _moment(row.received_at),
                    },
                    "visit_id": str(visit.pk),
                    "activity_id": str(visit.activity_id),
                    "school": _school_data(visit.school),
                },
                area=visit.school.area.path,
            )
        )
    return events


# ---- findings --------------------------------------------------------------------------------


def _of_findings(ids: set[UUID], since: datetime) -> list[WebhookEvent]:
    findings = Finding.objects.filter(pk__in=ids).select_related("school__area").in_bulk()
    actions = FindingAction.objects.filter(finding__in=ids).order_by("received_at")
    last_action = {action.finding_id: action for action in actions}
    events = [
        _finding_event(
            findings[action.finding_id],
            FINDING_EVENTS[action.action],
            source=str(action.pk),
            state=action.to_state,
            at=action.received_at,
        )
        for action in actions
        if action.received_at >= since
    ]
    for finding in findings.values():
        if finding.created_at >= since:
            events.append(
                _finding_event(
                    finding,
                    "finding.opened.v1",
                    source=str(finding.pk),
                    state=Finding.State.OPEN,
                    at=finding.created_at,
                )
            )
        events += _of_an_edited_record(finding, last_action.get(finding.pk))
    return events


def _of_an_edited_record(finding: Finding, last: FindingAction | None) -> list[WebhookEvent]:
    """An edit of the record takes its finding back, or raises it again, without anybody's action."""
    explained = last.to_state if last else Finding.State.OPEN
    source = f"{finding.pk} {finding.updated_at.isoformat()}"
    told = WebhookEvent.objects.filter(subject_id=finding.pk).order_by("-occurred_at").first()
    if finding.state == Finding.State.WITHDRAWN and explained != finding.state:
        kind = "finding.withdrawn.v1"
    elif (
        finding.state == Finding.State.OPEN
        and explained == Finding.State.OPEN
        and told is not None
        and told.state == Finding.State.WITHDRAWN
    ):
        kind = "finding.reopened.v1"
    else:
        return []
    if told is not None and told.state == finding.state:
        return []
    state, moment = finding.state, finding.updated_at
    return [_finding_event(finding, kind, source=source, state=state, at=moment)]


def _finding_event(
    finding: Finding, kind: str, *, source: str, state: str, at: datetime
) -> WebhookEvent:
    from_form = finding.source_key is not None
    closed = state == Finding.State.CLOSED
    data = {
        "finding": {
            "id": str(finding.pk),
            "state": state,
            "severity": finding.severity,
            "item": finding.item if from_form else None,
            "title": finding.title if from_form else None,
            "due_on": finding.due_on.isoformat(),
            "closed_at": _moment(finding.closed_at or at) if closed else None,
        },
        "visit_id": str(finding.visit_id) if finding.visit_id else None,
        "activity_id": str(finding.activity_id) if finding.activity_id else None,
        "school": _school_data(finding.school),
    }
    return _event(
        kind,
        ("finding", finding.pk),
        source=source,
        state=state,
        at=at,
        data=data,
        area=finding.school.area.path,
    )


# ---- notices ---------------------------------------------------------------------------------


def _of_notices(ids: set[UUID], since: datetime) -> list[WebhookEvent]:
    """Of a notice about a school, to the school's offices; of an announcement, to the office that made it."""
    rows = Notice.objects.filter(pk__in=ids, created_at__gte=since)
    rows = rows.filter(Q(school__isnull=False) | Q(event="announcement", created_by__isnull=False))
    return [
        _event(
            "notice.sent.v1",
            ("notice", notice.pk),
            source=str(notice.pk),
            state="",
            at=notice.created_at,
            data={
                "notice": {
                    "id": str(notice.pk),
                    "event": notice.event,
                    "title": notice.title if notice.event == "announcement" else None,
                    "requires_ack": notice.requires_ack,
                    "created_at": _moment(notice.created_at),
                },
                "subject": {"type": notice.subject_type, "id": str(notice.subject_id)}
                if notice.subject_id
                else None,
                "school": _school_data(notice.school) if notice.school else None,
            },
            area=area,
        )
        for notice in rows.select_related("school__area", "created_by")
        for area in _areas_of(notice)[:1]
    ]


def _areas_of(notice: Notice) -> list[str]:
    if notice.school is not None:
        return [notice.school.area.path]
    if notice.created_by is None:
        return []
    paths = area_paths(notice.created_by, Membership.Role.OFFICE, Membership.Role.TOWN_GROUP)
    return sorted(paths, key=len)


# ---- what they share -------------------------------------------------------------------------

_DERIVERS: dict[str, Callable[[set[UUID], datetime], list[WebhookEvent]]] = {
    "visit": _of_visits,
    "submission": _of_submissions,
    "finding": _of_findings,
    "notice": _of_notices,
}


def _event(
    kind: str,
    subject: tuple[str, UUID],
    *,
    source: str,
    state: str,
    at: datetime,
    data: Json,
    area: str,
) -> WebhookEvent:
    event_id = uuid5(IDS, f"{kind} {source}")
    return WebhookEvent(
        id=event_id,
        type=kind,
        subject_type=subject[0],
        subject_id=subject[1],
        state=state,
        area_path=area,
        occurred_at=at,
        payload=envelope(event_id, kind, at, data),
    )


def envelope(event_id: UUID, kind: str, at: datetime, data: Json) -> Json:
    """The body that is sent."""
    return {"id": str(event_id), "type": kind, "timestamp": _moment(at), "data": data}


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _school_data(school: School) -> Json:
    return {
        "id": str(school.pk),
        "code": school.code,
        "name": school.name,
        "area": _area_data(school.area),
    }


def _area_data(area: Area) -> Json:
    return {"code": area.code, "name": area.name}
