"""What was filled in, what contradicts it, and what was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from server.activities.models import (
    RefusedDocument,
    Submission,
    SubmissionAttachment,
    SubmissionConflict,
)
from server.activities.queries import submissions_visible_to
from server.activities.services.attaching import attach_submission, visits_to_attach_to
from server.activities.services.quarantine import refused_visible_to
from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin, Tool, attachment
from server.console.admin.dead import DeadWork, facts_of_work, retry_deed
from server.console.admin.flags import FlaggedSubmission
from server.console.admin.links import page_link
from server.console.admin.receipts import ReceiptPages
from server.console.answers import Section, proven_by, read_answers
from server.console.filters import (
    ReceivedPeriod,
    SubmissionActivity,
)
from server.console.photos import photo_of, shown_to
from server.console.position import place_of
from server.core.errors import Text
from server.evidence.queries import flags_at
from server.findings.models import Finding
from server.findings.queries import findings_visible_to
from server.grid.models import School, User

Document = Submission | SubmissionConflict | RefusedDocument


def read_by(user: User, rows: QuerySet[Submission]) -> QuerySet[Submission]:
    """Submissions with all that `record_of` reads; a few queries for any number of them."""
    files = SubmissionAttachment.objects.prefetch_related(Prefetch("media", shown_to(user)))
    return (
        rows.select_related("version__instrument", "sender", "device")
        .select_related("visit__school", "visit__activity")
        .defer("raw", "version__xlsform", "version__xform", "version__warnings")
        .prefetch_related(Prefetch("attachments", files))
    )


def record_of(
    submission: Submission, findings: Sequence[Finding], school: School | None
) -> dict[str, Any]:
    """A submission as its page shows it: sections of answers, and its photos as squares."""
    sections = read_answers(submission, findings, get_language() or "")
    at = place_of(school) if school else None
    photos = [
        photo_of(
            file.media,
            caption=_caption(sections, file),
            school=at,
            flags=flags_at(file.media, visit_id=submission.visit_id, root_id=submission.root_id),
        )
        for file in submission.attachments.all()
        if file.media
    ]
    return {
        "submission": submission,
        "sections": sections,
        "photos": photos,
        "squares": {photo.media.pk: photo for photo in photos},
        "absent": [file.name for file in submission.attachments.all() if file.media is None],
        "found": sum(section.found for section in sections),
    }


def _caption(sections: Sequence[Section], file: SubmissionAttachment) -> str:
    """The question that the file proves."""
    proven = proven_by(sections, file)
    return proven.question.label if proven else ""


@admin.register(Submission)
class SubmissionAdmin(ScopedAdmin):
    list_display = ["instrument", "school", "sender", "received_at", "files", "conflict_total"]
    list_filter = [FlaggedSubmission, DeadWork, SubmissionActivity, ReceivedPeriod, "format"]
    search_fields = ["sender__name", "visit__school__name", "version__instrument__title"]
    ordering = ["-received_at", "id"]
    page_template = "console/submission.html"

    def visible_to(self, user: User) -> QuerySet[Submission]:
        return (
            submissions_visible_to(user)
            .select_related("version__instrument", "sender", "visit__school")
            .defer("raw", "answers", "version__xform", "version__xlsform", "version__form")
            .annotate(
                file_count=Count("attachments", distinct=True),
                arrived=Count(
                    "attachments", filter=Q(attachments__media__isnull=False), distinct=True
                ),
                conflict_count=Count("conflicts", distinct=True),
            )
        )

    def page_rows(self, user: User) -> QuerySet[Submission]:
        return read_by(user, submissions_visible_to(user))

    @admin.display(description=gettext_lazy("督导工具"))
    def instrument(self, row: Submission) -> str:
        return row.version.instrument.title

    @admin.display(description=gettext_lazy("学校"))
    def school(self, row: Submission) -> str:
        return str(row.visit.school) if row.visit else "—"

    @admin.display(description=gettext_lazy("文件"))
    def files(self, row: Any) -> str:
        return f"{row.arrived} / {row.file_count}" if row.file_count else "—"

    @admin.display(description=gettext_lazy("冲突"))
    def conflict_total(self, row: Any) -> str:
        return str(row.conflict_count) if row.conflict_count else "—"

    def facts(self, request: HttpRequest, row: Submission) -> Sequence[tuple[Text, Any]]:
        return [
            (_("督导工具"), f"{row.version.instrument.title} {row.version.version}"),
            (_("入校任务"), page_link(row.visit) if row.visit else _("不属于任何任务")),
            (_("填报人"), row.sender),
            (_("开始填写"), row.started_at or "—"),
            (_("填写完毕"), row.ended_at or "—"),
            (_("手机发送时间"), row.device_time or "—"),
            (_("到达时间"), row.received_at),
            (_("修改自"), _edited(row)),
            (_("格式"), row.get_format_display()),
            ("SHA-256", row.sha256),
            *facts_of_work(row),
        ]

    def deeds(self, request: HttpRequest, row: Submission) -> Mapping[str, Deed]:
        return {**retry_deed(row, "submissions"), **self._attaching(row)}

    def _attaching(self, row: Submission) -> Mapping[str, Deed]:
        if row.visit_id is not None:
            return {}
        return {
            f"attach-{visit.pk}": Deed(
                label=_("归入：%s") % visit,
                do=partial(self._attach, visit_id=visit.pk),
            )
            for visit in visits_to_attach_to(row)[:8]
        }

    def _attach(self, request: HttpRequest, row: Submission, *, visit_id: UUID) -> Text:
        attach_submission(submission_id=row.pk, visit_id=visit_id, by=person(request))
        return _("已归入任务。")

    def page_tools(self, request: HttpRequest, row: Submission) -> Sequence[Tool]:
        return [Tool(_("下载原始文件"), self.link("raw", row.pk), "download")]

    def page_context(self, request: HttpRequest, row: Submission) -> dict[str, Any]:
        user = person(request)
        findings = findings_visible_to(user).filter(source_key__startswith=f"{row.root_id}:")
        school = row.visit.school if row.visit else None
        record = record_of(row, list(findings), school)
        return {
            "title": row.version.instrument.title,
            "record": record,
            "conflicts": row.conflicts.select_related("sender"),
            "newer": row.replacements.all(),
            "receipts": ReceiptPages(self).part(row),
        }

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"raw": ("<uuid:object_id>/raw/", self.raw_view), **ReceiptPages(self).routes}

    def raw_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        return document(self.row(request, object_id))


def _edited(row: Submission) -> object:
    if row.replaces_id is None:
        return "—"
    predecessor = row.predecessor
    return page_link(predecessor) if predecessor else _("%s（尚未到达）") % row.replaces_id


def document(row: Document) -> HttpResponse:
    """The document as the phone sent it."""
    kind = "text/xml; charset=utf-8" if row.format == Submission.Format.XML else "application/json"
    return attachment(bytes(row.raw), f"{row.pk}.{row.format}", kind)


@admin.register(SubmissionConflict)
class ConflictAdmin(ScopedAdmin):
    empty_hint = gettext_lazy("同一编号收到不同内容时，两份都会保留并在此列出，由人判断。")
    list_display = ["instrument", "school", "sender", "first_sender", "name", "received_at"]
    list_filter = [ReceivedPeriod]
    search_fields = ["sender__name", "submission__visit__school__name"]
    ordering = ["-received_at"]
    page_template = "console/conflict.html"

    def visible_to(self, user: User) -> QuerySet[SubmissionConflict]:
        rows = SubmissionConflict.objects.filter(
            submission__in=submissions_visible_to(user).values("pk")
        )
        return rows.select_related(
            "submission__version__instrument", "submission__visit__school", "submission__sender"
        ).select_related("sender", "media")

    @admin.display(description=gettext_lazy("督导工具"))
    def instrument(self, row: SubmissionConflict) -> str:
        return row.submission.version.instrument.title

    @admin.display(description=gettext_lazy("学校"))
    def school(self, row: SubmissionConflict) -> str:
        return str(row.submission.visit.school) if row.submission.visit else "—"

    @admin.display(description=gettext_lazy("先到的填报人"))
    def first_sender(self, row: SubmissionConflict) -> str:
        return str(row.submission.sender)

    def facts(self, request: HttpRequest, row: SubmissionConflict) -> Sequence[tuple[Text, Any]]:
        return [
            (_("督导工具"), self.instrument(row)),
            (_("学校"), self.school(row)),
            (_("先到的填报"), page_link(row.submission, _("查看"))),
            (_("先到的填报人"), row.submission.sender),
            (_("先到的时间"), row.submission.received_at),
            (_("后到的填报人"), row.sender),
            (_("后到的时间"), row.received_at),
            (_("文件名"), row.name or "—"),
        ]

    def page_tools(self, request: HttpRequest, row: SubmissionConflict) -> Sequence[Tool]:
        first = reverse("admin:activities_submission_raw", args=[row.submission_id])
        return [
            Tool(_("下载先到的文件"), first, "download"),
            Tool(_("下载后到的文件"), self.link("raw", row.pk), "download"),
        ]

    def page_context(self, request: HttpRequest, row: SubmissionConflict) -> dict[str, Any]:
        return {
            "title": _("填报冲突：%(what)s") % {"what": self.instrument(row)},
            "first": _text(row.submission),
            "second": _text(row),
        }

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"raw": ("<uuid:object_id>/raw/", self.raw_view)}

    def raw_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        return document(self.row(request, object_id))


@admin.register(RefusedDocument)
class RefusedAdmin(ScopedAdmin):
    empty_hint = gettext_lazy("未能接收的填报会保留一段时间并在此列出，包括原因和原始内容。")
    list_display = ["received_at", "sender", "code", "first_line", "times"]
    list_filter = ["code"]
    search_fields = ["sender__name", "reason"]
    ordering = ["-received_at"]
    page_template = "console/refused.html"

    def visible_to(self, user: User) -> QuerySet[RefusedDocument]:
        return refused_visible_to(user).select_related("sender", "device")

    @admin.display(description=gettext_lazy("拒绝原因"))
    def first_line(self, row: RefusedDocument) -> str:
        return row.reason.partition("\n")[0]

    def facts(self, request: HttpRequest, row: RefusedDocument) -> Sequence[tuple[Text, Any]]:
        return [
            (_("填报人"), page_link(row.sender)),
            (_("设备"), row.device or "—"),
            (_("到达时间"), row.received_at),
            (_("次数"), row.times),
            (_("代码"), row.code),
            (_("拒绝原因"), row.reason),
            ("SHA-256", row.sha256),
        ]

    def page_tools(self, request: HttpRequest, row: RefusedDocument) -> Sequence[Tool]:
        return [Tool(_("下载原始文件"), self.link("raw", row.pk), "download")]

    def page_context(self, request: HttpRequest, row: RefusedDocument) -> dict[str, Any]:
        title = _("被拒绝的填报：%s") % row.sender
        return {"title": title, "text": _text(row), "days": settings.REFUSED_DOCUMENT_DAYS}

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"raw": ("<uuid:object_id>/raw/", self.raw_view)}

    def raw_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        return document(self.row(request, object_id))


def _text(row: Document) -> str:
    return bytes(row.raw).decode(errors="replace")[:20_000]
