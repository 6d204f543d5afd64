"""One conversation as a file, for the office that answers for it. Each export is in the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from server.conversations import actions
from server.conversations.models import Conversation, Message
from server.conversations.queries import conversations_moderated_by, conversations_visible_to
from server.conversations.services import record_deed
from server.core import clock
from server.core.errors import NotAllowed, NotFound
from server.grid.models import User

TEXT, JSON = "txt", "json"
KINDS = (TEXT, JSON)
TYPES = {TEXT: "text/plain; charset=utf-8", JSON: "application/json"}


@transaction.atomic
def export_conversation(*, conversation_id: UUID, by: User, kind: str) -> tuple[bytes, str]:
    """The whole log as text or JSON, and a file name. Raises NotFound, NotAllowed.

    Files are named with their digest and not included; whoever reads the conversation opens them there.
    """
    if not conversations_visible_to(by).filter(pk=conversation_id).exists():
        raise NotFound
    rows = conversations_moderated_by(by).select_related(
        "school", "visit__activity", "finding__activity"
    )
    conversation = rows.filter(pk=conversation_id).first()
    if conversation is None:
        raise NotAllowed(_("只有组织督导的部门和县教育督导办可以导出沟通记录。"))
    entries = list(
        conversation.messages.select_related("sender", "gone_by")
        .prefetch_related("mentions", "files__media")
        .order_by("number")
    )
    if kind == JSON:
        content = json.dumps(_document(conversation, entries), ensure_ascii=False, indent=1)
    else:
        content = "\n".join(_lines(conversation, entries)) + "\n"
    record_deed(actions.EXPORTED, conversation, by, kind=kind, through=conversation.last_number)
    name = f"conversation-{conversation.pk.hex[:8]}-{clock.today():%Y%m%d}.{kind}"
    return content.encode(), name


def _document(conversation: Conversation, entries: list[Message]) -> dict[str, Any]:
    return {
        "id": str(conversation.pk),
        "subject": {"type": conversation.subject, "id": str(conversation.about.pk)},
        "title": conversation.title,
        "school": {"id": str(conversation.school_id), "name": conversation.school.name},
        "exported_at": clock.now().isoformat(),
        "last_number": conversation.last_number,
        "expired_through": conversation.expired_through,
        "entries": [_entry(entry) for entry in entries],
    }


def _entry(entry: Message) -> dict[str, Any]:
    shown = "" if entry.gone else entry.text
    return {
        "number": entry.number,
        "id": str(entry.pk),
        "kind": entry.kind,
        "about": entry.about_number,
        "sender": _person(entry.sender),
        "at": entry.created_at.isoformat(),
        "device_time": entry.device_time.isoformat() if entry.device_time else None,
        "text": shown,
        "sha256": entry.sha256,
        "mentions": [_person(each) for each in entry.mentions.all()],
        "files": [
            {
                "id": str(file.media_id),
                "name": file.media.filename,
                "content_type": file.media.content_type,
                "size": file.media.size,
                "sha256": file.media.sha256,
            }
            for file in entry.files.all()
        ],
        "gone": entry.gone,
        "gone_at": entry.gone_at.isoformat() if entry.gone_at else None,
        "gone_by": _person(entry.gone_by),
        "gone_reason": entry.gone_reason,
    }


def _person(user: User | None) -> dict[str, str] | None:
    return {"id": str(user.pk), "name": user.name} if user else None


def _lines(conversation: Conversation, entries: list[Message]) -> Iterator[str]:
    yield conversation.title
    yield f"{conversation.school.name} · {conversation.get_subject_display()}"
    yield _("导出时间：%(at)s") % {"at": f"{localtime(clock.now()):%Y-%m-%d %H:%M:%S}"}
    yield ""
    for entry in entries:
        at = f"{localtime(entry.created_at):%Y-%m-%d %H:%M:%S}"
        yield f"[{entry.number}] {at} {_said(entry)}"
        if not entry.gone:
            for file in entry.files.all():
                yield f"    {file.media.filename} SHA-256 {file.media.sha256}"


def _said(entry: Message) -> str:
    who = entry.sender.name if entry.sender else _("系统")
    if entry.kind == Message.Kind.EXPIRED:
        return _("第 %(n)s 条及以前的消息保存期满，已删除") % {"n": entry.about_number}
    if entry.kind != Message.Kind.MESSAGE:
        return f"{who}：{entry.get_kind_display()} [{entry.about_number}]"
    if entry.gone:
        reason = f"：{entry.gone_reason}" if entry.gone_reason else ""
        return f"{who}：（{entry.get_gone_display()}{reason}）"
    # Further lines are set in, so that no text can look like an entry of its own.
    return f"{who}：" + entry.text.replace("\n", "\n    ")
