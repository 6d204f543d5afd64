"""What pages of activities, schools, visits and files show of care: holds, deletion, the log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from server.care.deleting import request_deletion
from server.care.holds import set_hold
from server.care.models import Deletion
from server.care.originals import READABLE, open_original
from server.care.queries import (
    deletions_visible_to,
    holds_visible_to,
    is_custodian,
    media_in_custody_of,
    originals_open_to,
)
from server.console.access import person
from server.console.admin.base import Deed, Tool
from server.core.errors import Text


def hold_deed(request: HttpRequest, target: str) -> Mapping[str, Deed]:
    """The button that sets a hold on the page's row, for county offices."""
    if not is_custodian(person(request)):
        return {}

    def do(request: HttpRequest, row: Any) -> Text:
        reason = request.POST.get("note", "")
        _hold, kept = set_hold(target=target, target_id=row.pk, by=person(request), reason=reason)
        if kept:
            return _("已设置保全，%(n)s 份待删除的材料不再删除。") % {"n": kept}
        return _("已设置保全。")

    return {
        "hold": Deed(
            label=_("设置保全"),
            do=do,
            note=_("理由（如投诉、诉讼、调查）"),
            note_required=True,
            hint=_("保全期间，其中的照片和文件一律不删除。"),
        )
    }


def held_fact(request: HttpRequest, target: str, row: Model) -> list[tuple[Text, Any]]:
    """The active holds on the page's row itself; nothing where there is none."""
    holds = holds_visible_to(person(request)).filter(**{target: row.pk}, lifted_at=None)
    links = [(reverse("admin:care_hold_change", args=[hold.pk]), hold.reason) for hold in holds]
    if not links:
        return []
    return [(_("保全"), format_html_join("、", '<a class="dx-link" href="{}">{}</a>', links))]


def original_deed(request: HttpRequest, media: MediaObject) -> Mapping[str, Deed]:
    """The button that opens the original, for who has the right; it asks why, and is logged."""
    user = person(request)
    if media.state not in READABLE or not originals_open_to(user).filter(pk=media.pk).exists():
        return {}
    label = _("查看原图") if media.content_type.startswith("image/") else _("打开原文件")
    return {
        "original": Deed(
            label=label,
            do=_open_original,
            note=_("查看理由"),
            note_required=True,
            hint=_("每次查看都会记入操作日志。"),
            new_tab=True,
        )
    }


def _open_original(request: HttpRequest, media: MediaObject) -> HttpResponseBase:
    opened = open_original(
        media_id=media.pk,
        by=person(request),
        base_url=request.build_absolute_uri("/"),
        reason=request.POST.get("note", ""),
    )
    return redirect(opened.url)


def delete_deed(request: HttpRequest, media: MediaObject) -> Mapping[str, Deed]:
    """The button that has one file deleted, for the office over its school."""
    user = person(request)
    going = media.deletions.exclude(state=Deletion.State.KEPT).exists()
    if going or not media_in_custody_of(user).filter(pk=media.pk).exists():
        return {}

    def do(request: HttpRequest, row: MediaObject) -> Text:
        reason = request.POST.get("note", "")
        [deletion] = request_deletion(media_ids=[row.pk], by=person(request), reason=reason)
        return _("已列入待删除，%(day)s 后删除。") % {"day": f"{deletion.delete_after:%Y-%m-%d}"}

    return {
        "delete": Deed(
            label=_("申请删除"),
            do=do,
            tone="danger",
            note=_("理由（如家长申请）"),
            note_required=True,
            confirm=_("删除“%(name)s”") % {"name": media.filename},
            hint=_("宽限期满后从存储中彻底删除，不能恢复；记录和删除证明保留。"),
        )
    }


def deletion_facts(request: HttpRequest, media: MediaObject) -> list[tuple[Text, Any]]:
    """How far the file's deletion is; nothing where none is planned."""
    rows = deletions_visible_to(person(request)).filter(media=media)
    row = rows.exclude(state=Deletion.State.KEPT).first()
    if row is None:
        return []
    return [(_("删除"), deletion_link(row))]


def deletion_link(row: Deletion) -> SafeString:
    address = reverse("admin:care_deletion_change", args=[row.pk])
    words = row.get_state_display()
    if row.state == Deletion.State.DUE:
        words = _("%(day)s 后删除") % {"day": f"{row.delete_after:%Y-%m-%d}"}
    return format_html('<a class="dx-link" href="{}">{}</a>', address, words)


def log_tool(object_id: UUID) -> Tool:
    """The link to what was done to the page's row."""
    address = f"{reverse('admin:core_auditentry_changelist')}?object={object_id}"
    return Tool(_("操作日志"), address, "history")


def day_of(request: HttpRequest) -> date | None:
    """The day of a deed's form; nothing where it is left blank."""
    try:
        return date.fromisoformat(request.POST.get("day", ""))
    except ValueError:
        return None
