"""Exporting an activity's media: one ZIP with folders by school and visit, and a manifest.

The archive is made by a worker and streams through it into the store; nothing is kept but the list of
ids and two spooled manifests. It is for one person, of what that person may see at that moment, and it
is deleted after some days, or as soon as a file of its activity is deleted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import translation
from django.utils.timezone import localdate, localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from media_storage.errors import StoreUnavailable
from media_storage.keys import KeySource
from media_storage.keys import register as register_keys
from media_storage.models import MediaObject, Rendition, new_key
from media_storage.services import READ_TIME
from media_storage.stores import ObjectMissing, get_store
from server.activities.models import Activity, SubmissionAttachment, Visit
from server.care import actions
from server.care.archive import Entry, Paths, safe_cell, zip_stream
from server.care.models import Export
from server.care.queries import (
    Use,
    activities_exportable_by,
    exportable,
    exports_of,
    originals_open_to,
    uses_of,
)
from server.conversations.queries import media_visible_to
from server.core import clock, schedule, work
from server.core.audit import AuditAction, Subject, record_audit, record_audits
from server.core.errors import (
    Conflict,
    ContentConflict,
    Gone,
    Invalid,
    NotAllowed,
    NotFound,
    Problem,
    Text,
)
from server.findings.models import Finding
from server.grid.models import User
from server.instruments.compiled import ATTACHMENTS, Field, form_from_json, text_in
from server.instruments.models import InstrumentVersion
from server.messaging.services import notify

State = Export.State
Variant = Export.Variant
READABLE = (MediaObject.State.STORED, MediaObject.State.PROCESSING, MediaObject.State.READY)
UNFINISHED = (State.WAITING, State.MAKING)

MAX_UNFINISHED = 3
BATCH = 100
PROGRESS_SECONDS = 2.0
SPOOL = 1024 * 1024
REASON_LENGTH = 500

FlagsOf = Callable[[Collection[UUID]], Mapping[UUID, Sequence[str]]]
_flag_sources: list[FlagsOf] = []


def register_flags(source: FlagsOf) -> None:
    """Have the manifest say what else is known of a file: sentences, by the file's id."""
    _flag_sources.append(source)


# ---- asking for one --------------------------------------------------------------------------


@transaction.atomic
def request_export(
    *, export_id: UUID, activity_id: UUID, by: User, variant: str, reason: str = ""
) -> tuple[Export, bool]:
    """Have the media of an activity packed; the bool says whether this is new.

    Originals need the right to them, and a reason. The same again is the same export. Raises
    NotFound, NotAllowed, Invalid, ContentConflict; Conflict where too many are being made.
    """
    activity = activities_exportable_by(by).filter(pk=activity_id).first()
    if activity is None:
        raise NotFound
    reason = reason.strip()[:REASON_LENGTH]
    if existing := Export.objects.filter(pk=export_id).first():
        if (existing.by_id, existing.activity_id, existing.variant) != (
            by.pk,
            activity_id,
            variant,
        ):
            raise ContentConflict(_("此编号已用于另一次导出，请使用新的编号。"))
        return existing, False
    if variant == Variant.ORIGINALS:
        _check_right(activity, by, reason)
    if exports_of(by).filter(state__in=UNFINISHED).count() >= MAX_UNFINISHED:
        raise Conflict(_("您已有 %d 个导出正在进行，请等它们完成。") % MAX_UNFINISHED)
    export = Export.objects.create(
        id=export_id,
        activity=activity,
        by=by,
        variant=variant,
        reason=reason,
        key=_new_key(),
        requested_at=clock.now(),
        work_due_at=clock.now(),
    )
    record_audit(
        actions.EXPORT_REQUESTED,
        by=by,
        subject=("export", export.pk),
        activity_id=activity.pk,
        details={"activity": activity.title, "variant": variant, "reason": reason},
    )
    return export, True


def _check_right(activity: Activity, by: User, reason: str) -> None:
    if not reason:
        raise Invalid(problems=[Problem("/reason", "required", _("导出原图请说明用途。"))])
    media = exportable(by, activity)
    if media.exists() and not media.filter(pk__in=originals_open_to(by).values("pk")).exists():
        raise NotAllowed(_("您可以导出共享图；原图只向有权限的人员开放。"))


def _new_key() -> str:
    return f"exports/{new_key()}"


@dataclass(frozen=True)
class OpenedExport:
    url: str
    expires_at: datetime


@transaction.atomic
def open_export(*, export_id: UUID, by: User, base_url: str) -> OpenedExport:
    """Hand out the address of one's own finished export; each time is an entry in the log.

    Raises NotFound, Gone once it has expired, Conflict before it is ready.
    """
    export = exports_of(by).filter(pk=export_id).first()
    if export is None:
        raise NotFound
    if export.state == State.EXPIRED or (export.expires_at and export.expires_at <= clock.now()):
        raise Gone(_("导出文件已过期删除，请重新导出。"))
    if export.state != State.READY:
        raise Conflict(_("导出尚未完成，请稍后再来。"))
    url = get_store().download_url(
        export.key,
        filename=export.filename,
        content_type="application/zip",
        expires_in=READ_TIME,
        base_url=base_url,
    )
    _record(actions.EXPORT_OPENED, export, by)
    return OpenedExport(url, clock.now() + READ_TIME)


# ---- making it -------------------------------------------------------------------------------


def rows() -> QuerySet[Export]:
    """Every export: those without work have no due moment."""
    return Export.objects.select_related("activity", "by")


def make(export: Export) -> None:
    """Pack one export. Broken off anywhere, it is begun anew, under another key."""
    if export.state not in UNFINISHED:
        return
    with translation.override(export.by.language):
        _Packing(export).run()


@dataclass
class _File:
    """One file on its way into the archive, and its line of the manifest."""

    media: MediaObject
    use: Use
    item: str = ""
    visit: str = ""
    flags: Sequence[str] = ()
    path: str = ""
    key: str = ""
    size: int = 0
    sha256: str = ""
    remark: str = ""


COLUMNS: Mapping[str, Text] = {
    "path": gettext_lazy("文件"),
    "school": gettext_lazy("学校"),
    "visit": gettext_lazy("任务"),
    "item": gettext_lazy("检查项"),
    "filename": gettext_lazy("原文件名"),
    "size": gettext_lazy("字节"),
    "sha256": "SHA-256",
    "original_sha256": gettext_lazy("原件 SHA-256"),
    "taken_at": gettext_lazy("拍摄时间（手机）"),
    "stored_at": gettext_lazy("收到时间"),
    "latitude": gettext_lazy("纬度（WGS-84）"),
    "longitude": gettext_lazy("经度（WGS-84）"),
    "accuracy_m": gettext_lazy("定位精度（米）"),
    "uploaded_by": gettext_lazy("上传人"),
    "flags": gettext_lazy("提示"),
    "remark": gettext_lazy("说明"),
    "media_id": gettext_lazy("材料编号"),
    "submission_id": gettext_lazy("填报编号"),
    "visit_id": gettext_lazy("任务编号"),
    "finding_id": gettext_lazy("问题编号"),
}


@dataclass
class _Packing:
    """One run: the files one after another, their manifest, and how far it is."""

    export: Export
    paths: Paths = field(default_factory=Paths)
    packed: list[UUID] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    done: int = 0
    skipped: int = 0
    told_at: float = 0.0

    def run(self) -> None:
        keys = self._begin()
        with (
            closing(SpooledTemporaryFile(max_size=SPOOL)) as table,
            closing(SpooledTemporaryFile(max_size=SPOOL)) as document,
        ):
            manifest = _Manifest(self.export, table, document)
            try:
                written = get_store().write(
                    self.export.key, zip_stream(self._entries(keys, manifest))
                )
            except StoreUnavailable as down:
                raise work.TemporaryFailure(str(down)) from down
        work.extend(PUMP, self.export)
        self._finish(written.size, written.sha256)

    def _begin(self) -> list[UUID]:
        """A key of this run's own: a worker that lost its lease must not write into ours."""
        export, old = self.export, self.export.key
        keys = self._chosen()
        values = {"state": State.MAKING, "key": _new_key(), "total": len(keys), "done": 0}
        work.extend(PUMP, export)
        rows().filter(pk=export.pk).update(**values, skipped=0)
        for name, value in values.items():
            setattr(export, name, value)
        _erase(old)
        return keys

    def _chosen(self) -> list[UUID]:
        """By school and visit, so that the archive's listing reads in order."""
        export = self.export
        media = exportable(export.by, export.activity).filter(
            pk__in=media_visible_to(export.by).values("pk"), state__in=READABLE
        )
        if export.variant == Variant.ORIGINALS:
            media = media.filter(pk__in=originals_open_to(export.by).values("pk"))
        keys = list(media.order_by("pk").values_list("pk", flat=True))
        order: dict[UUID, tuple[str, str]] = {}
        for start in range(0, len(keys), 1000):
            for key, uses in uses_of(keys[start : start + 1000]).items():
                use = self._use(uses)
                order[key] = (use.school, str(use.visit_id))
        return sorted(keys, key=lambda key: (*order[key], key))

    def _use(self, uses: Sequence[Use]) -> Use:
        """The first in this activity."""
        return next(use for use in uses if use.activity_id == self.export.activity_id)

    def _entries(self, keys: Sequence[UUID], manifest: _Manifest) -> Iterator[Entry]:
        for start in range(0, len(keys), BATCH):
            for file in self._files(keys[start : start + BATCH]):
                yield from self._entry(file)
                manifest.add(file)
                self._tell()
        for name, content, size in manifest.closed(self.done, self.skipped):
            yield Entry(name, clock.now(), size, content)

    def _entry(self, file: _File) -> Iterator[Entry]:
        """The file, if its bytes are there; its hash is taken while they pass."""
        if file.key and (chunks := _opened(file.key)) is not None:
            digest = hashlib.sha256()
            yield Entry(
                file.path,
                file.media.taken_at or file.media.stored_at or clock.now(),
                file.size,
                self._measured(chunks, digest),
            )
            file.sha256 = digest.hexdigest()
            self._check(file)
            self.done += 1
            self._remember(file)
            return
        file.remark = file.remark or _("存储中没有这个文件")
        file.path = ""
        self.skipped += 1

    def _measured(self, chunks: Iterator[bytes], digest: Any) -> Iterator[bytes]:
        for chunk in chunks:
            digest.update(chunk)
            self._tell()
            yield chunk

    def _check(self, file: _File) -> None:
        if self.export.variant == Variant.ORIGINALS and file.sha256 != file.media.sha256:
            file.remark = _("内容与登记的校验值不符")

    def _remember(self, file: _File) -> None:
        self.packed.append(file.media.pk)
        if self.export.variant == Variant.ORIGINALS:
            details = {
                "filename": file.media.filename,
                "sha256": file.media.sha256,
                "export": str(self.export.pk),
                "reason": self.export.reason,
            }
            self.subjects.append(
                Subject("media", file.media.pk, file.use.school_id, file.use.activity_id, details)
            )

    def _files(self, keys: Sequence[UUID]) -> list[_File]:
        """A batch, in a number of queries that does not grow."""
        media = MediaObject.objects.select_related("owner").prefetch_related("renditions")
        found = media.filter(state__in=READABLE).in_bulk(keys)
        uses = {key: self._use(each) for key, each in uses_of(keys).items()}
        items, visits = _items_of(uses), _visits_of(uses.values())
        flags: dict[UUID, list[str]] = {}
        for source in _flag_sources:
            for key, sentences in source(keys).items():
                flags.setdefault(key, []).extend(str(each) for each in sentences)
        files = []
        for key in keys:
            if key not in found:
                continue  # deleted a moment ago
            use = uses[key]
            visit = visits.get(use.visit_id, _("未归入任务"))
            file = _File(found[key], use, items.get(key, ""), visit, flags.get(key, ()))
            self._place(file)
            files.append(file)
        return files

    def _place(self, file: _File) -> None:
        media, name = file.media, file.media.filename
        if self.export.variant == Variant.ORIGINALS:
            file.key, file.size = media.key, media.size
        else:
            shared = _rendition(media, Rendition.Name.SHARED)
            if shared is None:
                file.remark = _("没有共享图，未放入")
                return
            file.key, file.size, name = shared.key, shared.size, shared.filename
        file.path = self.paths.unique(file.use.school, file.visit, file.item or _("其他"), name)

    def _tell(self) -> None:
        """How far it is; keeps the lease too. Raises Interrupted, LeaseLost."""
        if time.monotonic() - self.told_at < PROGRESS_SECONDS:
            return
        self.told_at = time.monotonic()
        work.extend(PUMP, self.export)
        rows().filter(pk=self.export.pk).update(done=self.done, skipped=self.skipped)

    @transaction.atomic
    def _finish(self, size: int, sha256: str) -> None:
        export, moment = self.export, clock.now()
        # A deletion locks the activity too: it comes before this look, or finds the export ready.
        list(Activity.objects.select_for_update(no_key=True).filter(pk=export.activity_id))
        if _any_deleted(self.packed):
            raise work.TemporaryFailure("files were deleted meanwhile")
        expires_at = moment + timedelta(days=settings.EXPORT_DAYS)
        ours = Export.objects.filter(pk=export.pk, work_due_at=export.work_due_at)
        ready = ours.update(
            state=State.READY,
            done=self.done,
            skipped=self.skipped,
            size=size,
            sha256=sha256,
            ready_at=moment,
            expires_at=expires_at,
        )
        if not ready:
            raise work.LeaseLost(f"lost the lease of export {export.pk}")
        record_audits(actions.ORIGINAL_EXPORTED, by=export.by, subjects=self.subjects)
        notify(
            "export.ready",
            recipients=[export.by],
            subject=("activity", export.activity_id),
            area=export.activity.area,
            activity=export.activity.title,
            count=str(self.done),
            day=localdate(expires_at).isoformat(),
        )


def _any_deleted(media_ids: Sequence[UUID]) -> bool:
    """Whether one of the files left the store while we packed: it must not live on in here."""
    gone = MediaObject.objects.filter(state=MediaObject.State.DELETED)
    return any(
        gone.filter(pk__in=media_ids[start : start + 1000]).exists()
        for start in range(0, len(media_ids), 1000)
    )


def _opened(key: str) -> Iterator[bytes] | None:
    """The bytes, their first piece read; None where there are none."""
    chunks = get_store().read(key)
    try:
        first = next(chunks, b"")
    except ObjectMissing:
        return None
    return chain([first], chunks)


def _rendition(media: MediaObject, name: str) -> Rendition | None:
    return next((each for each in media.renditions.all() if each.name == name), None)


# ---- names of folders ------------------------------------------------------------------------


def _visits_of(uses: Collection[Use]) -> dict[UUID | None, str]:
    """The folder of each visit: its day and its team."""
    visits = Visit.objects.filter(pk__in={use.visit_id for use in uses if use.visit_id})
    return {
        visit.pk: " ".join(
            [
                str(
                    localdate(visit.checked_in_at) if visit.checked_in_at else visit.activity.starts
                ),
                "、".join(str(member) for member in visit.team.all()),
            ]
        )
        for visit in visits.select_related("activity").prefetch_related("team")
    }


def _items_of(uses: Mapping[UUID, Use]) -> dict[UUID, str]:
    """The question that each file answers, or the problem that it shows to be solved."""
    submissions = {use.submission_id for use in uses.values() if use.submission_id}
    files = SubmissionAttachment.objects.filter(media__in=uses, submission__in=submissions)
    items = {}
    for media_id, name, version_id, answers in files.values_list(
        "media_id", "name", "submission__version_id", "submission__answers"
    ):
        if media_id:
            items[media_id] = _labels(version_id, answers).get(name, "")
    findings = Finding.objects.in_bulk({use.finding_id for use in uses.values() if use.finding_id})
    for media_id, use in uses.items():
        if use.finding_id:
            items[media_id] = _("整改：%s") % findings[use.finding_id].title
    return items


def _labels(version_id: UUID, answers: Any) -> dict[str, str]:
    """File name → the label of its question."""
    labels: dict[str, str] = {}
    _collect(_fields(version_id), answers, "", labels)
    return labels


@lru_cache(maxsize=32)
def _fields(version_id: UUID) -> tuple[Field, ...]:
    """A publication never changes; forms are large, and an activity has few."""
    form = InstrumentVersion.objects.values_list("form", flat=True).get(pk=version_id)
    return form_from_json(form).fields


def _collect(fields: Sequence[Field], answers: Any, above: str, labels: dict[str, str]) -> None:
    # By convention <question>_photo is the photo of its question (docs/instruments.md).
    questions = {each.name: text_in(each.label, "zh") for each in fields}
    for each in fields:
        value = answers.get(each.name) if isinstance(answers, dict) else None
        label = text_in(each.label, "zh")
        if each.children:
            for inside in value if isinstance(value, list) else [value]:
                _collect(each.children, inside, label or above, labels)
        elif each.type in ATTACHMENTS and value:
            labels[str(value)] = questions.get(each.name.removesuffix("_photo")) or label or above


# ---- the manifest ----------------------------------------------------------------------------


class _Manifest:
    """manifest.csv for Excel and manifest.json for programs, written line by line."""

    def __init__(self, export: Export, table: IO[bytes], document: IO[bytes]) -> None:
        self.table, self.document = table, document
        self.first = True
        table.write(b"\xef\xbb\xbf")
        self._row(COLUMNS.values())
        head = {
            "format": "duxue-export/1",
            "export": str(export.pk),
            "activity": {"id": str(export.activity_id), "title": export.activity.title},
            "variant": export.variant,
            "reason": export.reason,
            "exported_by": {"id": str(export.by_id), "name": str(export.by)},
            "exported_at": _moment(clock.now()),
        }
        document.write(json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "files": [')

    def add(self, file: _File) -> None:
        line = _line(file)
        self._row(safe_cell(value) for value in line.values())
        text = json.dumps(line | {"flags": list(file.flags)}, ensure_ascii=False)
        self.document.write((b"\n" if self.first else b",\n") + text.encode())
        self.first = False

    def closed(self, done: int, skipped: int) -> Iterator[tuple[str, Iterator[bytes], int]]:
        """Both files: name, bytes, size."""
        totals = json.dumps({"packed": done, "skipped": skipped})
        self.document.write(b'\n], "totals": ' + totals.encode() + b"}\n")
        for name, file in (("manifest.csv", self.table), ("manifest.json", self.document)):
            size = file.tell()
            file.seek(0)
            yield name, iter(lambda file=file: file.read(SPOOL), b""), size  # type: ignore[misc]

    def _row(self, values: Any) -> None:
        text = io.StringIO()
        csv.writer(text).writerow(values)
        self.table.write(text.getvalue().encode())


def _line(file: _File) -> dict[str, Any]:
    media, use = file.media, file.use
    return {
        "path": file.path,
        "school": use.school,
        "visit": file.visit,
        "item": file.item,
        "filename": media.filename,
        "size": file.size if file.path else 0,
        "sha256": file.sha256,
        "original_sha256": media.sha256,
        "taken_at": _moment(media.taken_at),
        "stored_at": _moment(media.stored_at),
        "latitude": media.latitude,
        "longitude": media.longitude,
        "accuracy_m": media.accuracy_m,
        "uploaded_by": str(media.owner) if media.owner else "",
        "flags": "；".join(file.flags),
        "remark": file.remark,
        "media_id": str(media.pk),
        "submission_id": str(use.submission_id or ""),
        "visit_id": str(use.visit_id or ""),
        "finding_id": str(use.finding_id or ""),
    }


def _moment(moment: datetime | None) -> str | None:
    return localtime(moment).isoformat(timespec="seconds") if moment else None


# ---- the end of an export --------------------------------------------------------------------


def expire_old() -> int:
    """Delete what was kept long enough. Returns how many."""
    return _expire(Export.objects.filter(state=State.READY, expires_at__lte=clock.now()))


def expire_exports_of(activity_ids: Collection[UUID]) -> int:
    """Delete every finished export that may hold a file of these activities."""
    return _expire(Export.objects.filter(state=State.READY, activity__in=activity_ids))


def _expire(exports: QuerySet[Export]) -> int:
    count = 0
    for export in exports.select_related("activity"):
        # The bytes first: a row that says "expired" must not leave any behind.
        _erase(export.key)
        with transaction.atomic():
            if Export.objects.filter(pk=export.pk, state=State.READY).update(state=State.EXPIRED):
                _record(actions.EXPORT_EXPIRED, export, None)
                count += 1
    return count


def keys_in_use() -> QuerySet[Export, str]:
    """The keys of exports that are being made or can be downloaded: not for the orphan sweeper."""
    return Export.objects.filter(state__in=(*UNFINISHED, State.READY)).values_list("key", flat=True)


def _ready(rows: QuerySet[Any, Any]) -> QuerySet[Any, Any]:
    return rows.filter(state=State.READY)


def _erase(key: str) -> None:
    get_store().erase(key)


@transaction.atomic
def give_up(export: Export, reason: str) -> None:
    """Too many tries: say so to whom it was for."""
    if not rows().filter(pk=export.pk, state__in=UNFINISHED).update(state=State.FAILED):
        return
    notify(
        "export.failed",
        recipients=[export.by],
        subject=("activity", export.activity_id),
        area=export.activity.area,
        activity=export.activity.title,
    )


def _record(action: AuditAction, export: Export, by: User | None) -> None:
    record_audit(
        action,
        by=by,
        subject=("export", export.pk),
        activity_id=export.activity_id,
        details={
            "activity": export.activity.title,
            "variant": export.variant,
            "files": export.done,
            "sha256": export.sha256,
        },
    )


PUMP = work.Pump(
    name="exports",
    rows=rows,
    handle=make,
    given_up=give_up,
    batch=1,
    lease_seconds=300,
    max_attempts=10,
    backoff_seconds=10.0,
    backoff_limit_seconds=1800.0,
    slow=True,
)


def start() -> None:
    """Make the pump and the keys known; called when the app is ready."""
    work.register(PUMP)
    register_keys(KeySource(name="exports", rows=keys_in_use, stored=_ready))
    schedule.every("care.exports", timedelta(minutes=10), expire_old)
