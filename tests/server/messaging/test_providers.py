"""Rates that all workers share, and breakers that open and close."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.core import clock, work
from server.core.work import TemporaryFailure
from server.messaging import providers
from server.messaging.channels import Unavailable
from server.messaging.models import Delivery, Provider
from server.messaging.services import notify

pytestmark = pytest.mark.django_db
AWAY = Unavailable("away")


@pytest.fixture(autouse=True)
def time_stands(worker) -> None:
    """But for what a test lets pass: tokens come by the second."""
    moment = clock.now()
    worker._real = lambda: moment


def lane(name: str):
    return next((each for each in providers.lanes() if each.name == name), None)


def fail(name: str, times: int = 1) -> list[bool]:
    return [providers.note(name, answers=0, troubles=[AWAY]) for _ in range(times)]


# ---- rates ----------------------------------------------------------------------------------


def test_a_rate_is_shared_and_refills_with_time(worker, settings):
    settings.DELIVERY_RATES = {"sms": "10"}
    assert [providers.take("sms", 6), providers.take("sms", 6), providers.take("sms", 6)] == [
        *(6, 4, 0)
    ]
    worker.ahead += timedelta(seconds=0.5)
    assert providers.take("sms", 100) == 5
    worker.ahead += timedelta(hours=1)
    assert providers.take("sms", 100) == 10  # a bucket holds what a second brings


def test_a_rate_below_one_a_second_still_lets_one_through(worker, settings):
    settings.DELIVERY_RATES = {"robot.wecom": "0.25"}
    assert [providers.take("robot.wecom", 5), providers.take("robot.wecom", 5)] == [1, 0]
    worker.ahead += timedelta(seconds=4)
    assert providers.take("robot.wecom", 5) == 1


def test_an_operators_figure_outweighs_the_settings(worker, settings):
    settings.DELIVERY_RATES = {"sms": "10"}
    Provider.objects.create(pk="sms", per_second=2)
    assert providers.take("sms", 100) == 2


def test_a_clock_that_is_set_back_does_not_stop_a_provider(worker, settings):
    settings.DELIVERY_RATES = {"sms": "10"}
    providers.take("sms", 10)
    worker.ahead -= timedelta(hours=1)
    assert providers.take("sms", 10) == 0
    worker.ahead += timedelta(seconds=1)
    assert providers.take("sms", 10) == 10


def test_tokens_that_found_no_row_are_given_back(worker, settings):
    settings.DELIVERY_RATES = {"sms": "10"}
    providers.take("sms", 10)
    providers.give_back("sms", 4)
    assert providers.take("sms", 10) == 4


def test_no_more_is_claimed_than_the_rate_allows(cast, log_in, fcm, worker, settings):
    settings.DELIVERY_RATES, settings.DIGEST_ABOVE = {"fcm": "2"}, 100
    worker.stop_the_clock()
    log_in(cast.ada, push="token")
    for _ in range(5):
        notify("announcement", recipients=[cast.ada], title="会议", body="周三")
    sent = [worker.drain(), worker.drain(), worker.drain(later=1), worker.drain(later=1)]
    assert sent == [2, 0, 2, 1]
    assert len(fcm.accepted) == 5


def test_a_pump_whose_rate_is_used_up_is_not_woken_in_vain(cast, log_in, fcm, worker, settings):
    pump = next(each for each in work.pumps() if each.name == "deliveries")
    log_in(cast.ada, push="token")
    notify("announcement", recipients=[cast.ada], title="会议", body="周三")
    assert work.is_due(pump)
    providers.pause("fcm")
    assert not work.is_due(pump)


# ---- breakers -------------------------------------------------------------------------------


def test_a_breaker_opens_after_some_failures_in_a_row_and_not_before(worker):
    assert fail("mail", 4) == [True] * 4
    assert lane("mail") is not None
    providers.note("mail", answers=1, troubles=[])
    fail("mail", 4)
    assert lane("mail") is not None
    fail("mail")
    assert lane("mail") is None


def test_failures_beside_answers_are_the_messages_own(worker):
    providers.note("mail", answers=1, troubles=[AWAY] * 50)
    assert lane("mail") is not None
    assert Provider.objects.get(pk="mail").failures == 0


def test_after_a_while_one_worker_makes_one_trial(worker):
    fail("mail", 5)
    worker.ahead += timedelta(seconds=31)
    first, second = lane("mail"), lane("mail")
    assert (first.limit, first.granted(1), second.granted(1)) == (1, 1, 0)
    assert lane("mail") is None


def test_a_trial_that_fails_doubles_the_pause_up_to_ten_minutes(worker):
    fail("mail", 5)
    pauses = []
    for _ in range(8):
        pauses.append((Provider.objects.get(pk="mail").open_until - clock.now()).total_seconds())
        worker.ahead += timedelta(seconds=pauses[-1] + 1)
        assert fail("mail") == [False]
    assert [round(pause, -1) for pause in pauses] == [30, 60, 120, 240, 480, 600, 600, 600]


def test_a_provider_that_says_for_how_long_is_believed_within_bounds(worker):
    for asked, waits in ((300, 300), (10**9, 3600)):
        Provider.objects.all().delete()
        troubles = [Unavailable("busy", retry_after=asked)] * 5
        providers.note("sms", answers=0, troubles=troubles)
        pause = Provider.objects.get(pk="sms").open_until - clock.now()
        assert pause.total_seconds() == pytest.approx(waits, abs=5)


def test_a_trial_that_succeeds_closes_the_breaker(worker):
    fail("mail", 7)
    providers.note("mail", answers=1, troubles=[])
    row = Provider.objects.get(pk="mail")
    assert (row.failures, row.trips, row.open_until) == (0, 0, None)


def test_each_companys_robots_have_a_breaker_of_their_own(worker):
    fail("robot.wecom", 5)
    assert lane("robot.wecom") is None
    assert lane("robot.feishu") is not None


def test_every_channel_has_a_lane():
    channels = {name.partition(".")[0] for name in providers.LANES}
    assert channels == set(Delivery.Channel.values)


def test_a_pause_holds_until_somebody_resumes(worker):
    providers.pause("fcm")
    worker.ahead += timedelta(days=1)
    assert lane("fcm") is None
    providers.resume("fcm")
    assert lane("fcm").limit == providers.BATCH


def test_each_claim_begins_with_another_lane(worker):
    firsts = {next(iter(providers.lanes())).name for _ in range(len(providers.LANES))}
    assert firsts == set(providers.LANES)


def test_a_temporary_failure_of_any_kind_opens_the_breaker(worker):
    for _ in range(5):
        providers.note("sms", answers=0, troubles=[TemporaryFailure("odd")])
    assert lane("sms") is None
