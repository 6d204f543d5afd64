"""The main job as a JSON phone plays it: what `make phone` does, over HTTP, with the worker at hand."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.management import call_command

from media_storage.models import MediaObject
from server.activities.models import Submission, Visit
from server.console.phone import play_a_day
from server.core import work
from server.findings.models import Finding, FindingAction
from server.grid.models import School
from server.messaging.models import Delivery


@pytest.mark.django_db(transaction=True)
def test_from_a_planned_inspection_to_a_closed_finding_twice(live_server):
    call_command("load_demo", verbosity=0)
    work.drain_all()
    before = set(Finding.objects.values_list("pk", flat=True))
    said: list[str] = []
    for _day in range(2):  # the second day finds no open visit, so the office plans another
        play_a_day(live_server.url, settings.DEMO_PASSWORD, said.append, pause=work.drain_all)
    work.drain_all()

    school = School.objects.get(memberships__user__username="school1")
    closed = Finding.objects.filter(school=school).exclude(pk__in=before)
    assert [finding.state for finding in closed] == ["closed", "closed"]
    assert [finding.severity for finding in closed] == ["major", "major"]
    assert FindingAction.objects.filter(finding__in=closed, media__isnull=False).count() == 2
    visits = Visit.objects.filter(pk__in=closed.values("visit"))
    assert {visit.state for visit in visits} == {"completed"}
    photos = MediaObject.objects.filter(
        submission_attachments__submission__in=Submission.objects.filter(visit__in=visits)
    )
    assert [photo.state for photo in photos] == ["ready"] * 4
    for photo in photos:
        made = {"small", "large", "shared", "shared_small"}
        assert set(photo.renditions.values_list("name", flat=True)) == made
    told = Delivery.objects.filter(recipient__username="school1", channel="inbox")
    assert told.filter(notice__event="finding.closed").count() == 2
    assert any("the office sees" in line for line in said)
