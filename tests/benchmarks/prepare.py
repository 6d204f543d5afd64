"""Run in the product's environment: fill its database and print, as JSON, who sends what."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from hashlib import sha256
from io import StringIO
from typing import Any
from uuid import uuid4

import django

PHONES = 32


def main() -> None:
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("load_demo", stdout=StringIO())
    version = _publish()
    phones = _phones()
    plan = {"version": version, "phones": phones, "sample": _sample(version, phones[0])}
    json.dump(plan, sys.stdout)


def _publish() -> str:
    """Plan an activity with the form at every school. Returns the form's version."""
    from server.activities.services.planning import create_activity, publish_activity
    from server.core import clock
    from server.grid.models import School, User
    from server.instruments.services import publish_instrument, upload_xlsform
    from tests.benchmarks.form import FORM_ID, survey
    from tests.forms import xlsform

    office = User.objects.get(username="office")
    upload_xlsform(by=office, content=xlsform(*survey()))
    published = publish_instrument(by=office, form_id=FORM_ID)
    activity = create_activity(
        by=office,
        kind="special",
        title="性能测试",
        starts=clock.today() - timedelta(days=1),
        ends=clock.today() + timedelta(days=30),
        instruments=[FORM_ID],
        schools=list(School.objects.filter(is_active=True).values_list("pk", flat=True)),
        announced=True,
    )
    publish_activity(activity_id=activity.pk, by=office)
    return published.version


def _phones() -> list[dict[str, Any]]:
    """Devices that are logged in, each of an inspector of its own with a visit to make."""
    from server.activities.models import Activity
    from server.core import clock
    from server.messaging.models import Device
    from server.messaging.sessions import key_for

    phones = []
    taken = set()
    visits = Activity.objects.get(title="性能测试").visits.order_by("school__code")
    for visit in visits.prefetch_related("team"):
        inspector = next((each for each in visit.team.all() if each.pk not in taken), None)
        if inspector is None or len(phones) == PHONES:
            continue
        taken.add(inspector.pk)
        token = uuid4().hex
        device = Device.objects.create(
            id=uuid4(),
            user=inspector,
            token_digest=sha256(token.encode()).hexdigest(),
            token_expires_at=clock.now() + timedelta(days=1),
            last_seen_at=clock.now(),
        )
        phones.append({"key": key_for(device), "token": token, "visit_id": str(visit.pk)})
    return phones


def _sample(version: str, phone: dict[str, Any]) -> str:
    """Send one submission with a photo through the whole product: the rows that bare.py copies."""
    from django.test import Client

    from tests.benchmarks.form import Documents
    from tests.benchmarks.traffic import BOUNDARY, multipart

    submission_id = str(uuid4())
    body = multipart(Documents(version, phone["visit_id"]), submission_id, photo=True)
    response = Client().generic(
        "POST",
        f"/key/{phone['key']}/submission",
        b"".join(body),
        content_type=f"multipart/form-data; boundary={BOUNDARY}",
    )
    if response.status_code != 201:
        raise SystemExit(response.content.decode())
    return submission_id


if __name__ == "__main__":
    main()
