"""Text messages through a gateway that apprise knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured

from server.core.work import PermanentFailure, TemporaryFailure
from server.messaging.channels import channel_for
from server.messaging.channels.sms import PART, PARTS
from tests.server.messaging.worlds import World, world_of


@pytest.fixture
def world(cast, settings, log_in) -> Iterator[World]:
    with world_of("sms", cast, settings, log_in) as world:
        yield world


def test_the_gateway_gets_number_words_and_the_id_of_the_delivery(world, cast):
    row = world.make()
    channel_for("sms").send(row)
    (sent,) = world.server.sent.values()
    assert sent["phone"] == cast.principal.phone
    assert sent["id"] == str(row.pk)
    assert set(sent) == {"phone", "text", "id"}


def test_a_number_abroad_keeps_its_plus(world, cast):
    cast.principal.phone = "+8613800000001"
    cast.principal.save()
    channel_for("sms").send(world.make())
    (sent,) = world.server.sent.values()
    assert sent["phone"] == "+8613800000001"


@pytest.mark.parametrize("letter", ["字", "𠮷", "a"])
def test_a_long_text_takes_three_parts_at_the_most(world, letter):
    channel_for("sms").send(world.make(finding="留样不足", due=letter * 1000))
    (sent,) = world.server.sent.values()
    units = len(sent["text"].encode("utf-16-le")) // 2
    assert units <= PARTS * PART
    assert "/go/finding/" in sent["text"]


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [("bad_number", PermanentFailure, "422"), ("refused", TemporaryFailure, "401")],
)
def test_a_refused_number_is_dead_and_refused_credentials_are_not(world, answer, kind, code):
    world.server.queue.append(answer)
    with pytest.raises(kind, match=code) as failure:
        channel_for("sms").send(world.make())
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("url", ["json://host/send", "pigeon://{phone}", "{phone}"])
def test_an_address_that_apprise_does_not_know_is_refused(settings, url):
    settings.SMS_URL = url
    with pytest.raises(ImproperlyConfigured, match="SMS_URL"):
        channel_for("sms")


@pytest.mark.parametrize(
    "url",
    [
        "twilio://AC0123456789abcdef0123456789abcdef:0123456789abcdef0123456789abcdef@13900000000/{phone}",
        "form://gateway.example/send?:mobile={phone}&:content=message",
        "clicksend://user:key@{phone}",
    ],
)
def test_gateways_of_the_documentation_are_known(settings, url):
    settings.SMS_URL = url
    assert channel_for("sms").name == "sms"
