"""The gallery: who sees what, by what it is filtered and grouped, and what it costs."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from media_storage.models import MediaObject
from media_storage.stores.folder import Grant
from server.activities.models import Activity, Submission, Visit
from server.console.gallery.page import Gallery, gallery_of
from server.console.gallery.selection import Selection
from server.console.photos import Photo
from server.core import clock, work
from server.evidence.models import Flag, FlagNote
from server.findings.models import Finding
from server.findings.queries import media_visible_to
from server.findings.services import Step, act_on_finding
from server.grid.models import User
from tests.cast import Cast, add_school
from tests.server.console.conftest import fill_in
from tests.server.console.gallery import add_photos

GALLERY = "/admin/media_storage/mediaobject/gallery/"


def look(client: Client, **filters: object) -> Gallery:
    answer = client.get(GALLERY, filters)
    assert answer.status_code == 200
    gallery: Gallery = answer.context["gallery"]
    return gallery


def seen(client: Client, **filters: object) -> list[MediaObject]:
    return [photo.media for group in look(client, **filters).groups for photo in group.photos]


FAR_AWAY = {
    "source": "phone",
    "reference": "school",
    "distance_m": 3336,
    "accuracy_m": 12,
    "limit_m": 500,
}


def flag(
    media: MediaObject, visit: Visit, code: str = "other_place", severity: str = "warn"
) -> Flag:
    return Flag.objects.create(
        key=uuid4().hex, code=code, severity=severity, media=media, visit=visit, details=FAR_AWAY
    )


@pytest.fixture
def photo(made_visit: Visit) -> MediaObject:
    return MediaObject.objects.get()


@pytest.fixture
def record(made_visit: Visit) -> Submission:
    return made_visit.submissions.get()


@pytest.fixture
def far(activity: Activity, cast: Cast) -> MediaObject:
    """Carla's, in the other town."""
    visit = activity.visits.get(school=cast.far_school)
    return add_photos(fill_in(visit, cast.carla, photo=False))[0]


@pytest.fixture
def mended(made_visit: Visit, cast: Cast) -> MediaObject:
    """What the school shows of its rectification."""
    finding = Finding.objects.get()
    media = MediaObject.objects.create(
        owner=cast.principal,
        filename="整改方案.pdf",
        content_type="application/pdf",
        size=9,
        sha256="0" * 64,
        state="ready",
        stored_at=clock.now(),
    )
    step = Step(action="answer", measures="已公示", media=[media.pk])
    act_on_finding(finding_id=finding.pk, action_id=uuid4(), by=cast.principal, step=step)
    return media


# ---- who sees what -----------------------------------------------------------------------------


def test_an_office_sees_its_county_and_a_town_group_its_town(office, group, photo, far):
    assert set(seen(office)) == {photo, far}
    assert seen(group) == [photo]


@pytest.mark.parametrize("who", ["ada", "carla", "principal", "expert"])
def test_who_has_no_office_is_shown_the_door(who, browser, photo, cast: Cast):
    client = browser(getattr(cast, who))
    for path in (GALLERY, f"/admin/media_storage/mediaobject/{photo.pk}/side/"):
        answer = client.get(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


def test_the_gallery_holds_what_the_door_to_media_lets_through(photo, far, mended, cast: Cast):
    lost = {"filename": "own.jpg", "content_type": "image/jpeg", "size": 1, "sha256": "1" * 64}
    MediaObject.objects.create(owner=cast.office, **lost)
    MediaObject.objects.create(owner=cast.bruno, **lost)
    root = User.objects.create(username="root", name="root", is_superuser=True, is_staff=True)
    for user in (cast.office, cast.town_group, cast.ada, cast.carla, cast.principal, root):
        groups = gallery_of(user, Selection()).groups
        shown = {photo.media for group in groups for photo in group.photos}
        assert shown == set(media_visible_to(user)), user


@pytest.mark.parametrize("name", ["visit", "school", "town", "finding", "activity"])
def test_a_filter_by_what_one_may_not_see_is_a_page_that_does_not_exist(
    name, office, group, far, activity: Activity, cast: Cast
):
    visit = activity.visits.get(school=cast.far_school)
    finding = Finding.objects.create(
        school=cast.far_school, title="问题", due_on=clock.today(), raised_by=cast.carla
    )
    hidden = {
        "visit": visit.pk,
        "school": cast.far_school.pk,
        "town": cast.far_town.pk,
        "finding": finding.pk,
        "activity": uuid4(),
    }[name]
    assert group.get(GALLERY, {name: hidden}).status_code == 404
    assert office.get(GALLERY, {name: hidden}).status_code == (404 if name == "activity" else 200)


def test_the_side_of_a_photo_elsewhere_does_not_exist(office, group, far):
    path = f"/admin/media_storage/mediaobject/{far.pk}/side/"
    assert office.get(path).status_code == 200
    assert group.get(path).status_code == 404


def test_a_flag_that_one_may_not_see_is_neither_shown_nor_counted(office, group, photo, cast, far):
    """The same bytes may be used at a school of another town: that flag is for the office there."""
    elsewhere = Visit.objects.get(school=cast.far_school)
    flag(photo, elsewhere)
    assert look(group).numbers == []
    assert seen(group, flag="any") == []
    assert seen(office, flag="any") == [photo]


# ---- filters -----------------------------------------------------------------------------------


@pytest.fixture
def others(record: Submission, activity: Activity, cast: Cast) -> dict[str, MediaObject]:
    """Photos that differ from Ada's first one, each in one respect."""
    other_visit = activity.visits.get(school=cast.other_school)
    far_visit = activity.visits.get(school=cast.far_school)
    elsewhere = Activity.objects.create(
        kind="special",
        title="别的活动",
        area=cast.county,
        starts=clock.today(),
        ends=clock.today(),
        state="published",
        created_by=cast.office,
    )
    other_activity = Visit.objects.create(activity=elsewhere, school=cast.school)
    sent = fill_in(other_visit, cast.bruno, photo=False)
    apart = Submission.objects.get(pk=fill_in(far_visit, cast.carla, photo=False).pk)
    moved = fill_in(other_visit, cast.bruno, photo=False)
    Submission.objects.filter(pk=moved.pk).update(visit=other_activity)
    moved.refresh_from_db()
    week_ago = clock.now() - timedelta(days=7)
    made = {
        "visit": add_photos(sent)[0],
        "town": add_photos(apart)[0],
        "activity": add_photos(moved)[0],
        "item": add_photos(record, item="/storage/fridge")[0],
        "by": add_photos(record, owner=cast.bruno)[0],
        "day": add_photos(record, starts=week_ago)[0],
        "state": add_photos(record, state="rejected", reject_code="broken")[0],
        "kind": add_photos(record, content_type="video/mp4")[0],
        "q": add_photos(record, filename="录像.mp4")[0],
        "flag": add_photos(record)[0],
    }
    flag(made["flag"], record.visit)
    return made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "rejected"),
        ("kind", "video"),
        ("q", "录像"),
        ("flag", "any"),
        ("flag", "other_place"),
        ("flag", "open"),
        ("item", "kitchen/storage/fridge"),
    ],
)
def test_a_filter_leaves_what_it_names(name, value, office, others):
    assert seen(office, **{name: value}) == [others[name]]


def test_a_flag_that_was_explained_is_open_no_more_and_a_hint_is_no_doubt(
    office, photo, others, cast
):
    warned = Flag.objects.get()
    hint = flag(photo, warned.visit, severity="hint")
    FlagNote.objects.create(id=uuid4(), flag=warned, by=cast.office, text="已核实")
    assert seen(office, flag="open") == []
    assert seen(office, flag="any") == [others["flag"]]
    assert seen(office, flag="hint") == [hint.media]


def test_filters_by_place_person_and_day_leave_what_they_name(office, others, cast: Cast):
    def kept(**filters: object) -> set[str]:
        found = seen(office, **filters)
        return {name for name, media in others.items() if media in found}

    here = set(others) - {"visit", "town", "activity"}
    visits = {
        name: Visit.objects.get(submissions__attachments__media=others[name])
        for name in ("visit", "item")
    }
    assert kept(visit=visits["visit"].pk) == {"visit"}
    assert kept(visit=visits["item"].pk) == here
    assert kept(town=cast.far_town.pk) == {"town"}
    assert kept(school=cast.school.pk) == here | {"activity"}
    assert kept(activity=Activity.objects.get(title="别的活动").pk) == {"activity"}
    assert kept(by=cast.bruno.pk) == {"visit", "activity", "by"}
    assert kept(day=timezone.localdate(clock.now() - timedelta(days=7)).isoformat()) == {"day"}


def test_filters_work_together(office, others, cast: Cast):
    assert seen(office, school=cast.school.pk, kind="video") == [others["kind"]]
    assert seen(office, school=cast.other_school.pk, kind="video") == []


@pytest.mark.parametrize(
    "filters",
    [
        {"visit": "nonsense", "day": "2026-13-45", "flag": "x", "state": "stored", "page": "-1"},
        {"item": "no-slash", "kind": "x", "order": "x", "view": "x", "page": "9" * 30},
    ],
)
def test_a_value_that_cannot_be_filters_nothing(filters, office, photo):
    assert seen(office, **filters) == [photo]


def test_a_finding_shows_the_photo_of_the_problem_and_those_of_its_rectification(
    office, photo, mended, record
):
    add_photos(record, item="/storage/fridge")
    add_photos(record, item="/licence", state="declared", stored_at=None)
    gallery = look(office, finding=Finding.objects.get().pk)
    shown = [each for group in gallery.groups for each in group.photos]
    assert {each.media for each in shown} >= {photo, mended}
    assert len(shown) == 3
    assert [each.words for each in gallery.narrowed] == ["未公示食品经营许可证"]


def test_a_set_filter_is_named_and_can_be_taken_away(office, photo, cast: Cast):
    gallery = look(office, school=cast.school.pk, kind="picture", view="day")
    assert [(str(each.label), each.words) for each in gallery.narrowed] == [
        ("学校", "东河镇中心小学"),
        ("种类", "照片"),
    ]
    assert gallery.narrowed[0].without == "?kind=picture&view=day"


def test_the_form_offers_what_one_may_see(office, group, photo, cast: Cast):
    def offered(client: Client, name: str) -> list[str]:
        choices = next(each for each in look(client).filters if each.name == name).choices
        return [choice.words for choice in choices or ()]

    assert offered(group, "school") == ["东河镇中心小学", "东河镇第二小学"]
    assert offered(office, "town") == ["东河镇", "西山镇"]
    assert offered(office, "activity") == ["食品安全督导周"]
    assert offered(office, "item") == ["食品经营许可证是否公示"]
    assert offered(office, "by") == ["安督学"]


def test_with_more_schools_than_a_list_holds_a_town_comes_first(
    office, photo, cast: Cast, monkeypatch
):
    monkeypatch.setattr("server.console.gallery.choices.SELECTABLE", 2)
    page = office.get(GALLERY).content.decode()
    assert "请先选镇街" in page
    assert "东河镇第二小学" not in page
    assert "东河镇第二小学" in office.get(GALLERY, {"town": cast.town.pk}).content.decode()


# ---- what is shown -----------------------------------------------------------------------------


def test_a_square_tells_what_it_proves_when_where_by_whom_and_what_is_doubtful(
    office, photo, made_visit
):
    MediaObject.objects.filter(pk=photo.pk).update(latitude=33.0009, longitude=108.0)
    flag(photo, made_visit)
    page = office.get(GALLERY).content.decode()
    assert "食品经营许可证是否公示" in page
    assert f"{timezone.localtime(photo.taken_at):%m-%d %H:%M}" in page
    assert "距学校 100 米" in page
    assert "安督学" in page
    assert "不在学校拍摄" in page
    assert "离学校 3336 米" in page  # in words, when one points at it


def test_every_picture_waits_for_its_turn_and_keeps_its_place(office, record):
    add_photos(record, 30)
    page = office.get(GALLERY).content.decode()
    pictures = re.findall(r"<img src=\"[^>]*>", page)
    assert len(pictures) == 31
    for picture in pictures:
        assert 'loading="lazy"' in picture
        assert re.search(r'width="\d+" height="\d+"', picture)


def test_the_grid_hands_out_small_and_large_pictures_and_no_original(office, photo, record):
    add_photos(record, 2)
    page = office.get(GALLERY).content.decode()
    grants = [Grant.read(token, method="GET") for token in re.findall(r"/store/([^\"]+)", page)]
    kinds = {grant.place.rpartition("-")[2].partition(".")[0] for grant in grants if grant}
    assert kinds == {"small", "large"}
    assert len(grants) == 6


def test_the_same_pictures_have_the_same_addresses_when_the_page_is_opened_again(office, photo):
    addresses = re.compile(r"/store/[^\"]+")
    first, second = (addresses.findall(office.get(GALLERY).content.decode()) for _ in range(2))
    assert first == second != []


def test_a_rejected_file_is_shown_with_its_reason_and_one_on_its_way_with_its_state(office, record):
    add_photos(record, state="rejected", reject_code="broken")
    add_photos(record, state="declared", stored_at=None)
    add_photos(record, state="processing")
    answer = office.get(GALLERY)
    page = answer.content.decode()
    for words in ("文件已损坏，无法打开", "待上传", "处理中"):
        assert words in page
    assert [(each.count, str(each.shown.word)) for each in answer.context["gallery"].numbers] == [
        (1, "件被拒绝"),
        (1, "件待上传"),
        (1, "件处理中"),
    ]
    for number in answer.context["gallery"].numbers:
        assert look(office, **dict([number.link[1:].split("=")])).total == number.count


def test_a_visit_is_a_group_in_the_order_of_the_form_and_what_mends_stands_beside(
    office, photo, mended, record
):
    fridge = add_photos(record, item="/storage/fridge", starts=clock.now())[0]
    [group] = look(office).groups
    assert group.title == "东河镇中心小学"
    assert [(each.media, each.caption) for each in group.photos] == [
        (photo, "食品经营许可证是否公示"),
        (mended, "整改：食品经营许可证是否公示"),
        (fridge, "冷藏温度"),
    ]


def test_by_day_the_newest_day_comes_first_or_last(office, photo, record, cast: Cast):
    week_ago = clock.now() - timedelta(days=7)
    old = add_photos(record, starts=week_ago)[0]
    days = [f"{timezone.localdate(moment)}" for moment in (clock.now(), week_ago)]
    groups = look(office, view="day").groups
    assert [group.title.partition(" ")[0] for group in groups] == days
    assert groups[0].photos[0].about == cast.school.name
    assert seen(office, view="day", order="old") == [old, photo]


def test_a_photo_that_no_record_uses_is_a_group_of_its_own(office, cast: Cast):
    MediaObject.objects.create(
        owner=cast.office, filename="a.jpg", content_type="image/jpeg", size=1, sha256="0" * 64
    )
    [group] = look(office).groups
    assert group.title == "尚未归入填报"


def test_a_photo_of_two_records_is_shown_once(office, photo, made_visit, cast: Cast):
    again = fill_in(made_visit, cast.ada, photo=False, licence_photo="licence.jpg")
    again.attachments.update(media=photo)
    assert seen(office) == [photo]


def test_one_school_has_a_sketch_whose_dots_and_squares_know_each_other(office, photo, made_visit):
    MediaObject.objects.filter(pk=photo.pk).update(latitude=33.0004, longitude=108.0)
    answer = office.get(GALLERY, {"visit": made_visit.pk})
    drawn = answer.context["gallery"].sketch
    assert [mark.photos for mark in drawn.photos] == [(str(photo.pk),)]
    assert drawn.distance_m == 73
    page = answer.content.decode()
    assert f'data-lights="{photo.pk}"' in page
    assert f'data-id="{photo.pk}"' in page
    assert look(office).sketch is None


def test_without_any_photo_the_page_says_what_will_be_here(office, cast: Cast):
    page = office.get(GALLERY).content.decode()
    assert "还没有收到照片和文件" in page
    assert "/admin/activities/visit/" in page


def test_where_nothing_fits_the_page_leads_back(office, photo):
    page = office.get(GALLERY, {"kind": "audio"}).content.decode()
    assert "没有符合条件的材料" in page
    assert "看全部材料" in page


def test_a_visit_without_photos_still_says_which_it_is(office, visit: Visit):
    answer = office.get(GALLERY, {"visit": visit.pk})
    assert answer.context["gallery"].visit == visit
    assert "没有符合条件的材料" in answer.content.decode()


def test_names_are_text_and_never_markup(office, record):
    add_photos(record, filename='<img src=x onerror="alert(1)">.jpg', item="")
    page = office.get(GALLERY, {"q": "<script>"}).content.decode()
    assert "<script>alert" not in page
    page = office.get(GALLERY).content.decode()
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


# ---- beside a photo ----------------------------------------------------------------------------


def test_beside_a_photo_stand_the_answer_the_times_the_place_and_links(
    office, photo, made_visit, record
):
    MediaObject.objects.filter(pk=photo.pk).update(latitude=33.0009, longitude=108.0)
    flag(photo, made_visit, code="gallery", severity="hint")
    answer = office.get(f"/admin/media_storage/mediaobject/{photo.pk}/side/")
    page = answer.content.decode()
    assert "no-store" in answer["Cache-Control"]  # its addresses live for minutes
    for words in ("不符合", "证件在柜子里", "手机拍摄", "到达服务器", "督学签到", "距签到处"):
        assert words in page
    for words in ("100 米", "手机登记照片是从相册选取的", "单独的页面", photo.sha256):
        assert words in page
    for row in (made_visit, record, Finding.objects.get()):
        assert f"/{row.pk}/change/" in page


def test_beside_a_rectification_s_file_stands_what_was_done(office, mended):
    page = office.get(f"/admin/media_storage/mediaobject/{mended.pk}/side/").content.decode()
    for words in ("问题整改", "已公示", "整改方案.pdf", "单独的页面", "没有位置"):
        assert words in page


def test_a_rejected_file_cannot_be_opened(office, record):
    media = add_photos(record, state="rejected", reject_code="broken")[0]
    for page in ("side", "change"):
        answer = office.get(f"/admin/media_storage/mediaobject/{media.pk}/{page}/").content.decode()
        assert "文件已损坏" in answer
        assert "/store/" not in answer


def test_of_an_edited_record_the_latest_stands_beside_the_photo(office, photo, record, cast: Cast):
    edit = fill_in(record.visit, cast.ada, photo=False, licence_photo="licence.jpg")
    edit.attachments.update(media=photo)
    Submission.objects.filter(pk=edit.pk).update(root_id=record.root_id, replaces=record)
    answer = office.get(f"/admin/media_storage/mediaobject/{photo.pk}/side/")
    assert [use.submission for use in answer.context["side"].uses] == [edit]
    assert "<b>符合</b>" in answer.content.decode()


def test_a_finding_s_page_shows_what_it_looked_like_before(office, photo):
    answer = office.get(f"/admin/findings/finding/{Finding.objects.get().pk}/change/")
    assert [each.media for each in answer.context["problem"]] == [photo]
    assert "问题照片" in answer.content.decode()


@pytest.mark.parametrize(
    ("model", "filter_"),
    [
        ("activities/activity", "activity"),
        ("activities/visit", "visit"),
        ("grid/school", "school"),
        ("findings/finding", "finding"),
    ],
)
def test_activities_visits_schools_and_findings_lead_to_their_photos(
    model, filter_, office, made_visit: Visit, cast: Cast
):
    row = {
        "activity": made_visit.activity,
        "visit": made_visit,
        "school": cast.school,
        "finding": Finding.objects.get(),
    }[filter_]
    page = office.get(f"/admin/{model}/{row.pk}/change/").content.decode()
    assert f"{GALLERY}?{urlencode({filter_: row.pk})}" in page


# ---- what it costs -----------------------------------------------------------------------------


def statements(client: Client, **filters: object) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(GALLERY, filters).status_code == 200
    return len(queries)


@pytest.fixture
def many(activity: Activity, cast: Cast) -> list[Submission]:
    """500 photos of 25 visits, some flagged, in two town's schools."""
    records = []
    for n in range(25):
        school = add_school(f"第{n}小学", f"91012102{n:02}", cast.town if n % 2 else cast.far_town)
        visit = Visit.objects.create(activity=activity, school=school)
        visit.team.set([cast.ada])
        records.append(fill_in(visit, cast.ada, photo=False))
    work.drain_all()
    for record in records:
        flag(add_photos(record, 20)[3], record.visit)
    return records


def test_a_page_of_500_photos_costs_less_than_10_queries(office, many):
    assert statements(office) < 10
    assert len(seen(office)) == 500
    assert look(office).pages == 1


def test_500_photos_cost_what_one_costs(office, photo, record):
    look(office)  # the words of a form's questions are asked for once in a process
    before = statements(office)
    add_photos(record, 499)
    assert look(office).total == 500
    assert statements(office) == before


def test_more_than_500_photos_are_pages_that_cost_no_more_than_one_count(office, many):
    look(office)
    one_page = statements(office)
    add_photos(many[0], 120)
    first, second = look(office), look(office, page=2)
    assert (first.total, first.pages, first.first, first.last) == (620, 2, 1, 500)
    assert (second.first, second.last) == (501, 620)
    assert [number.count for number in first.numbers] == [number.count for number in second.numbers]
    assert first.next == "?page=2"
    assert not set(seen(office)) & set(seen(office, page=2))
    assert statements(office) <= one_page + 1 < 10


def one_by_one(client: Client, **filters: object) -> list[Photo]:
    return [photo for group in look(client, **filters).groups for photo in group.photos]


def test_any_filter_costs_as_little(office, many, cast: Cast):
    everything = {
        "activity": many[0].visit.activity_id,
        "town": cast.far_town.pk,
        "school": many[0].visit.school_id,
        "visit": many[0].visit_id,
        "by": cast.ada.pk,
        "item": "kitchen/licence",
        "flag": "other_place",
        "state": "ready",
        "kind": "picture",
    }
    assert [photo.flags[0].code for photo in one_by_one(office, **everything)] == ["other_place"]
    assert statements(office, **everything) < 10


def test_a_visit_s_page_costs_the_same_for_more_photos(office, photo, made_visit, record):
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            office.get(f"/admin/activities/visit/{made_visit.pk}/change/")
        return len(queries)

    before = cost()
    for each in add_photos(record, 40):
        flag(each, made_visit)
    assert cost() == before
