"""What is written on a shared copy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from media_storage.models import Facts, MediaObject
from server.activities.models import Submission, Visit
from server.messaging.models import ClockReading, Device
from server.sharing.captions import caption_of, trace_of
from server.sharing.uses import uses_of
from tests.activities import device_of
from tests.cast import Cast
from tests.server.sharing.conftest import (
    ARRIVED,
    TAKEN,
    answer,
    fill_in,
    found,
    new_photo,
)

pytestmark = pytest.mark.django_db


def caption(media: MediaObject) -> list[tuple[str, str]]:
    media = MediaObject.objects.select_related("facts", "owner").get(pk=media.pk)
    return caption_of(media, uses_of(media.pk))


def said(media: MediaObject) -> dict[str, str]:
    return dict(caption(media))


@pytest.fixture
def photo(cast: Cast, visit: Visit) -> MediaObject:
    media = new_photo(cast.ada, latitude=33.0005, longitude=108.0, accuracy_m=5.0)
    fill_in(visit, cast.ada, media)
    return media


def test_a_photo_of_a_visit_says_school_activity_who_when_where_and_which(
    photo: MediaObject,
) -> None:
    assert caption(photo) == [
        ("", "东河镇中心小学"),
        ("活动", "食品安全督导周"),
        ("督学", "安督学"),
        ("时间", "2026-11-23 10:12:05 +08:00"),
        ("到达", "2026-11-23 20:31:07 +08:00"),
        ("位置", "33.00050, 108.00000（±5 米），距学校 56 米"),
        ("编号", trace_of(photo)),
    ]
    assert trace_of(photo).replace(" ", "").lower() == photo.sha256[:16]


def test_the_language_is_the_installations_whoever_asks(photo: MediaObject, settings: Any) -> None:
    from django.utils import translation

    with translation.override("en"):
        assert "督学" in said(photo)
    settings.LANGUAGE_CODE = "en"
    assert said(photo)["Inspector"] == "安督学"


def test_what_arrives_at_once_needs_no_time_of_arrival(photo: MediaObject) -> None:
    MediaObject.objects.update(stored_at=TAKEN + timedelta(minutes=3))
    assert "到达" not in said(photo)


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (timedelta(minutes=12), "（手机时钟快 12 分钟）"),
        (timedelta(minutes=-12), "（手机时钟慢 12 分钟）"),
        (timedelta(hours=5), "（手机时钟快 5 小时）"),
        (timedelta(days=-3), "（手机时钟慢 3 天）"),
        (timedelta(seconds=20), ""),
    ],
)
def test_a_clock_that_is_off_is_told_beside_its_time(
    photo: MediaObject, cast: Cast, offset: timedelta, words: str
) -> None:
    device: Device = device_of(cast.ada)
    ClockReading.objects.create(
        device=device, offset_ms=offset // timedelta(milliseconds=1), since=TAKEN, until=ARRIVED
    )
    assert said(photo)["时间"] == f"2026-11-23 10:12:05 +08:00{words}"


def test_without_the_phones_time_the_cameras_is_told_as_such(photo: MediaObject) -> None:
    MediaObject.objects.update(taken_at=None)
    assert said(photo)["到达"] == "2026-11-23 20:31:07 +08:00"
    assert "时间" not in said(photo)
    Facts.objects.create(media=photo, exif_at=TAKEN, latitude=33.5, longitude=108.0)
    assert said(photo)["时间"] == "2026-11-23 10:12:05 +08:00（EXIF）"


def test_a_place_by_the_camera_or_far_away_or_nowhere(photo: MediaObject, cast: Cast) -> None:
    MediaObject.objects.update(latitude=None, longitude=None, accuracy_m=None)
    assert said(photo)["位置"] == "没有记录"
    Facts.objects.create(media=photo, latitude=33.1, longitude=108.0)
    assert said(photo)["位置"] == "33.10000, 108.00000（EXIF），距学校 11.1 公里"
    cast.school.latitude = cast.school.longitude = None
    cast.school.save()
    assert said(photo)["位置"] == "33.10000, 108.00000（EXIF）"


def test_evidence_of_a_rectification_names_the_finding_and_who_sent_it(cast: Cast) -> None:
    media = new_photo(cast.principal)
    answer(found(cast), cast.principal, media)
    told = said(media)
    assert told[""] == "东河镇中心小学"
    assert told["整改"] == "未公示食品经营许可证"
    assert told["上传"] == "白校长"
    assert not {"督学", "活动"} & told.keys()


def test_what_stands_alone_says_so(cast: Cast, kitchen: object) -> None:
    media = new_photo(cast.ada)
    fill_in(None, cast.ada, media)
    assert caption(media)[0] == ("", "未归入入校任务")


def test_of_several_uses_the_first_with_a_school_is_written(cast: Cast, visit: Visit) -> None:
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    Submission.objects.update(visit=None)
    assert said(media)[""] == "未归入入校任务"
    fill_in(visit, cast.ada, media)
    answer(found(cast, school_id=cast.school.pk), cast.principal)
    assert said(media)["活动"] == "食品安全督导周"
