"""Planning, previewing and publishing; a visit's page and its buttons; submissions and conflicts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.activities.models import (
    Activity,
    RefusedDocument,
    Submission,
    SubmissionConflict,
    Visit,
)
from server.activities.services.quarantine import keep_refused
from server.core.clock import now, today
from server.core.errors import Malformed
from server.findings.models import Finding
from tests.activities import device_of, planned
from tests.cast import Cast, add_school
from tests.server.console.conftest import fill_in


@pytest.fixture
def draft(kitchen, cast: Cast) -> Activity:
    bare = add_school("东河镇新建小学", "9101210008", cast.town)
    return planned(cast, cast.school, bare)


def form(cast: Cast, kitchen, **changes: object) -> dict[str, object]:
    return {
        "title": "冬季督导",
        "kind": "special",
        "starts": today().isoformat(),
        "ends": (today() + timedelta(days=5)).isoformat(),
        "announced": "on",
        "instruments": [str(kitchen.instrument_id)],
        "schools": [str(cast.school.pk)],
        **changes,
    }


# ---- planning --------------------------------------------------------------------------------


def test_a_planned_activity_is_a_draft_with_a_preview(office, kitchen, cast: Cast):
    answer = office.post("/admin/activities/activity/add/", form(cast, kitchen), follow=True)
    activity = Activity.objects.get()
    assert activity.state == "draft"
    assert answer.redirect_chain[-1][0] == f"/admin/activities/activity/{activity.pk}/preview/"
    page = answer.content.decode()
    assert "东河镇中心小学" in page
    assert "安督学" in page
    assert "教育督导条例第十六条" in page  # a special supervision by one inspector


def test_a_refused_plan_keeps_what_was_typed(office, kitchen, cast: Cast):
    wrong = form(cast, kitchen, ends=(today() - timedelta(days=1)).isoformat())
    answer = office.post("/admin/activities/activity/add/", wrong)
    assert not Activity.objects.exists()
    assert answer.context["form"].errors["ends"] == ["结束日期不能早于开始日期。"]
    assert "冬季督导" in answer.content.decode()


def test_the_choices_are_those_of_the_town(group, kitchen, cast: Cast):
    page = group.get("/admin/activities/activity/add/").content.decode()
    assert cast.school.name in page
    assert cast.far_school.name not in page
    assert cast.far_town.name not in page


def test_a_school_elsewhere_cannot_be_chosen(group, kitchen, cast: Cast):
    plan = form(cast, kitchen, schools=[str(cast.far_school.pk)])
    answer = group.post("/admin/activities/activity/add/", plan)
    assert "schools" in answer.context["form"].errors
    assert not Activity.objects.exists()


def test_the_preview_names_the_schools_without_inspector(office, draft: Activity):
    answer = office.get(f"/admin/activities/activity/{draft.pk}/preview/")
    page = answer.content.decode()
    assert len(answer.context["preview"].visits) == 1
    assert "这些学校没有责任督学，不会生成任务" in page
    assert "东河镇新建小学" in page


def test_publishing_makes_the_visits_and_shuts_the_draft(office, draft: Activity):
    answer = office.post(f"/admin/activities/activity/{draft.pk}/do/publish/", follow=True)
    assert "生成 1 个入校任务" in answer.content.decode()
    draft.refresh_from_db()
    assert draft.state == "published"
    edit = office.get(f"/admin/activities/activity/{draft.pk}/edit/", follow=True)
    assert "活动已发布，不能再修改" in edit.content.decode()


def test_a_draft_is_changed(office, draft: Activity, kitchen, cast: Cast):
    address = f"/admin/activities/activity/{draft.pk}/edit/"
    assert "东河镇中心小学" in office.get(address).content.decode()
    schools = [str(cast.far_school.pk)]
    office.post(address, form(cast, kitchen, title="改过的名称", schools=schools))
    draft.refresh_from_db()
    assert draft.title == "改过的名称"
    assert [school.name for school in draft.schools.all()] == [cast.far_school.name]


def test_closing_names_the_activity_and_ends_it(office, activity: Activity):
    page = office.get(f"/admin/activities/activity/{activity.pk}/change/").content.decode()
    assert f"结束“{activity.title}”" in page
    office.post(f"/admin/activities/activity/{activity.pk}/do/close/")
    activity.refresh_from_db()
    assert activity.state == "closed"


# ---- visits ----------------------------------------------------------------------------------


def test_a_visits_page_shows_answers_photo_place_and_findings(office, made_visit: Visit):
    answer = office.get(f"/admin/activities/visit/{made_visit.pk}/change/")
    page = answer.content.decode()
    assert "食品经营许可证是否公示" in page
    assert "不符合" in page
    assert "证件在柜子里" in page
    assert "总体规范" in page
    assert "未公示食品经营许可证" in page
    assert "距学校 73 米" in page
    assert "<svg" in page
    photo = answer.context["records"][0]["photos"][0]
    assert photo.kind == "picture"
    assert photo.caption == "食品经营许可证是否公示"
    picture = office.get(photo.small.url)
    assert b"".join(picture.streaming_content)[8:12] == b"WEBP"
    picture.close()


def test_the_answer_that_is_a_finding_is_marked_and_linked(office, made_visit: Visit):
    answer = office.get(f"/admin/activities/visit/{made_visit.pk}/change/")
    sections = answer.context["records"][0]["sections"]
    lines = {line.label: line for section in sections for line in section.lines}
    assert lines["食品经营许可证是否公示"].finding == Finding.objects.get()
    assert not lines["冷藏温度"].is_finding
    assert [section.title for section in sections] == ["", "贮存"]


def test_reviewing_a_visit(office, made_visit: Visit):
    office.post(f"/admin/activities/visit/{made_visit.pk}/do/review/")
    made_visit.refresh_from_db()
    assert made_visit.state == "reviewed"


def test_returning_a_visit_wants_a_reason(office, made_visit: Visit):
    address = f"/admin/activities/visit/{made_visit.pk}/do/return/"
    answer = office.post(address, {"note": " "}, follow=True)
    assert "请写明退回原因" in answer.content.decode()
    made_visit.refresh_from_db()
    assert made_visit.state == "completed"
    office.post(address, {"note": "缺留样照片"})
    made_visit.refresh_from_db()
    assert (made_visit.state, made_visit.return_reason) == ("returned", "缺留样照片")


def test_a_button_that_is_no_longer_open_says_so(office, visit: Visit):
    answer = office.post(f"/admin/activities/visit/{visit.pk}/do/review/", follow=True)
    assert "此操作现在不能进行" in answer.content.decode()


def test_a_visit_without_position_and_records_says_so(office, visit: Visit):
    page = office.get(f"/admin/activities/visit/{visit.pk}/change/").content.decode()
    assert "还没有签到" in page
    assert "还没有收到填报" in page


@pytest.mark.parametrize("key", ["nonsense", "00000000-0000-7000-8000-000000000000"])
def test_an_unknown_visit_is_a_page_that_says_so(key, office):
    answer = office.get(f"/admin/activities/visit/{key}/change/")
    assert answer.status_code == 404
    assert "找不到这个页面" in answer.content.decode()


# ---- submissions -----------------------------------------------------------------------------


def test_a_submissions_page_tells_what_is_missing(office, visit: Visit, cast: Cast):
    submission = fill_in(visit, cast.ada, photo=False, licence_photo="later.jpg")
    page = office.get(f"/admin/activities/submission/{submission.pk}/change/").content.decode()
    assert "还有文件没有收到" in page
    assert "later.jpg" in page


def test_the_raw_document_is_a_download(office, made_visit: Visit):
    submission = made_visit.submissions.get()
    answer = office.get(f"/admin/activities/submission/{submission.pk}/raw/")
    assert answer.content == b"{}"
    assert answer["Content-Disposition"].startswith("attachment")


def test_somebody_elses_raw_document_does_not_exist(group, activity, cast: Cast):
    submission = fill_in(activity.visits.get(school=cast.far_school), cast.carla, photo=False)
    address = f"/admin/activities/submission/{submission.pk}/raw/"
    assert group.get(address).status_code == 404


def test_a_conflict_shows_both_and_runs_neither(office, made_visit: Visit, cast: Cast):
    submission = made_visit.submissions.get()
    conflict = SubmissionConflict.objects.create(
        submission=submission,
        sender=cast.bruno,
        format="xml",
        raw=b"<script>alert(1)</script>",
        sha256="1" * 64,
    )
    page = office.get(f"/admin/activities/submissionconflict/{conflict.pk}/change/")
    assert "&lt;script&gt;" in page.content.decode()
    assert "<script>alert" not in page.content.decode()
    both = office.get(f"/admin/activities/submission/{submission.pk}/change/").content.decode()
    assert "同一编号还收到过不同的内容" in both


def test_a_refused_document_is_shown_with_its_reason_to_the_offices_over_its_sender(
    office, group, cast: Cast
):
    keep_refused(
        device=device_of(cast.principal), format="xml", raw=b"<data", refusal=Malformed("没有结束")
    )
    keep_refused(device=device_of(cast.carla), format="xml", raw=b"<far", refusal=Malformed())
    near = RefusedDocument.objects.get(sender=cast.principal)
    listed = "/admin/activities/refuseddocument/"
    assert "没有结束" in office.get(listed).content.decode()
    page = office.get(f"{listed}{near.pk}/change/").content.decode()
    assert "&lt;data" in page
    assert office.get(f"{listed}{near.pk}/raw/").content == b"<data"
    strange = RefusedDocument.objects.get(sender=cast.carla)
    assert group.get(f"{listed}{strange.pk}/raw/").status_code == 404


def test_work_that_died_is_shown_with_its_reason_and_tried_again(office, made_visit: Visit):
    submission = made_visit.submissions.get()
    Submission.objects.filter(pk=submission.pk).update(
        work_dead_at=now(), work_due_at=None, work_error="KeyError: 'licence'"
    )
    listed = office.get("/admin/activities/submission/?work=dead").content.decode()
    assert str(submission.pk) in listed
    address = f"/admin/activities/submission/{submission.pk}"
    assert "KeyError" in office.get(f"{address}/change/").content.decode()
    office.post(f"{address}/do/again/")
    submission.refresh_from_db()
    assert submission.work_dead_at is None
    assert submission.work_due_at is not None


def test_the_office_moves_a_published_activity(office, activity, cast: Cast):
    page = f"/admin/activities/activity/{activity.pk}/move/"
    plan = {"starts": "2027-03-01", "ends": "2027-03-05", "reason": "考试周"}
    assert (
        "调整日期"
        in office.get(f"/admin/activities/activity/{activity.pk}/change/").content.decode()
    )
    refused = office.post(page, {**plan, "ends": "2027-02-01"})
    assert "结束日期不能早于开始日期" in refused.context["form"].errors["ends"][0]
    office.post(page, plan)
    activity.refresh_from_db()
    assert activity.ends.isoformat() == "2027-03-05"


def test_the_office_gives_a_visit_another_team(office, group, visit, cast: Cast):
    page = f"/admin/activities/visit/{visit.pk}/team/"
    assert "卜督学" in office.get(page).content.decode()
    assert office.post(page, {"team": [str(cast.principal.pk)]}).context["form"].errors
    office.post(page, {"team": [str(cast.bruno.pk)]})
    assert list(visit.team.all()) == [cast.bruno]
    assert group.get(page).status_code == 404  # the county planned it
