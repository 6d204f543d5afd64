"""What people of the demo county wrote to each other: about a visit, a problem, and to their office."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from server.activities.models import Visit
from server.conversations.models import Conversation, Message
from server.conversations.services import mark_read, open_conversation, send_message
from server.core import clock
from server.findings.models import Finding
from server.grid.demo import demo_id
from server.grid.models import User
from server.grid.queries import contacts_of

Said = Sequence[tuple[User, str]]


def load_talk(office: User) -> None:
    """A few conversations, once; what the office has not read is at their ends."""
    visit = Visit.objects.filter(state=Visit.State.REVIEWED).order_by("pk").first()
    finding = Finding.objects.filter(state=Finding.State.OPEN).order_by("pk").first()
    if visit and (contact := contacts_of(visit.school).first()):
        inspector = visit.team.order_by("username")[0]
        _talk("visit", visit.pk, office, _about_visit(inspector, contact), read=4)
        school: Said = [(contact, "下周的食品安全培训在哪里举行？每校几人参加？")]
        _talk("school", visit.school_id, office, school, read=0)
    if finding and (contact := contacts_of(finding.school).first()):
        _talk("finding", finding.pk, office, _about_finding(contact, finding.raised_by), read=2)


def _about_visit(inspector: User, contact: User) -> Said:
    return [
        (inspector, "今天上午到校，先看食堂，再随机听两节课。"),
        (contact, "好的，校医和食堂管理员都在。"),
        (inspector, "留样冰箱的温度记录缺了周三一天，请说明。"),
        (contact, "周三停电两小时，值班本上有登记，稍后拍照发来。"),
        (inspector, "收到。已看过登记，请把应急处理写进制度。"),
    ]


def _about_finding(contact: User, inspector: User) -> Said:
    return [
        (contact, "我校已着手整改，责任到人，预计周五前完成。"),
        (inspector, "好，完成后请上传整改后的照片，角度和原照片一致。"),
        (contact, "明白。"),
    ]


def _talk(subject: str, subject_id: UUID, office: User, said: Said, *, read: int) -> None:
    by = said[0][0]
    conversation, new = open_conversation(subject=subject, subject_id=subject_id, by=by)
    if not new:
        return
    for nth, (person, text) in enumerate(said):
        send_message(
            conversation_id=conversation.pk,
            message_id=demo_id("message", f"{subject} {nth}"),
            by=person,
            text=text,
        )
    begun = clock.now() - timedelta(hours=5)
    for message in conversation.messages.order_by("number"):
        at = begun + timedelta(minutes=17 * message.number)
        Message.objects.filter(pk=message.pk).update(created_at=at)
        Conversation.objects.filter(pk=conversation.pk).update(last_at=at)
    mark_read(conversation_id=conversation.pk, by=office, number=read)
