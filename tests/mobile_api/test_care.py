"""Originals, retention, exports and storage use over the API; and who may."""

from __future__ import annotations

import hashlib
import io
import zipfile
from datetime import timedelta

import pytest
from django.test import Client

from media_storage.models import MediaObject
from server.activities.models import Activity, Visit
from server.care.counting import follow_feed
from server.care.deleting import PUMP as DELETIONS
from server.care.deleting import delete_now, request_deletion
from server.care.exporting import PUMP as EXPORTS
from server.core import clock, work
from server.core.audit import AuditEntry
from tests.clients import new
from tests.server.care.conftest import LONG_AGO
from tests.server.console.conftest import made_visit

__all__ = ["made_visit"]


@pytest.fixture
def photo(settled: None, made_visit: Visit) -> MediaObject:
    return MediaObject.objects.get(submission_attachments__submission__visit=made_visit)


def fetched(url: str) -> bytes:
    response = Client().get(url.removeprefix("http://testserver"))
    assert response.status_code == 200
    return b"".join(response)


# ---- originals -------------------------------------------------------------------------------


def test_looking_at_a_photo_gives_renditions_and_logs_nothing(cast, phone, photo):
    for person, original in [(cast.ada, True), (cast.office, True), (cast.town_group, False)]:
        read = phone(person).get(f"/media/{photo.pk}")
        assert (read["url"], read["original"]) == (None, original)
        pictures = {"small", "large", "shared"} if original else {"small", "shared"}
        assert {each["name"] for each in read["renditions"]} == pictures
        assert all(each["url"] for each in read["renditions"])
    assert not AuditEntry.objects.exists()


def test_an_original_is_asked_for_and_each_time_is_in_the_log(cast, phone, photo):
    office = phone(cast.office)
    opened = office.post(f"/media/{photo.pk}/original", {"reason": "核对留样"})
    assert hashlib.sha256(fetched(opened["url"])).hexdigest() == photo.sha256
    assert opened["expires_at"] > clock.now().isoformat()
    phone(cast.ada).post(f"/media/{photo.pk}/original", {})
    entries = list(AuditEntry.objects.order_by("pk"))
    assert [entry.by for entry in entries] == [cast.office, cast.ada]
    assert entries[0].details["reason"] == "核对留样"
    assert str(entries[0].device_id) == office.device_id
    assert entries[0].request_id


def test_who_may_not_open_an_original_is_refused_and_carla_knows_of_nothing(cast, phone, photo):
    path = f"/media/{photo.pk}/original"
    assert phone(cast.town_group).post(path, {}, status=403)["code"] == "not_allowed"
    phone(cast.carla).post(path, {}, status=404)
    phone(cast.principal).post(path, {}, status=404)
    assert not AuditEntry.objects.exists()


def test_a_deleted_file_says_so_everywhere(cast, phone, photo):
    MediaObject.objects.update(stored_at=clock.now() - LONG_AGO)
    _changes, cursor = phone(cast.ada).sync()
    [row] = request_deletion(media_ids=[photo.pk], by=cast.office, reason="家长要求")
    delete_now(deletion_id=row.pk, by=cast.office)
    work.drain(DELETIONS)
    ada, row = phone(cast.ada), type(row).objects.get()
    read = ada.get(f"/media/{photo.pk}")
    assert (read["state"], read["original"], read["renditions"]) == ("deleted", False, [])
    assert "已按规定删除" in read["reason"]
    assert read["deleted"]["certificate"] == row.number
    assert read["deleted"]["rule"] == "request"
    assert ada.post(f"/media/{photo.pk}/original", {}, status=410)["code"] == "gone"
    assert ada.get(f"/media/{photo.pk}/upload")["upload"]["parts"] == []
    assert ada.post(f"/media/{photo.pk}/complete")["state"] == "deleted"
    changes, _cursor = ada.sync(cursor)
    [submission] = [change["data"] for change in changes if change["type"] == "submission"]
    [file] = submission["attachments"]
    assert (file["state"], submission["state"]) == ("deleted", "complete")
    assert "已按规定删除" in file["reason"]


# ---- retention -------------------------------------------------------------------------------


def test_an_activity_says_how_long_its_photos_are_kept(cast, phone, kitchen, settings):
    settings.KEEP_MEDIA_DAYS = 365
    office = phone(cast.office)
    plan = {
        "kind": "routine",
        "title": "常规督导",
        "starts": "2026-12-01",
        "ends": "2026-12-10",
        "instruments": ["kitchen"],
        "schools": [str(cast.school.pk)],
    }
    made = office.post("/activities", {**plan, "keep_media_days": 30}, status=201)
    assert (made["keep_media_days"], made["media_kept_until"]) == (30, "2027-01-09")
    usual = office.post("/activities", plan, status=201)
    assert (usual["keep_media_days"], usual["media_kept_until"]) == (365, "2027-12-10")
    ever = office.post("/activities", {**plan, "keep_media_days": None}, status=201)
    assert (ever["keep_media_days"], ever["media_kept_until"]) == (None, None)
    office.post("/activities", {**plan, "keep_media_days": 0}, status=422)


def test_the_office_changes_it_later_and_nobody_else(cast, phone, activity: Activity):
    path = f"/activities/{activity.pk}/retention"
    office = phone(cast.office)
    changed = office.put(path, {"keep_media_days": 90, "reason": "规定"})
    assert changed["media_kept_until"] == (activity.ends + timedelta(days=90)).isoformat()
    until = (activity.ends + timedelta(days=10)).isoformat()
    assert office.put(path, {"until": until, "reason": "规定"})["keep_media_days"] == 10
    assert office.put(path, {"reason": "长期"})["media_kept_until"] is None
    office.put(path, {"keep_media_days": 90}, status=422)
    for person in (cast.ada, cast.carla, cast.principal, cast.town_group):
        phone(person).put(path, {"keep_media_days": 1, "reason": "x"}, status=404)


# ---- exports ---------------------------------------------------------------------------------


def test_an_export_is_asked_for_waited_for_and_fetched(cast, phone, photo, activity: Activity):
    office = phone(cast.office)
    body = {"id": new(), "variant": "originals", "reason": "存档"}
    asked = office.post(f"/activities/{activity.pk}/exports", body, status=202)
    assert (asked["state"], asked["url"]) == ("waiting", None)
    assert office.post(f"/activities/{activity.pk}/exports", body, status=202)["id"] == body["id"]
    assert office.get(f"/exports/{body['id']}")["url"] is None
    work.drain(EXPORTS)
    ready = office.get(f"/exports/{body['id']}")
    assert (ready["state"], ready["total"], ready["done"]) == ("ready", 1, 1)
    content = fetched(ready["url"])
    assert hashlib.sha256(content).hexdigest() == ready["sha256"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".jpg")]
        assert hashlib.sha256(archive.read(name)).hexdigest() == photo.sha256
    [listed] = office.get(f"/activities/{activity.pk}/exports")["results"]
    assert (listed["id"], listed["url"]) == (body["id"], None)
    actions = [entry.action for entry in AuditEntry.objects.order_by("pk")]
    assert actions == ["export.requested", "media.original_exported", "export.opened"]


def test_an_export_is_nobody_else_s(cast, phone, photo, activity: Activity):
    body = {"id": new(), "variant": "shared"}
    path = f"/activities/{activity.pk}/exports"
    phone(cast.office).post(path, body, status=202)
    work.drain(EXPORTS)
    for person in (cast.town_group, cast.ada, cast.carla):
        phone(person).get(f"/exports/{body['id']}", status=404)
    assert phone(cast.town_group).get(path)["results"] == []
    for person in (cast.ada, cast.carla, cast.principal):
        phone(person).get(path, status=404)
        phone(person).post(path, {"id": new(), "variant": "shared"}, status=404)


def test_a_town_group_may_export_shared_copies_only(cast, phone, photo, activity: Activity):
    group, path = phone(cast.town_group), f"/activities/{activity.pk}/exports"
    body = {"id": new(), "variant": "originals", "reason": "存档"}
    assert group.post(path, body, status=403)["code"] == "not_allowed"
    group.post(path, {**body, "variant": "shared"}, status=202)


def test_a_list_of_exports_costs_the_same_for_more(
    cast, phone, photo, activity: Activity, django_assert_max_num_queries
):
    office, path = phone(cast.office), f"/activities/{activity.pk}/exports"
    for _ in range(3):
        office.post(path, {"id": new(), "variant": "shared"}, status=202)
    with django_assert_max_num_queries(7):
        assert len(office.get(path)["results"]) == 3


# ---- storage ---------------------------------------------------------------------------------


def test_storage_use_is_told_by_activity_school_and_state(
    cast, phone, photo, activity: Activity, django_assert_max_num_queries
):
    follow_feed()
    office = phone(cast.office)
    with django_assert_max_num_queries(9):
        use = office.get("/figures/storage")
    assert use["as_of"]
    assert (use["total"]["files"], use["total"]["size"]) == (1, photo.size)
    assert use["total"]["renditions"] == 4  # two plain, two for sharing
    [line] = use["activities"]
    assert (line["id"], line["name"]) == (str(activity.pk), activity.title)
    assert [each["name"] for each in use["schools"]] == [cast.school.name]
    assert [each["state"] for each in use["states"]] == ["ready"]


def test_storage_use_is_narrowed_by_area_and_activity(cast, phone, photo, activity: Activity):
    follow_feed()
    office = phone(cast.office)
    assert office.get("/figures/storage", area=cast.town.pk)["total"]["files"] == 1
    assert office.get("/figures/storage", area=cast.far_town.pk)["total"]["files"] == 0
    assert office.get("/figures/storage", activity=activity.pk)["total"]["files"] == 1
    office.get("/figures/storage", activity=new(), status=404)
    office.get("/figures/storage", area=new(), status=404)


def test_storage_use_is_for_offices_each_for_its_schools(cast, phone, photo):
    follow_feed()
    assert phone(cast.town_group).get("/figures/storage")["total"]["files"] == 1
    for person in (cast.ada, cast.carla, cast.principal, cast.expert):
        phone(person).get("/figures/storage", status=404)
