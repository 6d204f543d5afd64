"""Writing notices in the console: drafts, files, previews, times; the board and its export."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import translation
from django.utils.timezone import localtime
from openpyxl import load_workbook

from media_storage.models import MediaObject
from server.console.notices import export
from server.core import clock, work
from server.core.audit import AuditEntry
from server.core.ids import new_id
from server.grid.models import Membership, User
from server.messaging.composing import Message, compose, recall
from server.messaging.models import Notice, NoticeDraft, SavedAudience
from server.messaging.queries import Audience
from server.messaging.reading import answer, mark_read
from server.messaging.sessions import set_push
from tests.activities import device_of
from tests.cast import Cast
from tests.media_storage.pictures import jpeg

ADD = "/admin/messaging/notice/add/"
BASE = "/admin/messaging/notice/"
QUESTIONS = [{"id": "q1", "kind": "text", "label": "=备注", "required": True, "options": []}]


def form(**changes: Any) -> dict[str, Any]:
    return {"title": "例会", "body": "周五下午三点", "notice_id": str(uuid4()), **changes}


def send(cast: Cast, *, by: User | None = None, **changes: Any) -> Notice:
    values = {"title": "例会", "body": "周五", "audience": Audience(schools=[cast.school.pk])}
    message = Message(**{**values, **changes})
    return compose(notice_id=new_id(), by=by or cast.office, message=message)


def picture(name: str = "安排.jpg") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, jpeg(64, 48), content_type="image/jpeg")


# ---- writing ----------------------------------------------------------------------------------


def test_a_notice_with_a_form_and_files_and_a_time_is_scheduled(office, cast: Cast):
    at = clock.now() + timedelta(hours=3)
    answered = office.post(
        ADD,
        form(
            schools=[str(cast.school.pk)],
            requires="answer",
            questions=json.dumps(QUESTIONS),
            send_at=f"{localtime(at):%Y-%m-%dT%H:%M}",
            files=[picture()],
            people=[str(cast.carla.pk)],
        ),
        follow=True,
    )
    notice = Notice.objects.get()
    assert (notice.state, notice.requires, len(notice.form or [])) == ("scheduled", "answer", 1)
    assert notice.send_at is not None
    assert abs(notice.send_at - at) < timedelta(minutes=1)
    assert notice.attachments.get().media.filename == "安排.jpg"
    page = answered.content.decode()
    assert "定时发送" in page
    assert "取消发送" in page
    office.post(f"{BASE}{notice.pk}/do/cancel/")
    notice.refresh_from_db()
    assert notice.state == "cancelled"


def test_a_scheduled_notice_is_changed_on_its_page(office, cast: Cast):
    notice = send(cast, send_at=clock.now() + timedelta(hours=3))
    page = office.get(f"{BASE}{notice.pk}/edit/")
    assert page.context["form"].initial["title"] == "例会"
    changed = form(
        title="改期",
        schools=[str(cast.far_school.pk)],
        send_at=f"{localtime(clock.now() + timedelta(hours=5)):%Y-%m-%dT%H:%M}",
    )
    office.post(f"{BASE}{notice.pk}/edit/", changed)
    notice.refresh_from_db()
    assert notice.title == "改期"
    assert (notice.audience or {})["schools"] == [str(cast.far_school.pk)]


def test_a_megabyte_and_an_unknown_variable_are_refused_at_their_fields(office, cast: Cast):
    school = [str(cast.school.pk)]
    answered = office.post(ADD, form(schools=school, body="字" * 400_000))
    assert "body" in answered.context["form"].errors
    answered = office.post(ADD, form(schools=school, title="{salary}"))
    assert "{salary}" in str(answered.context["form"].errors["title"])
    assert not Notice.objects.exists()


def test_a_draft_is_kept_as_it_is_and_opened_again(office, cast: Cast):
    half = form(title="", schools=[str(cast.school.pk)], questions="[{]")
    assert office.post(f"{BASE}draft/", half).json()["kept"]
    draft = NoticeDraft.objects.get()
    shown = office.get(f"{ADD}?draft={draft.pk}").context["form"]
    assert shown["body"].value() == "周五下午三点"
    assert shown["schools"].value() == [str(cast.school.pk)]
    long = office.post(f"{BASE}draft/", {**half, "body": "字" * 300_000})
    assert long.status_code == 413
    draft.refresh_from_db()
    assert draft.fields["body"] == ["周五下午三点"]
    office.post(f"{BASE}draft/", {"notice_id": str(draft.pk), "do": "discard"})
    assert not NoticeDraft.objects.exists()


def test_a_draft_is_its_owners_alone(office, group):
    half = form()
    office.post(f"{BASE}draft/", half)
    assert group.get(f"{ADD}?draft={half['notice_id']}").status_code == 404
    assert not group.post(f"{BASE}draft/", {**half, "body": "夺走"}).json()["kept"]
    group.post(f"{BASE}draft/", {"notice_id": half["notice_id"], "do": "discard"})
    assert NoticeDraft.objects.get().fields["body"] == ["周五下午三点"]


def test_files_that_are_none_are_refused_with_a_reason(office, settings):
    stored = office.post(f"{BASE}attach/", {"file": picture()}).json()
    assert MediaObject.objects.get(pk=stored["id"]).filename == "安排.jpg"
    for name, content, content_type in (
        ("a.exe", b"MZ", "application/x-msdownload"),
        ("a.jpg", b"<script>", "image/jpeg"),
        ("a.mp4", b"x", "video/mp4"),
    ):
        file = SimpleUploadedFile(name, content, content_type=content_type)
        answered = office.post(f"{BASE}attach/", {"file": file})
        assert answered.status_code == 422, name
        assert answered.json()["detail"]
    assert MediaObject.objects.count() == 1


def test_a_preview_shows_whom_before_anything_is_written(office, cast: Cast):
    asked = {"schools": [str(cast.school.pk)], "do": "preview", "notice_id": str(uuid4())}
    page = office.post(ADD, asked).content.decode()
    assert "2 人会收到" in page
    assert "白校长" in page
    assert "2 人只有打开应用才能看到" in page
    assert not Notice.objects.exists()


def test_people_are_found_among_those_whom_the_office_sees(office, group):
    found = office.get(f"{BASE}people/", {"q": "柯"}).json()["people"]
    assert [each["name"] for each in found] == ["柯督学"]
    assert group.get(f"{BASE}people/", {"q": "柯"}).json()["people"] == []
    assert office.get(f"{BASE}people/", {"q": ""}).json()["people"] == []


def test_a_choice_is_saved_as_a_list_and_chosen_again(office, group, cast: Cast):
    told = form(stages=["junior"], do="list", list_name="初中")
    office.post(ADD, told)
    saved = SavedAudience.objects.get()
    assert (saved.name, saved.audience["stages"]) == ("初中", ["junior"])
    assert "初中" in office.get(ADD).content.decode()
    office.post(ADD, form(lists=[str(saved.pk)]))
    (row,) = Notice.objects.get().deliveries.filter(channel="inbox")
    assert row.recipient == cast.carla
    assert not group.get(ADD).context["form"].fields["lists"].queryset.exists()


# ---- afterwards -------------------------------------------------------------------------------


def test_the_board_shows_who_has_not_done_it_and_answers_304_while_nothing_moves(
    office, cast: Cast
):
    notice = send(cast, requires="answer", questions=QUESTIONS)
    told = {"q1": "来"}
    answer(notice_id=notice.pk, answer_id=new_id(), by=cast.principal, answers=told)
    page = office.get(f"{BASE}{notice.pk}/change/?standing=undone").content.decode()
    assert "安督学" in page
    assert cast.school.name in page
    assert 'href="tel:12000000000"' in page
    path = f"{BASE}{notice.pk}/board/?standing=undone"
    first = office.get(path)
    assert "白校长" not in first.content.decode()
    again = office.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    mark_read(notice_id=notice.pk, by=cast.ada)
    moved = office.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert moved.status_code == 200
    assert "已读，未填写" in moved.content.decode()


def test_a_board_page_costs_the_same_for_many(office, cast: Cast, django_assert_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    small = send(cast)
    large = send(cast, audience=Audience(areas=[cast.county.pk]))
    office.get(f"{BASE}{small.pk}/board/")
    with CaptureQueriesContext(connection) as few:
        office.get(f"{BASE}{small.pk}/board/")
    assert len(few) <= 14
    with django_assert_num_queries(len(few)):
        office.get(f"{BASE}{large.pk}/board/")


def test_reminding_recalling_and_correcting_by_button(office, cast: Cast):
    notice = send(cast, requires="acknowledge")
    path = f"{BASE}{notice.pk}"
    office.post(f"{path}/do/remind/")
    assert notice.reminders.count() == 1
    answered = office.post(f"{path}/do/remind/", follow=True)
    assert "之后可以再次提醒" in answered.content.decode()
    shown = office.get(f"{path}/correct/").context["form"]
    correction = {
        "title": "改期",
        "body": "周四",
        "note": "时间",
        "version": shown.initial["version"],
        "correction_id": str(shown.initial["correction_id"]),
        "ask_again": "on",
    }
    page = office.post(f"{path}/correct/", correction, follow=True).content.decode()
    assert "更正历史" in page
    stale = office.post(f"{path}/correct/", {**correction, "correction_id": str(uuid4())})
    assert "已被他人更正" in str(stale.context["form"].errors)
    office.post(f"{path}/do/recall/", {"note": "取消"})
    notice.refresh_from_db()
    assert (notice.state, notice.recall_reason) == ("recalled", "取消")


def test_the_export_holds_everything_as_text(office, cast: Cast):
    set_push(device=device_of(cast.principal), provider="fcm", address="phone")
    User.objects.filter(pk=cast.principal.pk).update(name='=HYPERLINK("http://x")')
    notice = send(cast, requires="answer", questions=QUESTIONS)
    told = {"q1": "+1\x0b"}
    at = clock.now()
    answer(notice_id=notice.pk, answer_id=new_id(), by=cast.principal, answers=told, at=at)
    work.drain_all()
    content = office.get(f"{BASE}{notice.pk}/export/").content
    sheet = load_workbook(io.BytesIO(content)).active
    assert sheet is not None
    headings, *rows = list(sheet.iter_rows(values_only=True))
    assert headings[-1] == "=备注"
    by_name = {row[0]: dict(zip(headings, row, strict=True)) for row in rows}
    line = by_name['=HYPERLINK("http://x")']
    assert line["=备注"] == "+1"
    assert line["阅读时间"]
    assert line["手机显示的阅读时间"] == f"{localtime(at):%Y-%m-%d %H:%M:%S}"
    assert "FCM 推送：无需发送" in str(line["消息送达"])
    assert all(cell.data_type in ("s", "n") for row in sheet.iter_rows() for cell in row)
    assert not any(
        cell.data_type == "f" or (cell.data_type == "n" and cell.value is not None)
        for row in sheet.iter_rows()
        for cell in row
    )
    undone = office.get(f"{BASE}{notice.pk}/export/?standing=undone").content
    only = load_workbook(io.BytesIO(undone)).active
    assert only is not None
    assert [row[0] for row in only.iter_rows(min_row=2, values_only=True)] == ["安督学"]
    assert AuditEntry.objects.filter(action="notice.receipts_exported").count() == 2


def test_the_export_holds_everybody_once_over_many_batches(office, cast: Cast, monkeypatch):
    people = User.objects.bulk_create(User(username=f"p{9 - n}", name=f"人{n}") for n in range(9))
    Membership.objects.bulk_create(
        Membership(user=user, role="inspector", area=cast.far_town) for user in people
    )
    notice = send(cast, audience=Audience(areas=[cast.far_town.pk]))
    monkeypatch.setattr(export, "BATCH", 3)
    content = office.get(f"{BASE}{notice.pk}/export/").content
    sheet = load_workbook(io.BytesIO(content)).active
    assert sheet is not None
    names = [row[0] for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert sorted(names) == sorted([*(user.name for user in people), "柯督学"])


def test_an_audience_too_large_for_a_workbook_comes_as_csv_while_it_is_read(
    office, cast: Cast, monkeypatch
):
    User.objects.filter(pk=cast.principal.pk).update(name='=HYPERLINK("http://x")')
    notice = send(cast, requires="answer", questions=QUESTIONS)
    path = f"{BASE}{notice.pk}/export/"
    told = list(load_workbook(io.BytesIO(office.get(path).content)).active.values)
    monkeypatch.setattr("server.console.admin.notices.MOST_IN_WORKBOOK", 1)
    monkeypatch.setattr(export, "BATCH", 1)
    answer = office.get(path, HTTP_ACCEPT_LANGUAGE="zh-hans")
    assert answer.headers["Content-Disposition"].endswith('.csv"')
    with translation.override("en"):  # whatever is active when the server comes to send it
        parts = list(answer.streaming_content)
    assert len(parts) == len(told) + 1
    rows = list(csv.reader(io.StringIO(b"".join(parts).decode("utf-8-sig"), newline="")))
    assert rows[0][:3] == ["姓名", "手机号", "学校"]
    assert rows[0][-1] == "'=备注"
    assert {row[0] for row in rows[1:]} == {'\'=HYPERLINK("http://x")', "安督学"}
    assert [[len(row)] for row in rows] == [[len(row)] for row in told]


def test_another_office_sees_its_own_people_only_and_changes_nothing(office, group, cast: Cast):
    notice = send(cast, audience=Audience(areas=[cast.county.pk]))
    page = group.get(f"{BASE}{notice.pk}/change/").content.decode()
    assert "白校长" in page
    assert "柯督学" not in page
    for path in ("edit", "correct", "export"):
        assert group.get(f"{BASE}{notice.pk}/{path}/").status_code == 404
    group.post(f"{BASE}{notice.pk}/do/recall/", {"note": "x"})
    notice.refresh_from_db()
    assert notice.state == "sent"
    hidden = send(cast, audience=Audience(schools=[cast.far_school.pk]))
    for path in ("change", "board", "export", "edit", "correct"):
        assert group.get(f"{BASE}{hidden.pk}/{path}/").status_code == 404


def test_a_file_leads_on_to_its_address_for_those_who_may(office, group, cast: Cast):
    media = office.post(f"{BASE}attach/", {"file": picture()}).json()["id"]
    notice = send(cast, attachments=[UUID(media)])
    path = f"{BASE}{notice.pk}/files/{media}/"
    assert office.get(path).status_code == 302
    assert group.get(path).status_code == 404


def test_the_list_tells_states_and_counts(office, cast: Cast):
    notice = send(cast)
    mark_read(notice_id=notice.pk, by=cast.ada)
    recall(notice_id=send(cast).pk, by=cast.office, reason="x")
    page = office.get(BASE).content.decode()
    assert "1 / 2" in page
    assert "已撤回" in page


@pytest.mark.parametrize("path", ["draft", "attach"])
def test_what_only_takes_posts_is_no_page(office, path):
    assert office.get(f"{BASE}{path}/").status_code == 404
