"""Times: the phone's clock and how far it was off, EXIF, arrival, and the hours of the visit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from media_storage.models import MediaObject
from server.activities.services.visits import check_in, return_visit
from server.evidence.models import Flag, PhotoCheck
from server.evidence.sentences import sentence
from server.messaging.clocks import read_clock
from tests.activities import device_of
from tests.evidence import DAY, HOUR, NOT_READ, codes, flag


@pytest.fixture
def made(day, visit, cast):
    """Ada's visit, from nine to twelve."""
    day.check_in(visit, cast.ada)
    day.complete(visit, cast.ada)
    return visit


def test_a_photo_of_the_visit_has_no_flag(day, cast, made, record):
    photo = day.photo(cast.ada, origin="camera")
    record(photo, made)
    day.work()
    assert codes() == []


# ---- from another day, before check-in, after completion ---------------------------------------


def test_a_photo_of_another_day_is_flagged_with_both_days(day, cast, made, record):
    photo = day.photo(cast.ada, taken=-3 * 24 + 1)
    record(photo, made)
    day.work()
    found = flag("other_day", photo)
    assert codes(photo) == ["other_day"]
    assert (found.severity, found.visit_id, found.internal) == ("warn", made.pk, True)
    assert (found.details["from"], found.details["to"]) == ("2026-11-23", "2026-11-23")
    assert sentence(found) == (
        "照片拍摄于 2026-11-20 10:00（EXIF），任务在 2026-11-23 签到并完成。"
    )


def test_exif_tells_the_day_where_the_app_says_today(day, cast, made, record):
    photo = day.photo(cast.ada, taken=1, facts={"exif_at": day.at(-48)})
    record(photo, made)
    day.work()
    assert codes(photo) == ["other_day", "times_differ"]
    assert flag("other_day", photo).details["source"] == "exif"


def test_a_camera_whose_clock_was_never_set_does_not_tell_the_day(day, cast, made, record):
    photo = day.photo(cast.ada, taken=1, facts={"exif_at": day.at(0).replace(year=2000)})
    record(photo, made)
    day.work()
    assert codes(photo) == ["times_differ"]


@pytest.mark.parametrize(
    ("taken", "found"),
    [
        (-0.4, []),
        (-0.6, ["before_check_in"]),
        (1, []),
        (3.4, []),
        (3.6, ["after_completion"]),
    ],
)
def test_a_photo_belongs_to_the_visit_from_check_in_to_completion_and_half_an_hour_around_it(
    day, cast, made, record, taken, found
):
    photo = day.photo(cast.ada, taken=taken)
    record(photo, made)
    day.work()
    assert codes(photo) == found


def test_before_and_after_are_told_with_both_moments(day, cast, made, record):
    early, late = day.photo(cast.ada, taken=-1.5), day.photo(cast.ada, taken=5)
    record(early, made)
    record(late, made)
    day.work()
    assert sentence(flag("before_check_in", early)) == (
        "照片拍摄于 2026-11-23 07:30（EXIF），比签到（2026-11-23 09:00）早 1 小时 30 分钟。"
    )
    assert sentence(flag("after_completion", late)) == (
        "照片拍摄于 2026-11-23 14:00（EXIF），比任务完成（2026-11-23 12:00）晚 2 小时。"
    )


def test_the_margin_is_a_setting(day, cast, made, record, settings):
    settings.EVIDENCE_VISIT_MARGIN_MINUTES = 60
    photo = day.photo(cast.ada, taken=-0.9)
    record(photo, made)
    day.work()
    assert codes(photo) == []


def test_a_check_in_that_arrives_after_the_photos_is_held_against_them_by_its_own_time(
    day, cast, visit, record
):
    photo, early = day.photo(cast.ada, taken=1), day.photo(cast.ada, taken=-2)
    record(photo, visit)
    record(early, visit)
    day.work()
    assert codes() == []
    day.check_in(visit, cast.ada, at=0)  # made at nine, sent at night
    day.work()
    assert codes(photo) == []
    assert codes(early) == ["before_check_in"]


def test_before_anybody_has_checked_in_the_days_of_the_activity_count(day, cast, visit, record):
    photo = day.photo(cast.ada, taken=-5 * 24)
    record(photo, visit)
    day.work()
    found = flag("other_day", photo)
    assert found.details["reference"] == "activity"
    assert "任务还没有签到" in sentence(found)


def test_a_visit_over_several_days_takes_photos_of_each_of_them(day, cast, visit, record):
    day.check_in(visit, cast.ada, at=-48)
    day.complete(visit, cast.ada, at=3)
    photo, older = day.photo(cast.ada, taken=-24), day.photo(cast.ada, taken=-72)
    record(photo, visit)
    record(older, visit)
    day.work()
    assert codes(photo) == []
    assert codes(older) == ["other_day"]


def test_a_returned_visit_takes_photos_of_the_day_on_which_it_is_done_again(
    day, cast, made, record
):
    day.moment = day.at(24)
    return_visit(visit_id=made.pk, action_id=uuid4(), by=cast.office, reason="补拍留样冰箱")
    photo, older = (
        day.photo(cast.ada, taken=26, arrived=30),
        day.photo(cast.ada, taken=-30, arrived=30),
    )
    record(photo, made)
    record(older, made)
    day.moment = day.at(30)
    day.work()
    assert codes(photo) == []
    day.complete(made, cast.ada, at=27)
    day.work()
    assert codes(photo) == []
    assert codes(older) == ["other_day"]


# ---- clocks -----------------------------------------------------------------------------------


def test_a_clock_that_is_off_is_flagged_and_the_times_are_corrected(day, cast, visit, record):
    """The phone is three hours fast: it shows noon for nine. Check-in and photos err alike."""
    device = device_of(cast.ada)
    read_clock(device=device, device_time=day.moment + 3 * HOUR)
    day.check_in(visit, cast.ada, at=3)
    day.complete(visit, cast.ada, at=6)
    photo = day.photo(cast.ada, taken=4)
    record(photo, visit, device=device)
    day.work()
    assert codes(photo) == ["clock_off"]
    found = flag("clock_off", photo)
    assert found.severity == "hint"
    assert sentence(found) == (
        "手机时钟比服务器快 3 小时（测于 2026-11-23 21:00），"
        "拍摄时间已从 2026-11-23 13:00 校正为 2026-11-23 10:00。"
    )
    check = PhotoCheck.objects.get(media=photo)
    assert (check.clock_offset_ms, check.moment) == (3 * 3_600_000, day.at(1))


def test_a_team_s_other_phone_is_corrected_by_its_own_clock(day, cast, visit, record):
    visit.team.add(cast.bruno)
    slow = device_of(cast.bruno)
    read_clock(device=slow, device_time=day.moment - 2 * DAY)
    day.check_in(visit, cast.ada)
    day.complete(visit, cast.ada)
    photo = day.photo(cast.bruno, taken=1 - 48)
    record(photo, visit, device=slow)
    day.work()
    assert codes(photo) == ["clock_off"]
    assert "慢 2 天" in sentence(flag("clock_off", photo))


def test_a_clock_that_is_read_only_later_corrects_what_was_flagged(day, cast, made, record):
    made.team.add(cast.bruno)
    device = device_of(cast.bruno)
    photo = day.photo(cast.bruno, taken=1 - 48)
    record(photo, made, device=device)
    day.work()
    assert codes(photo) == ["other_day"]
    read_clock(device=device, device_time=day.moment - 2 * DAY)
    day.work()
    assert codes(photo) == ["clock_off"]


def test_a_clock_a_few_seconds_off_is_no_flag(day, cast, made, record):
    device = device_of(cast.ada)
    read_clock(device=device, device_time=day.moment + timedelta(seconds=40))
    photo = day.photo(cast.ada)
    record(photo, made, device=device)
    day.work()
    assert codes(photo) == []
    assert PhotoCheck.objects.get(media=photo).clock_offset_ms == 40_000


def test_a_reading_of_long_ago_says_nothing(day, cast, made, record):
    device = device_of(cast.ada)
    day.moment -= 30 * DAY
    read_clock(device=device, device_time=day.moment + 3 * HOUR)
    day.moment += 30 * DAY
    photo = day.photo(cast.ada)
    record(photo, made, device=device)
    day.work()
    assert codes(photo) == []
    assert PhotoCheck.objects.get(media=photo).clock_offset_ms is None


def test_of_two_readings_the_one_nearest_to_the_photo_counts(day, cast, made, record):
    """In the morning the clock was two hours fast; at night the network has set it right."""
    device = device_of(cast.ada)
    day.moment = day.at(-1)
    read_clock(device=device, device_time=day.moment + 2 * HOUR)
    day.moment = day.at(12)
    read_clock(device=device, device_time=day.moment)
    photo = day.photo(cast.ada, taken=3)
    record(photo, made, device=device)
    day.work()
    assert PhotoCheck.objects.get(media=photo).moment == day.at(1)


def test_a_photo_cannot_arrive_before_it_was_taken(day, cast, made, record):
    photo, fine = day.photo(cast.ada, taken=14, arrived=12), day.photo(cast.ada, taken=2)
    record(photo, made)
    record(fine, made)
    day.work()
    assert codes(photo) == ["after_completion", "clock_ahead"]
    assert codes(fine) == []
    assert sentence(flag("clock_ahead", photo)) == (
        "拍摄时间 2026-11-23 23:00（手机）比到达服务器的时间（2026-11-23 21:00）还晚 2 小时。"
    )


def test_exif_and_the_phone_contradict_each_other(day, cast, made, record):
    photo = day.photo(cast.ada, taken=1, facts={"exif_at": day.at(2.5), "exif_has_zone": True})
    record(photo, made)
    day.work()
    found = flag("times_differ", photo)
    assert found.severity == "warn"
    assert sentence(found) == (
        "EXIF 记录的拍摄时间是 2026-11-23 11:30，手机登记的是 2026-11-23 10:00，相差 1 小时 30 分钟。"
    )


@pytest.mark.parametrize(
    ("apart", "has_zone", "severity"),
    [(1, False, "hint"), (1, True, "warn"), (1.5, False, "warn"), (15, False, "warn")],
)
def test_without_a_zone_whole_hours_may_be_the_zone(
    day, cast, made, record, apart, has_zone, severity
):
    told = {"exif_at": day.at(1 + apart), "exif_has_zone": has_zone}
    photo = day.photo(cast.ada, taken=1, arrived=20, facts=told)
    record(photo, made)
    day.work()
    found = flag("times_differ", photo)
    assert found.severity == severity
    assert ("可能只是时区不同" in sentence(found)) == (severity == "hint")


def test_a_minute_between_exif_and_phone_is_no_flag(day, cast, made, record):
    photo = day.photo(cast.ada, taken=1, facts={"exif_at": day.at(1) + timedelta(minutes=1)})
    record(photo, made)
    day.work()
    assert codes(photo) == []


@pytest.mark.parametrize("year", [1, 1969, 9999])
def test_a_clock_at_an_end_of_time_is_flagged_and_breaks_nothing(day, cast, visit, record, year):
    end = datetime(year, 12, 31, 23, 30, tzinfo=UTC)
    read_clock(device=device_of(cast.ada), device_time=day.moment + HOUR)
    check_in(visit_id=visit.pk, action_id=uuid4(), by=cast.ada, at=end, place=None)
    photo = day.photo(cast.ada, taken=1, facts={"exif_at": end})
    MediaObject.objects.filter(pk=photo.pk).update(taken_at=end)
    record(photo, visit)
    day.work()
    for found in Flag.objects.all():
        assert sentence(found)
    assert codes(photo) == (["clock_ahead", "clock_off"] if year == 9999 else [])
    assert codes(visit=visit, media__isnull=True) == (["clock_ahead"] if year == 9999 else [])


def test_a_photo_without_any_time_is_not_held_against_the_visit(day, cast, made, record):
    photo = day.photo(cast.ada, taken=None)
    record(photo, made)
    day.work()
    assert codes(photo) == []


def test_facts_that_come_after_everything_else_are_held_against_it(day, cast, made, record):
    from media_storage.models import Facts

    photo = day.photo(cast.ada, facts=NOT_READ)
    record(photo, made)
    day.work()
    assert codes(photo) == []
    Facts.objects.create(media=photo, exif_at=day.at(-48))
    day.work()
    assert codes(photo) == ["other_day", "times_differ"]


def test_a_photo_that_is_not_ready_has_no_flags_yet(day, cast, made, record):
    photo = day.photo(cast.ada, taken=-48, state="stored")
    record(photo, made)
    day.work()
    assert codes(photo) == []
