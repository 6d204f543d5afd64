"""From the change log to events: each once, none lost, only what the office may see, no pupils."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import jsonschema
import pytest

from server.activities.services.planning import publish_activity
from server.activities.services.visits import return_visit, review_visit
from server.core import clock, following
from server.core.changes import record_change
from server.core.clock import today
from server.findings import machine
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding, raise_finding
from server.messaging.composing import announce
from server.messaging.queries import Audience
from server.webhooks import deriving
from server.webhooks.catalogue import event_types, schema_of
from server.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from server.webhooks.sending import forget_events
from server.webhooks.services import change_endpoint
from tests.activities import planned
from tests.server.console.conftest import fill_in
from tests.server.webhooks.conftest import add_endpoint, derive, enter, finish

pytestmark = pytest.mark.django_db(transaction=True)


def told() -> list[str]:
    rows = WebhookDelivery.objects.order_by("id")
    return list(rows.values_list("event__type", flat=True))


def act(finding: Finding, by, action: str, **words) -> None:
    act_on_finding(
        finding_id=finding.pk, action_id=uuid4(), by=by, step=Step(action=action, **words)
    )


def test_a_visits_whole_way_is_told_in_order(endpoint, visit, cast):
    derive()
    enter(visit, cast.ada)
    derive()
    finish(visit, cast.ada)
    return_visit(visit_id=visit.pk, action_id=uuid4(), by=cast.office, reason="照片不清")
    finish(visit, cast.ada, "已补")
    review_visit(visit_id=visit.pk, action_id=uuid4(), by=cast.office)
    derive()
    visits = [kind for kind in told() if kind.startswith("visit.")]
    assert visits == [
        *["visit.planned.v1"] * 3,
        "visit.checked_in.v1",
        "visit.completed.v1",
        "visit.returned.v1",
        "visit.completed.v1",
        "visit.reviewed.v1",
    ]


def test_a_findings_whole_way_is_told_and_every_body_keeps_to_its_schema(endpoint, visit, cast):
    enter(visit, cast.ada)
    fill_in(visit, cast.ada, photo=False, licence="no", licence_note="厨师张某某")
    finding = Finding.objects.get()
    act(finding, cast.principal, machine.ANSWER, measures="已补办")
    act(finding, cast.ada, machine.RETURN, note="不清", due_on=today() + timedelta(days=3))
    act(finding, cast.ada, machine.POSTPONE, due_on=today() + timedelta(days=9))
    act(finding, cast.principal, machine.ANSWER, measures="已补办，附照片")
    act(finding, cast.ada, machine.VERIFY)
    act(finding, cast.office, machine.REOPEN, note="复发", due_on=today() + timedelta(days=9))
    act(finding, cast.office, machine.WITHDRAW, note="重复")
    announce(
        notice_id=uuid4(),
        by=cast.office,
        title="督导例会",
        body="请带上学生名单",
        audience=Audience(schools=[cast.school.pk]),
    )
    derive()
    findings = [kind for kind in told() if kind.startswith("finding.")]
    assert findings == [
        "finding.opened.v1",
        "finding.answered.v1",
        "finding.returned.v1",
        "finding.postponed.v1",
        "finding.answered.v1",
        "finding.closed.v1",
        "finding.reopened.v1",
        "finding.withdrawn.v1",
    ]
    bodies = list(WebhookEvent.objects.values_list("payload", flat=True))
    assert {"submission.accepted.v1", "notice.sent.v1"} <= {body["type"] for body in bodies}
    for body in bodies:
        jsonschema.validate(body, schema_of(event_types()[body["type"]]))
    everything = str(bodies)
    for secret in ("张某某", "已补办", "不清", "复发", "学生名单", "安督学", "白校长"):
        assert secret not in everything


def test_the_words_of_a_person_stay_inside_and_the_forms_go_out(endpoint, visit, cast):
    raise_finding(
        finding_id=uuid4(), by=cast.ada, school_id=cast.school.pk, title="李某某", due_on=today()
    )
    enter(visit, cast.ada)
    fill_in(visit, cast.ada, photo=False, licence="no", licence_note="x")
    derive()
    rows = WebhookEvent.objects.filter(type="finding.opened.v1").order_by("occurred_at")
    by_hand, by_form = (row.payload["data"]["finding"] for row in rows)
    assert (by_hand["title"], by_hand["item"]) == (None, None)
    assert by_form["title"] == Finding.objects.get(source_key__isnull=False).title
    assert by_form["item"]


def test_looking_twice_or_a_later_change_tells_nothing_again(endpoint, visit, cast):
    enter(visit, cast.ada)
    derive()
    before = told()
    record_change("visit", visit.pk, school_id=visit.school_id)
    following.FeedPlace.objects.filter(name="webhooks").update(txid=0, sequence=0)
    derive()
    assert told() == before


def test_a_crash_between_the_events_and_the_place_loses_and_doubles_nothing(
    endpoint, visit, cast, monkeypatch
):
    enter(visit, cast.ada)
    with monkeypatch.context() as context:
        context.setattr(deriving, "wake_endpoints", lambda ids: 1 / 0)
        derive()
    assert told() == []
    following._resting.clear()
    derive()
    assert told().count("visit.checked_in.v1") == 1


def test_an_endpoint_hears_of_its_own_area_and_of_what_it_chose(cast, receiver, visit):
    far, _secret = add_endpoint(cast.office, receiver.url, cast.far_town)
    chosen, _secret = add_endpoint(
        cast.office, receiver.url, cast.town, events=["visit.checked_in.v1"]
    )
    enter(visit, cast.ada)
    derive()
    assert not far.deliveries.filter(event__type="visit.checked_in.v1").exists()
    assert [row.event.type for row in chosen.deliveries.all()] == ["visit.checked_in.v1"]


def test_an_unannounced_visit_is_told_from_its_check_in_on(endpoint, kitchen, cast):
    draft = planned(cast, cast.school, announced=False)
    activity = publish_activity(activity_id=draft.pk, by=cast.office)
    derive()
    assert "visit.planned.v1" not in told()
    enter(activity.visits.get(), cast.ada)
    derive()
    assert [kind for kind in told() if kind.startswith("visit.")] == ["visit.checked_in.v1"]


def test_what_happened_before_the_endpoint_or_while_it_was_off_is_not_told(
    cast, receiver, visit, activity, monkeypatch
):
    enter(visit, cast.ada)
    later = clock.now() + timedelta(minutes=5)
    with monkeypatch.context() as context:
        context.setattr(clock, "now", lambda: later)
        endpoint, _secret = add_endpoint(cast.office, receiver.url, cast.county)
        record_change("visit", visit.pk, school_id=visit.school_id)
        derive()
        assert told() == []
        change_endpoint(endpoint_id=endpoint.pk, by=cast.office, enabled=False)
    WebhookEndpoint.objects.update(since=clock.now() - timedelta(minutes=5))
    finish(visit, cast.ada)
    derive()
    assert told() == []


def test_a_finding_that_an_edit_takes_back_and_raises_again_is_told(endpoint, visit, cast):
    enter(visit, cast.ada)
    fill_in(visit, cast.ada, photo=False, licence="no", licence_note="x")
    derive()
    finding = Finding.objects.get()
    for state in ("withdrawn", "open"):
        finding.state = state
        finding.save()
        record_change("finding", finding.pk, school_id=finding.school_id)
        derive()
        record_change("finding", finding.pk, school_id=finding.school_id)
        derive()
    findings = [kind for kind in told() if kind.startswith("finding.")]
    assert findings == ["finding.opened.v1", "finding.withdrawn.v1", "finding.reopened.v1"]


def test_without_endpoints_nothing_is_written_or_asked(visit, cast, django_assert_num_queries):
    changes = list(following.Change.objects.all())
    assert changes
    with django_assert_num_queries(1):
        deriving.tell(changes)
    assert not WebhookEvent.objects.exists()


def test_events_that_were_kept_long_enough_go(endpoint, visit, cast, settings):
    enter(visit, cast.ada)
    derive()
    count = WebhookEvent.objects.count()
    assert forget_events() == 0
    WebhookEvent.objects.update(recorded_at=clock.now() - timedelta(days=31))
    assert forget_events() == count
    assert told() == []
