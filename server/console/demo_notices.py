"""What the demo county's office told people: a notice with a form, and one that is to be confirmed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from server.core import clock
from server.grid.demo import demo_id
from server.grid.models import User
from server.messaging.composing import Message, compose
from server.messaging.models import Notice
from server.messaging.queries import Audience
from server.messaging.reading import acknowledge, answer, mark_read

TRAINING = Message(
    title="关于报名参加食品安全培训的通知",
    body=(
        "{name}：\n"
        "定于下周举办学校食品安全培训，请{school}于本周五前填报参加人数和场次。\n"
        "每校至少一名分管负责人和一名食堂管理员参加。"
    ),
    audience=Audience(roles=["school_contact"]),
    requires=Notice.Requires.ANSWER.value,
    questions=[
        {"id": "people", "kind": "number", "label": "参加人数", "required": True},
        {"id": "session", "kind": "choice", "label": "场次", "options": ["上午", "下午"]},
        {"id": "remark", "kind": "text", "label": "备注", "required": False},
    ],
)
WEEK = Message(
    title="关于做好督导周随机督导的通知",
    body="请各位责任督学每校至少到校一次，进校前核对检查表，发现问题当场告知学校并拍照留证。",
    audience=Audience(roles=["inspector"]),
    requires=Notice.Requires.ACKNOWLEDGE.value,
)


def load_notices(office: User) -> None:
    """Both, once; of three people one has done it, one has read it, one has not."""
    until = clock.now() + timedelta(days=5)
    training = _sent("training", replace(TRAINING, open_until=until), office)
    week = _sent("week", WEEK, office)
    for nth, person in enumerate(_readers(training)):
        if nth % 3 == 0:
            answers = {"people": 2 + nth % 2, "session": ("上午", "下午")[nth % 2]}
            answer_id = demo_id("answer", person.username)
            answer(notice_id=training.pk, answer_id=answer_id, by=person, answers=answers)
        elif nth % 3 == 1:
            mark_read(notice_id=training.pk, by=person)
    for nth, person in enumerate(_readers(week)):
        if nth % 3 == 0:
            acknowledge(notice_id=week.pk, by=person)
        elif nth % 3 == 1:
            mark_read(notice_id=week.pk, by=person)


def _sent(name: str, message: Message, office: User) -> Notice:
    return compose(notice_id=demo_id("notice", name), by=office, message=message)


def _readers(notice: Notice) -> list[User]:
    rows = notice.deliveries.filter(channel="inbox").select_related("recipient")
    return [row.person for row in rows.order_by("recipient__username")]
