"""Flags on the console's pages: under each photo, explained on its page, filtered in lists."""

from __future__ import annotations

import pytest
from django.test.utils import CaptureQueriesContext

from server.evidence.models import FlagNote, PhotoCheck
from tests.evidence import FAR, codes, flag

OTHER_SCHOOL = (33.01, 108.0)


@pytest.fixture
def photo(day, cast, visit, bruno_visit, record):
    """Ada's, from elsewhere, and the same file as one of Bruno's; her check-in was elsewhere too."""
    day.check_in(visit, cast.ada, place=FAR)
    photo = day.photo(cast.ada, content="gate", place=FAR)
    record(photo, visit)
    record(day.photo(cast.bruno, content="gate", place=OTHER_SCHOOL), bruno_visit)
    day.work()
    assert codes(photo) == ["other_place", "reused"]
    return photo


def page(client, path: str) -> str:
    answer = client.get(f"/admin/{path}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_visit_s_page_shows_the_flags_of_its_photos_and_of_its_check_in(office, photo, visit):
    shown = page(office, f"activities/visit/{visit.pk}/change/")
    assert "照片的位置（手机，精度 ±10 米）离学校 3336 米" in shown
    assert "签到位置（精度 ±10 米）离学校 3336 米" in shown
    assert "照片重复使用" in shown


def test_a_submission_s_page_shows_the_flags_at_its_visit_only(
    office, day, cast, photo, visit, bruno_visit, record
):
    bruno_visit.team.add(cast.ada)
    elsewhere = record(photo, bruno_visit)
    day.work()
    here = photo.submission_attachments.exclude(submission=elsewhere).get().submission
    assert "离学校 3336 米" in page(office, f"activities/submission/{here.pk}/change/")
    there = page(office, f"activities/submission/{elsewhere.pk}/change/")
    assert "离学校 3336 米" not in there
    assert "离学校 2224 米" in there


def test_a_finding_s_page_shows_the_flags_of_its_rectification(office, day, cast, visit):
    day.check_in(visit, cast.ada)
    finding = day.find(visit, cast.ada)
    day.mend(finding, cast.principal, day.photo(cast.principal, taken=-30, place=None))
    day.work()
    assert "整改照片拍摄于 2026-11-22 03:00" in page(
        office, f"findings/finding/{finding.pk}/change/"
    )


def test_the_photo_s_page_tells_all_its_times_and_places_and_takes_an_explanation(
    office, cast, photo
):
    path = f"media_storage/mediaobject/{photo.pk}/"
    found = flag("other_place", photo)
    shown = page(office, f"{path}change/")
    assert "33.03000, 108.00000 ±10 米" in shown
    assert "任务“食品安全督导周 · 东河镇第二小学”" in shown
    office.post(f"/admin/{path}do/explain-{found.pk}/", {"note": "在分校区拍摄"})
    note = FlagNote.objects.get()
    assert (note.flag, note.by, note.text) == (found, cast.office, "在分校区拍摄")
    assert "在分校区拍摄" in page(office, f"{path}change/")


def test_a_flag_of_the_check_in_is_explained_on_the_visit_s_page(group, cast, photo, visit):
    found = flag("check_in_away", visit=visit)
    group.post(f"/admin/activities/visit/{visit.pk}/do/explain-{found.pk}/", {"note": "在分校区"})
    assert FlagNote.objects.get().by == cast.town_group


def test_a_flag_of_another_photo_is_not_explained_from_here(office, photo, visit):
    found = flag("check_in_away", visit=visit)
    path = f"/admin/media_storage/mediaobject/{photo.pk}/do/explain-{found.pk}/"
    office.post(path, {"note": "不该记下"})
    assert not FlagNote.objects.exists()


def test_a_town_group_elsewhere_sees_neither_photo_nor_flag(browser, cast, photo):
    from tests.cast import add_person

    far = add_person("far", "西组长", "town_group", area=cast.far_town, is_staff=True)
    answer = browser(far).get(f"/admin/media_storage/mediaobject/{photo.pk}/change/")
    assert answer.status_code in (302, 404)


@pytest.mark.parametrize(
    ("model", "value", "count"),
    [
        ("media_storage/mediaobject", "any", 2),
        ("media_storage/mediaobject", "other_place", 1),
        ("media_storage/mediaobject", "gallery", 0),
        ("media_storage/mediaobject", "hint", 0),
        ("media_storage/mediaobject", "open", 2),
        ("activities/visit", "any", 2),
        ("activities/visit", "check_in_away", 1),
        ("activities/submission", "other_place", 1),
        ("activities/submission", "reused", 2),
        ("findings/finding", "any", 0),
    ],
)
def test_lists_are_filtered_by_flag(office, photo, model, value, count):
    answer = office.get(f"/admin/{model}/?flag={value}")
    assert answer.context["cl"].result_count == count


def test_what_was_explained_is_open_no_more(office, photo):
    for code in ("other_place", "reused"):
        path = f"/admin/media_storage/mediaobject/{photo.pk}/do/explain-{flag(code, photo).pk}/"
        office.post(path, {"note": "已核实"})
    answer = office.get("/admin/media_storage/mediaobject/?flag=open")
    assert [row.pk for row in answer.context["cl"].result_list] != [photo.pk]
    assert answer.context["cl"].result_count == 1


def test_an_unknown_flag_filters_nothing(office, photo):
    answer = office.get("/admin/media_storage/mediaobject/?flag=nonsense")
    assert answer.context["cl"].result_count == 2


def test_a_check_that_died_is_found_and_tried_again(office, photo):
    PhotoCheck.objects.filter(pk=photo.pk).update(
        work_dead_at="2026-11-23T12:00Z", work_error="bug", work_due_at=None
    )
    answer = office.get("/admin/media_storage/mediaobject/?work=dead")
    assert [row.pk for row in answer.context["cl"].result_list] == [photo.pk]
    path = f"media_storage/mediaobject/{photo.pk}/"
    assert "核对失败：bug" in page(office, f"{path}change/")
    office.post(f"/admin/{path}do/recheck/")
    check = PhotoCheck.objects.get(pk=photo.pk)
    assert (check.work_dead_at, check.work_due_at is not None) == (None, True)


def test_a_visit_s_page_costs_the_same_for_many_photos(office, day, cast, photo, visit, record):
    path = f"/admin/activities/visit/{visit.pk}/change/"

    def cost() -> int:
        from django.db import connection

        office.get(path)
        with CaptureQueriesContext(connection) as queries:
            office.get(path)
        return len(queries)

    before = cost()
    for _ in range(3):
        record(day.photo(cast.ada, place=FAR), visit)
    day.work()
    # One at most for each record, for its form; none for its photo and flags.
    assert cost() <= before + 3
