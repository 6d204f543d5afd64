"""Notices: writing, previewing, scheduling, correcting, recalling, and the live board of receipts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4

from django.contrib import admin, messages
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.utils.cache import get_conditional_response
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.models import MediaObject
from media_storage.services import discard, new_media_values, store_stream
from server.console.access import person
from server.console.admin.base import (
    CSV,
    XLSX,
    Deed,
    ScopedAdmin,
    Tool,
    attachment,
    attachment_in_parts,
    sentence,
)
from server.console.admin.dead import DeadWork, facts_of_work, retry_deed
from server.console.admin.escalation import escalation_tool
from server.console.admin.links import page_link
from server.console.admin.messaging import deliveries_seen_by
from server.console.filters import Period
from server.console.notices.export import MOST_IN_WORKBOOK, receipts_csv, receipts_workbook
from server.console.notices.form import (
    ComposeForm,
    CorrectForm,
    DraftTooLong,
    initial_of_draft,
    initial_of_notice,
    save_draft,
)
from server.console.notices.page import BoardShown, etag_of, notice_shown, preview_shown
from server.core import work
from server.core.audit import record_audit
from server.core.errors import DuxueError, Text, TooLarge
from server.core.ids import new_id
from server.grid.models import User
from server.grid.queries import office_paths, people_visible_to
from server.messaging.actions import RECEIPTS_EXPORTED
from server.messaging.board import next_reminder, recipients_by, remind
from server.messaging.composing import (
    MAX_FILE_BYTES,
    MAX_FILES,
    cancel,
    change,
    compose,
    correct,
    file_problem,
    may_be_attached,
    recall,
)
from server.messaging.models import Delivery, Notice, NoticeDraft
from server.messaging.preview import channels_here
from server.messaging.queries import (
    ANNOUNCEMENT,
    notices_overseen_by,
    notices_visible_to,
    notices_written_by_office_of,
)
from server.messaging.questions import KINDS
from server.messaging.reading import open_attachment
from server.messaging.saved_lists import save_list
from server.messaging.services import NOTICES
from server.messaging.variables import VARIABLES

INBOX = Delivery.Channel.INBOX
State = Notice.State
MATCHES = 20


@admin.register(Notice)
class NoticeAdmin(ScopedAdmin):
    list_display = ["title", "standing", "created_by", "moment", "reached", "acknowledged"]
    list_filter = ["state", "requires_ack", DeadWork, Period]
    search_fields = ["school__name", "created_by__name"]
    ordering = ["-id"]
    page_template = "console/notice.html"

    def visible_to(self, user: User) -> QuerySet[Notice]:
        rows = notices_visible_to(user).select_related("school", "created_by", "office")
        return rows.annotate(
            told=_count(Q()),
            read=_count(Q(read_at__isnull=False)),
            acked=_count(Q(acknowledged_at__isnull=False) | Q(answered_at__isnull=False)),
        )

    def page_rows(self, user: User) -> QuerySet[Notice]:
        return notices_visible_to(user).select_related("school", "created_by", "office")

    @admin.display(description=gettext_lazy("标题"))
    def title(self, row: Notice) -> str:
        return row.title

    @admin.display(description=gettext_lazy("状态"), ordering="state")
    def standing(self, row: Notice) -> SafeString:
        return notice_shown(row).badge

    @admin.display(description=gettext_lazy("发出时间"), ordering="created_at")
    def moment(self, row: Notice) -> str:
        return f"{localtime(row.told_at):%Y-%m-%d %H:%M}"

    @admin.display(description=gettext_lazy("已读"))
    def reached(self, row: Any) -> str:
        return f"{row.read} / {row.told}"

    @admin.display(description=gettext_lazy("已确认"))
    def acknowledged(self, row: Any) -> str:
        return f"{row.acked} / {row.told}" if row.asks in ("acknowledge", "answer") else "—"

    def may_add(self, request: HttpRequest) -> bool:
        return True

    # ---- writing -----------------------------------------------------------------------------

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        def send(form: ComposeForm) -> Notice:
            key = form.cleaned_data["notice_id"]
            return compose(notice_id=key, by=person(request), message=form.message())

        by = person(request)
        drafts = NoticeDraft.objects.filter(owner=by)
        initial: dict[str, Any] = {"notice_id": new_id()}
        if wanted := request.GET.get("draft"):
            key = _uuid(wanted)
            draft = drafts.filter(pk=key).first() if key else None
            if draft is None:
                raise Http404
            initial = initial_of_draft(draft)
        return self._compose_page(request, send, initial, title=_("写通知"), drafts=drafts[:5])

    def edit_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Change a notice that is still to be sent."""
        notice = self._own(request, object_id)
        if notice.state != State.SCHEDULED:
            return redirect(self.page_of(notice))

        def save(form: ComposeForm) -> Notice:
            return change(notice_id=notice.pk, by=person(request), message=form.message())

        initial = initial_of_notice(notice)
        return self._compose_page(request, save, initial, title=_("更改待发通知"), drafts=())

    def _compose_page(
        self,
        request: HttpRequest,
        do: Callable[[ComposeForm], Notice],
        initial: Mapping[str, Any],
        *,
        title: Text,
        drafts: Sequence[NoticeDraft] | QuerySet[NoticeDraft],
    ) -> HttpResponse:
        by = person(request)
        if request.method == "POST":
            form = ComposeForm(_with_files(request, by), by=by)
            deed = request.POST.get("do", "send")
            valid = form.is_valid()
            if deed == "preview":
                return self._preview(request, form)
            try:
                if valid and deed == "list":
                    self._save_list(request, form)
                elif valid:
                    notice = do(form)
                    messages.success(request, _sent_words(notice))
                    return redirect(self.page_of(notice))
            except DuxueError as error:
                form.refuse(error)
        else:
            form = ComposeForm(initial=dict(initial), by=by)
        context = {
            "title": title,
            "form": form,
            "drafts": drafts,
            "variables": [(f"{{{name}}}", words) for name, words in VARIABLES.items()],
            "kinds": dict(KINDS),
            "files": _files_shown(form["attachments"].value(), by),
            "chosen": form.chosen_people,
            "addresses": self._addresses(),
            "limits": {"files": MAX_FILES, "bytes": MAX_FILE_BYTES},
        }
        return self.render(request, "console/compose.html", context)

    def _addresses(self) -> dict[str, str]:
        return {
            "draft": self.link("draft"),
            "attach": self.link("attach"),
            "people": self.link("people"),
        }

    def _preview(self, request: HttpRequest, form: ComposeForm) -> HttpResponse:
        """What the audience chosen so far comes to; the text need not be there yet."""
        shown = preview_shown(
            form.audience(),
            person(request),
            urgent="urgent" in request.POST,
            page=request.POST.get("page", "1"),
            only_inbox="only_inbox" in request.POST,
        )
        context = {"shown": shown, "no_push": not channels_here()}
        return self.render(request, "console/parts/preview_people.html", context)

    def _save_list(self, request: HttpRequest, form: ComposeForm) -> None:
        name = request.POST.get("list_name", "")
        save_list(list_id=new_id(), by=person(request), name=name, audience=form.audience())
        messages.success(request, _("已保存常用范围“%(name)s”。") % {"name": name})

    def draft_view(self, request: HttpRequest) -> HttpResponse:
        """Keep what somebody has typed so far, or throw it away."""
        key = _uuid(request.POST.get("notice_id", ""))
        if request.method != "POST" or key is None:
            raise Http404
        if request.POST.get("do") == "discard":
            NoticeDraft.objects.filter(pk=key, owner=person(request)).delete()
            return redirect(self.link("add"))
        try:
            kept = save_draft(draft_id=key, by=person(request), fields=request.POST)
        except DraftTooLong:
            told = {"detail": _("内容过长，草稿未保存；更长的内容请放在附件里。")}
            return JsonResponse(told, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return JsonResponse({"kept": kept, "at": f"{localtime():%H:%M}"})

    def attach_view(self, request: HttpRequest) -> HttpResponse:
        """Store one file for a notice that is being written."""
        file = request.FILES.get("file")
        if request.method != "POST" or file is None:
            raise Http404
        try:
            media = _stored(file, person(request))
        except Refused as refusal:
            return JsonResponse({"detail": str(refusal)}, status=422)
        return JsonResponse({"id": str(media.pk), "name": media.filename, "size": media.size})

    def people_view(self, request: HttpRequest) -> HttpResponse:
        """People whom the office sees, by a part of their name, their log-in or their phone number."""
        words = request.GET.get("q", "").strip()[:40]
        found = []
        if words:
            by_words = Q(name__icontains=words) | Q(username__icontains=words)
            rows = people_visible_to(person(request)).filter(
                by_words | Q(phone__startswith=words), is_active=True
            )
            found = [
                {"id": str(user.pk), "name": str(user), "phone": user.phone}
                for user in rows.order_by("name", "pk")[:MATCHES]
            ]
        return JsonResponse({"people": found})

    # ---- one notice --------------------------------------------------------------------------

    def facts(self, request: HttpRequest, row: Any) -> Sequence[tuple[Text, Any]]:
        facts: list[tuple[Text, Any]] = [
            (_("状态"), self.standing(row)),
            (_("发出人"), row.created_by or _("系统")),
            (_("发出时间"), self.moment(row)),
        ]
        if row.office:
            facts.append((_("发出单位"), row.office))
        if row.school:
            facts.append((_("学校"), page_link(row.school)))
        if row.asks:
            facts.append((_("要求"), Notice.Requires(row.asks).label))
        if row.open_until:
            facts.append((_("截止时间"), f"{localtime(row.open_until):%Y-%m-%d %H:%M}"))
        if row.corrected_at:
            when = f"{localtime(row.corrected_at):%Y-%m-%d %H:%M}"
            facts.append((_("更正"), f"{when} {row.correction_note}"))
        if row.recalled_at:
            when = f"{localtime(row.recalled_at):%Y-%m-%d %H:%M}"
            facts.append((_("撤回"), f"{when} {row.recall_reason}"))
        return [*facts, *facts_of_work(row)]

    def deeds(self, request: HttpRequest, row: Notice) -> Mapping[str, Deed]:
        deeds = dict(retry_deed(row, NOTICES))
        by = person(request)
        if row.state == State.SENT and row.reminder_of_id is None and self._oversees(by, row):
            after = next_reminder(row)
            hint = _("只提醒还没有完成的人")
            if after:
                hint = _("刚刚提醒过，%(time)s 之后可以再次提醒") % {
                    "time": f"{localtime(after):%H:%M}"
                }
            deeds["remind"] = Deed(
                label=_("提醒未完成的人员"), do=self._remind, tone="primary", hint=hint
            )
        if not self._writes(by, row):
            return deeds
        if row.state == State.SENT:
            deeds["recall"] = Deed(
                label=_("撤回"),
                do=self._recall,
                tone="danger",
                note=_("撤回原因（接收人会看到）"),
                note_required=True,
                confirm=_("撤回“%(title)s”") % {"title": row.title},
                hint=_("收件箱里只留下撤回说明，不能再恢复。"),
            )
        if row.state == State.SCHEDULED:
            deeds["cancel"] = Deed(
                label=_("取消发送"),
                do=self._cancel,
                tone="danger",
                confirm=_("不再发送“%(title)s”") % {"title": row.title},
            )
        return deeds

    def _remind(self, request: HttpRequest, row: Notice) -> Text:
        remind(notice_id=row.pk, reminder_id=new_id(), by=person(request))
        return _("提醒已发出。")

    def _recall(self, request: HttpRequest, row: Notice) -> Text:
        recall(notice_id=row.pk, by=person(request), reason=request.POST.get("note", ""))
        return _("通知已撤回。")

    def _cancel(self, request: HttpRequest, row: Notice) -> Text:
        cancel(notice_id=row.pk, by=person(request))
        return _("已取消，不会发送。")

    def page_tools(self, request: HttpRequest, row: Notice) -> Sequence[Tool]:
        tools, by = [], person(request)
        if self._writes(by, row):
            if row.state == State.SENT:
                tools.append(Tool(_("更正"), self.link("correct", row.pk), "edit"))
            if row.state == State.SCHEDULED:
                tools.append(Tool(_("更改"), self.link("edit", row.pk), "edit"))
        if self._oversees(by, row) and row.state != State.SCHEDULED:
            tools.append(Tool(_("导出回执"), self.link("export", row.pk), "download"))
        if row.escalations.exists() or row.escalation_steps.exists():
            tools.append(escalation_tool(row))
        return tools

    def page_context(self, request: HttpRequest, row: Notice) -> dict[str, Any]:
        by = person(request)
        return {
            "title": row.title,
            "board": self._board(request, row),
            "live": self.link("board", row.pk),
            "files": row.attachments.filter(removed_at=None).select_related("media"),
            "versions": row.versions.select_related("by").order_by("-number"),
            "reminders": row.reminders.select_related("created_by").order_by("-created_at"),
            "writes": self._writes(by, row),
            "groups": deliveries_seen_by(by).filter(notice=row, group__isnull=False).order_by("id"),
        }

    def _board(self, request: HttpRequest, row: Notice) -> BoardShown:
        by = person(request)
        within = None if self._oversees(by, row) else people_visible_to(by)
        return BoardShown(row, request, within=within)

    def board_view(self, request: HttpRequest, object_id: UUID) -> HttpResponseBase:
        """The board alone, as the page asks for it again and again: 304 while nothing has moved."""
        row = self.row(request, object_id)
        context = {"board": self._board(request, row), "row": row, "opts": self.opts}
        content = render_to_string("console/parts/board.html", context, request).encode()
        etag = etag_of(content)
        response = HttpResponse(content)
        response.headers["ETag"] = etag
        response.headers["Cache-Control"] = "private, no-cache"
        return get_conditional_response(request, etag=etag, response=response) or response

    def export_view(self, request: HttpRequest, object_id: UUID) -> HttpResponseBase:
        """Everything about every recipient, in the standing that the page shows: a workbook, of very
        many a CSV that begins to arrive at once.
        """
        row, by = self.row(request, object_id), person(request)
        if not self._oversees(by, row):
            raise Http404
        board = self._board(request, row)
        with transaction.atomic():
            record_audit(
                RECEIPTS_EXPORTED,
                by=by,
                subject=("notice", row.pk),
                details={"title": row.title, "standing": board.standing, "q": board.words},
            )
        shown = {"standing": board.standing, "words": board.words}
        if recipients_by(row, **shown).count() <= MOST_IN_WORKBOOK:
            return attachment(receipts_workbook(row, **shown), f"receipts-{row.pk}.xlsx", XLSX)
        return attachment_in_parts(receipts_csv(row, **shown), f"receipts-{row.pk}.csv", CSV)

    def file_view(self, request: HttpRequest, object_id: UUID, media_id: UUID) -> HttpResponse:
        """On to a short-lived address of an attachment."""
        base_url = request.build_absolute_uri("/").rstrip("/")
        try:
            opened = open_attachment(
                notice_id=object_id, media_id=media_id, by=person(request), base_url=base_url
            )
        except DuxueError as error:
            raise Http404(sentence(error)) from None
        return redirect(opened.url)

    def correct_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """A new version of the text."""
        notice = self._own(request, object_id)
        by = person(request)
        if request.method == "POST":
            form = CorrectForm(_with_files(request, by), by=by)
            if form.is_valid():
                values = dict(form.cleaned_data)
                try:
                    correct(
                        notice_id=notice.pk,
                        by=by,
                        seen_version=values.pop("version"),
                        **values,
                    )
                    messages.success(request, _("通知已更正。"))
                    return redirect(self.page_of(notice))
                except DuxueError as error:
                    form.refuse(error)
        else:
            initial = initial_of_notice(notice)
            form = CorrectForm(
                initial={**initial, "version": notice.version, "correction_id": uuid4()}, by=by
            )
        context = {
            "title": _("更正通知"),
            "form": form,
            "row": notice,
            "back": self.page_of(notice),
            "variables": [(f"{{{name}}}", words) for name, words in VARIABLES.items()],
            "files": _files_shown(form["attachments"].value(), by),
            "addresses": self._addresses(),
            "limits": {"files": MAX_FILES, "bytes": MAX_FILE_BYTES},
        }
        return self.render(request, "console/correct.html", context)

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {
            "draft": ("draft/", self.draft_view),
            "attach": ("attach/", self.attach_view),
            "people": ("people/", self.people_view),
            "edit": ("<uuid:object_id>/edit/", self.edit_view),
            "correct": ("<uuid:object_id>/correct/", self.correct_view),
            "board": ("<uuid:object_id>/board/", self.board_view),
            "export": ("<uuid:object_id>/export/", self.export_view),
            "file": ("<uuid:object_id>/files/<uuid:media_id>/", self.file_view),
        }

    def _own(self, request: HttpRequest, object_id: UUID) -> Notice:
        notice = notices_written_by_office_of(person(request)).filter(pk=object_id).first()
        if notice is None:
            raise Http404
        return notice

    @staticmethod
    def _writes(by: User, row: Notice) -> bool:
        if row.event != ANNOUNCEMENT:
            return False
        paths = tuple(office_paths(by))
        of_office = row.office is not None and row.office.path.startswith(paths) and bool(paths)
        return by.is_superuser or row.created_by_id == by.pk or of_office

    @staticmethod
    def _oversees(by: User, row: Notice) -> bool:
        return notices_overseen_by(by).filter(pk=row.pk).exists()


class Refused(Exception):
    """A file that cannot go with a notice; the text says why."""


def _count(condition: Q) -> Subquery:
    """How many recipients; asked for the rows of one page of the list, and no others."""
    rows = Delivery.objects.filter(condition, notice=OuterRef("pk"), channel=INBOX).order_by()
    counted = rows.values("notice").annotate(n=Count("pk")).values("n")
    return Subquery(counted, output_field=IntegerField())


def _with_files(request: HttpRequest, by: User) -> Any:
    """The form's values; files that no script has sent before are stored now."""
    values = request.POST.copy()
    for file in request.FILES.getlist("files"):
        try:
            values.appendlist("attachments", str(_stored(file, by).pk))
        except Refused as refusal:
            messages.error(request, f"{file.name}：{refusal}")
    return values


def _stored(file: UploadedFile[Any], by: User) -> MediaObject:
    """Write the file to the store and its row; the worker looks into it later. Raises Refused."""
    name, content_type = file.name or "", file.content_type or ""
    if not may_be_attached(content_type):
        raise Refused(_("附件只能是照片、PDF、Word 或 Excel 文件"))
    try:
        stored = store_stream(
            filename=name, content_type=content_type, chunks=file.chunks(), limit=MAX_FILE_BYTES
        )
    except TooLarge:
        megabytes = MAX_FILE_BYTES // 1024 // 1024
        raise Refused(_("附件不能超过 %(n)s MB") % {"n": megabytes}) from None
    media = MediaObject(
        **new_media_values(media_id=new_id(), owner_id=by.pk, filename=name, stored=stored)
    )
    if wrong := file_problem(media):
        discard(stored.key)
        raise Refused(str(wrong.detail))
    with transaction.atomic():
        media.save(force_insert=True)
        work.wake("media")
    return media


def _files_shown(ids: Any, by: User) -> list[MediaObject]:
    """Those of the files that are the person's, or of a notice of their office."""
    keys = [key for each in ids or [] if (key := _uuid(str(each)))]
    of_office = notices_written_by_office_of(by).values("pk")
    rows = MediaObject.objects.filter(
        Q(owner=by) | Q(notice_attachments__notice__in=of_office), pk__in=keys
    )
    found = {media.pk: media for media in rows}
    return [found[key] for key in keys if key in found]


def _sent_words(notice: Notice) -> str:
    if notice.state == State.SCHEDULED and notice.send_at:
        when = f"{localtime(notice.send_at):%Y-%m-%d %H:%M}"
        return _("通知将于 %(when)s 发出。") % {"when": when}
    return _("通知已发出。")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
