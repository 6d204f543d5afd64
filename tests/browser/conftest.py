"""Chromium for the pages' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.models import Count
from django.urls import reverse
from playwright.sync_api import Browser, sync_playwright

from server.activities.models import Activity, Visit
from server.core import clock, work
from server.core.ids import new_id
from server.findings.models import Finding
from server.grid.models import User
from server.webhooks.catalogue import TEST, event_types
from server.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tests.browser.watching import FLAGS


@pytest.fixture
def chrome(chromium: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread; what the test asks the database is settled.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()
        # Where a loop runs, this thread has connections of its own, which nobody else closes.
        connections.close_all()


@pytest.fixture
def addresses() -> dict[str, str]:
    """The demo county with its pictures, and the pages to look at."""
    call_command("load_demo", verbosity=0)
    work.drain_all()
    draft = Activity.objects.get(state="draft")
    visit = Visit.objects.annotate(n=Count("submissions__attachments")).order_by("-n")[0]
    finding = Finding.objects.filter(state="answered")[0]
    return {
        "landing": "/",
        "overview": "/admin/",
        "preview": reverse("admin:activities_activity_preview", args=[draft.pk]),
        "plan": reverse("admin:activities_activity_add"),
        "visit": reverse("admin:activities_visit_change", args=[visit.pk]),
        "findings": reverse("admin:findings_finding_changelist") + "?standing=overdue",
        "finding": reverse("admin:findings_finding_change", args=[finding.pk]),
        "schools": reverse("admin:grid_school_changelist"),
        "import": reverse("admin:grid_school_import"),
        "gallery": reverse("admin:media_storage_mediaobject_gallery"),
        "gallery-of-visit": reverse("admin:media_storage_mediaobject_gallery")
        + f"?visit={visit.pk}",
        **addresses_of_webhooks(),
        "compose": reverse("admin:messaging_notice_add"),
        "storage": reverse("admin:care_deletion_storage"),
        "retention": reverse("admin:care_deletion_retention", args=[visit.activity_id]),
        "export": reverse("admin:care_export_request", args=[visit.activity_id]),
        "log": reverse("admin:core_auditentry_changelist"),
    }


def addresses_of_webhooks() -> dict[str, str]:
    """An endpoint that is well and has a log, and the form for another one."""
    office = User.objects.get(username="office")
    area = office.memberships.get().area
    assert area
    endpoint = WebhookEndpoint.objects.create(
        area=area,
        url="https://portal.example.gov.cn/duxue/events",
        description="县教育数据平台",
        events=list(event_types())[:9],
        secret="sealed",
        created_by=office,
        responsible=office,
        last_success_at=clock.now(),
    )
    for number, (name, status) in enumerate({"visit.checked_in.v1": 204, TEST: 503}.items()):
        delivered = status == 204
        event = WebhookEvent.objects.create(
            id=new_id(),
            type=name,
            subject_type="visit",
            subject_id=new_id(),
            area_path=area.path,
            occurred_at=clock.now(),
            payload={
                "id": str(number),
                "type": name,
                "data": {"school": {"name": "东河镇中心小学"}},
            },
        )
        delivery = WebhookDelivery.objects.create(
            endpoint=endpoint,
            event=event,
            subject_id=event.subject_id,
            state="delivered" if delivered else "pending",
            attempts=number + 1,
            status=status,
            last_tried_at=clock.now(),
            delivered_at=clock.now() if delivered else None,
            next_at=None if delivered else clock.now(),
            error="" if delivered else f"HTTP {status}",
            answer="" if delivered else "<h1>Service Unavailable</h1>",
        )
    return {
        "webhooks": reverse("admin:webhooks_webhookendpoint_changelist"),
        "webhook": reverse("admin:webhooks_webhookendpoint_change", args=[endpoint.pk]),
        "webhook-new": reverse("admin:webhooks_webhookendpoint_add"),
        "webhook-log": reverse("admin:webhooks_webhookdelivery_changelist"),
        "webhook-sent": reverse("admin:webhooks_webhookdelivery_change", args=[delivery.pk]),
    }
