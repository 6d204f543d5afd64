"""Beside a photo: the question that it proves with its answer, times, place, device, flags and links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from server.activities.models import Submission, SubmissionAttachment, Visit
from server.activities.queries import submissions_visible_to
from server.console.answers import Proven, proven_by, read_answers
from server.console.gallery.page import spots_of
from server.console.photos import (
    Photo,
    facts_of,
    moment_of,
    photo_of,
    position_of,
)
from server.console.position import Sketch, check_in_of, place_of, sketch
from server.console.states import Shown, visit_shown
from server.core.errors import Text
from server.evidence.models import Flag, PhotoCheck
from server.evidence.queries import SHOWN
from server.evidence.sentences import metres, span
from server.findings.machine import FINDING
from server.findings.models import Finding, FindingAction
from server.findings.queries import findings_visible_to
from server.grid.coordinates import distance_m
from server.grid.models import School, User


@dataclass(frozen=True, kw_only=True)
class Use:
    """One place where the file is evidence: a question of a submission, or a step of a rectification."""

    submission: Submission | None = None
    proven: Proven | None = None
    finding: Finding | None = None
    step: FindingAction | None = None
    step_words: Text = ""
    visit: Visit | None = None
    visit_shown: Shown | None = None
    school: School | None = None


@dataclass(frozen=True)
class Moment:
    """One of the times of a file, and how it compares with another."""

    label: Text
    at: datetime
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is shown beside a file."""

    photo: Photo
    uses: Sequence[Use]
    flags: Sequence[Flag]
    moments: Sequence[Moment]
    place: Sequence[tuple[Text, Any]]
    device: Sequence[tuple[Text, Any]]
    file: Sequence[tuple[Text, Any]]
    sketch: Sketch | None


def side_of(user: User, media: MediaObject) -> Side:
    """Of a file of `shown_to`, with `every_flag_shown_to`, that the person may see."""
    uses = [*_in_submissions(user, media), *_in_rectifications(user, media)]
    visit = next((use.visit for use in uses if use.visit), None)
    school = next((use.school for use in uses if use.school), None)
    flags: list[Flag] = getattr(media, SHOWN)
    at = place_of(school) if school else None
    return Side(
        photo=photo_of(media, caption=_caption(uses), school=at),
        uses=uses,
        flags=sorted(flags, key=lambda flag: flag.cleared_at is not None),
        moments=list(_moments(media, visit)),
        place=list(_place(media, school, visit)),
        device=list(_device(media, uses)),
        file=list(_file(media)),
        sketch=sketch(at, check_in_of(visit) if visit else [], spots_of([media])),
    )


# ---- where it is evidence ----------------------------------------------------------------------


def _in_submissions(user: User, media: MediaObject) -> Iterator[Use]:
    """The latest of each chain of edits."""
    files = SubmissionAttachment.objects.filter(
        media=media, submission__in=submissions_visible_to(user).values("pk")
    )
    chains = {file.submission.root_id: file for file in _read(files)}
    for file in chains.values():
        submission, visit = file.submission, file.submission.visit
        findings = findings_visible_to(user).filter(source_key__startswith=f"{submission.root_id}:")
        sections = read_answers(submission, list(findings), get_language() or "")
        proven = proven_by(sections, file)
        yield Use(
            submission=submission,
            proven=proven,
            finding=proven.question.finding if proven else None,
            visit=visit,
            visit_shown=visit_shown(visit) if visit else None,
            school=visit.school if visit else None,
        )


def _read(files: QuerySet[SubmissionAttachment]) -> QuerySet[SubmissionAttachment]:
    return (
        files.select_related(
            "submission__version__instrument",
            "submission__visit__school",
            "submission__visit__activity",
            "submission__device",
        )
        .defer("submission__raw", "submission__version__xlsform", "submission__version__xform")
        .order_by("submission__received_at")
    )


def _in_rectifications(user: User, media: MediaObject) -> Iterator[Use]:
    rows = FindingAction.objects.filter(
        media=media, finding__in=findings_visible_to(user).values("pk")
    )
    for step in rows.select_related(
        "by", "finding__school", "finding__visit__school", "finding__visit__activity"
    ):
        visit = step.finding.visit
        yield Use(
            finding=step.finding,
            step=step,
            step_words=FINDING.actions.get(step.action, step.action),
            visit=visit,
            visit_shown=visit_shown(visit) if visit else None,
            school=step.finding.school,
        )


def _caption(uses: Sequence[Use]) -> str:
    for use in uses:
        if use.proven:
            return use.proven.question.label
        if use.step and use.finding:
            return _("整改：%(what)s") % {"what": use.finding.title}
    return ""


# ---- when, where, with what --------------------------------------------------------------------


def _moments(media: MediaObject, visit: Visit | None) -> Iterator[Moment]:
    facts, likely = facts_of(media), moment_of(media)
    check: PhotoCheck | None = getattr(media, "photo_check", None)
    exif = facts.exif_at if facts else None
    if media.taken_at:
        yield Moment(_("手机拍摄"), media.taken_at, _clock(check))
    if facts and exif:
        differs = span((exif - media.taken_at).total_seconds()) if media.taken_at else ""
        notes = [
            _("与手机相差 %(span)s") % {"span": differs} if differs else "",
            "" if facts.exif_has_zone else _("未记时区，按本地时间"),
        ]
        yield Moment("EXIF", exif, " · ".join(filter(None, notes)))
    if check and check.moment and check.moment not in (media.taken_at, exif):
        yield Moment(_("最可能的拍摄时间"), check.moment)
    arrived = media.stored_at or media.created_at
    after = (arrived - likely).total_seconds() if likely else 0
    note = _("拍摄后 %(span)s") % {"span": span(after)} if after > 0 else ""
    yield Moment(_("到达服务器") if media.stored_at else _("登记"), arrived, note)
    if visit and visit.checked_in_at:
        yield Moment(_("督学签到"), visit.checked_in_at, _compared(likely, visit.checked_in_at))


def _clock(check: PhotoCheck | None) -> str:
    """How far the phone's clock was off, where that is worth a word."""
    offset = check.clock_offset_ms if check else None
    if not offset or abs(offset) < 1000:
        return ""
    words = {"span": span(offset / 1000)}
    return _("手机时钟快 %(span)s") % words if offset > 0 else _("手机时钟慢 %(span)s") % words


def _compared(likely: datetime | None, check_in: datetime) -> str:
    if likely is None:
        return ""
    seconds = (likely - check_in).total_seconds()
    words = {"span": span(seconds)}
    return _("签到后 %(span)s拍摄") % words if seconds >= 0 else _("签到前 %(span)s拍摄") % words


def _place(
    media: MediaObject, school: School | None, visit: Visit | None
) -> Iterator[tuple[Text, Any]]:
    position = position_of(media)
    if position is None:
        yield _("位置"), _("没有位置")
        return
    for label, other in ((_("距学校"), school), (_("距签到处"), visit)):
        if other and (point := place_of(other)):
            yield label, metres(distance_m(point, position[0]))
    for label, row in ((_("位置（手机）"), media), (_("位置（EXIF）"), facts_of(media))):
        if row and row.latitude is not None and row.longitude is not None:
            exact = _("精度未知") if row.accuracy_m is None else f"±{metres(row.accuracy_m)}"
            yield label, f"{row.latitude:.5f}, {row.longitude:.5f} {exact}"


def _device(media: MediaObject, uses: Sequence[Use]) -> Iterator[tuple[Text, Any]]:
    facts = facts_of(media)
    yield _("上传人"), media.owner or "—"
    if media.origin:
        yield _("来源"), media.get_origin_display()
    device = next((use.submission.device for use in uses if use.submission), None)
    if device:
        yield _("手机"), device
    if facts and (camera := f"{facts.camera_maker} {facts.camera_model}".strip()):
        yield _("相机"), camera
    if facts and facts.software:
        yield _("软件"), facts.software


def _file(media: MediaObject) -> Iterator[tuple[Text, Any]]:
    yield _("文件名"), media.filename
    yield _("类型"), media.content_type
    yield _("大小"), filesizeformat(media.size)
    if media.width:
        yield _("像素"), f"{media.width} × {media.height}"
    yield "SHA-256", format_html("<code>{}</code>", media.sha256)
