"""Webhooks over the API: made, changed, tested, sent again; and who may."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from server.core import clock
from server.core.audit import AuditEntry
from server.webhooks import sending
from server.webhooks.models import WebhookEndpoint
from tests.clients import new
from tests.server.webhooks.conftest import add_endpoint, inside, receiver

__all__ = ["inside", "receiver"]
pytestmark = pytest.mark.django_db(transaction=True)


def plan(cast, receiver, **changes):
    events = ["visit.completed.v1", "finding.closed.v1"]
    return {
        "id": new(),
        "area": str(cast.county.pk),
        "url": receiver.url,
        "events": events,
        **changes,
    }


@pytest.fixture
def office(phone, cast):
    return phone(cast.office)


def test_the_secret_is_shown_once_and_the_same_again_makes_nothing(office, cast, receiver):
    wanted = plan(cast, receiver, description="县平台")
    made = office.post("/webhooks", wanted, status=201)
    assert made["secret"].startswith("whsec_")
    assert made["state"] == "on"
    assert office.post("/webhooks", wanted)["secret"] is None
    assert "secret" not in office.get(f"/webhooks/{made['id']}")
    row = WebhookEndpoint.objects.get()
    assert made["secret"] not in row.secret
    office.post("/webhooks", {**wanted, "url": receiver.url + "/other"}, status=409)
    assert AuditEntry.objects.filter(action="webhook.created", by=cast.office).count() == 1
    assert made["secret"] not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": "https://localhost/"}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["visit.completed.v1", "visit.exploded.v1"]}, "/events/1"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    office, cast, receiver, settings, changes, pointer
):
    settings.OUTBOUND_PRIVATE_NETWORKS = []
    problem = office.post("/webhooks", plan(cast, receiver, **changes), status=422)
    assert [each["pointer"] for each in problem["errors"]] == [pointer]
    assert not WebhookEndpoint.objects.exists()


def test_changing_switching_off_and_on_and_deleting(office, cast, receiver):
    made = office.post("/webhooks", plan(cast, receiver), status=201)
    path = f"/webhooks/{made['id']}"
    changed = office.call("PATCH", path, {"events": ["notice.sent.v1"], "description": "门户"})
    assert (changed["events"], changed["description"]) == (["notice.sent.v1"], "门户")
    assert office.call("PATCH", path, {"enabled": False})["state"] == "off"
    office.post(f"{path}/test", status=409)
    assert office.call("PATCH", path, {"enabled": True})["state"] == "on"
    office.delete(path)
    office.get(path, status=404)
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert actions == ["webhook.created", *["webhook.changed"] * 3, "webhook.deleted"]


def test_a_test_event_its_log_and_sending_it_again(office, cast, receiver):
    made = office.post("/webhooks", plan(cast, receiver), status=201)
    sent = office.post(f"/webhooks/{made['id']}/test", status=202)
    sending.send_due()
    [row] = office.get(f"/webhooks/{made['id']}/deliveries")["results"]
    assert (row["id"], row["state"], row["status"]) == (sent["id"], "delivered", 204)
    assert row["payload"]["type"] == row["type"] == "endpoint.test.v1"
    assert office.get(f"/webhooks/{made['id']}/deliveries", state="dead")["results"] == []
    office.post(f"/webhooks/deliveries/{row['id']}/redeliver", status=202)
    since = {"since": row["occurred_at"]}
    assert office.post(f"/webhooks/{made['id']}/redeliver", since, status=202) == {"count": 1}
    sending.send_due()
    assert [event_id for event_id, _body in receiver.got] == [row["event_id"]] * 2


def test_a_new_secret_is_shown_and_the_old_one_has_a_day(office, cast, receiver):
    made = office.post("/webhooks", plan(cast, receiver), status=201)
    rotated = office.post(f"/webhooks/{made['id']}/secret")
    assert rotated["secret"] != made["secret"]
    assert rotated["old_secret_until"] > clock.now().isoformat()
    office.post(f"/webhooks/{made['id']}/test", status=202)
    sending.send_due()
    assert len(receiver.headers[0]["webhook-signature"].split()) == 2


def test_the_catalogue_gives_every_type_its_schema(office):
    kinds = office.get("/webhooks/events")["results"]
    assert len(kinds) == 14
    assert all(each["schema"]["properties"]["type"]["const"] == each["type"] for each in kinds)


def test_carla_and_everybody_else_without_a_county_office_sees_and_does_nothing(
    phone, cast, receiver
):
    endpoint, _secret = add_endpoint(cast.office, receiver.url, cast.county)
    delivery = endpoint.deliveries.model
    for person in (cast.carla, cast.ada, cast.principal, cast.town_group, cast.expert):
        other = phone(person)
        assert other.get("/webhooks")["results"] == []
        other.post("/webhooks", plan(cast, receiver), status=403)
        path = f"/webhooks/{endpoint.pk}"
        other.get(path, status=404)
        other.call("PATCH", path, {"enabled": False}, status=404)
        other.delete(path, status=404)
        for action in ("secret", "test", "take-over"):
            other.post(f"{path}/{action}", status=404)
        other.get(f"{path}/deliveries", status=404)
        other.post(f"{path}/redeliver", {"since": clock.now().isoformat()}, status=404)
        other.post(f"/webhooks/deliveries/{new()}/redeliver", status=404)
    assert delivery.objects.count() == 0


def test_an_office_cannot_listen_to_an_area_that_is_not_its_own(office, cast, receiver):
    office.post("/webhooks", plan(cast, receiver, area=str(cast.county.parent.pk)), status=404)


def test_a_list_costs_the_same_for_one_and_for_many(office, cast, receiver):
    add_endpoint(cast.office, receiver.url, cast.county)
    with CaptureQueriesContext(
        connection,
    ) as few:
        office.get("/webhooks")
    for _number in range(5):
        add_endpoint(cast.office, receiver.url, cast.town)
    with CaptureQueriesContext(connection) as many:
        assert len(office.get("/webhooks")["results"]) == 6
    assert len(few) == len(many)
