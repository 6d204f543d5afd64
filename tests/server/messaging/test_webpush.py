"""Web Push: what the browser opens, what the push service is told, what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

from server.core.errors import Invalid
from server.core.work import PermanentFailure, TemporaryFailure
from server.messaging import vapid
from server.messaging.channels import AddressGone, channel_for
from server.messaging.models import Device
from server.messaging.sessions import set_push
from server.messaging.subscriptions import NoSubscription, parse_subscription
from server.messaging.vapid import VapidUnusable, new_private_key, public_key
from tests.fakes.vendors import PushService
from tests.server.messaging.worlds import World, world_of


@pytest.fixture
def world(cast, settings, log_in) -> Iterator[World]:
    with world_of("webpush", cast, settings, log_in) as world:
        yield world


def test_the_browser_opens_what_only_it_can_open(world):
    row = world.make()
    channel_for("webpush").send(row)
    assert "留样不足".encode() not in world.server.requests[0][2]
    (text,) = world.arrived()
    assert text.startswith("整改已逾期：留样不足\n")


def test_the_push_service_is_told_how_long_how_urgent_and_what_replaces_what(world):
    row = world.make()
    channel_for("webpush").send(row)
    _path, headers, body = world.server.requests[0]
    assert headers["ttl"] == str(72 * 3600)
    assert headers["urgency"] == "high"
    assert headers["topic"] == row.notice_id.hex
    assert headers["content-encoding"] == "aes128gcm"
    assert len(body) <= 4096


def test_the_link_stays_on_our_own_site(world, settings):
    settings.PUBLIC_URL = "https://duxue.example"
    channel_for("webpush").send(world.make())
    (text,) = world.arrived()
    assert text.split("\n")[2].startswith("/go/finding/")


def test_many_messages_to_one_service_are_signed_once(world):
    row = world.make()
    for _try in range(3):
        channel_for("webpush").send(row)
    assert len({headers["authorization"] for _path, headers, _body in world.server.requests}) == 1


@pytest.mark.parametrize("answer", ["gone", "unknown", "other_key"])
def test_a_dead_subscription_is_told_as_such(world, answer):
    row = world.make()
    world.server.queue.append(answer)
    with pytest.raises(AddressGone) as failure:
        channel_for("webpush").send(row)
    assert failure.value.address == Device.objects.get(pk=row.address).push_address


def test_what_is_too_large_is_dead_but_not_its_address(world):
    world.server.queue.append("too_large")
    with pytest.raises(PermanentFailure) as failure:
        channel_for("webpush").send(world.make())
    assert not isinstance(failure.value, AddressGone)


def test_a_clock_that_is_wrong_is_ours_to_mend(world):
    world.server.queue.append("bad_clock")
    with pytest.raises(TemporaryFailure, match="JWT expired"):
        channel_for("webpush").send(world.make())


def test_words_full_of_quotes_still_fit(world):
    channel_for("webpush").send(world.make(finding='"' * 5000, due="\\" * 5000))
    assert len(world.server.requests[0][2]) <= 4096
    assert len(world.arrived()) == 1


def test_another_vapid_key_needs_new_subscriptions(world, settings):
    first = public_key()
    settings.VAPID_PRIVATE_KEY = new_private_key()
    assert public_key() != first


@pytest.mark.parametrize("key", ["short", "!" * 43, "A" * 43])
def test_what_is_no_key_is_named_and_not_repeated(settings, key):
    settings.VAPID_PRIVATE_KEY = key
    with pytest.raises(VapidUnusable) as refusal:
        vapid.given_key()
    assert key not in str(refusal.value)


def test_a_generated_key_is_one(settings, capsys):
    call_command("vapid", "keygen")
    settings.VAPID_PRIVATE_KEY = capsys.readouterr().out.strip()
    assert len(public_key()) == 87


def test_the_embedded_world_makes_its_key_once(settings, tmp_path: Path):
    settings.VAPID_PRIVATE_KEY_FILE = str(tmp_path / "vapid-key")
    first = public_key()
    settings.VAPID_PRIVATE_KEY_FILE = str(tmp_path / "vapid-key")
    assert public_key() == first


def test_without_a_key_there_is_no_web_push(settings):
    settings.VAPID_PRIVATE_KEY_FILE, settings.VAPID_KEY_MADE = "", False
    assert public_key() == ""


# ---- subscriptions ---------------------------------------------------------------------------


@pytest.fixture
def good(cast) -> dict[str, object]:
    with PushService() as server:
        return {**server.subscribe().subscription, "endpoint": "https://push.example/send/1"}


def set_on(device: Device, subscription: object) -> None:
    set_push(device=device, provider="webpush", address=json.dumps(subscription))


@pytest.fixture
def resolved(monkeypatch):
    monkeypatch.setattr("server.messaging.subscriptions.check_host", lambda host, port: None)


def test_a_subscription_is_kept_without_what_is_not_its(good, resolved, cast, log_in):
    _token, device = log_in(cast.ada)
    set_on(device, {**good, "more": "x" * 900})
    assert json.loads(device.push_address) == {
        "endpoint": good["endpoint"],
        "keys": good["keys"],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "http://push.example/send/1"},
        {"endpoint": "https://"},
        {"endpoint": "https://user:pass@push.example/1"},
        {"endpoint": 7},
        {"endpoint": "https://push.example:port/"},
        {"keys": None},
        {"keys": {"auth": "AAAA", "p256dh": "AAAA"}},
        {"keys": {"auth": "A" * 22}},
    ],
)
def test_what_no_browser_gives_is_refused(good, resolved, cast, log_in, changes):
    _token, device = log_in(cast.ada)
    with pytest.raises(Invalid) as refusal:
        set_on(device, {**good, **changes})
    assert refusal.value.problems[0].pointer == "/subscription"


@pytest.mark.parametrize(
    "endpoint", ["https://127.0.0.1/x", "https://[::1]/x", "https://10.0.0.1/"]
)
def test_an_endpoint_in_our_own_network_is_refused(good, cast, log_in, endpoint):
    _token, device = log_in(cast.ada)
    with pytest.raises(Invalid) as refusal:
        set_on(device, {**good, "endpoint": endpoint})
    assert refusal.value.problems[0].code == "private"


def test_an_endpoint_that_moved_inside_is_dead(world, settings):
    row = world.make()
    settings.OUTBOUND_PRIVATE_NETWORKS = ["10.99.0.0/16"]
    with pytest.raises(AddressGone):
        channel_for("webpush").send(row)
    assert world.server.requests == []


def test_keys_that_are_no_point_of_the_curve_end_the_subscription(world, cast):
    row = world.make()
    device = Device.objects.get(pk=row.address)
    subscription = json.loads(device.push_address)
    subscription["keys"]["p256dh"] = "BA" + "A" * 85
    Device.objects.filter(pk=device.pk).update(push_address=json.dumps(subscription))
    with pytest.raises(AddressGone):
        channel_for("webpush").send(row)


@pytest.mark.parametrize(
    "text", ["", "{}", "[" * 100_000, "null", "7", '{"endpoint": "https://a"}']
)
def test_rubbish_is_no_subscription(text):
    with pytest.raises(NoSubscription):
        parse_subscription(text)


def test_a_subscription_belongs_to_the_last_who_reported_it(good, resolved, cast, log_in):
    _token, first = log_in(cast.ada)
    _token, second = log_in(cast.bruno)
    set_on(first, good)
    set_on(second, {"keys": good["keys"], "endpoint": good["endpoint"]})
    first.refresh_from_db()
    assert (first.push_provider, first.push_address) == ("", "")
    assert second.push_provider == "webpush"
