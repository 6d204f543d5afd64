"""Sending to receivers that are well, down, slow, rude or gone; and workers that die in between."""

from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta

import pytest

from server.core import clock, work
from server.core.audit import AuditEntry
from server.grid.models import Membership, User
from server.messaging.models import Notice
from server.webhooks import sending
from server.webhooks.models import WebhookDelivery, WebhookEndpoint
from server.webhooks.services import (
    change_endpoint,
    redeliver,
    redeliver_since,
    send_test,
    take_over,
)
from tests.server.webhooks.conftest import (
    add_endpoint,
    answering,
    due_again,
    enter,
    finish,
    send,
    states,
)

pytestmark = pytest.mark.django_db(transaction=True)


def fresh(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    return WebhookEndpoint.objects.get(pk=endpoint.pk)


def test_what_happens_arrives_in_order_and_once(endpoint, receiver, visit, cast):
    enter(visit, cast.ada)
    finish(visit, cast.ada)
    send()
    send()
    visits = [kind for kind in receiver.types if kind.startswith("visit.")]
    assert visits[-2:] == ["visit.checked_in.v1", "visit.completed.v1"]
    assert len({event_id for event_id, _body in receiver.got}) == len(receiver.got)
    assert set(states(endpoint)) == {"delivered"}
    assert fresh(endpoint).work_due_at is None
    assert fresh(endpoint).last_success_at


def test_a_receiver_that_was_down_gets_everything_when_it_is_back(endpoint, receiver, visit, cast):
    receiver.reply = answering(503)
    enter(visit, cast.ada)
    finish(visit, cast.ada)
    send()
    assert set(states(endpoint)) == {"pending"}
    receiver.got.clear()
    receiver.reply = answering(204)
    due_again()
    send()
    visits = [kind for kind in receiver.types if kind.startswith("visit.")]
    assert visits[-2:] == ["visit.checked_in.v1", "visit.completed.v1"]
    assert set(states(endpoint)) == {"delivered"}
    assert fresh(endpoint).failures == 0


def test_a_receiver_that_is_away_is_asked_seldom_and_not_with_every_event(
    endpoint, receiver, visit, cast
):
    receiver.reply = answering(500)
    enter(visit, cast.ada)
    send()
    assert len(receiver.got) == sending.IN_A_ROW < len(states(endpoint))
    waits = []
    for _round in range(3):
        sending.send_due()  # not due yet
        row = fresh(endpoint)
        waits.append(round((row.work_due_at - clock.now()).total_seconds()))
        due_again()
        before = len(receiver.got)
        sending.send_due()
        assert len(receiver.got) == before + 1
    assert waits == sorted(waits)
    assert waits[0] >= 40


def test_nobody_listens(cast, inside, visit):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        endpoint, _secret = add_endpoint(cast.office, url, cast.county)
    enter(visit, cast.ada)
    send()
    row = endpoint.deliveries.order_by("id").first()
    assert (row.state, row.status) == ("pending", None)
    assert row.error


def test_a_slow_receiver_is_left_and_holds_up_nobody_else(
    endpoint, receiver, visit, cast, monkeypatch
):
    monkeypatch.setattr(sending, "TIMEOUT_SECONDS", 0.3)
    asleep = threading.Event()

    def sleep(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _number in range(60):  # drips, and never ends
            if asleep.wait(0.05):
                return
            handler.wfile.write(b"X-Drip: 1\r\n")

    receiver.reply = sleep
    enter(visit, cast.ada)
    began = time.monotonic()
    send()
    took = time.monotonic() - began
    asleep.set()
    assert took < 4
    assert set(states(endpoint)) == {"pending"}


@pytest.mark.parametrize(
    "rubbish",
    [
        pytest.param(lambda handler: handler.wfile.write(b"\x00\xff\n\n"), id="bytes"),
        pytest.param(lambda handler: handler.wfile.close(), id="nothing"),
        pytest.param(
            lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
            id="cut-off",
        ),
        pytest.param(answering(200, b"x" * 100_000), id="endless"),
        pytest.param(answering(302, Location="http://127.0.0.1:1/"), id="redirect"),
        pytest.param(answering(404, b"<html>\x00\xff"), id="page"),
    ],
)
def test_rubbish_is_a_failure_that_is_tried_again(endpoint, receiver, visit, cast, rubbish):
    receiver.reply = rubbish
    send_test(endpoint_id=endpoint.pk, by=cast.office)
    sending.send_due()
    row = endpoint.deliveries.get()
    assert row.state == "pending"
    assert row.error
    assert row.next_at > clock.now()
    assert len(row.answer) <= 1024


def test_the_first_kilobyte_of_an_answer_is_kept(endpoint, receiver, cast):
    receiver.reply = answering(200, "好".encode() * 1000)
    send_test(endpoint_id=endpoint.pk, by=cast.office)
    sending.send_due()
    row = endpoint.deliveries.get()
    assert (row.state, row.status) == ("delivered", 200)
    assert 300 < len(row.answer.encode()) <= 1027


def test_410_gone_ends_it_for_good_and_tells_the_office(endpoint, receiver, visit, cast):
    receiver.reply = answering(410)
    enter(visit, cast.ada)
    send()
    assert fresh(endpoint).state == "gone"
    assert len(receiver.got) == 1
    assert set(states(endpoint)) == {"dead"}
    finish(visit, cast.ada)
    send()
    assert len(receiver.got) == 1
    notice = Notice.objects.get(event="webhook.stopped")
    assert notice.deliveries.filter(recipient=cast.office, channel="inbox").exists()
    assert AuditEntry.objects.filter(action="webhook.stopped").exists()


def test_after_three_days_of_failure_it_stops_tells_the_office_once_and_keeps_what_waits(
    endpoint, receiver, visit, cast
):
    receiver.reply = answering(500)
    enter(visit, cast.ada)
    send()
    WebhookEndpoint.objects.update(failing_since=clock.now() - timedelta(days=3))
    due_again()
    sending.send_due()
    assert fresh(endpoint).state == "failed"
    assert Notice.objects.filter(event="webhook.stopped").count() == 1
    finish(visit, cast.ada)
    count = len(receiver.got)
    send()
    assert len(receiver.got) == count
    assert "visit.completed.v1" in [row.event.type for row in endpoint.deliveries.all()]
    receiver.reply = answering(200)
    change_endpoint(endpoint_id=endpoint.pk, by=cast.office, enabled=True)
    sending.send_due()
    assert set(states(endpoint)) == {"delivered"}


def test_an_event_that_was_tried_for_three_days_is_given_up_and_the_others_go_on(
    endpoint, receiver, visit, cast
):
    receiver.reply = answering(500)
    send_test(endpoint_id=endpoint.pk, by=cast.office)
    sending.send_due()
    WebhookDelivery.objects.update(first_tried_at=clock.now() - timedelta(days=3))
    due_again()
    sending.send_due()
    assert states(endpoint) == ["dead"]
    receiver.reply = answering(200)
    send_test(endpoint_id=endpoint.pk, by=cast.office)
    due_again()
    sending.send_due()
    assert states(endpoint) == ["dead", "delivered"]


def test_a_refused_event_holds_up_its_subject_and_no_other(endpoint, receiver, visit, cast):
    other = visit.activity.visits.get(school=cast.other_school)
    send()
    receiver.got.clear()

    def picky(handler) -> None:
        subject = receiver.got[-1][1]["data"].get("visit", {}).get("id")
        answering(500 if subject == str(visit.pk) else 200)(handler)

    receiver.reply = picky
    enter(visit, cast.ada)
    finish(visit, cast.ada)
    enter(other, cast.bruno)
    send()
    of_visit = [
        body["type"]
        for _id, body in receiver.got
        if body["data"].get("visit", {}).get("id") == str(visit.pk)
    ]
    assert of_visit == ["visit.checked_in.v1"]  # completed waits for it
    assert str(other.pk) in str(receiver.got)


def test_retry_after_is_honoured(endpoint, receiver, cast):
    receiver.reply = answering(429, Retry_After="600")
    send_test(endpoint_id=endpoint.pk, by=cast.office)
    sending.send_due()
    wait = endpoint.deliveries.get().next_at - clock.now()
    assert timedelta(seconds=590) < wait <= timedelta(seconds=600)


def test_backoff_grows_to_six_hours():
    assert [round(sending.backoff(number)) for number in (1, 2, 3, 4)] == [5, 15, 45, 135]
    assert sending.backoff(40) == 6 * 3600


def test_a_worker_killed_between_sending_and_recording_sends_it_again_with_the_same_id(
    endpoint, receiver, cast, monkeypatch
):
    class Killed(BaseException):
        pass

    def die(*_arguments) -> None:
        raise Killed

    send_test(endpoint_id=endpoint.pk, by=cast.office)
    with monkeypatch.context() as context:
        context.setattr(sending, "_record", die)
        with pytest.raises(Killed):
            sending.send_due()
    assert states(endpoint) == ["pending"]
    sending.send_due()
    assert len(receiver.got) == 1  # the dead worker's lease
    WebhookEndpoint.objects.update(work_due_at=clock.now())
    sending.send_due()
    assert states(endpoint) == ["delivered"]
    first, second = (event_id for event_id, _body in receiver.got)
    assert first == second


def test_two_workers_never_send_to_one_endpoint_at_once(endpoint, receiver, visit, cast):
    enter(visit, cast.ada)
    entered, go_on = threading.Event(), threading.Event()

    def wait(handler) -> None:
        entered.set()
        go_on.wait(10)
        answering(204)(handler)

    receiver.reply = wait
    first = threading.Thread(target=_in_a_worker)
    first.start()
    assert entered.wait(10)
    assert work.due(sending.PUMP).count() == 0
    assert sending.send_due() == 0
    receiver.reply = answering(204)
    go_on.set()
    first.join(20)
    assert len({event_id for event_id, _body in receiver.got}) == len(receiver.got)


def _in_a_worker() -> None:
    from django.db import connections

    try:
        send()
    finally:
        connections.close_all()


def test_an_event_that_comes_while_it_is_being_sent_to_is_not_forgotten(endpoint, receiver, cast):
    def another(handler) -> None:
        if len(receiver.got) == 1:
            from django.db import connections

            send_test(endpoint_id=endpoint.pk, by=User.objects.get(pk=cast.office.pk))
            connections.close_all()
        answering(204)(handler)

    receiver.reply = another
    send_test(endpoint_id=endpoint.pk, by=cast.office)
    sending.send_due()
    sending.send_due()
    assert states(endpoint) == ["delivered", "delivered"]


def test_when_the_responsible_leaves_the_office_it_waits_until_somebody_takes_it_over(
    endpoint, receiver, visit, cast
):
    yesterday = clock.today() - timedelta(days=1)
    Membership.objects.filter(user=cast.office).update(ends=yesterday)
    successor = User.objects.create(username="new", name="新主任", is_staff=True)
    Membership.objects.create(user=successor, role="office", area=cast.county, starts=clock.today())
    enter(visit, cast.ada)
    send()
    assert receiver.got == []
    assert fresh(endpoint).state == "ownerless"
    notice = Notice.objects.get(event="webhook.stopped")
    told = notice.deliveries.filter(channel="inbox").values_list("recipient__name", flat=True)
    assert list(told) == ["新主任"]
    take_over(endpoint_id=endpoint.pk, by=successor)
    sending.send_due()
    assert "visit.checked_in.v1" in receiver.types
    assert set(states(endpoint)) == {"delivered"}


def test_a_network_that_is_no_longer_allowed_is_not_sent_to(endpoint, receiver, cast, settings):
    settings.OUTBOUND_PRIVATE_NETWORKS = []
    send_test(endpoint_id=endpoint.pk, by=cast.office)
    sending.send_due()
    assert receiver.got == []
    assert "内部网络" in endpoint.deliveries.get().error


def test_a_name_that_points_inside_by_now_is_not_sent_to(endpoint, receiver, cast, monkeypatch):
    """DNS rebinding: between the office's form and the request the name was moved."""
    WebhookEndpoint.objects.update(url="https://portal.example/hook")
    inside = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_more: inside)
    send_test(endpoint_id=endpoint.pk, by=cast.office)
    sending.send_due()
    row = endpoint.deliveries.get()
    assert row.state == "pending"
    assert "内部网络" in row.error


def test_one_event_or_all_since_a_moment_are_sent_once_more_with_their_ids(
    endpoint, receiver, visit, cast
):
    enter(visit, cast.ada)
    send()
    first = list(receiver.got)
    receiver.got.clear()
    row = endpoint.deliveries.get(event__type="visit.checked_in.v1")
    redeliver(delivery_id=row.pk, by=cast.office)
    sending.send_due()
    assert [event_id for event_id, _body in receiver.got] == [str(row.event_id)]
    receiver.got.clear()
    since = row.event.occurred_at
    later = [each for each in first if each[1]["timestamp"] >= since.isoformat()]
    assert redeliver_since(endpoint_id=endpoint.pk, by=cast.office, since=since) == len(later)
    sending.send_due()
    assert sorted(each[0] for each in receiver.got) == sorted(each[0] for each in later)


def test_the_thread_of_a_worker_sends_and_ends_when_told(endpoint, receiver, cast):
    stop = threading.Event()
    thread = threading.Thread(target=sending.run_until, args=(stop,), kwargs={"interval": 0.05})
    thread.start()
    try:
        send_test(endpoint_id=endpoint.pk, by=cast.office)
        end = time.monotonic() + 10
        while states(endpoint) != ["delivered"] and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join(20)
    assert states(endpoint) == ["delivered"]
    assert not thread.is_alive()


def test_an_endpoint_that_kills_its_workers_is_stopped(endpoint, receiver, cast):
    send_test(endpoint_id=endpoint.pk, by=cast.office)
    WebhookEndpoint.objects.update(work_lost=5)
    sending.send_due()
    assert fresh(endpoint).state == "failed"
    assert receiver.got == []
