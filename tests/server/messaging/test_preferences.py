"""Quiet hours, channels turned off, crowds of messages, and what reached a person before."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from server.core import clock
from server.core.errors import Invalid
from server.messaging import ordering
from server.messaging.models import Delivery, Habit, Notice
from server.messaging.preferences import (
    CHOSEN,
    Preferences,
    Quiet,
    channels_shown,
    preferences_of,
    set_preferences,
)
from server.messaging.reading import mark_read
from server.messaging.services import notify

ALL_ON = [(name.value, True) for name in CHOSEN]
SHANGHAI, LONDON = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/London")


def tell(*people, title: str = "会议") -> Notice:
    return notify("announcement", recipients=people, title=title, body="周三开会")


def prefer(user, **changes) -> Preferences:
    values = {"channels": ALL_ON, "quiet": None, "time_zone": "Asia/Shanghai", **changes}
    return set_preferences(user=user, **values)


def push_of(notice: Notice) -> Delivery:
    return notice.deliveries.get(channel="fcm")


@pytest.fixture
def ada(cast, log_in, fcm):
    log_in(cast.ada, push="token of ada")
    return cast.ada


# ---- quiet hours ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "end", "local", "until"),
    [
        (22, 7, "2026-11-25 23:30", "2026-11-26 07:00"),
        (22, 7, "2026-11-26 06:59", "2026-11-26 07:00"),
        (22, 7, "2026-11-26 07:00", None),
        (22, 7, "2026-11-26 21:59", None),
        (22, 7, "2026-11-26 22:00", "2026-11-27 07:00"),
        (12, 14, "2026-11-26 13:00", "2026-11-26 14:00"),
        (12, 14, "2026-11-26 14:00", None),
    ],
)
def test_quiet_hours_end_in_the_morning_of_their_own_zone(begin, end, local, until):
    quiet = Quiet(time(begin), time(end), SHANGHAI)
    moment = datetime.fromisoformat(local).replace(tzinfo=SHANGHAI)
    expected = datetime.fromisoformat(until).replace(tzinfo=SHANGHAI) if until else None
    assert quiet.ends_at(moment.astimezone(UTC)) == expected


def test_a_night_in_which_the_clocks_change_ends_by_the_wall_clock():
    quiet = Quiet(time(22), time(7), LONDON)
    night = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)  # 23:30 in summer time
    assert quiet.ends_at(night) == datetime(2026, 10, 25, 7, 0, tzinfo=UTC)


def at(worker, local: str, zone: ZoneInfo = SHANGHAI) -> None:
    worker.ahead += datetime.fromisoformat(local).replace(tzinfo=zone) - clock.now()


def test_a_message_of_the_night_rings_in_the_morning_and_costs_no_try(ada, fcm, worker, settings):
    settings.QUIET_HOURS = "22:00-07:00"
    at(worker, "2027-03-01 23:00")
    notice = tell(ada)
    worker.drain()
    row = push_of(notice)
    assert (row.state, row.work_attempts, fcm.received) == ("pending", 0, [])
    assert (
        row.work_due_at.astimezone(SHANGHAI)
        .isoformat(timespec="minutes")
        .startswith("2027-03-02T07:00")
    )
    at(worker, "2027-03-02 07:00")
    worker.drain()
    assert push_of(notice).state == "sent"


def test_what_is_urgent_rings_at_night(ada, fcm, worker, settings, cast):
    settings.QUIET_HOURS = "22:00-07:00"
    at(worker, "2027-03-01 23:00")
    notify(
        "finding.overdue", recipients=[ada], school=cast.school, finding="留样", due="2027-03-01"
    )
    worker.drain()
    assert len(fcm.accepted) == 1


def test_the_night_is_the_recipients_not_the_servers(ada, fcm, worker, settings):
    settings.QUIET_HOURS = "22:00-07:00"
    prefer(ada, quiet=(time(22), time(7)), time_zone="Europe/London")
    at(worker, "2027-03-01 23:00")  # 15:00 in London
    tell(ada)
    worker.drain()
    assert len(fcm.accepted) == 1
    at(worker, "2027-03-02 12:00")  # 04:00 in London
    tell(ada)
    worker.drain()
    assert len(fcm.accepted) == 1


def test_who_wants_no_quiet_hours_has_none(ada, fcm, worker, settings):
    settings.QUIET_HOURS = "22:00-07:00"
    prefer(ada)
    at(worker, "2027-03-01 23:00")
    tell(ada)
    worker.drain()
    assert len(fcm.accepted) == 1


# ---- channels -------------------------------------------------------------------------------


def test_a_channel_that_is_off_gets_no_delivery(ada):
    prefer(ada, channels=[("fcm", False), *ALL_ON[1:]])
    assert not tell(ada).deliveries.filter(channel="fcm").exists()


def test_a_channel_that_was_turned_off_meanwhile_is_skipped_with_the_reason(ada, fcm, worker):
    notice = tell(ada)
    prefer(ada, channels=[("fcm", False), *ALL_ON[1:]])
    worker.drain()
    assert (push_of(notice).state, push_of(notice).reason) == ("skipped", "接收人已关闭此渠道")
    assert fcm.received == []


def test_a_persons_own_order_outweighs_what_reached_them():
    chosen = Preferences(order=("sms", "fcm", "mail", "webpush", "jpush"))
    order = ordering.in_order(["mail", "fcm", "sms"], chosen, {"mail": 0.99})
    assert order == ["sms", "fcm", "mail"]


def test_without_a_choice_what_has_reached_the_person_comes_first():
    habits = {"fcm": 0.02, "mail": 0.9}
    assert ordering.in_order(["fcm", "mail", "sms"], Preferences(), habits) == [
        "mail",
        "sms",
        "fcm",
    ]


def test_of_whom_nothing_is_known_the_default_order_holds(settings):
    settings.CHANNEL_ORDER = ["mail", "fcm", "sms"]
    assert ordering.in_order(["sms", "fcm", "mail"], Preferences(), {}) == ["mail", "fcm", "sms"]


def test_habits_are_learned_from_what_was_read_soon_after_it_was_sent(ada, fcm, worker, settings):
    settings.DIGEST_ABOVE = 100
    notices = [tell(ada, title=str(number)) for number in range(4)]
    worker.drain()
    mark_read(notice_id=notices[0].id, by=ada)
    assert ordering.learn() == 0  # the last two hours are still open
    worker.ahead += timedelta(hours=1, minutes=30)
    mark_read(notice_id=notices[1].id, by=ada)  # too late
    worker.ahead += timedelta(hours=1)
    assert ordering.learn() == 4
    habit = Habit.objects.get()
    assert (habit.user, habit.channel, habit.sent, habit.read) == (ada, "fcm", 4, 1)
    assert ordering.learn() == 0


def test_old_habits_fade(ada, fcm, worker, settings):
    settings.DIGEST_ABOVE = 100
    Habit.objects.create(user=ada, channel="fcm", sent=100, read=90)
    tell(ada)
    worker.drain()
    worker.ahead += timedelta(hours=3)
    ordering.learn()
    habit = Habit.objects.get()
    assert (habit.sent, habit.read) == (50.5, 45)


# ---- the choice -----------------------------------------------------------------------------


def test_who_has_chosen_nothing_has_the_defaults(cast, settings):
    settings.QUIET_HOURS = "22:00-07:00"
    chosen = preferences_of([cast.ada.pk])[cast.ada.pk]
    assert chosen.quiet == Quiet(time(22), time(7), ZoneInfo(settings.TIME_ZONE))
    assert channels_shown(chosen) == [(name, True) for name in settings.CHANNEL_ORDER]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"channels": ALL_ON[1:]}, "/channels"),
        ({"channels": [*ALL_ON, ALL_ON[0]]}, "/channels"),
        ({"channels": [("inbox", False), *ALL_ON[1:]]}, "/channels"),
        ({"quiet": (time(7), time(7))}, "/quiet_hours"),
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"time_zone": "../../etc/passwd"}, "/time_zone"),
        ({"time_zone": "x\0y"}, "/time_zone"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_at_its_field(cast, changes, pointer):
    with pytest.raises(Invalid) as refusal:
        prefer(cast.ada, **changes)
    assert [problem.pointer for problem in refusal.value.problems] == [pointer]


# ---- digests --------------------------------------------------------------------------------


def test_many_messages_to_one_phone_become_one(ada, fcm, worker):
    notices = [tell(ada, title=f"通知 {number}") for number in range(7)]
    worker.drain()
    [message] = fcm.accepted
    assert message["notification"]["title"] == "7 条新通知"
    assert message["notification"]["body"].splitlines()[0] == "通知 6"
    assert message["notification"]["body"].splitlines()[-1] == "另有 2 条"
    carrier = push_of(notices[-1])
    assert message["data"]["notice"] == str(notices[-1].id)
    for notice in notices[:-1]:
        row = push_of(notice)
        assert (row.state, row.merged_into) == ("sent", carrier)


def test_a_few_messages_stay_what_they_are(ada, fcm, worker):
    for number in range(3):
        tell(ada, title=f"通知 {number}")
    worker.drain()
    assert sorted(each["notification"]["title"] for each in fcm.accepted) == [
        "通知 0",
        "通知 1",
        "通知 2",
    ]


def test_messages_thick_and_fast_wait_for_the_window_and_come_as_one(ada, fcm, worker):
    for number in range(3):
        tell(ada, title=f"早 {number}")
        worker.drain(later=20)
    for number in range(5):
        tell(ada, title=f"晚 {number}")
        worker.drain(later=20)
    assert len(fcm.accepted) == 3
    worker.drain(later=600)
    assert len(fcm.accepted) == 4
    assert fcm.accepted[-1]["notification"]["title"] == "5 条新通知"
    attempts = Delivery.objects.filter(channel="fcm").values_list("work_attempts", flat=True)
    assert set(attempts) == {0}


def test_what_is_urgent_is_never_merged(ada, fcm, worker, cast):
    for number in range(6):
        tell(ada, title=f"通知 {number}")
    notify(
        "finding.overdue", recipients=[ada], school=cast.school, finding="留样", due="2027-03-01"
    )
    worker.drain()
    assert len(fcm.accepted) == 2
    assert {each["data"]["event"] for each in fcm.accepted} == {"announcement", "finding.overdue"}


def test_another_persons_messages_are_not_counted(ada, fcm, worker, cast, log_in):
    log_in(cast.bruno, push="token of bruno")
    for number in range(3):
        tell(ada, cast.bruno, title=f"通知 {number}")
    worker.drain()
    assert len(fcm.accepted) == 6


def test_a_digest_that_fails_comes_again_as_the_same_digest(ada, fcm, worker):
    for number in range(5):
        tell(ada, title=f"通知 {number}")
    fcm.always = "internal"
    worker.drain()
    tag = fcm.received[0]["android"]["notification"]["tag"]
    fcm.always = ""
    worker.drain(later=60)
    [message] = fcm.accepted
    assert message["notification"]["title"] == "5 条新通知"
    assert message["android"]["notification"]["tag"] == tag


def test_what_was_read_meanwhile_is_not_in_the_digest(ada, fcm, worker):
    notices = [tell(ada, title=f"通知 {number}") for number in range(6)]
    mark_read(notice_id=notices[0].id, by=ada)
    worker.drain()
    assert fcm.accepted[0]["notification"]["title"] == "5 条新通知"
    assert push_of(notices[0]).state == "skipped"
