"""Shared copies over the API: who gets which pictures, and hiding places by hand."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.test import Client

from media_storage.models import MediaObject
from server.findings.services import Step, act_on_finding
from server.sharing.models import SharedCopy
from tests.clients import new
from tests.server.sharing.conftest import (
    answer,
    copy_of,
    fill_in,
    found,
    new_photo,
    run,
)

BOX = {"x": 0.2, "y": 0.25, "width": 0.1, "height": 0.2}


@pytest.fixture
def photo(cast, visit) -> MediaObject:
    """Ada's, of the visit; processed and shared."""
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run()
    return media


@pytest.fixture
def evidence(cast) -> MediaObject:
    """Ada's photo of a verification: the school sees it in its finding."""
    finding = found(cast)
    answer(finding, cast.principal)
    media = new_photo(cast.ada)
    step = Step(action="verify", media=[media.pk])
    act_on_finding(finding_id=finding.pk, action_id=uuid4(), by=cast.ada, step=step)
    run()
    return media


def seen(phone, user, media: MediaObject):
    return phone(user).get(f"/media/{media.pk}")


def names(answered) -> list[str]:
    return [each["name"] for each in answered["renditions"]]


def bytes_at(url: str) -> bytes:
    parts = urlsplit(url)
    response = Client().get(f"{parts.path}?{parts.query}" if parts.query else parts.path)
    try:
        assert response.status_code == 200
        return b"".join(response)
    finally:
        response.close()


def test_who_may_open_the_original_gets_every_picture(cast, phone, photo):
    for user in (cast.ada, cast.office):
        answered = seen(phone, user, photo)
        assert answered["state"] == "ready"
        assert (answered["original"], answered["url"]) == (True, None)
        assert names(answered) == ["small", "large", "shared"]


def test_the_town_group_gets_the_shared_copy_and_its_thumbnail_only(cast, phone, photo):
    answered = seen(phone, cast.town_group, photo)
    assert (answered["state"], answered["url"]) == ("ready", None)
    assert names(answered) == ["small", "shared"]
    assert [each["width"] for each in answered["renditions"]] == [320, 800]


def test_the_principal_sees_the_shared_copy_only(cast, phone, evidence):
    answered = seen(phone, cast.principal, evidence)
    assert (answered["state"], answered["url"]) == ("ready", None)
    assert names(answered) == ["small", "shared"]
    inspector = seen(phone, cast.ada, evidence)
    # The addresses last: what streams closes the test's connection to the database.
    plain = {each["name"]: bytes_at(each["url"]) for each in inspector["renditions"]}
    small, shared = (bytes_at(each["url"]) for each in answered["renditions"])
    assert plain["shared"] == shared
    assert plain["small"] != small


def test_the_principal_gets_all_of_what_the_school_sent_itself(cast, phone):
    media = new_photo(cast.principal)
    answer(found(cast), cast.principal, media)
    run()
    assert names(seen(phone, cast.principal, media)) == ["small", "large", "shared"]
    assert names(seen(phone, cast.town_group, media)) == ["small", "shared"]


def test_carla_sees_no_picture_at_all(cast, phone, photo, evidence):
    for media in (photo, evidence):
        phone(cast.carla).get(f"/media/{media.pk}", status=404)
        phone(cast.carla).get(f"/media/{media.pk}/blur-boxes", status=404)
        phone(cast.carla).put(f"/media/{media.pk}/blur-boxes", {"boxes": []}, status=404)


def test_while_there_is_no_copy_yet_nothing_is_shown_instead(cast, phone, visit):
    media = new_photo(cast.ada)
    fill_in(visit, cast.ada, media)
    run("media", "submissions")
    waiting = seen(phone, cast.town_group, media)
    assert (waiting["state"], waiting["url"], names(waiting)) == ("processing", None, [])
    assert (seen(phone, cast.ada, media)["state"], names(seen(phone, cast.ada, media))) == (
        "ready",
        ["small", "large"],
    )
    run()
    assert seen(phone, cast.town_group, media)["state"] == "ready"


def test_where_there_will_be_no_copy_nobody_is_kept_waiting(cast, phone, photo):
    photo.renditions.filter(name__startswith="shared").delete()
    SharedCopy.objects.update(failed_code="broken", made_at=None)
    answered = seen(phone, cast.town_group, photo)
    assert (answered["state"], names(answered)) == ("ready", [])


def test_places_are_hidden_by_hand_and_the_old_copy_is_gone_at_once(cast, phone, photo):
    path, ada = f"/media/{photo.pk}/blur-boxes", phone(cast.ada)
    assert ada.get(path) == {
        "boxes": [],
        "boxes_by": None,
        "boxes_at": None,
        "blurred": False,
        "faces": [],
        "made_at": ada.get(path)["made_at"],
    }
    saved = ada.put(path, {"boxes": [BOX]})
    assert (saved["boxes"], saved["boxes_by"]["name"], saved["made_at"]) == ([BOX], "安督学", None)
    assert seen(phone, cast.town_group, photo)["state"] == "processing"
    assert names(seen(phone, cast.town_group, photo)) == []
    run()
    assert seen(phone, cast.town_group, photo)["state"] == "ready"
    assert ada.get(path)["made_at"] is not None


def test_boxes_are_refused_with_the_place_of_the_mistake(cast, phone, photo):
    path, ada = f"/media/{photo.pk}/blur-boxes", phone(cast.ada)
    problem = ada.put(path, {"boxes": [BOX, {**BOX, "x": 0.95}]}, status=422)
    assert [each["pointer"] for each in problem["errors"]] == ["/boxes/1"]
    problem = ada.put(path, {"boxes": [{**BOX, "x": 7}]}, status=422)
    assert problem["errors"][0]["pointer"] == "/boxes/0/x"
    problem = ada.put(path, {"boxes": [{"x": 0.1}]}, status=422)
    assert {each["pointer"] for each in problem["errors"]} >= {"/boxes/0/y", "/boxes/0/width"}
    ada.put(path, {}, status=422)
    ada.put(path, [], status=400)
    assert copy_of(photo).boxes == []


def test_who_sees_only_the_copy_hides_nothing(cast, phone, photo):
    group = phone(cast.town_group)
    assert (
        group.put(f"/media/{photo.pk}/blur-boxes", {"boxes": []}, status=403)["code"]
        == "not_allowed"
    )
    group.get(f"/media/{photo.pk}/blur-boxes", status=403)


def test_the_office_has_an_activitys_copies_made_anew(cast, phone, photo, activity):
    path = f"/activities/{activity.pk}/shared-copies"
    assert phone(cast.office).call("POST", path, status=202) == {"pictures": 1}
    phone(cast.ada).call("POST", path, status=403)
    phone(cast.expert).call("POST", path, status=404)
    phone(cast.office).call("POST", f"/activities/{new()}/shared-copies", status=404)


def test_a_pdf_without_the_right_has_no_address(cast, phone, visit):
    media = new_photo(cast.ada, b"%PDF-1.7\n", content_type="application/pdf")
    MediaObject.objects.filter(pk=media.pk).update(state="ready", work_due_at=None)
    fill_in(visit, cast.ada, media)
    answered = seen(phone, cast.town_group, media)
    assert (answered["state"], answered["url"], names(answered)) == ("ready", None, [])
    assert not answered["original"]
    assert seen(phone, cast.office, media)["original"]


def test_reading_costs_no_more_queries_without_the_right(
    cast, phone, photo, django_assert_max_num_queries
):
    group = phone(cast.town_group)
    with django_assert_max_num_queries(14):
        group.get(f"/media/{photo.pk}")
