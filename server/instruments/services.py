"""Uploading an XLSForm as a draft and publishing it as an immutable version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.core import clock
from server.core.audit import audit_action, record_audit
from server.core.changes import record_change
from server.core.errors import Conflict, Invalid, NotAllowed, NotFound, Problem
from server.grid.models import Area, Membership, User
from server.instruments.compiled import form_to_json, text_in
from server.instruments.models import FormAttachment, Instrument, InstrumentVersion
from server.instruments.queries import instruments_managed_by
from server.instruments.xlsform import CompiledXLSForm, compile_xlsform

DRAFT = "draft"
BLUR_CHANGED = audit_action("instrument.blur_changed", gettext_lazy("更改是否遮挡人脸"))


class FormTaken(Conflict):
    code = "form_id_taken"


@transaction.atomic
def upload_xlsform(
    *,
    by: User,
    content: bytes,
    attachments: Mapping[str, bytes] | None = None,
    open: bool = False,
) -> InstrumentVersion:
    """Compile the workbook and keep it as the instrument's only draft.

    `attachments`: the form's own media and lists by file name. Raises Invalid with sheet, row and
    column; NotAllowed for who is no office; FormTaken where another office owns the form's id.
    """
    area = _office_area(by)
    compiled = compile_xlsform(content, version=DRAFT)
    files = dict(attachments or {})
    _check_files(compiled, files)
    instrument = _claim_form_id(compiled, by=by, area=area)
    instrument.open = open
    instrument.save(update_fields=["open"])
    InstrumentVersion.objects.filter(instrument=instrument, published_at=None).delete()
    draft = InstrumentVersion.objects.create(
        instrument=instrument, xlsform=content, created_by=by, **_content(compiled)
    )
    FormAttachment.objects.bulk_create(
        FormAttachment(version=draft, name=name, content=data, hash=form_hash(data))
        for name, data in files.items()
    )
    return draft


@transaction.atomic
def publish_instrument(*, by: User, form_id: str) -> InstrumentVersion:
    """Give the draft its version, the day and a running number, and make it the current one.

    Raises NotFound where there is no draft.
    """
    instrument = (
        instruments_managed_by(by).select_for_update(of=("self",)).filter(form_id=form_id).first()
    )
    draft = instrument and instrument.versions.filter(published_at=None).first()
    if not instrument or not draft:
        raise NotFound(_("没有可发布的草稿。请先上传表单。"))
    version = _next_version(instrument)
    compiled = compile_xlsform(bytes(draft.xlsform), version=version)
    for field, value in _content(compiled).items():
        setattr(draft, field, value)
    draft.version, draft.published_at = version, clock.now()
    draft.save()
    instrument.current = draft
    instrument.title = text_in(compiled.form.title, "zh") or form_id
    instrument.save(update_fields=["current", "title"])
    if compiled.blur_faces is not None:
        set_blur_faces(by=by, form_id=form_id, blur=compiled.blur_faces)
    record_change("instrument", instrument.pk)
    instrument.refresh_from_db(fields=["blur_faces"])
    return draft


@transaction.atomic
def set_blur_faces(*, by: User, form_id: str, blur: bool) -> Instrument:
    """Say whether faces are blurred on the shared copies of this instrument's photos.

    It holds for copies that are made from now on. Raises NotFound.
    """
    rows = instruments_managed_by(by).select_for_update(of=("self",))
    instrument = rows.filter(form_id=form_id).first()
    if instrument is None:
        raise NotFound
    if instrument.blur_faces != blur:
        instrument.blur_faces = blur
        instrument.save(update_fields=["blur_faces"])
        details = {"target": instrument.title, "blur_faces": blur}
        subject = ("instrument", instrument.pk)
        record_audit(BLUR_CHANGED, by=by, subject=subject, details=details)
    return instrument


def form_hash(content: bytes) -> str:
    """The hash that OpenRosa clients compare: "md5:" and 32 hex digits of what is served."""
    return "md5:" + hashlib.md5(content, usedforsecurity=False).hexdigest()


def _office_area(by: User) -> Area:
    office = by.memberships.filter(role=Membership.Role.OFFICE).select_related("area").first()
    if office and office.area:
        return office.area
    top = Area.objects.order_by("path").first() if by.is_superuser else None
    if top is None:
        raise NotAllowed(_("只有教育督导办可以上传和发布督导工具。"))
    return top


def _claim_form_id(compiled: CompiledXLSForm, *, by: User, area: Area) -> Instrument:
    form = compiled.form
    instrument, created = Instrument.objects.get_or_create(
        form_id=form.form_id,
        defaults={"area": area, "title": text_in(form.title, "zh") or form.form_id},
    )
    if not created and not instruments_managed_by(by).filter(pk=instrument.pk).exists():
        raise FormTaken(_("表单编号“%s”已被其他单位使用，请换一个。") % form.form_id)
    return instrument


def _check_files(compiled: CompiledXLSForm, files: Mapping[str, bytes]) -> None:
    absent = set(compiled.attachments_needed) - set(files)
    if absent:
        raise Invalid(
            _("表单用到的文件没有一起上传。"),
            problems=[
                Problem("/attachments", "attachment_missing", _("请上传文件“%s”。") % name)
                for name in sorted(absent)
            ],
        )


def _content(compiled: CompiledXLSForm) -> dict[str, object]:
    return {
        "xform": compiled.xform,
        "hash": form_hash(compiled.xform.encode()),
        "form": form_to_json(compiled.form),
        "warnings": compiled.warnings,
    }


def _next_version(instrument: Instrument) -> str:
    day = clock.today().strftime("%Y%m%d")
    taken = set(
        instrument.versions.filter(version__startswith=day).values_list("version", flat=True)
    )
    return next(name for n in range(1, 100) if (name := f"{day}{n:02}") not in taken)
