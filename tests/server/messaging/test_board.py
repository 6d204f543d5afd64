"""Receipts, reminders, previews."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from server.core import clock
from server.core.audit import AuditEntry
from server.core.errors import ContentConflict, NotFound, WrongState
from server.core.ids import new_id
from server.grid.models import Membership, User
from server.messaging import services
from server.messaging.board import (
    NobodyToRemind,
    RemindedRecently,
    figures_of,
    next_reminder,
    notice_overseen,
    receipts_of,
    recipients_by,
    remind,
)
from server.messaging.clocks import read_clock
from server.messaging.composing import Message, compose, correct, recall
from server.messaging.models import Delivery, Notice
from server.messaging.preview import inbox_only, preview_of, reached
from server.messaging.queries import Audience, inbox_of, recipients_of
from server.messaging.reading import acknowledge, answer, mark_read
from server.messaging.services import notify
from tests.cast import Cast

pytestmark = pytest.mark.usefixtures("settled")


def send(cast: Cast, **changes: Any) -> Notice:
    values = {
        "title": "例会",
        "body": "周五",
        "audience": Audience(areas=[cast.town.pk]),
        "requires": "acknowledge",
    }
    message = Message(**{**values, **changes})
    return compose(notice_id=new_id(), by=cast.office, message=message)


def names(notice: Notice, standing: str = "", words: str = "") -> list[str]:
    rows = recipients_by(notice, standing=standing, words=words)
    return sorted(rows.values_list("recipient__username", flat=True))


@pytest.fixture
def notice(cast: Cast) -> Notice:
    """Of the town's five people ada read it and the principal confirmed it. All of them have phones."""
    notice = send(cast)
    Delivery.objects.bulk_create(
        Delivery(notice=notice, recipient_id=user, channel="fcm", address="phone")
        for user in notice.deliveries.values_list("recipient", flat=True)
    )
    mark_read(notice_id=notice.pk, by=cast.ada)
    acknowledge(notice_id=notice.pk, by=cast.principal)
    return notice


# ---- figures and lists ------------------------------------------------------------------------


def test_figures_count_people_and_messages_in_one_query(cast, notice, django_assert_num_queries):
    dead = notice.deliveries.get(channel="fcm", recipient=cast.bruno)
    Delivery.objects.filter(pk=dead.pk).update(state="dead", reason="x")
    with django_assert_num_queries(1):
        figures = figures_of(notice)
    assert (figures.recipients, figures.read, figures.acknowledged) == (5, 2, 1)
    assert (figures.done, figures.undone, figures.failed) == (1, 4, 1)
    (push,) = figures.channels
    assert (push.channel, push.pending, push.dead) == ("fcm", 4, 1)


def test_recipients_are_found_by_what_they_have_not_done(cast, notice):
    Delivery.objects.filter(notice=notice, channel="fcm", recipient=cast.bruno).update(
        state="dead", reason="x"
    )
    assert names(notice) == ["ada", "bruno", "group", "other", "principal"]
    assert names(notice, "undone") == ["ada", "bruno", "group", "other"]
    assert names(notice, "done") == ["principal"]
    assert names(notice, "unread") == ["bruno", "group", "other"]
    assert names(notice, "read") == ["ada", "principal"]
    assert names(notice, "failed") == ["bruno"]
    assert names(notice, words="白校长") == ["principal"]
    assert names(notice, words="第二小学") == ["bruno", "other"]
    assert names(notice, "undone", "中心小学") == ["ada"]


def test_asking_again_counts_from_then(cast, notice):
    correct(
        notice_id=notice.pk,
        correction_id=new_id(),
        by=cast.office,
        seen_version=1,
        title="改",
        body="改",
        ask_again=True,
    )
    notice.refresh_from_db()
    assert (figures_of(notice).acknowledged, figures_of(notice).undone) == (0, 5)
    assert "principal" in names(notice, "undone")
    acknowledge(notice_id=notice.pk, by=cast.principal)
    assert figures_of(notice).acknowledged == 1
    assert "principal" not in names(notice, "undone")


def test_a_page_of_receipts_tells_device_and_clock_and_answers(
    cast, log_in, django_assert_max_num_queries
):
    questions = [{"kind": "number", "label": "人数"}]
    _token, device = log_in(cast.principal, push="phone")
    notice = send(cast, requires="answer", questions=questions)
    ahead = clock.now() + timedelta(minutes=7)
    read_clock(device=device, device_time=ahead)
    answer(
        notice_id=notice.pk,
        answer_id=new_id(),
        by=cast.principal,
        answers={"q1": 3},
        device=device,
        at=ahead,
    )
    mark_read(notice_id=notice.pk, by=cast.ada)
    with django_assert_max_num_queries(7):
        rows = list(recipients_by(notice))
        for row in rows:
            row.notice = notice
        told = {receipt.person: receipt for receipt in receipts_of(notice, rows)}
    principal = told[cast.principal]
    assert principal.answers == {"q1": 3}
    assert principal.addressee.school == cast.school.name
    assert principal.delivery.read_by_device == device
    assert principal.delivery.read_device_time == ahead
    assert principal.clock_offset_ms
    assert abs(principal.clock_offset_ms - 7 * 60_000) < 5_000
    assert [way.channel for way in principal.ways] == ["fcm"]
    assert told[cast.ada].clock_offset_ms is None
    assert told[cast.ada].answers is None


def test_receipts_are_the_offices_that_oversee_the_notice(cast, notice):
    for person in (cast.ada, cast.principal, cast.carla, cast.town_group):
        with pytest.raises(NotFound):
            notice_overseen(notice.pk, person)
    assert notice_overseen(notice.pk, cast.office) == notice
    about = notify("visit.reviewed", recipients=[cast.ada], school=cast.school, activity="食品安全")
    assert notice_overseen(about.pk, cast.town_group) == about


# ---- reminding --------------------------------------------------------------------------------


def test_only_who_has_not_done_it_is_reminded(cast, notice):
    reminder = remind(notice_id=notice.pk, reminder_id=new_id(), by=cast.office)
    told = reminder.deliveries.filter(channel="inbox").values_list("recipient__username", flat=True)
    assert sorted(told) == ["ada", "bruno", "group", "other"]
    row = inbox_of(cast.ada).first()
    assert row is not None
    assert row.title == "提醒：例会"
    assert (row.notice.subject_type, row.notice.subject_id) == ("notice", notice.pk)
    assert AuditEntry.objects.get(action="notice.reminded").details["people"] == 4


def test_one_reminds_once_an_hour_and_the_same_reminder_once(cast, notice, monkeypatch):
    key = new_id()
    for _press in range(2):
        remind(notice_id=notice.pk, reminder_id=key, by=cast.office)
    assert notice.reminders.count() == 1
    with pytest.raises(RemindedRecently):
        remind(notice_id=notice.pk, reminder_id=new_id(), by=cast.office)
    assert next_reminder(notice) is not None
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(hours=1, seconds=1))
    remind(notice_id=notice.pk, reminder_id=new_id(), by=cast.office)
    with pytest.raises(ContentConflict):
        remind(notice_id=send(cast).pk, reminder_id=key, by=cast.office)


def test_a_reminder_reads_with_the_readers_own_name(cast):
    notice = send(cast, title="{name}请回复")
    remind(notice_id=notice.pk, reminder_id=new_id(), by=cast.office)
    row = inbox_of(cast.ada).first()
    assert row is not None
    assert row.title == "提醒：安督学请回复"


def test_when_there_is_nobody_or_nothing_to_remind_of(cast, notice):
    done = send(cast, audience=Audience(people=[cast.principal.pk]))
    acknowledge(notice_id=done.pk, by=cast.principal)
    with pytest.raises(NobodyToRemind):
        remind(notice_id=done.pk, reminder_id=new_id(), by=cast.office)
    reminder = remind(notice_id=notice.pk, reminder_id=new_id(), by=cast.office)
    with pytest.raises(WrongState):
        remind(notice_id=reminder.pk, reminder_id=new_id(), by=cast.office)
    recall(notice_id=notice.pk, by=cast.office, reason="x")
    with pytest.raises(WrongState):
        remind(notice_id=notice.pk, reminder_id=new_id(), by=cast.office)
    with pytest.raises(NotFound):
        remind(notice_id=notice.pk, reminder_id=new_id(), by=cast.ada)


def test_many_are_reminded_by_the_worker(cast, monkeypatch):
    from server.core import work

    people = User.objects.bulk_create(User(username=f"p{n}", name="人") for n in range(12))
    Membership.objects.bulk_create(
        Membership(user=user, role="inspector", area=cast.town) for user in people
    )
    notice = send(cast)
    mark_read(notice_id=notice.pk, by=people[0])
    acknowledge(notice_id=notice.pk, by=people[1])
    monkeypatch.setattr(services, "AT_ONCE", 5)
    monkeypatch.setattr(services, "BATCH", 4)
    reminder = remind(notice_id=notice.pk, reminder_id=new_id(), by=cast.office)
    assert not reminder.deliveries.exists()
    work.drain_all()
    told = reminder.deliveries.filter(channel="inbox").values_list("recipient", flat=True)
    assert len(told) == len(set(told)) == 5 + 12 - 1
    assert people[1].pk not in told


# ---- preview ----------------------------------------------------------------------------------


def test_a_preview_counts_roles_schools_and_channels(cast, log_in, settings):
    log_in(cast.ada, push="a" * 20)
    audience = Audience(areas=[cast.town.pk])
    found = preview_of(audience, cast.office)
    assert found.people == 5
    assert dict(found.roles) == {"town_group": 1, "inspector": 2, "school_contact": 2}
    assert [(each.name, each.contacts, each.inspectors) for each in found.schools] == [
        ("东河镇中心小学", 1, 1),
        ("东河镇第二小学", 1, 1),
    ]
    assert dict(found.channels) == {"inbox": 5, "fcm": 1}
    assert found.inbox_only == 4
    people = recipients_of(audience, cast.office)
    assert cast.ada not in inbox_only(people)
    settings.MAIL_URL = "smtp://127.0.0.1"
    User.objects.filter(pk=cast.bruno.pk).update(email="bruno@example.org")
    assert dict(preview_of(audience, cast.office).channels)["mail"] == 1
    (shown,) = reached([User.objects.get(pk=cast.bruno.pk)])
    assert shown.channels == ["inbox", "mail"]


def test_a_preview_costs_the_same_for_many(cast, django_assert_num_queries):
    audience = Audience(areas=[cast.county.pk])
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as few:
        preview_of(audience, cast.office)
    people = User.objects.bulk_create(User(username=f"p{n}", name="人") for n in range(40))
    Membership.objects.bulk_create(
        Membership(user=user, role="inspector", area=cast.town) for user in people
    )
    with django_assert_num_queries(len(few)):
        assert preview_of(audience, cast.office).people == 48


def test_nobody_is_previewed_beyond_the_offices_reach(cast):
    wide = Audience(areas=[cast.county.pk], people=[cast.carla.pk])
    assert preview_of(wide, cast.town_group).people == 5
