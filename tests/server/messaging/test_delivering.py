"""The engine's promises: each message once on a phone, whatever dies, stalls or talks rubbish."""

from __future__ import annotations

import os
import signal
import socket
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from server.core import clock, work
from server.core.work import PermanentFailure, TemporaryFailure
from server.messaging import channels, delivering, outbox, providers
from server.messaging.models import Delivery, Device, Hint, Notice, Provider
from server.messaging.reading import mark_read
from server.messaging.services import notify
from server.messaging.sessions import set_push

HOUR = 3600


def tell(*people, title: str = "会议") -> Notice:
    return notify("announcement", recipients=people, title=title, body="周三开会")


def urge(cast, *people) -> Notice:
    return notify(
        "finding.overdue",
        recipients=people,
        school=cast.school,
        finding="留样不足",
        due="2026-03-01",
    )


def push_of(notice: Notice) -> Delivery:
    return notice.deliveries.get(channel="fcm")


def pump() -> work.Pump:
    return next(each for each in work.pumps() if each.name == "deliveries")


@pytest.fixture
def pushed(cast, log_in) -> list:
    """Ada, Bruno and Carla, each with a phone that can be pushed."""
    people = [cast.ada, cast.bruno, cast.carla]
    for person in people:
        log_in(person, push=f"token of {person.username}")
    return people


# ---- a worker that is killed ----------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_between_sending_and_recording_leaves_one_message_on_each_phone(
    pushed, fcm, worker
):
    notice = tell(*pushed)
    _kill_a_worker_before_it_records()
    assert len(fcm.accepted) == 3
    assert set(notice.deliveries.filter(channel="fcm").values_list("state", flat=True)) == {
        "pending"
    }
    assert worker.drain(later=30) == 0  # the lease of the dead holds
    assert worker.drain(later=31) == 3
    assert set(notice.deliveries.filter(channel="fcm").values_list("state", flat=True)) == {"sent"}
    assert len(fcm.accepted) == 6
    assert sorted(token for token, _tag in fcm.shown()) == [
        "token of ada",
        "token of bruno",
        "token of carla",
    ]


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_does_not_make_two_digests_of_one(cast, log_in, fcm, worker):
    log_in(cast.ada, push="token of ada")
    for number in range(5):
        tell(cast.ada, title=f"通知 {number}")
    _kill_a_worker_before_it_records()
    tell(cast.ada, title="后来的")  # is no reason to make another digest of the same five
    worker.drain(later=61)
    shown = sorted(text["title"] for text in fcm.shown().values())
    assert shown == ["5 条新通知", "后来的"]
    rows = Delivery.objects.filter(channel="fcm").exclude(notice__params__title="后来的")
    assert set(rows.values_list("state", flat=True)) == {"sent"}


def _kill_a_worker_before_it_records() -> None:
    connection.close()
    child = os.fork()
    if child == 0:
        try:
            channels.channel_for.cache_clear()
            delivering.record = lambda results: os.kill(os.getpid(), signal.SIGKILL)
            work.drain(pump())
        finally:
            os._exit(1)
    _pid, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


# ---- a provider that is away ----------------------------------------------------------------


def test_a_provider_that_is_down_for_an_hour_costs_no_tries_and_then_everything_arrives_once(
    cast, log_in, fcm, worker, settings
):
    settings.DIGEST_ABOVE = 1000
    log_in(cast.ada, push="token of ada")
    notices = [tell(cast.ada, title=str(number)) for number in range(20)]
    fcm.always = "unavailable"
    for _minute in range(60):
        worker.drain(later=60)
    in_outage = len(fcm.received)
    assert in_outage < 20 + 30  # the first batch, then trials
    pending = Delivery.objects.filter(channel="fcm", state="pending")
    assert pending.count() == 20
    assert max(pending.values_list("work_attempts", flat=True)) <= 1
    assert "UNAVAILABLE" in Provider.objects.get(pk="fcm").last_error
    fcm.always = ""
    for _minute in range(20):
        worker.drain(later=60)
    assert {each["notification"]["title"] for each in fcm.accepted} == {
        notice.title for notice in notices
    }
    assert len(fcm.accepted) == 20
    assert set(Delivery.objects.filter(channel="fcm").values_list("state", flat=True)) == {"sent"}
    assert Provider.objects.get(pk="fcm").failures == 0


def test_what_is_out_of_date_when_the_provider_comes_back_is_dropped_with_the_reason(
    cast, log_in, fcm, worker
):
    log_in(cast.principal, push="token of principal")
    short = notify(
        "visit.checked_in",
        recipients=[cast.principal],
        school=cast.school,
        activity="食品安全",
        inspector="安督学",
    )
    long = tell(cast.principal)
    fcm.always = "unavailable"
    for _hour in range(13):
        worker.drain(later=HOUR)
    fcm.always = ""
    for _hour in range(3):
        worker.drain(later=HOUR)
    assert (push_of(short).state, push_of(long).state) == ("dead", "sent")
    assert "有效期" in push_of(short).reason
    assert [each["data"]["event"] for each in fcm.accepted] == ["announcement"]


def test_a_dropped_delivery_that_somebody_retries_is_sent(cast, log_in, fcm, worker):
    log_in(cast.ada, push="token of ada")
    notice = tell(cast.ada)
    worker.drain(later=73 * HOUR)
    assert push_of(notice).state == "dead"
    assert fcm.received == []
    assert delivering.retry_deliveries(notice.deliveries.all()) == 1
    worker.drain()
    assert (push_of(notice).state, len(fcm.accepted)) == ("sent", 1)


def test_a_provider_that_is_away_does_not_hold_up_another(pushed, fcm, worker, postbox, settings):
    settings.FALLBACK_MINUTES = 0
    postbox.failure = TemporaryFailure("no route to host")
    notices = [tell(person) for person in pushed * 3]
    for notice in notices:
        notice.deliveries.create(
            recipient=notice.deliveries.get(channel="inbox").recipient,
            channel="mail",
            work_due_at=clock.now() - timedelta(minutes=1),
        )
    worker.drain()
    assert len(fcm.accepted) == 9
    assert Delivery.objects.filter(channel="mail", state="pending").count() == 9
    assert Provider.objects.get(pk="mail").failures == providers.OPENS_AFTER
    assert Provider.objects.get(pk="fcm").failures == 0


def test_a_slow_provider_costs_a_bounded_time_and_what_was_not_begun_is_given_back(
    pushed, fcm, worker, monkeypatch, settings, tmp_path
):
    settings.PUSH_URL = fcm.push_url(tmp_path, connections="1")
    monkeypatch.setattr(delivering, "SEND_SECONDS", 0.1)
    monkeypatch.setattr(work, "DRAIN_SECONDS", 0.1)
    fcm.delay = 0.15
    notice = tell(*pushed)
    delivering.send_together(pump(), work.claim(pump()))
    rows = notice.deliveries.filter(channel="fcm")
    assert sorted(rows.values_list("state", "work_attempts")) == [
        ("pending", 0),
        ("pending", 0),
        ("sent", 0),
    ]
    fcm.delay = 0
    worker.drain()
    assert len(fcm.accepted) == len(fcm.received) == 3


def test_a_provider_that_does_not_answer_in_time_is_away(pushed, fcm, worker, settings, tmp_path):
    settings.PUSH_URL = fcm.push_url(tmp_path, timeout="0.1")
    fcm.delay = 0.4
    notice = tell(pushed[0])
    worker.drain()
    row = push_of(notice)
    assert (row.state, row.work_attempts) == ("pending", 0)
    assert "Timeout" in row.work_error
    fcm.delay = 0
    worker.drain(later=60)
    assert push_of(notice).state == "sent"


@pytest.mark.parametrize("answer", ["rubbish", "rubbish_json", "rubbish_error", "internal"])
def test_rubbish_for_one_message_is_no_trouble_for_its_neighbours(pushed, fcm, worker, answer):
    fcm.by_token["token of bruno"] = answer
    notice = tell(*pushed)
    worker.drain()
    states = {
        row.person.username: (row.state, row.work_attempts)
        for row in notice.deliveries.filter(channel="fcm")
    }
    assert states == {"ada": ("sent", 0), "bruno": ("pending", 1), "carla": ("sent", 0)}
    del fcm.by_token["token of bruno"]
    worker.drain(later=60)
    assert len(fcm.shown()) == 3


def test_dead_and_living_addresses_of_one_batch_each_get_their_due(pushed, fcm, worker):
    fcm.by_token["token of bruno"] = "unregistered"
    notice = tell(*pushed)
    worker.drain()
    assert sorted(notice.deliveries.filter(channel="fcm").values_list("state", flat=True)) == [
        "dead",
        "sent",
        "sent",
    ]
    disabled = Device.objects.exclude(push_disabled_at=None)
    assert [device.push_address for device in disabled] == ["token of bruno"]


def test_an_access_token_that_was_withdrawn_is_renewed_within_the_batch(pushed, fcm, worker):
    tell(pushed[0])
    worker.drain()
    fcm.logins += 1  # as if another log-in had taken the place of ours
    notice = tell(*pushed)
    worker.drain()
    assert set(notice.deliveries.filter(channel="fcm").values_list("state", flat=True)) == {"sent"}


# ---- whose phone it is ----------------------------------------------------------------------


def test_a_token_that_another_person_has_registered_gets_nothing_of_the_firsts(
    pushed, cast, fcm, worker, log_in
):
    notice = tell(cast.ada)
    _token, second = log_in(cast.bruno)
    set_push(device=second, provider="fcm", address="token of ada")  # the phone changed hands
    worker.drain()
    row = push_of(notice)
    assert row.state == "dead"
    assert fcm.received == []
    worker.drain()
    tell(cast.bruno)
    worker.drain()
    assert {each["token"] for each in fcm.accepted} == {"token of ada", "token of bruno"}


def test_a_phone_whose_new_owner_is_pushed_too_gets_nothing_of_the_formers(
    pushed, cast, fcm, worker, log_in
):
    notice = tell(cast.ada)
    _token, device = log_in(cast.bruno, cast.ada.devices.get().id)
    set_push(device=device, provider="fcm", address="token of ada")
    worker.drain()
    assert push_of(notice).state == "dead"
    assert fcm.received == []


def test_an_address_that_is_not_the_recipients_says_nothing_about_the_provider(
    pushed, cast, fcm, worker
):
    Provider.objects.create(pk="fcm", failures=9, open_until=clock.now())
    Device.objects.filter(user=cast.ada).update(revoked_at=clock.now())
    notice = tell(cast.ada)
    notice.deliveries.create(
        recipient=cast.ada,
        channel="fcm",
        address=str(cast.ada.devices.get().pk),
        work_due_at=clock.now(),
    )
    worker.drain()
    assert push_of(notice).state == "dead"
    assert Provider.objects.get(pk="fcm").failures == 9  # still a suspect
    tell(cast.bruno)
    worker.drain()
    assert Provider.objects.get(pk="fcm").failures == 0


# ---- clocks that differ ---------------------------------------------------------------------


def test_a_worker_whose_clock_is_late_sends_again_at_worst_and_records_nothing_wrong(
    pushed, cast, fcm, worker
):
    notice = tell(cast.ada)
    worker.ahead -= timedelta(minutes=10)
    Delivery.objects.filter(channel="fcm").update(work_due_at=clock.now())
    late = work.claim(pump())  # its lease has ended already, as the others see it
    worker.ahead += timedelta(minutes=10)
    assert worker.drain() == 1
    row = push_of(notice)
    worker.ahead -= timedelta(minutes=10)
    delivering.send_together(pump(), late)
    again = push_of(notice)
    assert (again.sent_at, again.provider_id, again.state) == (row.sent_at, row.provider_id, "sent")
    assert len(fcm.shown()) == 1


def test_a_worker_whose_clock_is_early_delays_and_loses_nothing(pushed, cast, fcm, worker):
    notice = tell(cast.ada)
    worker.ahead += timedelta(minutes=10)
    work.claim(pump())  # and dies
    worker.ahead -= timedelta(minutes=10)
    assert worker.drain(later=61) == 0
    assert worker.drain(later=600) == 1
    assert push_of(notice).state == "sent"


# ---- hints ----------------------------------------------------------------------------------


def test_hints_while_redis_is_away_are_tried_again_and_hold_up_no_push(
    pushed, cast, fcm, worker, settings
):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{closed.getsockname()[1]}"
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [url]},
        }
    }
    tell(cast.ada)
    assert worker.drain(pump="hints") == 1
    hint = Hint.objects.get()
    assert hint.work_error != ""
    worker.drain()
    assert len(fcm.accepted) == 1
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert worker.drain(later=30, pump="hints") == 1
    assert not Hint.objects.exists()


def test_a_hint_that_is_too_late_is_dropped(cast, worker, monkeypatch):
    monkeypatch.setattr(delivering, "hint", lambda *_: pytest.fail("nobody waits for it"))
    tell(cast.ada)
    assert worker.drain(later=301, pump="hints") == 1
    assert not Hint.objects.exists()


def test_a_crowd_is_hinted_at_in_a_few_rows(cast, monkeypatch, worker):
    monkeypatch.setattr("server.messaging.services.HINTED_AT_ONCE", 2)
    told = []
    monkeypatch.setattr(delivering, "hint", lambda people, message: told.append(len(people)))
    tell(cast.ada, cast.bruno, cast.carla)
    worker.drain(pump="hints")
    assert sorted(told) == [1, 2]


# ---- read, and the next channel -------------------------------------------------------------


@pytest.fixture
def by_mail(postbox, monkeypatch):
    """Everybody has an address for mail besides."""
    from server.messaging import ordering

    real = ordering.addresses_of

    def with_mail(notice, user_ids):
        found = real(notice, user_ids)
        for user_id in user_ids:
            found[user_id].append(("mail", ""))
        return found

    monkeypatch.setattr(ordering, "addresses_of", with_mail)
    return postbox


def test_the_next_channel_is_used_when_the_notice_is_not_read_in_time(
    pushed, cast, fcm, worker, by_mail
):
    tell(cast.ada)
    worker.drain()
    assert (len(fcm.accepted), by_mail.sent) == (1, [])
    worker.drain(later=59 * 60)
    assert by_mail.sent == []
    worker.drain(later=61)
    assert by_mail.sent == ["会议"]


def test_what_was_read_in_time_goes_by_no_other_channel(pushed, cast, fcm, worker, by_mail):
    notice = tell(cast.ada)
    worker.drain()
    mark_read(notice_id=notice.id, by=cast.ada)
    worker.drain(later=HOUR)
    row = notice.deliveries.get(channel="mail")
    assert (row.state, row.reason, by_mail.sent) == ("skipped", "已在收件箱阅读", [])


def test_what_is_urgent_goes_on_sooner(pushed, cast, fcm, worker, by_mail):
    urge(cast, cast.ada)
    worker.drain()
    worker.drain(later=5 * 60)
    assert len(by_mail.sent) == 1


def test_a_first_channel_that_does_not_get_through_calls_the_next_at_once(
    pushed, cast, fcm, worker, by_mail
):
    fcm.always = "unregistered"
    tell(cast.ada)
    worker.drain()
    assert by_mail.sent == ["会议"]


def test_a_second_phone_that_got_it_is_reason_enough_to_wait(
    pushed, cast, fcm, worker, by_mail, log_in
):
    log_in(cast.ada, push="her old phone")
    fcm.by_token["her old phone"] = "unregistered"
    tell(cast.ada)
    worker.drain()
    assert (len(fcm.accepted), by_mail.sent) == (1, [])


# ---- the claim and the record ---------------------------------------------------------------


def test_a_batch_costs_as_many_queries_as_a_pair(cast, log_in, fcm, worker, settings):
    settings.DIGEST_ABOVE = 100
    people = [cast.ada, cast.bruno, cast.carla, cast.office, cast.expert, cast.town_group]
    for person in people:
        log_in(person, push=f"token of {person.username}")

    def cost(count: int) -> int:
        tell(*people[:count])
        with CaptureQueriesContext(
            connection,
        ) as captured:
            rows = work.claim(pump())
            delivering.send_together(pump(), rows)
        # SQLite takes a row at a time in one transaction; PostgreSQL a column. How many lanes are
        # looked into before the one with rows is a matter of turns.
        lanes = sum('"channel" = ' in each["sql"] and "LIMIT" in each["sql"] for each in captured)
        rows = sum("SET state" in each["sql"] for each in captured)
        savepoints = sum("SAVEPOINT" in each["sql"] for each in captured)
        return len(captured) - lanes - rows - savepoints

    cost(2)
    assert cost(6) == cost(2)


def test_the_claim_reads_the_index_of_due_rows_of_its_channel(cast, worker):
    people = [cast.ada, cast.bruno, cast.carla]
    for _ in range(5):
        tell(*people)
    lane = providers.LANES["fcm"]
    rows = work.due(pump()).filter(lane).order_by("work_due_at")[:500]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")  # of a table this small
        rows = rows.select_for_update(skip_locked=True, of=("self",))
    plan = rows.explain()
    assert "delivery_due" in plan
    assert "SCAN messaging_delivery\n" not in plan
    assert "Seq Scan on messaging_delivery" not in plan


def test_a_result_of_a_lease_that_ended_is_not_recorded(pushed, cast, worker):
    notice = tell(cast.ada)
    [row] = work.claim(pump())
    result = outbox.Result(
        id=row.pk, lease=row.work_due_at, state="sent", attempts=0, sent_at=clock.now()
    )
    Delivery.objects.filter(pk=row.pk).update(work_due_at=clock.now())
    assert outbox.record([result]) == 0
    assert push_of(notice).state == "pending"


def test_everything_about_a_result_is_recorded(pushed, cast, worker):
    first, second = tell(cast.ada), tell(cast.ada)
    rows = {row.notice_id: row for row in work.claim(pump())}
    moment = clock.now()
    facts = {
        "state": "pending",
        "reason": "x" * 500,
        "provider_id": "projects/p/1",
        "sent_at": moment,
        "delivered_at": moment,
    }
    work_facts = {"attempts": 3, "error": "away", "due_at": moment, "dead_at": moment}
    result = outbox.Result(
        id=rows[first.pk].pk,
        lease=rows[first.pk].work_due_at,
        merged_into=rows[second.pk].pk,
        **facts,
        **work_facts,
    )
    assert outbox.record([result]) == 1
    row = push_of(first)
    assert {name: getattr(row, name) for name in facts} == facts
    assert row.merged_into_id == rows[second.pk].pk
    stored = (row.work_attempts, row.work_error, row.work_due_at, row.work_dead_at, row.work_lost)
    assert stored == (3, "away", moment, moment, 0)


def test_a_reason_of_any_length_and_kind_is_cut_to_what_the_column_holds(
    pushed, cast, fcm, worker, monkeypatch
):
    def refuse(_self, _delivery):
        raise PermanentFailure("\0" + "长" * 3000)

    monkeypatch.setattr(type(channels.channel_for("fcm")), "send", refuse)
    notice = tell(cast.ada)
    worker.drain()
    row = push_of(notice)
    assert (len(row.reason), len(row.work_error)) == (500, 2000)


def test_a_delivery_that_kills_its_worker_every_time_is_given_up(pushed, cast, fcm, worker):
    notice = tell(cast.ada)
    for _ in range(5):
        work.claim(pump())
        worker.ahead += timedelta(seconds=61)
    worker.drain()
    row = push_of(notice)
    assert row.state == "dead"
    assert "5 workers in a row died" in row.reason
    assert fcm.received == []


def test_a_text_of_a_megabyte_arrives_shortened(pushed, cast, fcm, worker):
    notify("announcement", recipients=[cast.ada], title="题" * 5000, body="字" * 350_000)
    worker.drain()
    [message] = fcm.accepted
    text = message["notification"]
    assert len(text["title"].encode()) <= 400
    assert len(text["body"].encode()) <= 2000
    assert text["body"].endswith("…")
