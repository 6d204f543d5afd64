"""Hand-written notices: sent, scheduled, changed, cancelled, corrected, recalled; late joiners."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import translation

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from server.core import clock, following, work
from server.core.audit import AuditEntry
from server.core.changes import Change
from server.core.errors import (
    ContentConflict,
    Invalid,
    NotAllowed,
    NotFound,
    WrongState,
)
from server.core.ids import new_id
from server.grid.models import Appointment, Membership, School, User
from server.grid.services import appoint_inspector
from server.messaging import composing, services
from server.messaging.channels import Sent
from server.messaging.channels.log import LogChannel
from server.messaging.composing import (
    Message,
    NoticeChanged,
    cancel,
    change,
    compose,
    correct,
    recall,
)
from server.messaging.models import (
    Delivery,
    Hint,
    Newcomer,
    Notice,
    NoticeAnswer,
    NoticeDraft,
    PastReceipt,
)
from server.messaging.newcomers import NEWCOMERS
from server.messaging.queries import Audience, inbox_of, recipients_of
from server.messaging.reading import (
    NoQuestions,
    NoticeClosed,
    acknowledge,
    answer,
    mark_read,
    open_attachment,
)
from server.messaging.saved_lists import ListNameTaken, delete_list, save_list
from server.messaging.services import notify
from tests.cast import Cast, add_person
from tests.media_storage.pictures import jpeg

pytestmark = pytest.mark.usefixtures("settled")


def message(cast: Cast, **changes: Any) -> Message:
    values = {
        "title": "例会",
        "body": "周五下午三点",
        "audience": Audience(schools=[cast.school.pk]),
    }
    return Message(**{**values, **changes})


def send(cast: Cast, *, by: User | None = None, **changes: Any) -> Notice:
    return compose(notice_id=new_id(), by=by or cast.office, message=message(cast, **changes))


def seen(user: User) -> list[tuple[str, str]]:
    with translation.override(user.language):
        return [(row.title, row.body) for row in inbox_of(user)]


def soon(**ahead: int) -> Any:
    return clock.now() + timedelta(**ahead or {"hours": 1})


@pytest.fixture
def later(monkeypatch):
    """Move the clock."""
    real = clock.now

    def later(**ahead: int) -> None:
        monkeypatch.setattr(clock, "now", lambda: real() + timedelta(**ahead))

    return later


def file_of(owner: User, name: str = "安排.jpg", **changes: Any) -> MediaObject:
    stored = store_stream(filename=name, content_type="image/jpeg", chunks=[jpeg(64, 48)])
    values = new_media_values(media_id=uuid4(), owner_id=owner.pk, filename=name, stored=stored)
    return MediaObject.objects.create(**{**values, **changes})


# ---- audiences --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "who"),
    [
        (lambda c: {"areas": [c.county.pk], "stages": ["junior"]}, "carla"),
        (lambda c: {"stages": ["primary"]}, "ada bruno other principal"),
        (lambda c: {"stages": ["primary"], "roles": ["school_contact"]}, "other principal"),
        (lambda c: {"areas": [c.far_town.pk], "stages": ["primary"]}, ""),
        (lambda c: {"appointed_to": [c.school.pk, c.far_school.pk]}, "ada carla"),
        (
            lambda c: {
                "appointed_to": [c.far_school.pk],
                "schools": [c.school.pk],
                "roles": ["school_contact"],
            },
            "carla principal",
        ),
    ],
)
def test_an_audience_is_also_stages_and_appointments(cast, audience, who):
    people = recipients_of(Audience(**audience(cast)), cast.office)
    assert sorted(people.values_list("username", flat=True)) == who.split()


@pytest.mark.parametrize(
    ("parts", "who"),
    [
        ([], "ada bruno carla other principal"),
        (["contacts"], "other principal"),
        (["inspectors"], "ada bruno carla"),
        (["contacts", "inspectors"], "ada bruno carla other principal"),
    ],
)
def test_an_activity_means_its_schools_their_contacts_or_its_inspectors(cast, activity, parts, who):
    audience = Audience(activities=[activity.pk], activity_people=parts)
    people = recipients_of(audience, cast.office)
    assert sorted(people.values_list("username", flat=True)) == who.split()


def test_the_inspectors_of_an_activity_are_who_visits_and_not_who_is_appointed(cast, activity):
    visit = activity.visits.get(school=cast.school)
    visit.team.set([cast.bruno])
    audience = Audience(activities=[activity.pk], activity_people=["inspectors"])
    people = recipients_of(audience, cast.office).values_list("username", flat=True)
    assert sorted(people) == ["bruno", "carla"]


def test_a_saved_list_is_the_offices_and_may_be_sent_to(cast):
    junior = Audience(stages=["junior"])
    saved = save_list(list_id=new_id(), by=cast.office, name="初中", audience=junior)
    assert save_list(list_id=saved.pk, by=cast.office, name="初中", audience=junior) == saved
    notice = send(cast, audience=Audience(lists=[saved.pk], people=[cast.principal.pk]))
    assert {row.person for row in notice.deliveries.filter(channel="inbox")} == {
        cast.carla,
        cast.principal,
    }
    with pytest.raises(NotFound):
        send(cast, by=cast.town_group, audience=Audience(lists=[saved.pk]))
    with pytest.raises(NotFound):
        save_list(list_id=saved.pk, by=cast.town_group, name="夺走", audience=junior)
    with pytest.raises(ListNameTaken):
        save_list(list_id=new_id(), by=cast.office, name="初中", audience=junior)
    nested = Audience(lists=[saved.pk])
    with pytest.raises(Invalid):
        save_list(list_id=new_id(), by=cast.office, name="套娃", audience=nested)
    with pytest.raises(NotAllowed):
        save_list(list_id=new_id(), by=cast.ada, name="我的", audience=junior)
    delete_list(list_id=saved.pk, by=cast.office)
    with pytest.raises(NotFound):
        send(cast, audience=Audience(lists=[saved.pk]))


def test_an_activity_that_one_may_not_see_is_no_audience(cast, activity):
    with pytest.raises(NotFound):
        send(cast, audience=Audience(activities=[uuid4()]))


# ---- text -------------------------------------------------------------------------------------


def test_everybody_reads_their_own_name(cast):
    send(cast, title="{name}：例会", body="{school}（{area}）请于 {date} 前回复，格式 {{1}}")
    day = clock.today().isoformat()
    text = f"东河镇中心小学（东河镇）请于 {day} 前回复，格式 {{1}}"
    assert seen(cast.principal) == [("白校长：例会", text)]
    assert seen(cast.ada) == [("安督学：例会", text)]


def test_braces_of_automatic_notices_are_left_alone(cast):
    notify("announcement", recipients=[cast.ada], title="{name}", body="{{x}}")
    assert seen(cast.ada) == [("{name}", "{{x}}")]


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"title": "{nome}"}, "/title", "unknown_variable"),
        ({"body": "{0}"}, "/body", "unknown_variable"),
        ({"body": "字" * 1_000_000}, "/body", "too_long"),
        ({"title": "字" * 201}, "/title", "too_long"),
        ({"requires": "dance"}, "/requires", "unknown"),
        ({"requires": "answer"}, "/questions", "count"),
        ({"questions": [{"kind": "text", "label": "?"}]}, "/questions", "not_asked"),
    ],
)
def test_what_is_wrong_with_a_notice_is_said_at_its_place(cast, changes, pointer, code):
    with pytest.raises(Invalid) as refusal:
        send(cast, **changes)
    assert [(p.pointer, p.code) for p in refusal.value.problems] == [(pointer, code)]
    assert not Notice.objects.exists()


def test_times_that_make_no_sense_are_refused(cast):
    for changes in (
        {"open_until": soon(hours=-1)},
        {"send_at": soon(hours=2), "open_until": soon(hours=1)},
        {"send_at": soon(days=400)},
    ):
        with pytest.raises(Invalid):
            send(cast, **changes)


# ---- files ------------------------------------------------------------------------------------


def test_a_file_is_opened_by_recipients_and_the_office_and_nobody_else(cast):
    file = file_of(cast.office)
    notice = send(cast, attachments=[file.pk])
    for person in (cast.principal, cast.ada, cast.office):
        opened = open_attachment(
            notice_id=notice.pk, media_id=file.pk, by=person, base_url="http://testserver"
        )
        assert opened.url.startswith("http")
    for person in (cast.carla, cast.bruno, cast.town_group):
        with pytest.raises(NotFound):
            open_attachment(notice_id=notice.pk, media_id=file.pk, by=person, base_url="x")
    recall(notice_id=notice.pk, by=cast.office, reason="发错了")
    with pytest.raises(NotFound):
        open_attachment(notice_id=notice.pk, media_id=file.pk, by=cast.principal, base_url="x")


def test_only_ones_own_whole_and_harmless_files_are_attached(cast):
    declared = file_of(cast.office, state="declared", stored_at=None)
    rejected = file_of(cast.office, state="rejected", reject_code="broken")
    video = file_of(cast.office, content_type="video/mp4")
    large = file_of(cast.office, size=composing.MAX_FILE_BYTES + 1)
    strangers = file_of(cast.ada)
    files = [declared, rejected, video, large, strangers]
    with pytest.raises(Invalid) as refusal:
        send(cast, attachments=[file.pk for file in files])
    assert [problem.code for problem in refusal.value.problems] == [
        "not_uploaded",
        "rejected",
        "unsupported_type",
        "too_large",
        "unknown",
    ]
    with pytest.raises(Invalid):
        send(cast, attachments=[uuid4() for _ in range(11)])


# ---- scheduling -------------------------------------------------------------------------------


def test_a_scheduled_notice_is_sent_at_its_time_to_who_is_there_then(cast, later):
    notice = send(cast, send_at=soon(hours=1), audience=Audience(schools=[cast.school.pk]))
    assert notice.state == "scheduled"
    work.drain_all()
    assert not notice.deliveries.exists()
    new = add_person("neu", "新联系人", "school_contact", school=cast.school)
    later(hours=2)
    work.drain_all()
    notice.refresh_from_db()
    assert notice.state == "sent"
    assert notice.sent_at is not None
    assert {row.person for row in notice.deliveries.filter(channel="inbox")} == {
        cast.ada,
        cast.principal,
        new,
    }
    work.drain_all()
    assert notice.deliveries.filter(channel="inbox").count() == 3


def test_a_scheduled_notice_may_be_changed_until_it_is_sent(cast, later):
    notice = send(cast, send_at=soon(hours=1))
    told = message(
        cast,
        title="改到周四",
        send_at=soon(hours=3),
        audience=Audience(schools=[cast.far_school.pk]),
    )
    change(notice_id=notice.pk, by=cast.office, message=told)
    change(notice_id=notice.pk, by=cast.office, message=told)
    assert AuditEntry.objects.filter(action="notice.changed").count() == 1
    later(hours=2)
    work.drain_all()
    assert not notice.deliveries.exists()
    later(hours=4)
    work.drain_all()
    assert seen(cast.carla) == [("改到周四", "周五下午三点")]
    assert seen(cast.principal) == []
    with pytest.raises(WrongState):
        change(notice_id=notice.pk, by=cast.office, message=told)


def test_a_cancelled_notice_is_never_sent(cast, later):
    notice = send(cast, send_at=soon(hours=1))
    for _press in range(2):
        assert cancel(notice_id=notice.pk, by=cast.office).state == "cancelled"
    later(hours=2)
    work.drain_all()
    assert not notice.deliveries.exists()
    assert AuditEntry.objects.filter(action="notice.cancelled").count() == 1
    with pytest.raises(WrongState):
        recall(notice_id=notice.pk, by=cast.office, reason="x")


def test_a_notice_whose_author_left_is_sent_in_the_name_of_the_office(cast, later):
    notice = send(
        cast, by=cast.town_group, send_at=soon(hours=1), audience=Audience(areas=[cast.county.pk])
    )
    cast.town_group.memberships.all().delete()
    later(hours=2)
    work.drain_all()
    told = {row.person for row in notice.deliveries.filter(channel="inbox")}
    assert told == {cast.ada, cast.bruno, cast.principal, cast.other_principal}


def test_the_same_again_is_the_same_also_after_it_was_sent_and_corrected(cast, later):
    told = message(cast, send_at=soon(hours=1), requires="acknowledge")
    key = new_id()
    first = compose(notice_id=key, by=cast.office, message=told)
    later(hours=2)
    work.drain_all()
    correct(
        notice_id=key, correction_id=new_id(), by=cast.office, seen_version=1, title="新", body="新"
    )
    assert compose(notice_id=key, by=cast.office, message=told) == first
    with pytest.raises(ContentConflict):
        compose(notice_id=key, by=cast.office, message=message(cast, title="别的"))
    assert Delivery.objects.filter(channel="inbox").count() == 2


def test_sending_ends_the_draft(cast):
    key = new_id()
    NoticeDraft.objects.create(id=key, owner=cast.office, fields={"title": ["例会"]})
    compose(notice_id=key, by=cast.office, message=message(cast))
    assert not NoticeDraft.objects.exists()


# ---- recalling --------------------------------------------------------------------------------


def test_a_recalled_notice_says_by_whom_and_why(cast):
    notice = send(cast)
    recall(notice_id=notice.pk, by=cast.office, reason="日期有误")
    (shown,) = seen(cast.principal)
    assert shown == ("通知已撤回：例会", "云岭县已撤回此通知。原因：日期有误")
    cast.ada.language = "en"
    ((_title, body),) = seen(cast.ada)
    assert "日期有误" in body
    assert "周五" not in body
    recall(notice_id=notice.pk, by=cast.office, reason="再次")
    notice.refresh_from_db()
    assert notice.recall_reason == "日期有误"
    assert AuditEntry.objects.filter(action="notice.recalled").count() == 1


@pytest.fixture
def pushed(cast, log_in) -> Notice:
    """A notice to two people with phones, of which nothing has been sent yet."""
    log_in(cast.ada, push="phone-of-ada")
    log_in(cast.principal, push="phone-of-the-principal")
    return send(cast)


def states(notice: Notice) -> dict[str, str]:
    rows = notice.deliveries.filter(channel="fcm")
    return dict(rows.values_list("recipient__username", "state"))


def test_unsent_deliveries_of_a_recalled_notice_are_skipped_and_sent_ones_go_out_again(
    cast, pushed
):
    sent = pushed.deliveries.get(channel="fcm", recipient=cast.ada)
    Delivery.objects.filter(pk=sent.pk).update(state="sent", sent_at=clock.now(), work_due_at=None)
    recall(notice_id=pushed.pk, by=cast.office, reason="日期有误")
    before = Change.objects.filter(type="notice").count()
    Hint.objects.all().delete()
    work.drain(pump("notices"))
    assert Change.objects.filter(type="notice").count() == before + 2  # the two phones hear of it
    assert Hint.objects.get().message == {"type": "inbox.changed", "after": str(pushed.pk)}
    assert states(pushed) == {"ada": "pending", "principal": "skipped"}
    work.drain_all()
    assert states(pushed) == {"ada": "sent", "principal": "skipped"}
    row = pushed.deliveries.get(channel="fcm", recipient=cast.principal)
    assert row.work_due_at is None
    assert row.reason


def test_a_recall_between_writing_and_sending_stops_the_message(cast, pushed):
    """The worker that sends is quicker than the one that tells of the recall."""
    recall(notice_id=pushed.pk, by=cast.office, reason="日期有误")
    work.drain(pump("deliveries"))
    assert states(pushed) == {"ada": "skipped", "principal": "skipped"}


def test_a_recall_while_a_worker_sends_is_told_by_a_second_message(cast, pushed, monkeypatch):
    """The worker has loaded the notice; it is recalled before the message is recorded as sent."""
    titles, real = [], LogChannel.send

    def slow(channel: LogChannel, delivery: Delivery) -> Sent:
        titles.append(delivery.title)
        if len(titles) == 1:
            recall(notice_id=pushed.pk, by=cast.office, reason="日期有误")
            work.drain(pump("notices"))
        return real(channel, delivery)

    monkeypatch.setattr(LogChannel, "send", slow)
    work.drain_all()
    assert sorted(titles) == ["例会", "例会", "通知已撤回：例会", "通知已撤回：例会"]
    assert states(pushed) == {"ada": "sent", "principal": "sent"}
    assert not pushed.deliveries.filter(work_due_at__isnull=False).exists()


def test_who_read_the_first_text_is_told_of_the_correction(cast, pushed):
    work.drain_all()
    mark_read(notice_id=pushed.pk, by=cast.ada)
    fix(cast, pushed)
    work.drain(pump("notices"))
    assert states(pushed) == {"ada": "pending", "principal": "pending"}
    work.drain_all()
    assert states(pushed) == {"ada": "sent", "principal": "sent"}


def test_a_recalled_notice_is_expanded_no_further(cast, monkeypatch):
    monkeypatch.setattr(services, "AT_ONCE", 1)
    monkeypatch.setattr(services, "BATCH", 1)
    monkeypatch.setattr(services, "EXPAND_SECONDS", 0)
    notice = send(cast)
    notices = pump("notices")
    (row,) = work.claim(notices)
    work.run(notices, row)
    assert notice.deliveries.filter(channel="inbox").count() == 1
    recall(notice_id=notice.pk, by=cast.office, reason="日期有误")
    work.drain_all()
    assert notice.deliveries.filter(channel="inbox").count() == 1
    notice.refresh_from_db()
    assert (notice.change_untold, notice.work_due_at, notice.work_error) == (False, None, "")


def test_who_may_recall_is_the_office_that_wrote_it(cast):
    notice = send(cast)
    for person in (cast.ada, cast.carla, cast.principal, cast.town_group):
        with pytest.raises(NotFound):
            recall(notice_id=notice.pk, by=person, reason="x")
    automatic = notify("announcement", recipients=[cast.ada], title="x", body="y")
    with pytest.raises(NotFound):
        recall(notice_id=automatic.pk, by=cast.office, reason="x")
    with pytest.raises(Invalid):
        recall(notice_id=notice.pk, by=cast.office, reason="  ")
    of_group = send(cast, by=cast.town_group)
    assert recall(notice_id=of_group.pk, by=cast.office, reason="县里统一发").state == "recalled"


# ---- correcting -------------------------------------------------------------------------------


def fix(cast: Cast, notice: Notice, **changes: Any) -> Notice:
    values: dict[str, Any] = {
        "correction_id": new_id(),
        "by": cast.office,
        "seen_version": 1,
        "title": "例会改期",
        "body": "改到周四",
    }
    return correct(notice_id=notice.pk, **{**values, **changes})


def test_a_correction_replaces_the_text_and_keeps_the_history(cast):
    notice = send(cast, requires="acknowledge")
    acknowledge(notice_id=notice.pk, by=cast.principal)
    fix(cast, notice, note="时间改了")
    row = inbox_of(cast.principal).get()
    assert (row.title, row.body, row.notice.correction_note) == ("例会改期", "改到周四", "时间改了")
    assert row.acknowledged_since is not None
    assert [(v.number, v.title) for v in notice.versions.all()] == [(1, "例会"), (2, "例会改期")]
    work.drain_all()
    assert Change.objects.filter(type="notice", user_id=cast.principal.pk).count() == 3
    assert AuditEntry.objects.filter(action="notice.corrected").count() == 1


def test_a_correction_may_ask_again_and_the_earlier_confirmation_stays_in_the_history(cast):
    notice = send(cast, requires="acknowledge")
    first = acknowledge(notice_id=notice.pk, by=cast.principal).acknowledged_at
    fix(cast, notice, ask_again=True)
    row = inbox_of(cast.principal).get()
    assert (row.acknowledged_at, row.acknowledged_since) == (first, None)
    again = acknowledge(notice_id=notice.pk, by=cast.principal).acknowledged_at
    assert again > first
    assert acknowledge(notice_id=notice.pk, by=cast.principal).acknowledged_at == again
    assert PastReceipt.objects.get().acknowledged_at == first


def test_a_correction_repeated_is_one_and_one_upon_an_old_version_is_refused(cast):
    notice = send(cast)
    key = new_id()
    for _press in range(2):
        assert fix(cast, notice, correction_id=key).version == 2
    with pytest.raises(ContentConflict):
        fix(cast, notice, correction_id=key, title="又改")
    with pytest.raises(NoticeChanged):
        fix(cast, notice)
    assert fix(cast, notice, seen_version=2, title="三版").version == 3


def test_a_correction_may_change_the_files(cast):
    old, kept, new = (file_of(cast.office, f"{n}.jpg") for n in "abc")
    notice = send(cast, attachments=[old.pk, kept.pk])
    fix(cast, notice, attachments=[kept.pk, new.pk])
    files = notice.attachments.filter(removed_at=None)
    assert [file.media for file in files] == [kept, new]
    assert [file["filename"] for file in notice.versions.get(number=1).files] == ["a.jpg", "b.jpg"]
    with pytest.raises(NotFound):
        open_attachment(notice_id=notice.pk, media_id=old.pk, by=cast.principal, base_url="x")


def test_a_correction_is_checked_like_a_notice(cast):
    notice = send(cast)
    for changes in ({"title": ""}, {"body": "{x}"}, {"body": "字" * 20_001}, {"note": "字" * 201}):
        with pytest.raises(Invalid):
            fix(cast, notice, **changes)
    recall(notice_id=notice.pk, by=cast.office, reason="x")
    with pytest.raises(WrongState):
        fix(cast, notice)


# ---- answering --------------------------------------------------------------------------------

QUESTIONS = [
    {"kind": "number", "label": "人数"},
    {"kind": "choice", "label": "用餐", "options": ["是", "否"]},
]


def reply(user: User, notice: Notice, **answers: Any) -> Delivery:
    return answer(
        notice_id=notice.pk, answer_id=new_id(), by=user, answers={"q1": 3, "q2": "是", **answers}
    )


def test_an_answer_reads_the_notice_and_a_later_one_replaces_it_with_history(cast):
    notice = send(cast, requires="answer", questions=QUESTIONS)
    row = reply(cast.principal, notice)
    assert row.read_at is not None
    assert row.answered_at is not None
    reply(cast.principal, notice)  # the same again
    reply(cast.principal, notice, q1=4)
    kept = NoticeAnswer.objects.filter(person=cast.principal).values_list("number", "answers")
    assert list(kept) == [(1, {"q1": 3, "q2": "是"}), (2, {"q1": 4, "q2": "是"})]
    assert NoticeAnswer.objects.get(replaced_at=None).number == 2


def test_an_answer_repeated_by_its_id_is_one_and_another_content_is_a_conflict(cast):
    notice, key = send(cast, requires="answer", questions=QUESTIONS), new_id()
    told = {"q1": 1, "q2": "否"}
    for _press in range(2):
        answer(notice_id=notice.pk, answer_id=key, by=cast.principal, answers=told)
    assert NoticeAnswer.objects.count() == 1
    with pytest.raises(ContentConflict):
        answer(notice_id=notice.pk, answer_id=key, by=cast.principal, answers={**told, "q1": 2})
    with pytest.raises(ContentConflict):
        answer(notice_id=notice.pk, answer_id=key, by=cast.ada, answers=told)


def test_one_answers_what_asks_and_is_open(cast, later):
    plain = send(cast)
    with pytest.raises(NoQuestions):
        reply(cast.principal, plain)
    notice = send(cast, requires="answer", questions=QUESTIONS, open_until=soon(hours=1))
    with pytest.raises(NotFound):
        reply(cast.carla, notice)
    with pytest.raises(Invalid):
        reply(cast.principal, notice, q2="也许")
    reply(cast.principal, notice)
    later(hours=2)
    with pytest.raises(NoticeClosed):
        reply(cast.ada, notice)
    mark_read(notice_id=notice.pk, by=cast.ada)


# ---- late joiners -----------------------------------------------------------------------------


def join(cast: Cast, school: School) -> User:
    person = add_person("neu", "新督学", "inspector", area=cast.county)
    appoint_inspector(
        by=cast.office, inspector_id=person.pk, school_id=school.pk, starts=clock.today()
    )
    return person


def follow() -> None:
    following.look()
    work.drain_all()


def test_who_is_appointed_later_gets_what_is_open_once(cast):
    following.take_place(NEWCOMERS)
    acked = send(cast, requires="acknowledge", title="要确认")
    dated = send(cast, open_until=soon(days=1), title="有截止")
    send(cast, title="已过去")
    send(
        cast, requires="acknowledge", title="别校", audience=Audience(schools=[cast.far_school.pk])
    )
    recall(notice_id=send(cast, requires="acknowledge").pk, by=cast.office, reason="x")
    follow()
    person = join(cast, cast.school)
    for _look in range(2):
        follow()
    assert {row.notice for row in inbox_of(person)} == {acked, dated}
    assert not Newcomer.objects.filter(work_due_at__isnull=False).exists()
    assert Delivery.objects.filter(recipient=person).count() == 2


def test_what_is_over_is_not_sent_to_late_joiners(cast, later):
    following.take_place(NEWCOMERS)
    send(cast, open_until=soon(hours=1))
    send(cast, requires="acknowledge")
    later(days=91)
    person = join(cast, cast.school)
    follow()
    assert not inbox_of(person).exists()


def test_a_role_that_begins_by_an_import_or_the_calendar_is_seen_in_the_feed(cast):
    from server.grid.services import announce_terms

    following.take_place(NEWCOMERS)
    notice = send(cast, requires="acknowledge")
    person = User.objects.create(username="neu", name="新联系人")
    Membership.objects.bulk_create(
        [Membership(user=person, role="school_contact", school=cast.school, starts=clock.today())]
    )
    announce_terms()
    follow()
    assert [row.notice for row in inbox_of(person)] == [notice]


def test_once_a_day_everybody_who_came_in_otherwise_is_told_too(cast):
    saved = save_list(
        list_id=new_id(), by=cast.office, name="名单", audience=Audience(schools=[cast.school.pk])
    )
    notice = send(cast, requires="acknowledge", audience=Audience(lists=[saved.pk]))
    wider = Audience(schools=[cast.school.pk, cast.far_school.pk])
    save_list(list_id=saved.pk, by=cast.office, name="名单", audience=wider)
    assert composing.look_for_late_joiners() == 1
    work.drain_all()
    assert [row.notice for row in inbox_of(cast.carla)] == [notice]
    notice.refresh_from_db()
    assert not notice.late_due


def test_an_appointment_that_ended_brings_nothing(cast):
    following.take_place(NEWCOMERS)
    send(cast, requires="acknowledge")
    person = join(cast, cast.school)
    Appointment.objects.filter(inspector=person).update(
        starts=clock.today() - timedelta(days=9), ends=clock.today() - timedelta(days=1)
    )
    follow()
    assert not inbox_of(person).exists()


def pump(name: str) -> work.Pump:
    return next(each for each in work.pumps() if each.name == name)
