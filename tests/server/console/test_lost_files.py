"""A record whose file the store has no more is seen by its office, and by nobody else."""

from __future__ import annotations

from django.test import Client

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.core import clock
from tests.cast import Cast
from tests.server.console.conftest import Browser

LIST = "/admin/media_storage/mediaobject/"


def lose() -> MediaObject:
    media = MediaObject.objects.get()
    MediaObject.objects.update(lost_at=clock.now())
    return media


def test_the_office_finds_it_by_a_filter_and_reads_it_on_its_page(
    office: Client, made_visit: Visit
) -> None:
    lost = f"{LIST}?lost=yes"
    name = MediaObject.objects.get().filename
    assert name not in office.get(lost).content.decode()
    media = lose()
    assert name in office.get(lost).content.decode()
    page = office.get(f"{LIST}{media.pk}/change/").content.decode()
    assert "文件缺失" in page
    assert "发现文件缺失" in page


def test_carla_sees_nothing_of_it(browser: Browser, cast: Cast, made_visit: Visit) -> None:
    media = lose()
    carla = browser(cast.carla)
    assert carla.get(f"{LIST}{media.pk}/change/").status_code != 200
    assert media.filename not in carla.get(f"{LIST}?lost=yes").content.decode()
