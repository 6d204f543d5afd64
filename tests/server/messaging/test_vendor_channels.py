"""The contract of channels that call others' servers: what arrives, and what every trouble means."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from server.core.work import PermanentFailure, TemporaryFailure
from server.messaging.channels import Sent, channel_for
from tests.server.messaging.worlds import NAMES, World, world_of

MEGABYTE = 1_000_000


@pytest.fixture(params=NAMES)
def world(request, cast, settings, log_in, monkeypatch) -> Iterator[World]:
    """Each channel in turn, with short patience."""
    monkeypatch.setattr("server.core.outbound.TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr("server.messaging.channels.sms.PATIENCE_SECONDS", 2.0)
    with world_of(request.param, cast, settings, log_in) as world:
        yield world


def send(world: World, **options: object) -> Sent:
    return channel_for(world.name).send(world.make(**options))


def test_words_and_link_arrive(world):
    row = world.make()
    assert channel_for(world.name).send(row) == Sent("sent")
    (text,) = world.arrived()
    assert "整改已逾期：留样不足" in text
    assert "应于 2026-12-01 前整改" in text
    assert f"/go/finding/{row.notice.subject_id}" in text


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        ("internal", None),
        ("busy", 30),
        ("quota", 90),
        ("rubbish", None),
        ("rubbish_json", None),
        ("close", None),
        ("half", None),
        ("silence", None),
        ("drip", None),
        ("redirect", None),
        ("endless", None),
    ],
)
def test_every_trouble_at_the_other_side_is_temporary(world, answer, retry_after):
    if world.name in ("sms", "webpush") and answer in (
        "rubbish",
        "rubbish_json",
        "half",
        "endless",
    ):
        pytest.skip("a gateway and a push service speak by their status alone")
    if world.name == "sms":
        retry_after = None  # apprise does not tell
    row = world.make()
    world.server.queue.append(answer)
    began = time.monotonic()
    with pytest.raises(TemporaryFailure) as failure:
        channel_for(world.name).send(row)
    assert failure.value.retry_after == retry_after
    assert time.monotonic() - began < 5
    channel_for(world.name).send(row)  # and the next try goes through
    assert len(world.arrived()) == 1 or world.name == "webpush"


def test_a_server_that_is_not_there_is_temporary(world):
    row = world.make()
    world.server._server.shutdown()
    world.server._server.server_close()
    with pytest.raises(TemporaryFailure):
        channel_for(world.name).send(row)


def test_a_text_of_any_kind_arrives_whole(world):
    send(world, finding='100%(x)s 😀 𠮷 "\\ <at user_id="all"></at>', due="明天\n后天")
    (text,) = world.arrived()
    assert '100%(x)s 😀 𠮷 "\\ <at user_id="all"></at>' in text


@pytest.mark.parametrize("letter", ["字", "a", "👩‍👩‍👧‍👦", "𠮷", "é"])
def test_a_megabyte_is_cut_between_characters_and_keeps_its_link(world, letter):
    row = world.make(finding="留样不足", due=letter * (MEGABYTE // len(letter.encode())))
    began = time.monotonic()
    channel_for(world.name).send(row)
    assert time.monotonic() - began < 2
    (text,) = world.arrived()
    assert text.rstrip().endswith(f"/go/finding/{row.notice.subject_id}") or "href" in text
    cut = text.partition("…")[0].split("应于 ")[1]
    assert cut == letter * (len(cut) // len(letter))
    assert "留样不足" in text


def test_what_was_sent_twice_is_the_same_message(world):
    row = world.make()
    channel = channel_for(world.name)
    assert channel.send(row) == channel.send(row)
    assert len(set(world.arrived())) == 1


def test_who_left_gets_nothing(world, cast):
    row = world.make()
    cast.principal.phone = cast.principal.email = ""
    cast.principal.save()
    cast.principal.devices.update(revoked_at="2026-01-01T00:00Z")
    cast.school.chat_groups.update(enabled=False)
    row.refresh_from_db()
    with pytest.raises(PermanentFailure):
        channel_for(world.name).send(row)
    assert world.arrived() == []
