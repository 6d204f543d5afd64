"""JPush: one message per delivery in spite of crashes, and what its answers mean."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured

from server.core import work
from server.core.work import PermanentFailure, TemporaryFailure
from server.messaging.channels import AddressGone, channel_for
from server.messaging.models import Delivery
from tests.server.messaging.worlds import World, world_of


@pytest.fixture
def world(cast, settings, log_in) -> Iterator[World]:
    with world_of("jpush", cast, settings, log_in) as world:
        yield world


def claimed(row: Delivery, *, attempts: int) -> Delivery:
    """As the pump hands it out the first or a later time."""
    Delivery.objects.filter(pk=row.pk).update(work_attempts=attempts)
    return Delivery.objects.select_related("notice", "recipient").get(pk=row.pk)


def test_phones_get_title_text_and_what_opens(world):
    row = world.make()
    channel_for("jpush").send(row)
    (document,) = world.server.sent.values()
    android = document["notification"]["android"]
    assert document["audience"] == {"registration_id": ["registration-1"]}
    assert android["title"] == "整改已逾期：留样不足"
    assert android["priority"] == 1
    assert android["extras"]["notice"] == str(row.notice_id)
    assert document["notification"]["ios"]["alert"]["title"] == android["title"]
    assert document["options"]["apns_collapse_id"] == str(row.notice_id)
    assert document["options"]["time_to_live"] == 72 * 3600


def test_a_worker_that_died_after_sending_repeats_the_cid_and_no_message(world, monkeypatch):
    row = claimed(world.make(), attempts=1)
    channel_for("jpush").send(row)
    again = claimed(row, attempts=2)
    assert again.provider_id.startswith("app-key-")
    channel_for("jpush").send(again)
    assert len(world.server.requests) == 2
    assert len(world.server.sent) == 1


def test_an_answer_that_broke_off_is_repeated_without_a_double(world):
    row = claimed(world.make(), attempts=1)
    server = world.server
    honest = server._push

    def accept_and_break_off(document, size):
        honest(document, size)
        return 500, {}, b""

    server._push = accept_and_break_off
    with pytest.raises(TemporaryFailure):
        channel_for("jpush").send(row)
    server._push = honest
    channel_for("jpush").send(claimed(row, attempts=2))
    assert len(server.sent) == 1


def test_the_new_life_of_a_dead_one_is_a_new_message(world):
    row = claimed(world.make(), attempts=1)
    channel_for("jpush").send(row)
    channel_for("jpush").send(claimed(row, attempts=1))
    assert len(world.server.sent) == 2


def test_a_registration_that_nobody_has_is_gone(world):
    world.server.by_id["registration-1"] = "nobody"
    with pytest.raises(AddressGone, match="1011") as failure:
        channel_for("jpush").send(world.make())
    assert failure.value.address == "registration-1"


def test_the_pump_disables_a_device_that_is_gone(world, cast):
    world.server.by_id["registration-1"] = "nobody"
    row = world.make()
    work.drain(next(pump for pump in work.pumps() if pump.name == "deliveries"))
    row.refresh_from_db()
    assert row.state == "dead"
    assert cast.principal.devices.get().push_disabled_at is not None


@pytest.mark.parametrize(
    ("answer", "kind", "wait"),
    [
        ("quota_used", TemporaryFailure, 42),
        ("inner_timeout", TemporaryFailure, None),
        ("bad_value", PermanentFailure, None),
    ],
)
def test_answers_say_whether_to_try_again(world, answer, kind, wait):
    world.server.by_id["registration-1"] = answer
    with pytest.raises(kind) as failure:
        channel_for("jpush").send(world.make())
    assert getattr(failure.value, "retry_after", None) == wait


def test_refused_credentials_are_the_operators_to_mend(world, settings):
    settings.JPUSH_URL = world.server.jpush_url(secret="wrong")
    with pytest.raises(TemporaryFailure, match="1004"):
        channel_for("jpush").send(world.make())


@pytest.mark.parametrize(
    "url",
    [
        "jpush://",
        "jpush://key@host",
        "https://key:secret@host",
        "jpush://key:secret@host?colour=red",
        "jpush://key:secret@host?ttl_hours=long",
        "jpush://key:secret@host:port",
    ],
)
def test_a_url_that_cannot_work_is_refused_without_repeating_it(settings, url):
    settings.JPUSH_URL = url
    with pytest.raises(ImproperlyConfigured, match="JPUSH_URL") as refusal:
        channel_for("jpush")
    assert "key:secret@host?" not in str(refusal.value)


def test_no_secret_in_its_representation(settings):
    settings.JPUSH_URL = "jpush://key:master@api.jpush.cn"
    assert "master" not in repr(channel_for("jpush"))
