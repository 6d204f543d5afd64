"""What pages of visits, findings and schools show of their conversation."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from server.console.access import person
from server.console.admin.base import Tool
from server.conversations.queries import conversation_about
from server.conversations.services import conversation_to_be
from server.core.errors import NotFound


def talk_tool(request: HttpRequest, subject: str, subject_id: UUID) -> Sequence[Tool]:
    """The link to the conversation with what is unread; nothing for whoever is no member of it."""
    user = person(request)
    found = conversation_about(user, subject, subject_id)
    if found is None:
        try:
            conversation_to_be(subject=subject, subject_id=subject_id, by=user)
        except NotFound:
            return []
        address = reverse("conversation-about", args=[subject, subject_id])
        return [Tool(_("沟通"), address, "forum")]
    unread: int = found.unread  # type: ignore[attr-defined]  # annotated
    words = _("沟通")
    if unread:
        words = ngettext("沟通（%(n)s 条未读）", "沟通（%(n)s 条未读）", unread) % {"n": unread}
    return [Tool(words, reverse("conversation", args=[found.pk]), "forum")]
