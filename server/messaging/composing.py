"""Hand-written notices: sent now or at a time, changed and cancelled before, corrected and recalled after.

    scheduled ──its time comes──▶ sent ──recall──▶ recalled
        │  ▲ change                │ ▲ correct: a new version of the text
        └──┴──cancel──▶ cancelled

Every step is repeated safely: a notice and a correction have their client's id, and what is done is
done. Phones hear of a correction and of a recall by the worker, a batch of recipients at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from media_storage.formats import format_of
from media_storage.models import MediaObject
from server.core import clock
from server.core.audit import AuditAction, record_audit
from server.core.errors import (
    Conflict,
    ContentConflict,
    Invalid,
    NotAllowed,
    NotFound,
    Problem,
    WrongState,
)
from server.core.work import PermanentFailure, wake
from server.grid.models import Area, Membership, User, in_term
from server.grid.queries import OFFICES
from server.messaging import actions, services
from server.messaging.models import (
    Delivery,
    Notice,
    NoticeAttachment,
    NoticeDraft,
    NoticeVersion,
)
from server.messaging.queries import (
    ANNOUNCEMENT,
    INBOX,
    Audience,
    audience_of,
    notices_written_by_office_of,
    recipients_of,
    saved_lists_of,
)
from server.messaging.questions import checked_form
from server.messaging.sources import activities_are_visible
from server.messaging.variables import is_templated, variable_problems

MAX_TITLE = 200
MAX_BODY = 20_000
MAX_REASON = 200
MAX_FILES = 10
MAX_FILE_BYTES = 20 * 1024 * 1024
LATE_FOR = timedelta(days=90)
"""What must be confirmed or answered and has no end reaches late joiners for so long."""
FURTHEST = timedelta(days=366)
REPLACED = (
    Delivery.Channel.FCM,
    Delivery.Channel.WEBPUSH,
    Delivery.Channel.JPUSH,
)
"""Channels on which a second message takes the place of the first, by the notice's collapse key."""

State = Notice.State
Requires = Notice.Requires


class NoticeChanged(Conflict):
    code = "notice_changed"
    title = _("通知在此期间已被他人更正，请看过最新内容后再改")


@dataclass(frozen=True, kw_only=True)
class Message:
    """What an office writes. `send_at` none or past: now. `open_until`: no answers after that.

    `attachments` are ids of the author's uploaded media; `questions` as in server.messaging.questions.
    """

    title: str
    body: str
    audience: Audience
    requires: str = ""
    urgent: bool = False
    attachments: Sequence[UUID] = ()
    questions: Sequence[Mapping[str, Any]] = ()
    send_at: datetime | None = None
    open_until: datetime | None = None


# ---- sending --------------------------------------------------------------------------------


def announce(
    *,
    notice_id: UUID,
    by: User,
    title: str,
    body: str,
    audience: Audience,
    requires_ack: bool = False,
) -> Notice:
    """Send a plain notice now; see `compose`."""
    requires = Requires.ACKNOWLEDGE.value if requires_ack else ""
    message = Message(title=title, body=body, audience=audience, requires=requires)
    return compose(notice_id=notice_id, by=by, message=message)


def compose(*, notice_id: UUID, by: User, message: Message) -> Notice:
    """Send a hand-written notice to those of the audience whom the office reaches, or schedule it.

    The same id with the same content is the same notice. Raises NotAllowed, NotFound for an activity
    or a list that one may not see, Invalid (text, variables, files, questions, times, nobody to tell),
    ContentConflict.
    """
    office = _office(by)
    content, files = _checked(message, by)
    with transaction.atomic():
        notice, created = Notice.objects.get_or_create(
            id=notice_id,
            defaults={"event": ANNOUNCEMENT, "created_by": by, "office": office, **content},
        )
        if not created:
            if notice.created_by_id != by.pk or _differs(notice, content):
                raise ContentConflict(_("此编号的通知已发出，内容不同；请使用新的编号重新发送"))
            return notice
        _attach(notice, files)
        if content["state"] == State.SCHEDULED:
            _plan(notice, message, by)
        else:
            services._reach(notice, recipients_of(message.audience, by))
            _record(actions.NOTICE_SENT, notice, by)
        NoticeDraft.objects.filter(id=notice_id, owner=by).delete()
    return notice


def change(*, notice_id: UUID, by: User, message: Message) -> Notice:
    """Replace a notice that is still to be sent. Raises as `compose`, WrongState once it was sent."""
    content, files = _checked(message, by, kept=_media_of(notice_id))
    with transaction.atomic():
        notice = _locked(notice_id, by)
        _must_be(notice, State.SCHEDULED)
        if not _differs(notice, content) and content["send_at"] == notice.send_at:
            return notice
        content |= {
            "state": State.SCHEDULED,
            "send_at": content["send_at"] or clock.now(),
            "sent_at": None,
            "late_until": None,
        }
        for name, value in content.items():
            setattr(notice, name, value)
        notice.save(update_fields=list(content))
        _replace_files(notice, files)
        _plan(notice, message, by, action=actions.NOTICE_CHANGED)
    return notice


def cancel(*, notice_id: UUID, by: User) -> Notice:
    """Do not send a scheduled notice. Raises NotFound, WrongState once it was sent."""
    with transaction.atomic():
        notice = _locked(notice_id, by)
        if notice.state == State.CANCELLED:
            return notice
        _must_be(notice, State.SCHEDULED)
        notice.state = State.CANCELLED
        notice.work_due_at = notice.work_dead_at = None
        notice.save(update_fields=["state", "work_due_at", "work_dead_at"])
        _record(actions.NOTICE_CANCELLED, notice, by)
    return notice


def _plan(
    notice: Notice, message: Message, by: User, *, action: AuditAction = actions.NOTICE_SCHEDULED
) -> None:
    """The work of a scheduled notice is due when it is to be sent."""
    if not recipients_of(message.audience, by).exists():
        raise _nobody()
    Notice.objects.filter(id=notice.id).update(
        work_due_at=notice.send_at, work_dead_at=None, work_attempts=0, work_lost=0, work_error=""
    )
    wake(services.NOTICES)
    _record(action, notice, by)


# ---- recalling and correcting -----------------------------------------------------------------


def recall(*, notice_id: UUID, by: User, reason: str) -> Notice:
    """Take a notice back: inboxes show by whom and why, what is not sent yet is not sent.

    Repeating it changes nothing. Raises NotFound, Invalid without a reason, WrongState.
    """
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON:
        detail = _("请说明原因，不超过 %(n)s 个字") % {"n": MAX_REASON}
        raise Invalid(problems=[Problem("/reason", "length", detail)])
    with transaction.atomic():
        notice = _locked(notice_id, by)
        if notice.state == State.RECALLED:
            return notice
        _must_be(notice, State.SENT)
        notice.state, notice.recalled_at, notice.recall_reason = State.RECALLED, clock.now(), reason
        notice.late_until = None
        notice.save(update_fields=["state", "recalled_at", "recall_reason", "late_until"])
        _tell_later(notice)
        _record(actions.NOTICE_RECALLED, notice, by, reason=reason)
    return notice


def correct(
    *,
    notice_id: UUID,
    correction_id: UUID,
    by: User,
    seen_version: int,
    title: str,
    body: str,
    note: str = "",
    ask_again: bool = False,
    attachments: Sequence[UUID] | None = None,
) -> Notice:
    """Replace the text of a sent notice; `ask_again`: who confirmed or answered must do so again.

    `seen_version` is what the corrector had before them. `attachments`: None leaves them as they are.
    The same correction again is a success. Raises NotFound, Invalid, WrongState, NoticeChanged where
    somebody else corrected it meanwhile, ContentConflict.
    """
    title, body, note = title.strip(), body.strip(), note.strip()
    problems = _text_problems(title, body)
    if len(note) > MAX_REASON:
        problems.append(_too_long("/note", MAX_REASON))
    if problems:
        raise Invalid(problems=problems)
    kept = _media_of(notice_id)
    files = _files(attachments, by, kept) if attachments is not None else None
    with transaction.atomic():
        notice = _locked(notice_id, by)
        told = {"title": title, "body": body, "note": note, "asks_again": ask_again}
        if (known := NoticeVersion.objects.filter(id=correction_id).first()) is not None:
            if known.notice_id != notice.id or any(getattr(known, k) != told[k] for k in told):
                raise ContentConflict
            return notice
        _must_be(notice, State.SENT)
        if notice.version != seen_version:
            raise NoticeChanged
        _keep_first(notice)
        moment = clock.now()
        notice.version += 1
        notice.params = {**notice.params, "title": title, "body": body}
        notice.templated = is_templated(title + body)
        notice.corrected_at, notice.correction_note = moment, note
        if ask_again:
            notice.asked_since = moment
        notice.save(
            update_fields=[
                "version",
                "params",
                "templated",
                "corrected_at",
                "correction_note",
                "asked_since",
            ]
        )
        if files is not None:
            _replace_files(notice, files)
        NoticeVersion.objects.create(
            id=correction_id,
            notice=notice,
            number=notice.version,
            files=_file_names(notice),
            by=by,
            at=moment,
            **told,
        )
        _tell_later(notice)
        _record(actions.NOTICE_CORRECTED, notice, by, version=notice.version, note=note)
    return notice


def _keep_first(notice: Notice) -> None:
    if notice.version == 1:
        NoticeVersion.objects.get_or_create(
            notice=notice,
            number=1,
            defaults={
                "title": notice.params["title"],
                "body": notice.params["body"],
                "files": _file_names(notice),
                "by": notice.created_by,
                "at": notice.told_at,
            },
        )


def _tell_later(notice: Notice) -> None:
    """Leave it to the worker to tell the recipients that the notice changed."""
    Notice.objects.filter(id=notice.id).update(
        change_untold=True,
        change_told_to=None,
        work_due_at=clock.now(),
        work_dead_at=None,
        work_attempts=0,
        work_lost=0,
    )
    wake(services.NOTICES)


# ---- the worker's part ------------------------------------------------------------------------


def progress(notice: Notice) -> None:
    """Take the next step of a notice's work; the row stays due until nothing is left.

    Each step is one transaction that locks the notice, so that nothing is sent of a notice that was
    recalled or cancelled before it.
    """
    if notice.state == State.SCHEDULED and not _begin(notice):
        return
    if notice.change_untold and _tell_of_change(notice):
        _go_on(notice)
        return
    if notice.state != State.SENT:
        return
    services.expand(notice)
    if not Notice.objects.filter(id=notice.id, work_due_at=notice.work_due_at).exists():
        return  # it has more to expand, or something new happened
    if notice.late_due and _admit(notice):
        _go_on(notice)


def _go_on(notice: Notice) -> None:
    Notice.objects.filter(id=notice.id).update(
        work_due_at=clock.now(), work_attempts=0, work_lost=0
    )
    wake(services.NOTICES)


def _begin(notice: Notice) -> bool:
    """Send a scheduled notice whose time has come; its audience is looked up from now on."""
    with transaction.atomic():
        row = _for_update(notice.id)
        if row.state != State.SCHEDULED:
            return False
        moment = clock.now()
        if row.send_at is not None and row.send_at > moment:
            Notice.objects.filter(id=row.id).update(work_due_at=row.send_at)
            return False
        if not audience_of(row).exists():
            raise PermanentFailure("nobody is in its audience any more")
        late = late_until(row.asks, row.open_until, moment)
        Notice.objects.filter(id=row.id).update(state=State.SENT, sent_at=moment, late_until=late)
        _record(actions.NOTICE_SENT, row, None)
    notice.state, notice.sent_at, notice.late_until = State.SENT, moment, late
    return True


def late_until(asks: str, open_until: datetime | None, moment: datetime) -> datetime | None:
    """How long those who join the audience later still get the notice."""
    if open_until is not None:
        return open_until
    return moment + LATE_FOR if asks in (Requires.ACKNOWLEDGE, Requires.ANSWER) else None


def _tell_of_change(notice: Notice) -> bool:
    """Tell the next batch of recipients of a correction or recall. True where there are more."""
    with transaction.atomic():
        row = _for_update(notice.id)
        if not row.change_untold:
            return False
        told = Delivery.objects.filter(notice=row, channel=INBOX).order_by("recipient_id")
        first = row.change_told_to is None
        if not first:
            told = told.filter(recipient__gt=row.change_told_to)
        ids = list(told.values_list("recipient", flat=True)[: services.BATCH])
        _resend(row, Q(recipient__in=ids) | (Q(recipient=None) if first else Q(pk__in=[])))
        people = [each for each in ids if each is not None]
        if people:
            services.tell_phones(row, people)
        more = len(ids) == services.BATCH
        Notice.objects.filter(id=row.id).update(
            change_untold=more, change_told_to=ids[-1] if more else None
        )
        wake(services.DELIVERIES)
    return more


def _resend(notice: Notice, whose: Q) -> None:
    """Skip what a recalled notice has not sent; send again where that replaces the first message."""
    rows = Delivery.objects.filter(whose, notice=notice).exclude(channel=INBOX)
    if notice.state == State.RECALLED:
        # work_lost: a worker has it in its hands, and will see for itself.
        unsent = rows.filter(state=Delivery.State.PENDING, sent_at=None, work_lost=0)
        unsent.update(state=Delivery.State.SKIPPED, reason=str(_("通知已撤回")), work_due_at=None)
    again = rows.filter(
        channel__in=REPLACED,
        state__in=[Delivery.State.SENT, Delivery.State.DELIVERED],
        merged_into=None,
    )
    hours = timedelta(hours=settings.DELIVERY_HOURS)
    again.update(**_PENDING_AGAIN, work_due_at=clock.now(), expires_at=clock.now() + hours)


_PENDING_AGAIN = {
    "state": Delivery.State.PENDING,
    "work_attempts": 0,
    "work_lost": 0,
    "work_error": "",
    "work_dead_at": None,
}


def send_again_if_changed(deliveries: Iterable[Delivery]) -> None:
    """After sending and recording: what was corrected or recalled meanwhile is due again.

    Whoever changes a notice passes over what a worker has in its hands; so the worker looks.
    """
    sent = [each for each in deliveries if each.notice.event == ANNOUNCEMENT]
    if not sent:
        return
    now = {
        pk: (state, version)
        for pk, state, version in Notice.objects.filter(
            pk__in={each.notice_id for each in sent}
        ).values_list("pk", "state", "version")
    }
    stale = [
        each.pk
        for each in sent
        if each.channel in REPLACED
        and now.get(each.notice_id) != (each.notice.state, each.notice.version)
    ]
    if stale:
        Delivery.objects.filter(pk__in=stale).update(**_PENDING_AGAIN, work_due_at=clock.now())
        wake(services.DELIVERIES)


# ---- late joiners -----------------------------------------------------------------------------


def open_notices() -> QuerySet[Notice]:
    """Those that late joiners still get, by the index of what is open."""
    return Notice.objects.filter(
        late_until__gt=clock.now(), state=State.SENT, event=ANNOUNCEMENT
    ).select_related("created_by", "office", "reminder_of")


def admit(user_id: UUID) -> int:
    """Give a person the open notices whose audience they are in by now. Returns how many."""
    told = Delivery.objects.filter(recipient=user_id, channel=INBOX)
    count = 0
    for notice in open_notices().exclude(pk__in=told.values("notice")).order_by("pk"):
        if audience_of(notice).filter(pk=user_id).exists():
            with transaction.atomic():
                if _for_update(notice.id).state == State.SENT:
                    services.deliver(notice, [user_id])
                    count += 1
    return count


def look_for_late_joiners() -> int:
    """Once a day: people who came into an audience in other ways, such as by a list or an activity."""
    count = open_notices().update(late_due=True, work_due_at=clock.now())
    if count:
        wake(services.NOTICES)
    return count


def _admit(notice: Notice) -> bool:
    """Tell the next batch of those who are in the audience and have not got it. True: there are more."""
    told = Delivery.objects.filter(notice=notice, channel=INBOX).values("recipient")
    with transaction.atomic():
        row = _for_update(notice.id)
        if row.state != State.SENT:
            return False
        people = audience_of(row).exclude(pk__in=told).order_by("pk")
        batch = list(people.values_list("pk", flat=True)[: services.BATCH])
        services.deliver(row, batch)
        more = len(batch) == services.BATCH
        if not more:
            Notice.objects.filter(id=row.id).update(late_due=False)
    return more


# ---- the rules --------------------------------------------------------------------------------


def office_of(by: User) -> Area | None:
    """The office for which the person writes: the highest of theirs."""
    roles = Membership.objects.filter(in_term(), user=by, role__in=OFFICES, area__isnull=False)
    areas = [row.area for row in roles.select_related("area") if row.area]
    return min(areas, key=lambda area: (len(area.path), area.path), default=None)


def _office(by: User) -> Area | None:
    office = office_of(by)
    if office is None and not by.is_superuser:
        raise NotAllowed
    return office


def _checked(
    message: Message, by: User, *, kept: frozenset[UUID] = frozenset()
) -> tuple[dict[str, Any], list[MediaObject]]:
    """The notice's columns, and its files. Raises NotAllowed, NotFound, Invalid."""
    _office(by)
    title, body, moment = message.title.strip(), message.body.strip(), clock.now()
    problems = _text_problems(title, body) + _time_problems(message, moment)
    if message.requires not in Requires.values:
        problems.append(Problem("/requires", "unknown", _("请选择对接收人的要求")))
    asked = message.requires == Requires.ANSWER
    if message.questions and not asked:
        problems.append(Problem("/questions", "not_asked", _("只有要求填写回执时才能设置问题")))
    if problems:
        raise Invalid(problems=problems)
    check_audience(message.audience, by)
    files = _files(message.attachments, by, kept)
    later = message.send_at is not None and message.send_at > moment
    content: dict[str, Any] = {
        "params": {"title": title, "body": body},
        "audience": message.audience.as_json(),
        "requires": message.requires,
        "requires_ack": message.requires == Requires.ACKNOWLEDGE,
        "urgent": message.urgent,
        "templated": is_templated(title + body),
        "form": checked_form(message.questions) if asked else None,
        "open_until": message.open_until,
        "send_at": message.send_at if later else None,
    }
    content["content_digest"] = _digest(content, [each.pk for each in files])
    content["state"] = State.SCHEDULED if later else State.SENT
    content["sent_at"] = None if later else moment
    until = late_until(message.requires, message.open_until, moment)
    content["late_until"] = None if later else until
    return content, files


def _digest(content: Mapping[str, Any], files: Sequence[UUID]) -> str:
    """What tells the same content from another, whatever becomes of the notice later."""
    told = {name: content[name] for name in _TOLD} | {"files": sorted(map(str, files))}
    return hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()


_TOLD = ("params", "audience", "requires", "urgent", "form", "open_until")
"""Not the time: a retry of a scheduled notice may come when that has passed."""


def _differs(notice: Notice, content: Mapping[str, Any]) -> bool:
    if notice.content_digest:
        return notice.content_digest != str(content["content_digest"])
    names = ("params", "audience", "requires_ack")  # of the time before there was a digest
    return any(getattr(notice, name) != content[name] for name in names)


def _text_problems(title: str, body: str) -> list[Problem]:
    problems = []
    for name, text, limit in (("title", title, MAX_TITLE), ("body", body, MAX_BODY)):
        pointer = f"/{name}"
        if not text:
            problems.append(Problem(pointer, "blank", _("请填写标题和正文")))
        elif len(text) > limit:
            problems.append(_too_long(pointer, limit))
        else:
            problems += variable_problems(pointer, text)
    return problems


def _too_long(pointer: str, limit: int) -> Problem:
    return Problem(
        pointer, "too_long", _("请不要超过 %(n)s 个字，更长的内容请放在附件里") % {"n": limit}
    )


def _time_problems(message: Message, moment: datetime) -> list[Problem]:
    problems = []
    for name, at in (("send_at", message.send_at), ("open_until", message.open_until)):
        if at is not None and at > moment + FURTHEST:
            problems.append(Problem(f"/{name}", "too_late", _("请选择一年以内的时间")))
    starts = max(message.send_at or moment, moment)
    if message.open_until is not None and message.open_until <= starts:
        detail = _("截止时间应在发送时间之后")
        problems.append(Problem("/open_until", "past", detail))
    return problems


def check_audience(audience: Audience, by: User) -> None:
    """Raises NotFound for what one may not see: its size would tell that it exists."""
    if audience.activities and not activities_are_visible(audience.activities, by):
        raise NotFound(_("找不到这个活动，或您无权查看。"))
    lists = set(audience.lists)
    if lists and saved_lists_of(by).filter(pk__in=lists).count() < len(lists):
        raise NotFound(_("找不到这个常用范围，或您无权使用。"))


def _nobody() -> Invalid:
    return Invalid(problems=[Problem("/audience", "nobody", _("所选范围内没有可通知的人员"))])


# ---- files ------------------------------------------------------------------------------------


def may_be_attached(content_type: str) -> bool:
    """Photos, PDF, Word and Excel: what every phone opens."""
    format_ = format_of(content_type)
    return format_ is not None and (
        format_.is_image or format_.extensions[0] in (".pdf", ".docx", ".xlsx")
    )


def file_problem(media: MediaObject) -> Problem | None:
    """Why the file cannot go with a notice; the pointer is the caller's to add."""
    if not media.is_uploaded or media.state == MediaObject.State.DELETED:
        return Problem("", "not_uploaded", _("附件尚未上传完成"))
    if media.state == MediaObject.State.REJECTED:
        return Problem("", "rejected", media.reject_reason)
    if not may_be_attached(media.content_type):
        return Problem("", "unsupported_type", _("附件只能是照片、PDF、Word 或 Excel 文件"))
    if media.size > MAX_FILE_BYTES:
        detail = _("附件不能超过 %(n)s MB") % {"n": MAX_FILE_BYTES // 1024 // 1024}
        return Problem("", "too_large", detail)
    return None


def _files(ids: Sequence[UUID], by: User, kept: frozenset[UUID]) -> list[MediaObject]:
    """The media by their ids, in this order: the author's own, and what the notice has already."""
    ids = list(dict.fromkeys(ids))
    if len(ids) > MAX_FILES:
        detail = _("附件不能超过 %(n)s 个") % {"n": MAX_FILES}
        raise Invalid(problems=[Problem("/attachments", "count", detail)])
    own = MediaObject.objects.filter(Q(owner=by) | Q(pk__in=kept)).in_bulk(ids)
    problems = []
    for index, pk in enumerate(ids):
        pointer = f"/attachments/{index}"
        if pk not in own:
            problems.append(Problem(pointer, "unknown", _("找不到这个附件，请重新上传")))
        elif wrong := file_problem(own[pk]):
            problems.append(Problem(pointer, wrong.code, wrong.detail))
    if problems:
        raise Invalid(problems=problems)
    return [own[pk] for pk in ids]


def _media_of(notice_id: UUID) -> frozenset[UUID]:
    rows = NoticeAttachment.objects.filter(notice=notice_id)
    return frozenset(rows.values_list("media", flat=True))


def _attach(notice: Notice, files: Sequence[MediaObject]) -> None:
    NoticeAttachment.objects.bulk_create(
        [NoticeAttachment(notice=notice, media=file, position=n) for n, file in enumerate(files)]
    )


def _replace_files(notice: Notice, files: Sequence[MediaObject]) -> None:
    """What is taken away stays in the history; a file that comes back is the same row."""
    rows = {row.media_id: row for row in NoticeAttachment.objects.filter(notice=notice)}
    wanted = {file.pk: n for n, file in enumerate(files)}
    for pk, row in rows.items():
        row.removed_at = None if pk in wanted else (row.removed_at or clock.now())
        row.position = wanted.get(pk, row.position)
        row.save(update_fields=["removed_at", "position"])
    NoticeAttachment.objects.bulk_create(
        [
            NoticeAttachment(notice=notice, media_id=pk, position=n)
            for pk, n in wanted.items()
            if pk not in rows
        ]
    )


def _file_names(notice: Notice) -> list[dict[str, str]]:
    rows = NoticeAttachment.objects.filter(notice=notice, removed_at=None)
    return [{"id": str(row.media_id), "filename": row.media.filename} for row in rows]


# ---- steps ------------------------------------------------------------------------------------


def _locked(notice_id: UUID, by: User) -> Notice:
    """The hand-written notice of the person's office, locked. Raises NotFound."""
    rows = notices_written_by_office_of(by).select_for_update(of=("self",))
    notice = rows.filter(id=notice_id).first()
    if notice is None:
        raise NotFound
    return notice


def _for_update(notice_id: UUID) -> Notice:
    rows = Notice.objects.select_for_update(of=("self",))
    return rows.select_related("created_by", "office", "reminder_of").get(id=notice_id)


def _must_be(notice: Notice, state: Notice.State) -> None:
    if notice.state != state:
        words = {"state": Notice.State(notice.state).label}
        raise WrongState(_("这条通知目前是“%(state)s”，不能进行此操作") % words)


def _record(action: AuditAction, notice: Notice, by: User | None, **details: Any) -> None:
    record_audit(
        action,
        by=by,
        subject=("notice", notice.id),
        details={"title": notice.params["title"], **details},
    )
