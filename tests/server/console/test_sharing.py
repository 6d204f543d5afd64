"""Shared copies in the console: the page on which places are hidden, and who gets which pictures."""

from __future__ import annotations

import json

import pytest
from django.test import Client
from django.urls import reverse

from media_storage.models import MediaObject
from server.activities.models import Activity
from server.sharing.models import SharedCopy
from tests.cast import Cast
from tests.server.sharing.conftest import (  # noqa: F401 - a fixture
    blur_kitchen,
    copy_of,
    names_of,
    run,
    shared_photo,
)

pytestmark = pytest.mark.django_db

BOX = [0.2, 0.25, 0.1, 0.2]


def page(media: MediaObject, name: str = "change") -> str:
    return reverse(f"admin:media_storage_mediaobject_{name}", args=[media.pk])


def html(client: Client, address: str) -> str:
    answer = client.get(address, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_office_hides_a_place_and_sees_the_new_copy(
    office: Client,
    shared_photo: MediaObject,  # noqa: F811
) -> None:
    assert page(shared_photo, "blur") in html(office, page(shared_photo))
    shown = html(office, page(shared_photo, "blur"))
    assert "其他人看到的共享图" in shown
    assert "其他人看不到这张图片" not in shown
    sent = {"boxes": json.dumps([BOX])}
    answer = office.post(page(shared_photo, "blur"), sent, follow=True).content.decode()
    assert "已保存，共享图正在重做。" in answer
    assert "其他人看不到这张图片" in answer
    assert copy_of(shared_photo).boxes == [BOX]
    run()
    shown = html(office, page(shared_photo, "blur"))
    assert "方主任" in shown
    assert "其他人看不到这张图片" not in shown
    assert str(BOX[0]) in shown


@pytest.mark.parametrize(
    "sent", ["", "x", "{}", "[1]", "[[1,2,3]]", "[[0,0,2,2]]", "[[null,0,1,1]]"]
)
def test_nonsense_is_refused_in_words(
    office: Client,
    shared_photo: MediaObject,  # noqa: F811
    sent: str,
) -> None:
    answer = office.post(page(shared_photo, "blur"), {"boxes": sent}, follow=True)
    if sent != "{}":  # no boxes: nothing is hidden, as before
        assert "已保存" not in answer.content.decode()
    assert copy_of(shared_photo).boxes == []
    assert "shared" in names_of(shared_photo)


def test_the_town_group_sees_copies_only(
    group: Client,
    office: Client,
    cast: Cast,
    shared_photo: MediaObject,  # noqa: F811
) -> None:
    keys = dict(shared_photo.renditions.values_list("name", "key"))
    shown, whole = html(group, page(shared_photo)), html(office, page(shared_photo))
    assert "查看原图" not in shown
    assert "查看原图" in whole
    assert page(shared_photo, "blur") not in shown
    assert "重做共享图" not in shown
    assert "只有可以查看原图的人员可以遮挡图片。" in html(group, page(shared_photo, "blur"))
    visit = reverse(
        "admin:activities_visit_change",
        args=[shared_photo.submission_attachments.get().submission.visit_id],
    )
    assert served(html(group, visit)) == {keys["shared_small"], keys["shared"]}
    assert served(html(office, visit)) >= {keys["small"], keys["large"]}


def served(page: str) -> set[str]:
    """The keys behind the signed addresses of a page."""
    import re

    from media_storage.stores.folder import Grant

    found = set()
    for token in re.findall(r"/store/([^\"?&<]+)", page):
        grant = Grant.read(token, method="GET")
        assert grant
        found.add(grant.place.removeprefix("objects/"))
    return found


def test_a_copy_that_is_still_made_is_announced_instead_of_the_picture(
    group: Client,
    shared_photo: MediaObject,  # noqa: F811
) -> None:
    shared_photo.renditions.filter(name__startswith="shared").delete()
    shown = html(group, page(shared_photo))
    assert served(shown) == set()


def test_the_office_has_copies_made_anew(
    office: Client,
    shared_photo: MediaObject,  # noqa: F811
    activity: Activity,
) -> None:
    blur_kitchen()
    deed = reverse("admin:activities_activity_do", args=[activity.pk, "share"])
    answer = office.post(deed, follow=True).content.decode()
    assert "正在检查 1 张图片的共享图" in answer
    run()
    assert copy_of(shared_photo).blurred
    blur_kitchen(False)
    deed = reverse("admin:media_storage_mediaobject_do", args=[shared_photo.pk, "share"])
    assert "共享图正在重做。" in office.post(deed, follow=True).content.decode()
    run()
    assert not copy_of(shared_photo).blurred


def test_a_copy_that_cannot_be_made_says_why(
    office: Client,
    shared_photo: MediaObject,  # noqa: F811
) -> None:
    shared_photo.renditions.filter(name__startswith="shared").delete()
    SharedCopy.objects.update(failed_code="too_slow", made_at=None)
    assert "处理这个文件用时过长" in html(office, page(shared_photo, "blur"))


def test_a_printed_copy_leads_to_its_original(
    office: Client,
    shared_photo: MediaObject,  # noqa: F811
) -> None:
    from server.sharing.captions import trace_of

    changelist = reverse("admin:media_storage_mediaobject_changelist")
    found = office.get(changelist, {"q": trace_of(shared_photo)}).content.decode()
    assert page(shared_photo) in found
    other = office.get(changelist, {"q": "0000 0000 0000 0000"}).content.decode()
    assert page(shared_photo) not in other


def test_carla_has_no_such_page(browser, cast: Cast, shared_photo: MediaObject) -> None:  # noqa: F811
    answer = browser(cast.carla).get(page(shared_photo, "blur"), follow=True)
    assert answer.redirect_chain or answer.status_code in (403, 404)
    assert "其他人看到的共享图" not in answer.content.decode()
