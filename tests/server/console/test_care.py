"""Care for what photos show, on the console's pages: originals, holds, deletion, exports, the log."""

from __future__ import annotations

import csv
import html
import io
import json
from datetime import timedelta
from io import BytesIO
from uuid import uuid4

import pytest
from django.test import Client
from openpyxl import load_workbook

from media_storage.models import MediaObject
from media_storage.stores.folder import Grant
from server.activities.models import Activity, Visit
from server.care.counting import follow_feed
from server.care.deleting import PUMP as DELETIONS
from server.care.exporting import PUMP as EXPORTS
from server.care.models import Deletion, Export, Hold, OriginalsGrant
from server.core import clock, work
from server.core.audit import AuditEntry
from tests.cast import Cast
from tests.server.care.conftest import LONG_AGO
from tests.server.console.conftest import fill_in
from tests.server.console.test_lists import statements

LOG = "/admin/core/auditentry/"
MEDIA = "/admin/media_storage/mediaobject/"
DELETION = "/admin/care/deletion/"


@pytest.fixture
def photo(settled: None, made_visit: Visit) -> MediaObject:
    MediaObject.objects.update(stored_at=clock.now() - LONG_AGO)
    return MediaObject.objects.get(submission_attachments__submission__visit=made_visit)


@pytest.fixture
def deleted(photo: MediaObject, office: Client) -> Deletion:
    """On a parent's request, at once."""
    office.post(f"{MEDIA}{photo.pk}/do/delete/", {"note": "家长申请"})
    row = Deletion.objects.get()
    office.post(f"{DELETION}{row.pk}/do/now/")
    work.drain(DELETIONS)
    row.refresh_from_db()
    return row


def body(client: Client, path: str, **options: object) -> str:
    answer = client.get(path, **options)
    assert answer.status_code == 200, path
    return answer.content.decode()


# ---- originals -------------------------------------------------------------------------------


def test_no_page_carries_the_address_of_an_original(
    office: Client, photo: MediaObject, made_visit: Visit
) -> None:
    submission = made_visit.submissions.get()
    for path in (
        f"{MEDIA}{photo.pk}/change/",
        f"/admin/activities/visit/{made_visit.pk}/change/",
        f"/admin/activities/submission/{submission.pk}/change/",
    ):
        page = body(office, path)
        assert "/store/" in page  # the renditions
        assert "data-original" not in page
        places = granted(page)
        assert places
        assert f"objects/{photo.key}" not in places
    assert not AuditEntry.objects.exists()


def granted(page: str) -> set[str]:
    """The places in the store to which the addresses on a page lead."""
    tokens = [html.unescape(part.split('"')[0]) for part in page.split("/store/")[1:]]
    return {grant.place for token in tokens if (grant := Grant.read(token, method="GET"))}


def test_the_original_is_opened_by_a_button_that_asks_why(
    office: Client, photo: MediaObject, cast: Cast
) -> None:
    assert "查看原图" in body(office, f"{MEDIA}{photo.pk}/change/")
    answer = office.post(f"{MEDIA}{photo.pk}/do/original/", {"note": "核对留样"})
    assert answer.status_code == 302
    served = Client().get(answer["Location"].removeprefix("http://testserver"))
    assert len(b"".join(served)) == photo.size
    entry = AuditEntry.objects.get()
    assert (entry.by, entry.details["reason"]) == (cast.office, "核对留样")
    assert entry.session
    assert entry.request_id


def test_a_town_group_has_no_such_button(group: Client, photo: MediaObject) -> None:
    page = body(group, f"{MEDIA}{photo.pk}/change/")
    assert "查看原图" not in page
    assert "申请删除" not in page
    answer = group.post(f"{MEDIA}{photo.pk}/do/original/", {"note": "x"}, follow=True)
    assert "此操作现在不能进行" in answer.content.decode()
    assert not AuditEntry.objects.exists()


def test_a_grant_is_given_and_taken_back(
    office: Client, group: Client, photo: MediaObject, cast: Cast
) -> None:
    answer = office.post(
        "/admin/care/originalsgrant/add/",
        {"user": cast.town_group.pk, "school": cast.school.pk, "reason": "复核"},
    )
    grant = OriginalsGrant.objects.get()
    assert answer["Location"].endswith(f"/{grant.pk}/change/")
    assert "查看原图" in body(group, f"{MEDIA}{photo.pk}/change/")
    office.post(f"/admin/care/originalsgrant/{grant.pk}/do/end/")
    assert "查看原图" not in body(group, f"{MEDIA}{photo.pk}/change/")


def test_a_grant_without_a_place_says_what_is_missing(office: Client, photo, cast: Cast) -> None:
    page = office.post(
        "/admin/care/originalsgrant/add/", {"user": cast.ada.pk, "reason": "复核"}
    ).content.decode()
    assert "请选择一个行政区或一所学校" in page
    assert not OriginalsGrant.objects.exists()


def test_a_town_group_grants_nothing(group: Client, photo, cast: Cast) -> None:
    assert group.get("/admin/care/originalsgrant/add/").status_code == 404


# ---- holds and deletion ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["activity", "school", "visit", "media"])
def test_a_hold_is_set_where_its_target_is_shown_and_lifted(
    kind: str, office: Client, photo: MediaObject, made_visit: Visit
) -> None:
    page = {
        "activity": f"/admin/activities/activity/{made_visit.activity_id}",
        "school": f"/admin/grid/school/{made_visit.school_id}",
        "visit": f"/admin/activities/visit/{made_visit.pk}",
        "media": f"{MEDIA}{photo.pk}",
    }[kind]
    office.post(f"{page}/do/hold/", {"note": "投诉调查"})
    hold = Hold.objects.get()
    if kind != "visit":  # its page has a place of its own for facts
        assert "投诉调查" in body(office, f"{page}/change/")
    answer = office.post(f"{MEDIA}{photo.pk}/do/delete/", {"note": "家长申请"}, follow=True)
    assert "处于保全中" in answer.content.decode()
    assert not Deletion.objects.exists()
    office.post(f"/admin/care/hold/{hold.pk}/do/lift/", {"note": "结案"})
    hold.refresh_from_db()
    assert not hold.is_active
    assert "已解除" in body(office, f"/admin/care/hold/{hold.pk}/change/")


def test_a_town_group_sets_no_hold(group: Client, photo: MediaObject, made_visit: Visit) -> None:
    assert "设置保全" not in body(group, f"/admin/activities/visit/{made_visit.pk}/change/")
    group.post(f"/admin/activities/visit/{made_visit.pk}/do/hold/", {"note": "x"})
    assert not Hold.objects.exists()


def test_what_is_due_is_listed_and_can_be_kept(office: Client, photo: MediaObject) -> None:
    office.post(f"{MEDIA}{photo.pk}/do/delete/", {"note": "家长申请"})
    row = Deletion.objects.get()
    assert "licence.jpg" in body(office, f"{DELETION}?state__exact=due")
    until = clock.today() + timedelta(days=90)
    office.post(f"{DELETION}{row.pk}/do/keep/", {"note": "典型经验", "day": until.isoformat()})
    row.refresh_from_db()
    assert (row.state, row.kept_until) == ("kept", until)
    assert "典型经验" in body(office, f"{DELETION}{row.pk}/change/")


def test_a_deletion_ends_in_a_certificate_to_print_and_to_keep(
    office: Client, deleted: Deletion, photo: MediaObject, activity: Activity
) -> None:
    assert deleted.state == "deleted"
    printed = body(office, f"{DELETION}{deleted.pk}/certificate/")
    for text in (deleted.number, photo.sha256, "licence.jpg", "家长申请", "404", "方主任"):
        assert text in printed
    answer = office.get(f"{DELETION}{deleted.pk}/certificate.json")
    assert answer["Content-Disposition"].startswith("attachment")
    assert json.loads(answer.content) == deleted.certificate
    every = f"{DELETION}activity/{activity.pk}/certificates"
    assert deleted.number in body(office, f"{every}/")
    assert json.loads(office.get(f"{every}.json").content) == [deleted.certificate]
    assert "已按规定删除" in body(
        office, f"/admin/activities/visit/{activity.visits.get(school=deleted.school).pk}/change/"
    )


def test_another_town_knows_nothing_of_it(
    browser, deleted: Deletion, activity: Activity, cast: Cast
) -> None:
    cast.town_group.memberships.update(area=cast.far_town)
    stranger = browser(cast.town_group)
    for path in (
        f"{DELETION}{deleted.pk}/change/",
        f"{DELETION}{deleted.pk}/certificate/",
        f"{DELETION}{deleted.pk}/certificate.json",
        f"{DELETION}activity/{activity.pk}/certificates/",
        f"{DELETION}activity/{activity.pk}/retention/",
    ):
        assert stranger.get(path).status_code == 404, path
    assert "licence.jpg" not in body(stranger, DELETION)


def test_the_period_is_set_on_the_activity_s_page(
    office: Client, group: Client, photo, activity: Activity
) -> None:
    path = f"{DELETION}activity/{activity.pk}/retention/"
    assert "长期保存" in body(office, path)
    answer = office.post(path, {"choice": "days", "reason": "规定"})
    assert "请填写" in answer.content.decode()
    office.post(path, {"choice": "days", "keep_media_days": 180, "reason": "规定"})
    activity.refresh_from_db()
    assert activity.media_kept_until == activity.ends + timedelta(days=180)
    page = body(office, f"/admin/activities/activity/{activity.pk}/change/")
    assert f"{activity.media_kept_until:%Y-%m-%d}" in page
    assert group.get(path).status_code == 404


def test_the_period_is_planned_with_the_activity(office: Client, kitchen, cast: Cast) -> None:
    office.post(
        "/admin/activities/activity/add/",
        {
            "title": "常规督导",
            "kind": "routine",
            "starts": "2026-12-01",
            "ends": "2026-12-05",
            "keep_media_days": "365",
            "instruments": [kitchen.instrument_id],
            "schools": [cast.school.pk],
        },
    )
    assert Activity.objects.get().keep_media_days == 365


# ---- exports and storage ---------------------------------------------------------------------


def test_an_export_is_asked_for_watched_and_downloaded(
    office: Client, photo: MediaObject, activity: Activity
) -> None:
    page = body(office, f"/admin/activities/activity/{activity.pk}/change/")
    path = f"/admin/care/export/activity/{activity.pk}/"
    assert path in page
    assert "共 1 份材料，其中 1 份您有权导出原图" in body(office, path)
    refused = office.post(path, {"variant": "originals"}).content.decode()
    assert "请说明用途" in refused
    answer = office.post(path, {"variant": "originals", "reason": "存档"}, follow=True)
    export = Export.objects.get()
    assert "http-equiv" in answer.content.decode()
    work.drain(EXPORTS)
    page = body(office, f"/admin/care/export/{export.pk}/change/")
    assert "下载 ZIP" in page
    assert "http-equiv" not in page
    opened = office.post(f"/admin/care/export/{export.pk}/do/open/")
    assert b"".join(Client().get(opened["Location"].removeprefix("http://testserver")))[:2] == b"PK"
    assert AuditEntry.objects.filter(action="export.opened").count() == 1


def test_an_export_is_its_maker_s_alone(
    office: Client, group: Client, photo: MediaObject, activity: Activity
) -> None:
    office.post(f"/admin/care/export/activity/{activity.pk}/", {"variant": "shared"})
    export = Export.objects.get()
    assert group.get(f"/admin/care/export/{export.pk}/change/").status_code == 404
    assert group.post(f"/admin/care/export/{export.pk}/do/open/").status_code == 404


def test_storage_use_adds_up_and_links_to_the_files(
    office: Client, photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    follow_feed()
    page = body(office, f"{DELETION}storage/")
    assert activity.title in page
    assert cast.school.name in page
    for link in (f"activity={activity.pk}", f"school={cast.school.pk}", "state__exact=ready"):
        assert f"{MEDIA}?{link}" in page
        rows = office.get(f"{MEDIA}?{link}").context["cl"].queryset
        assert list(rows) == [photo]
    assert "state__exact=ready&amp;activity=" in body(
        office, f"{DELETION}storage/?activity={activity.pk}"
    )
    empty = body(office, f"{DELETION}storage/?area={cast.far_town.pk}")
    assert "这个范围内还没有材料" in empty
    for wrong in ("area", "activity"):
        assert office.get(f"{DELETION}storage/?{wrong}={uuid4()}").status_code == 404


def test_storage_use_costs_the_same_for_more(
    office: Client, photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    follow_feed()
    office.get(f"{DELETION}storage/")
    before = statements(office, f"{DELETION}storage/")
    for school in (cast.other_school, cast.far_school):
        visit = activity.visits.get(school=school)
        fill_in(visit, visit.team.get())
    follow_feed()
    assert statements(office, f"{DELETION}storage/") == before
    assert cast.far_school.name in body(office, f"{DELETION}storage/")


def test_another_town_s_storage_is_not_shown(
    browser, photo: MediaObject, activity: Activity, cast: Cast
) -> None:
    follow_feed()
    cast.town_group.memberships.update(area=cast.far_town)
    page = body(browser(cast.town_group), f"{DELETION}storage/")
    assert cast.school.name not in page


# ---- the log ---------------------------------------------------------------------------------


@pytest.fixture
def logged(office: Client, photo: MediaObject) -> AuditEntry:
    office.post(f"{MEDIA}{photo.pk}/do/original/", {"note": "=核对"})
    return AuditEntry.objects.get()


def test_the_log_is_filtered_by_action_object_person_and_school(
    office: Client, logged: AuditEntry, photo: MediaObject, cast: Cast
) -> None:
    for asked, shown in [
        ("action=media.original_opened", 1),
        ("action=hold.set", 0),
        (f"object={photo.pk}", 1),
        (f"object={cast.school.pk}", 0),
        (f"person={cast.office.pk}", 1),
        (f"person={cast.ada.pk}", 0),
        (f"school={cast.school.pk}", 1),
        ("period=month", 1),
        ("q=方主任", 1),
        ("q=nobody", 0),
        ("object=nonsense", 1),
    ]:
        rows = office.get(f"{LOG}?{asked}").context["cl"].queryset
        assert rows.count() == shown, asked
    page = body(office, f"{LOG}{logged.pk}/change/")
    assert "licence.jpg" in page
    assert str(logged.request_id) in page


def test_the_log_is_seen_by_the_offices_of_its_schools(
    browser, group: Client, logged: AuditEntry, cast: Cast
) -> None:
    assert group.get(LOG).context["cl"].queryset.count() == 1
    cast.town_group.memberships.update(area=cast.far_town)
    stranger = browser(cast.town_group)
    assert stranger.get(LOG).context["cl"].queryset.count() == 0
    assert stranger.get(f"{LOG}{logged.pk}/change/").status_code == 404
    assert stranger.get(f"{LOG}abc/change/").status_code == 404


def test_the_log_is_taken_along_as_csv_and_excel_and_that_is_logged(
    office: Client, logged: AuditEntry
) -> None:
    answer = office.get(f"{LOG}log.csv?action=media.original_opened")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    [row] = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["操作人"], row["操作"]) == ("方主任", "查看原图")
    assert "理由：=核对" in row["详情"]
    sheet = load_workbook(BytesIO(office.get(f"{LOG}log.xlsx").content)).worksheets[0]
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0][0] == "时间"
    assert {each[2] for each in rows[1:]} == {"查看原图", "导出操作日志"}
    assert AuditEntry.objects.filter(action="log.exported").count() == 2


def test_nobody_changes_the_log_by_hand(office: Client, logged: AuditEntry) -> None:
    office.post(f"{LOG}{logged.pk}/delete/", {"post": "yes"})
    office.post(f"{LOG}{logged.pk}/change/", {"by_name": "别人"})
    logged.refresh_from_db()
    assert logged.by_name == "方主任"
    assert office.get(f"{LOG}add/").status_code == 403
