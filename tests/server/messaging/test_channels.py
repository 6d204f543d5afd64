"""The contract that every channel passes, and what is special about each."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from server.core import clock, work
from server.core.work import PermanentFailure, TemporaryFailure
from server.messaging import channels
from server.messaging.channels import AddressGone, Channel, Sent, channel_for
from server.messaging.channels.fcm import FcmChannel
from server.messaging.channels.inbox import InboxChannel
from server.messaging.channels.log import LogChannel
from server.messaging.channels.socket import SocketChannel
from server.messaging.models import Delivery, Device
from server.messaging.services import notify
from server.messaging.sessions import close_session, set_push
from tests.fakes.fcm import FcmServer

ADDRESS = "registration-token-1"
World = Callable[[], None]


@pytest.fixture
def delivery(cast, log_in) -> Callable[..., Delivery]:
    """A delivery to Ada, who has a phone, by the named channel."""

    def make(name: str = "fcm", **options: Any) -> Delivery:
        if not cast.ada.devices.exists():
            log_in(cast.ada, push=ADDRESS)
        options = {"recipients": [cast.ada], "title": "会议", "body": "周三开会", **options}
        notice = notify("announcement", **options)
        if name == "socket":  # hints have rows of their own; this is one of before
            notice.deliveries.create(recipient=cast.ada, channel=name, work_due_at=clock.now())
        return notice.deliveries.select_related("notice", "recipient").get(channel=name)

    return make


# ---- the contract ---------------------------------------------------------------------------


@pytest.fixture
def every_world(settings, request, tmp_path: Path) -> Iterator[type]:
    """Each implementation in turn, where PUSH_URL and CHANNEL_URL would choose it."""
    kind: type = request.param
    if kind is not FcmChannel:
        yield kind
        return
    with FcmServer() as server:
        settings.PUSH_URL = server.push_url(tmp_path)
        yield kind
        channel_for("fcm").close()  # type: ignore[attr-defined]


IMPLEMENTATIONS = pytest.mark.parametrize(
    "every_world", [InboxChannel, SocketChannel, LogChannel, FcmChannel], indirect=True
)


@IMPLEMENTATIONS
def test_the_channel_is_found_by_the_name_of_its_deliveries(every_world):
    channel = channel_for(every_world.name)
    assert isinstance(channel, every_world)
    assert channel.name in Delivery.Channel.values
    assert channel_for(every_world.name) is channel


@IMPLEMENTATIONS
def test_sending_tells_how_far_it_got_and_may_be_repeated(every_world, delivery):
    row = delivery(every_world.name)
    channel: Channel = channel_for(every_world.name)
    first = channel.send(row)
    assert isinstance(first, Sent)
    assert first.state in ("sent", "delivered")
    assert channel.send(row) == first


@IMPLEMENTATIONS
def test_sending_writes_nothing_to_the_delivery(every_world, delivery):
    row = delivery(every_world.name)
    before = Delivery.objects.filter(pk=row.pk).values().get()
    channel_for(every_world.name).send(row)
    assert Delivery.objects.filter(pk=row.pk).values().get() == before


@IMPLEMENTATIONS
def test_a_text_of_any_kind_can_be_sent(every_world, delivery):
    row = delivery(every_world.name, title="100%(x)s 😀 𠮷", body="字" * 900 + '\n"\\')
    assert channel_for(every_world.name).send(row).state in ("sent", "delivered")


def test_every_channel_of_a_delivery_has_an_implementation():
    for name in Delivery.Channel.values:
        assert channel_for(name).name == name


def test_an_unknown_push_url_is_refused(settings):
    settings.PUSH_URL = "pigeon://"
    with pytest.raises(ImproperlyConfigured, match="pigeon"):
        channel_for("fcm")


# ---- log ------------------------------------------------------------------------------------


def test_the_log_shows_address_and_title_but_not_the_text(delivery, caplog):
    row = delivery()
    with caplog.at_level(logging.INFO):
        sent = channel_for("fcm").send(row)
    assert f"push to {row.address}: 会议" in caplog.text
    assert "周三开会" not in caplog.text
    assert "PUSH_URL" in sent.note


# ---- FCM ------------------------------------------------------------------------------------


def test_fcm_gets_text_data_and_what_makes_a_repetition_harmless(delivery, fcm, cast):
    row = delivery(subject=("visit", cast.school.pk))
    channel_for("fcm").send(row)
    (message,) = fcm.received
    notice = str(row.notice_id)
    assert message["token"] == ADDRESS
    assert message["notification"] == {"title": "会议", "body": "周三开会"}
    assert message["data"] == {
        "notice": notice,
        "event": "announcement",
        "subject_type": "visit",
        "subject_id": str(cast.school.pk),
        "requires_ack": "false",
    }
    assert message["android"]["collapse_key"] == notice
    assert message["android"]["ttl"] == "259200s"
    assert message["android"]["notification"] == {"channel_id": "notices", "tag": notice}
    assert message["apns"]["headers"]["apns-collapse-id"] == notice


def test_what_is_urgent_may_wake_the_phone(delivery, fcm, cast):
    delivery()
    notice = notify(
        "finding.overdue",
        recipients=[cast.ada],
        school=cast.school,
        finding="留样不足",
        due="2026-03-01",
    )
    channel_for("fcm").send(notice.deliveries.get(channel="fcm"))
    assert fcm.received[-1]["android"]["priority"] == "high"
    assert fcm.received[-1]["android"]["notification"]["channel_id"] == "urgent"


def test_the_options_of_the_url_reach_the_message(delivery, fcm, settings, tmp_path):
    settings.PUSH_URL = fcm.push_url(tmp_path, ttl_hours="1")
    channel_for("fcm").send(delivery())
    assert fcm.received[-1]["android"]["ttl"] == "3600s"


def test_nobody_is_asked_but_the_addresses_that_were_given(delivery, fcm, monkeypatch):
    """Google's library would like to ask a service of its own besides, and wait for it."""
    asked, lookup = [], socket.getaddrinfo

    def record(host: str, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return lookup(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", record)
    before = set(threading.enumerate())
    channel_for("fcm").send(delivery())
    for thread in set(threading.enumerate()) - before:
        thread.join(1)  # one of the library's would ask by itself
    assert set(asked) == {"127.0.0.1"}


def test_one_login_at_google_serves_many_messages(delivery, fcm):
    for _ in range(3):
        channel_for("fcm").send(delivery())
    assert (fcm.logins, len(fcm.received)) == (1, 3)


@pytest.mark.parametrize("answer", ["unregistered", "sender_mismatch", "bad_token"])
def test_a_dead_address_is_told_as_such(delivery, fcm, answer):
    fcm.queue.append(answer)
    with pytest.raises(AddressGone):
        channel_for("fcm").send(delivery())


def test_a_message_that_fcm_cannot_take_is_dead_but_not_its_address(delivery, fcm):
    fcm.queue.append("bad_payload")
    with pytest.raises(PermanentFailure) as failure:
        channel_for("fcm").send(delivery())
    assert not isinstance(failure.value, AddressGone)


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        ("quota", 90),
        ("internal", None),
        ("unavailable", 30),
        ("rubbish", None),
        ("rubbish_json", None),
        ("rubbish_error", None),
    ],
)
def test_trouble_at_fcm_is_temporary_and_asked_once_per_attempt(delivery, fcm, answer, retry_after):
    fcm.queue.append(answer)
    with pytest.raises(TemporaryFailure) as failure:
        channel_for("fcm").send(delivery())
    assert failure.value.retry_after == retry_after
    assert len(fcm.received) == 1  # the SDK's own four retries would have made it succeed


def test_a_refused_login_at_google_is_temporary(delivery, fcm):
    fcm.refuse_logins = True
    with pytest.raises(TemporaryFailure):
        channel_for("fcm").send(delivery())
    fcm.refuse_logins = False
    assert channel_for("fcm").send(delivery()).state == "sent"


def test_an_unreachable_fcm_is_temporary(delivery, fcm, settings, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    settings.PUSH_URL = fcm.push_url(tmp_path, endpoint=url)
    with pytest.raises(TemporaryFailure):
        channel_for("fcm").send(delivery())


def test_a_device_that_changed_hands_or_logged_out_gets_nothing(delivery, fcm, log_in, cast):
    row = delivery()
    log_in(cast.bruno, cast.ada.devices.get().id)
    with pytest.raises(PermanentFailure):
        channel_for("fcm").send(row)
    _token, phone = log_in(cast.carla, push="registration-token-2")
    notice = notify("announcement", recipients=[cast.carla], title="会议", body="周三")
    close_session(phone)
    with pytest.raises(PermanentFailure):
        channel_for("fcm").send(notice.deliveries.get(channel="fcm"))
    assert fcm.received == []


def test_the_address_of_the_moment_is_used(delivery, fcm, cast):
    row = delivery()
    set_push(device=cast.ada.devices.get(), provider="fcm", address="renewed")
    channel_for("fcm").send(row)
    assert fcm.received[0]["token"] == "renewed"


@pytest.mark.parametrize(
    "url", ["fcm:///no/such/file.json", "fcm://host/file.json", "fcm:///{file}?colour=red"]
)
def test_a_push_url_that_cannot_work_is_refused(settings, tmp_path, url):
    (tmp_path / "account.json").write_text(json.dumps({"type": "service_account"}))
    settings.PUSH_URL = url.format(file=tmp_path / "account.json")
    with pytest.raises(ImproperlyConfigured, match="PUSH_URL"):
        channel_for("fcm")


# ---- the pump -------------------------------------------------------------------------------


@pytest.fixture
def drain(monkeypatch) -> Callable[..., int]:
    """Run what is due `later` from now; without jitter."""
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    real, ahead = clock.now, [timedelta()]
    monkeypatch.setattr(clock, "now", lambda: real() + ahead[0])
    pump = next(pump for pump in work.pumps() if pump.name == "deliveries")

    def drain(*, later: float = 0) -> int:
        ahead[0] += timedelta(seconds=later)
        return work.drain(pump)

    return drain


def test_the_pump_records_what_was_sent(delivery, fcm, drain):
    row = delivery()
    assert drain() == 1
    row.refresh_from_db()
    assert (row.state, row.reason, row.work_due_at) == ("sent", "", None)
    assert row.sent_at is not None
    assert drain(later=9999) == 0
    assert len(fcm.received) == 1


def test_an_unregistered_device_is_disabled_with_the_reason_and_not_tried_again(
    delivery, fcm, drain, cast
):
    fcm.by_token[ADDRESS] = "unregistered"
    row = delivery()
    drain()
    row.refresh_from_db()
    assert row.state == "dead"
    assert "NOT_FOUND" in row.reason
    device = cast.ada.devices.get()
    assert device.push_disabled_at is not None
    assert device.push_disabled_reason == row.reason
    notice = notify("announcement", recipients=[cast.ada], title="会议", body="周四")
    assert not notice.deliveries.filter(channel="fcm").exists()


def test_a_new_address_that_came_meanwhile_is_not_disabled(delivery, fcm, drain, cast, monkeypatch):
    row = delivery()

    def renew_and_fail(_row: Delivery) -> Sent:
        set_push(device=cast.ada.devices.get(), provider="fcm", address="renewed")
        raise AddressGone("UNREGISTERED", address=ADDRESS)

    monkeypatch.setattr(channel_for("fcm"), "send", renew_and_fail, raising=False)
    drain()
    row.refresh_from_db()
    assert row.state == "dead"
    assert cast.ada.devices.get().push_disabled_at is None


def test_a_quota_waits_as_long_as_fcm_says_then_succeeds(delivery, fcm, drain):
    fcm.queue.append("quota")
    row = delivery()
    drain()
    row.refresh_from_db()
    assert row.state == "pending"
    assert "RESOURCE_EXHAUSTED" in row.work_error
    assert drain(later=80) == 0
    assert drain(later=15) == 1
    row.refresh_from_db()
    assert (row.state, row.work_error) == ("sent", "")


def test_trouble_that_does_not_end_is_given_up_when_the_message_is_out_of_date(
    delivery, fcm, drain
):
    fcm.by_token[ADDRESS] = "internal"
    row = delivery()
    asked = [drain(later=7200) for _ in range(50)]
    assert asked == [1] * 36 + [0] * 14  # 72 hours, and the last says that they are over
    row.refresh_from_db()
    assert row.state == "dead"
    assert row.work_dead_at is not None
    assert "INTERNAL" in row.reason
    assert "有效期" in row.reason


def test_a_message_that_fcm_stumbles_over_while_it_takes_others_is_given_up(
    delivery, fcm, drain, log_in, cast
):
    fcm.by_token[ADDRESS] = "internal"
    row = delivery()
    log_in(cast.bruno, push="good")
    for _ in range(10):
        notify("announcement", recipients=[cast.bruno], title="会议", body="周四")
        drain(later=7200)
    row.refresh_from_db()
    assert (row.state, row.work_attempts) == ("dead", 8)
    assert "INTERNAL" in row.reason


def test_a_dead_delivery_can_be_given_a_new_life(delivery, fcm, drain):
    fcm.queue.append("bad_payload")
    row = delivery()
    drain()
    assert work.retry_dead(Delivery.objects.filter(pk=row.pk)) == 1
    drain()
    row.refresh_from_db()
    assert (row.state, row.reason, row.work_dead_at) == ("sent", "", None)


def test_a_worker_that_died_leaves_a_delivery_that_comes_due_again(delivery, fcm, drain):
    row = delivery()
    work.claim(next(pump for pump in work.pumps() if pump.name == "deliveries"))
    assert drain() == 0
    assert drain(later=61) == 1
    row.refresh_from_db()
    assert row.state == "sent"


def test_one_dead_device_does_not_hold_up_another(delivery, fcm, drain, log_in, cast):
    delivery()
    log_in(cast.ada, push="good")
    fcm.by_token[ADDRESS] = "unregistered"
    notice = notify("announcement", recipients=[cast.ada], title="会议", body="周四")
    drain()
    states = {
        Device.objects.get(pk=row.address).push_address: row.state
        for row in notice.deliveries.filter(channel="fcm")
    }
    assert states == {ADDRESS: "dead", "good": "sent"}


def test_the_network_is_used_outside_of_any_transaction(delivery, drain, monkeypatch, cast):
    from django.db import connection

    row = delivery()
    depth = len(connection.savepoint_ids)
    seen = []

    def send(_row: Delivery) -> Sent:
        seen.append(len(connection.savepoint_ids))
        return Sent("sent")

    monkeypatch.setattr(channel_for("fcm"), "send", send, raising=False)
    drain()
    row.refresh_from_db()
    assert (seen, row.state) == ([depth], "sent")


def test_a_socket_layer_that_is_away_is_temporary(delivery, monkeypatch):
    def away(*_args: object) -> None:
        raise ConnectionRefusedError("redis")

    monkeypatch.setattr(channels.socket, "hint", away)
    with pytest.raises(TemporaryFailure, match="redis"):
        channel_for("socket").send(delivery("socket"))
