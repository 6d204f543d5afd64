"""Signed receipts: the days of the chain, and a submission's own with a check at the press of a button."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import segno
from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.errors import StoreUnavailable
from server.activities.models import Submission
from server.console.admin.base import ScopedAdmin, Tool, attachment
from server.console.states import AMBER, GREEN, RED, Shown
from server.core.clock import today
from server.core.errors import Text
from server.grid.models import User
from server.receipts.chain import GRACE, end_of
from server.receipts.checking import check_submission
from server.receipts.models import Chain, DayHead, Receipt
from server.receipts.proof import Flaw, canonical
from server.receipts.queries import (
    days_visible_to,
    envelope,
    file_of,
    key_receipts,
    public_key_of,
    receipts_of,
)

IN_TIME = timedelta(hours=12)
"""A day that was signed later than so long after its end is shown as late."""
MOST_BYTES = 64 * 1024 * 1024
"""So much is read from the store while somebody waits for the answer; `verify --objects` reads all."""
GROUP = 8

FLAWS: Mapping[str, Text] = {
    "format": gettext_lazy("无法读取"),
    "signature": gettext_lazy("签名不符"),
    "key": gettext_lazy("签名密钥不符"),
    "order": gettext_lazy("与前后凭证的衔接不符"),
    "proof": gettext_lazy("与当日摘要不符"),
    "missing": gettext_lazy("缺失"),
    "changed": gettext_lazy("与签名时不同"),
    "extra": gettext_lazy("多出"),
}
PLACES: Mapping[str, Text] = {
    "document": gettext_lazy("原始文件"),
    "digest": gettext_lazy("内容校验值"),
    "answers": gettext_lazy("答案"),
    "form": gettext_lazy("督导工具"),
    "sender": gettext_lazy("填报人"),
    "device": gettext_lazy("设备"),
    "visit": gettext_lazy("入校督导任务"),
    "activity": gettext_lazy("督导活动"),
    "school": gettext_lazy("学校"),
    "replaces": gettext_lazy("修改自"),
    "started_at": gettext_lazy("开始填写"),
    "ended_at": gettext_lazy("填写完毕"),
    "device_time": gettext_lazy("手机发送时间"),
    "received_at": gettext_lazy("到达时间"),
}


# ---- on a submission's page --------------------------------------------------------------------


@dataclass(frozen=True)
class ReceiptLine:
    """One receipt as a submission's page lists it."""

    row: Receipt
    title: Text
    standing: Shown
    link: str


@dataclass(frozen=True)
class Checked:
    """What a check found, in the reader's words."""

    is_sound: bool
    summary: Text
    flaws: Sequence[tuple[Text, str]] = ()


@dataclass(frozen=True)
class SubmissionReceipts:
    """The part of a submission's page that is about its receipts."""

    lines: Sequence[ReceiptLine]
    check_link: str
    problem: str
    checked: Checked | None = None


@dataclass(frozen=True)
class ReceiptPages:
    """Pages below a submission's: the file of a receipt, and the check."""

    owner: ScopedAdmin
    routes: Mapping[str, tuple[str, Callable[..., HttpResponseBase]]] = field(init=False)

    def __post_init__(self) -> None:
        routes = {
            "receipt": ("<uuid:object_id>/receipts/<int:position>/", self.file_view),
            "check": ("<uuid:object_id>/receipts/check/", self.check_view),
        }
        object.__setattr__(self, "routes", routes)

    def part(self, row: Submission, checked: Checked | None = None) -> SubmissionReceipts:
        """What the page shows: two queries, and one for why receipts are not made."""
        rows = list(receipts_of(row).order_by("position"))
        closed = set(
            DayHead.objects.filter(day__in={each.day for each in rows}).values_list(
                "day", flat=True
            )
        )
        return SubmissionReceipts(
            lines=[
                ReceiptLine(
                    row=each,
                    title=_title(each),
                    standing=SEALED if each.day in closed else SIGNED,
                    link=self.owner.link("receipt", row.pk, each.position),
                )
                for each in rows
            ],
            check_link=self.owner.link("check", row.pk),
            problem=problem(),
            checked=checked,
        )

    def file_view(self, request: HttpRequest, object_id: UUID, position: int) -> HttpResponse:
        """The receipt with all that it takes to check it alone."""
        row = self.owner.row(request, object_id)
        receipt = receipts_of(row).filter(position=position).first()
        if receipt is None:
            raise Http404
        content = canonical(file_of(receipt, key_receipts()))
        return attachment(content + b"\n", f"receipt-{position}.json", "application/json")

    def check_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """The page with what a check found. Nothing is written, so it may be sent again."""
        row = self.owner.row(request, object_id)
        if request.method != "POST":
            return redirect(self.owner.page_of(row))
        part = self.part(row, check(row))
        return self.owner.change_view(request, str(object_id), extra_context={"receipts": part})


SEALED = Shown(GREEN, gettext_lazy("已封存"))
SIGNED = Shown(GREEN, gettext_lazy("已签名，当日封存"))
LATE = Shown(AMBER, gettext_lazy("补封"))


def _title(row: Receipt) -> Text:
    if row.kind == Receipt.Kind.CONFLICT:
        return _("填报冲突")
    return _("首份凭证") if row.sequence == 1 else _("第 %s 份凭证（内容有增加）") % row.sequence


def problem() -> str:
    """Why receipts are not made, if so; empty while all is well."""
    return Chain.objects.values_list("error", flat=True).first() or ""


def check(row: Submission) -> Checked:
    """Check a submission now."""
    try:
        report = check_submission(row, most_bytes=MOST_BYTES)
    except StoreUnavailable:
        return Checked(False, _("文件存储暂时不可用，未能完成核验，请稍后再试。"))
    counts = report.counts
    if not counts["receipts"]:
        return Checked(False, _("还没有凭证，稍后会自动签发，请过几分钟再核验。"))
    if not report.is_sound:
        words = [(flaw_shown(flaw), str(flaw)) for flaw in report.flaws[:20]]
        return Checked(False, _("核验未通过：发现 %s 处不符。") % len(report.flaws), words)
    told = _(
        "核验通过：%(receipts)s 份凭证、原始文件、答案和 %(files)s 个附件（%(size)s）与签名时一致。"
    )
    size = filesizeformat(counts["bytes"])
    summary = told % {"receipts": counts["receipts"], "files": counts["files"], "size": size}
    if counts["certified"]:
        summary += _("另有 %s 个附件已按规定销毁，有销毁证明。") % counts["certified"]
    if counts["not read"]:
        summary += _("附件较多，另有 %s 个未读取，可由管理员用命令全部核验。") % counts["not read"]
    return Checked(True, summary)


def flaw_shown(flaw: Flaw) -> Text:
    """A flaw in the reader's words."""
    kind = FLAWS.get(flaw.code, flaw.code)
    first, _slash, rest = flaw.place.partition("/")
    if first == "files":
        return _("附件 %(name)s：%(what)s") % {"name": rest.partition("/")[0], "what": kind}
    if flaw.place:
        return _("%(place)s：%(what)s") % {"place": PLACES.get(first, first), "what": kind}
    return _("凭证：%s") % kind


# ---- the days ----------------------------------------------------------------------------------


@admin.register(DayHead)
class DayHeadAdmin(ScopedAdmin):
    empty_hint = gettext_lazy("每天零点后封存前一天的凭证，封存后在此列出。")
    list_display = ["day", "standing", "count", "short_hash", "closed_at"]
    ordering = ["-number"]
    list_before_template = "console/receipt_days_note.html"
    page_template = "console/receipt_day.html"

    def visible_to(self, user: User) -> QuerySet[DayHead]:
        return days_visible_to(user)

    @admin.display(description=gettext_lazy("状态"))
    def standing(self, row: DayHead) -> SafeString:
        return day_shown(row).badge

    @admin.display(description=gettext_lazy("摘要"))
    def short_hash(self, row: DayHead) -> str:
        return f"{row.hash[:GROUP]} {row.hash[GROUP : 2 * GROUP]} …"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"list_note": open_day_note(), **(extra_context or {})}
        return super().changelist_view(request, context)

    def facts(self, request: HttpRequest, row: DayHead) -> Sequence[tuple[Text, Any]]:
        return [
            (_("状态"), self.standing(row)),
            (_("序号"), row.number),
            (_("凭证数"), row.count),
            (_("封存时间"), row.closed_at),
            (_("签名密钥"), envelope(row)["signed"].get("key", "—")),
        ]

    def page_tools(self, request: HttpRequest, row: DayHead) -> Sequence[Tool]:
        return [
            Tool(_("打印公告"), self.link("print", row.pk), "print"),
            Tool(_("下载签名文件"), self.link("file", row.pk), "download"),
        ]

    def page_context(self, request: HttpRequest, row: DayHead) -> dict[str, Any]:
        return {
            "title": _("每日存证 %s") % row,
            "groups": [row.hash[at : at + GROUP] for at in range(0, len(row.hash), GROUP)],
            "keys": [public_key_of(key) for key in key_receipts()],
        }

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {
            "print": ("<uuid:object_id>/print/", self.print_view),
            "file": ("<uuid:object_id>/file/", self.file_view),
        }

    def print_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """A sheet of paper with the day's hash: kept elsewhere, it vouches for the chain so far."""
        row = self.row(request, object_id)
        code = segno.make(f"{row.day}={row.hash}", error="m").svg_inline(scale=4)
        context = {"row": row, "code": mark_safe(code), **self.page_context(request, row)}  # noqa: S308 - our own drawing
        return self.render(request, "console/receipt_day_print.html", context)

    def file_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        row = self.row(request, object_id)
        content = canonical(envelope(row)) + b"\n"
        return attachment(content, f"day-{row}.json", "application/json")


def day_shown(row: DayHead) -> Shown:
    """Whether the day was signed when it should have been."""
    return LATE if row.closed_at - end_of(row.day) > IN_TIME else SEALED


def open_day_note() -> Shown | None:
    """What holds for the day that is not closed yet; red where no receipts are made."""
    chain = Chain.objects.first()
    if chain is None or chain.open_day is None:
        return Shown(AMBER, _("还没有签发过凭证。后台处理启动后会自动开始。"))
    if chain.error:
        return Shown(RED, _("凭证签发已停止：%s") % chain.error)
    count = chain.position - chain.day_first + 1
    words = {"day": chain.open_day, "n": count, "minutes": int(GRACE.total_seconds() // 60)}
    if chain.open_day < today():
        return Shown(AMBER, _("%(day)s 正在封存，已有 %(n)s 份凭证。") % words)
    return Shown(
        GREEN, _("今天（%(day)s）已签发 %(n)s 份凭证，零点后约 %(minutes)s 分钟封存。") % words
    )
