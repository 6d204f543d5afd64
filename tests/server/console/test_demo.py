"""The demo county at work: enough photos to look at, dated and placed, a few of them doubtful."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from django.core.management import call_command
from django.utils import timezone
from PIL import Image

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.console.demo_photos import moments_of_visits
from server.console.pictures import SCENES, draw
from server.core import clock, work
from server.evidence.models import Flag


@pytest.mark.django_db
@pytest.mark.usefixtures("fast_passwords")
def test_the_county_has_a_week_of_photos_some_of_them_doubtful():
    call_command("load_demo", verbosity=0)
    work.drain_all()
    call_command("load_demo", verbosity=0)  # again: nothing twice
    states = Counter(MediaObject.objects.values_list("state", flat=True))
    assert 60 <= states.total() <= 100
    assert (states["rejected"], states["declared"]) == (1, 1)
    assert MediaObject.objects.filter(content_type="application/pdf", state="ready").exists()
    codes = set(Flag.objects.filter(cleared_at=None).values_list("code", flat=True))
    assert {"gallery", "other_day", "other_place", "reused"} <= codes
    doubtful = Flag.objects.filter(severity="warn").values("media").distinct().count()
    assert doubtful <= 12  # the rest is as it should be
    assert not MediaObject.objects.filter(taken_at__gt=clock.now()).exists()
    assert not Visit.objects.filter(checked_in_at__gt=clock.now()).exists()


@pytest.mark.parametrize(
    ("now", "count"),
    [
        ((2026, 11, 23, 0, 30), 4),  # a Monday before anybody was anywhere
        ((2026, 11, 23, 12, 0), 2),
        ((2026, 11, 25, 18, 0), 12),
        ((2026, 11, 29, 9, 0), 20),  # a Sunday
    ],
)
def test_visits_were_made_this_week_and_are_over(now, count, monkeypatch):
    moment = timezone.make_aware(datetime(*now))  # noqa: DTZ001 - made aware here
    monkeypatch.setattr(clock, "now", lambda: moment)
    begun = moments_of_visits()
    assert len(begun) == count
    assert all(moment - timedelta(days=7) < each < moment - timedelta(minutes=75) for each in begun)


@pytest.mark.parametrize("scene", SCENES)
def test_a_drawing_is_the_same_for_its_number_and_no_other(scene):
    taken_at = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    first = draw(scene, 1, taken_at=taken_at, place=(36.5, 96.25))
    assert first == draw(scene, 1, taken_at=taken_at, place=(36.5, 96.25))
    assert first != draw(scene, 2, taken_at=taken_at, place=(36.5, 96.25))
    exif = Image.open(BytesIO(first)).getexif()
    assert exif.get_ifd(0x8769)[0x9003] == "2026:11:23 09:30:00"
    assert exif.get_ifd(0x8825)[2] == (36.0, 30.0, 0.0)
