"""Phones and browsers that send the same thing several times at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from threading import Barrier, Event
from typing import TypeVar
from uuid import uuid4

import pytest
from django.db import connection

from server.core import clock, work
from server.core.errors import WrongState
from server.core.ids import new_id
from server.grid.models import Membership, User
from server.messaging import delivering, services
from server.messaging.board import RemindedRecently, remind
from server.messaging.channels import Sent
from server.messaging.composing import (
    Message,
    NoticeChanged,
    announce,
    cancel,
    compose,
    correct,
    recall,
)
from server.messaging.models import Delivery, Device, Notice, NoticeAnswer
from server.messaging.queries import Audience
from server.messaging.reading import acknowledge, answer
from server.messaging.services import notify
from server.messaging.sessions import TokenUnknown, device_for_token

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 6
T = TypeVar("T")


def at_once(do: Callable[[], T]) -> list[T]:
    """Do it in several threads that start together."""
    together = Barrier(AT_ONCE)

    def run() -> T:
        try:
            together.wait(10)
            return do()
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(AT_ONCE)]]


def test_a_race_of_identical_announcements_is_one_notice_and_success_for_all(cast):
    notice_id, audience = new_id(), Audience(schools=[cast.school.pk])

    def send() -> object:
        return announce(
            notice_id=notice_id, by=cast.office, title="会议", body="周三", audience=audience
        ).id

    assert at_once(send) == [notice_id] * AT_ONCE
    assert Delivery.objects.filter(channel="inbox").count() == 2  # the inspector, the principal


def test_a_race_of_logins_on_one_new_device_leaves_one_session(cast, log_in):
    device_id = uuid4()
    tokens = at_once(lambda: log_in(cast.ada, device_id)[0])
    assert Device.objects.count() == 1
    working = 0
    for token in tokens:
        try:
            device_for_token(token)
            working += 1
        except TokenUnknown:
            pass
    assert working == 1


def test_a_race_of_acknowledgements_is_one_moment_for_all(cast):
    notice = notify("announcement", recipients=[cast.ada], title="会议", body="周三")
    rows = at_once(lambda: acknowledge(notice_id=notice.id, by=cast.ada))
    assert len({row.acknowledged_at for row in rows}) == 1


def composed(cast, **changes) -> Notice:
    values = {"title": "会议", "body": "周三", "audience": Audience(schools=[cast.school.pk])}
    message = Message(**{**values, **changes})
    return compose(notice_id=new_id(), by=cast.office, message=message)


def test_of_several_corrections_at_once_one_wins_and_the_others_are_told(cast):
    notice = composed(cast)

    def fix() -> str:
        title = f"改 {uuid4()}"
        try:
            correct(
                notice_id=notice.pk,
                correction_id=uuid4(),
                by=cast.office,
                seen_version=1,
                title=title,
                body="改",
            )
        except NoticeChanged:
            return ""
        return title

    won = [title for title in at_once(fix) if title]
    notice.refresh_from_db()
    assert [notice.title] == won
    assert list(notice.versions.values_list("number", flat=True)) == [1, 2]


def test_answering_twice_at_once_leaves_one_current_answer_and_both_in_the_history(cast):
    questions = [{"kind": "number", "label": "人数"}]
    notice = composed(cast, requires="answer", questions=questions)
    numbers = iter(range(100))

    def reply() -> None:
        answers = {"q1": next(numbers)}
        answer(notice_id=notice.pk, answer_id=uuid4(), by=cast.principal, answers=answers)

    at_once(reply)
    kept = NoticeAnswer.objects.filter(notice=notice)
    assert sorted(kept.values_list("number", flat=True)) == list(range(1, AT_ONCE + 1))
    assert kept.get(replaced_at=None).number == AT_ONCE


def test_the_same_answer_retried_at_once_is_one(cast):
    questions = [{"kind": "number", "label": "人数"}]
    notice, key = composed(cast, requires="answer", questions=questions), uuid4()
    at_once(lambda: answer(notice_id=notice.pk, answer_id=key, by=cast.ada, answers={"q1": 1}).pk)
    assert NoticeAnswer.objects.get().pk == key


def test_reminding_at_once_reminds_once(cast):
    notice = composed(cast, requires="acknowledge")

    def press() -> bool:
        try:
            remind(notice_id=notice.pk, reminder_id=uuid4(), by=cast.office)
        except RemindedRecently:
            return False
        return True

    assert at_once(press).count(True) == 1
    assert notice.reminders.count() == 1


def test_a_recall_while_workers_send_leaves_nobody_with_the_old_message(cast, monkeypatch):
    """Every message that went out before the recall is followed by one that says it was recalled."""
    people = User.objects.bulk_create(User(username=f"p{n}", name="人") for n in range(30))
    Membership.objects.bulk_create(
        Membership(user=user, role="inspector", area=cast.town) for user in people
    )
    monkeypatch.setattr(services, "AT_ONCE", 1)
    monkeypatch.setattr(services, "BATCH", 7)
    said: dict[object, str] = {}

    class Channel:
        name = "socket"

        def send(self, delivery: Delivery) -> Sent:
            said[delivery.recipient_id] = delivery.title
            return Sent("sent")

    monkeypatch.setattr(delivering, "channel_for", lambda _name: Channel())
    notice = composed(cast, audience=Audience(areas=[cast.town.pk]))
    recalled = Event()

    def run() -> None:
        if recalled.is_set():
            work.drain_all()
            return
        recalled.set()
        recall(notice_id=notice.pk, by=cast.office, reason="取消")

    at_once(run)
    work.drain_all()
    told = set(notice.deliveries.filter(channel="inbox").values_list("recipient", flat=True))
    assert set(said) <= told
    assert {title for title in said.values() if not title.startswith("通知已撤回")} == set()
    rows = notice.deliveries.filter(channel="socket")
    assert set(rows.values_list("state", flat=True)) <= {"sent", "skipped"}
    assert not rows.filter(work_due_at__isnull=False).exists()


def test_a_scheduled_notice_that_is_cancelled_while_it_is_sent_is_either(cast, monkeypatch):
    notice = composed(cast, send_at=clock.now() + timedelta(hours=1))
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(hours=2))

    def press() -> None:
        with suppress(WrongState):
            cancel(notice_id=notice.pk, by=cast.office)
        work.drain_all()

    at_once(press)
    notice.refresh_from_db()
    count = notice.deliveries.filter(channel="inbox").count()
    assert (notice.state, count) in (("cancelled", 0), ("sent", 2))
