"""What ODK Collect asks for, in the order in which it does: forms, their files, where to send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from media_storage.services import StoredBytes, new_media_values
from mobile_api.openrosa.access import Caller, openrosa, unless_known, xml_response
from mobile_api.openrosa.entities import LISTS, entity_list
from mobile_api.openrosa.uploads import Upload, received
from mobile_api.openrosa.xml import (
    ListedFile,
    ListedForm,
    form_list_xml,
    manifest_xml,
    message_xml,
)
from server.activities.queries import forms_of
from server.activities.services.accepting import Accepted, BroughtFile, accept_submission
from server.core import clock
from server.core.errors import NotFound
from server.core.ids import new_id
from server.core.standing import StandingQuery
from server.core.work import wake
from server.grid.models import User
from server.instruments.compiled import text_in
from server.instruments.models import FormAttachment, Instrument, InstrumentVersion
from server.instruments.services import form_hash
from server.messaging.models import Device


@openrosa("GET", "HEAD")
def form_list(caller: Caller) -> HttpResponse:
    """The forms of the person's open visits and those open to everybody; `?formID=` picks one."""
    rows = _LISTED.every_values(caller.device.user_id)
    if form_id := caller.request.GET.get("formID"):
        rows = [row for row in rows if row[0] == form_id]
    content = form_list_xml(_listed_form(caller, row) for row in rows)
    return unless_known(caller, xml_response(content))


@openrosa("GET", "HEAD")
def form(caller: Caller, form_id: str, version: str) -> HttpResponse:
    """The XForm, byte for byte what its hash was made of."""
    published = _version(caller, form_id, version, "xform")
    return unless_known(caller, xml_response(published.xform.encode()))


@openrosa("GET", "HEAD")
def manifest(caller: Caller, form_id: str, version: str) -> HttpResponse:
    """The files that go with the form, and the person's own lists."""
    published = _version(caller, form_id, version, "form")
    lists = _entity_lists(published.form)
    hashes = {name: form_hash(entity_list(name, caller.device.user)) for name in lists}
    attachments = published.attachments.exclude(name__in=lists)
    hashes |= dict(attachments.values_list("name", "hash"))
    files = (
        ListedFile(
            filename=name,
            hash=hash_,
            download_url=caller.address(
                "media_file", form_id=form_id, version=version, filename=name
            ),
            is_entity_list=name in lists,
        )
        for name, hash_ in sorted(hashes.items())
    )
    return unless_known(caller, xml_response(manifest_xml(files)))


@openrosa("GET", "HEAD")
def media_file(caller: Caller, form_id: str, version: str, filename: str) -> HttpResponse:
    """A file of the manifest."""
    published = _version(caller, form_id, version, "form")
    if filename in _entity_lists(published.form):
        content = entity_list(filename, caller.device.user)
        response = HttpResponse(content, content_type="text/csv; charset=utf-8")
        return unless_known(caller, response)
    attachment = published.attachments.filter(name=filename).first()
    if attachment is None:
        raise NotFound(_("表单没有文件“%s”。请更新表单。") % filename)
    response = HttpResponse(bytes(attachment.content), content_type="application/octet-stream")
    response["X-Content-Type-Options"] = "nosniff"
    return unless_known(caller, response)


@openrosa("HEAD", "POST", lately=True)
def submission(caller: Caller) -> HttpResponse:
    """HEAD tells how much may be sent at once; POST stores a submission or one more part of it."""
    if caller.request.method == "HEAD":
        return HttpResponse(status=204)
    with received(caller.request, caller.device, lately=caller.lately) as upload:
        accepted = accept_submission(
            document=upload.document,
            device=caller.device,
            files=_brought(upload.files, caller.device),
            lately=caller.lately,
        )
    if upload.files:
        wake("media")
    return _receipt(upload, accepted)


@openrosa("GET", "HEAD", "POST")
def unknown(*_caller: Caller, **_parts: str) -> HttpResponse:
    """Any other address, answered so that a phone can show it."""
    raise NotFound(_("没有这个地址，请检查服务器设置。"))


def _forms_with_files(user_id: UUID) -> QuerySet[Instrument, Any]:
    has_files = Exists(FormAttachment.objects.filter(version=OuterRef("current")))
    rows = forms_of(User(pk=user_id)).annotate(has_files=has_files).order_by("form_id")
    return rows.values_list(
        "form_id",
        "current__version",
        "current__hash",
        "current__form__title",
        "current__form__external_files",
        "has_files",
    )


_LISTED = StandingQuery(_forms_with_files, UUID)


def _listed_form(caller: Caller, row: Sequence[Any]) -> ListedForm:
    form_id, version, hash_, title, files, has_files = row
    lists = LISTS.keys() & (files or ())
    return ListedForm(
        form_id=form_id,
        name=text_in(title or {}, (get_language() or "zh")[:2]) or form_id,
        version=version,
        hash=hash_,
        download_url=caller.address("form", form_id=form_id, version=version),
        manifest_url=caller.address("manifest", form_id=form_id, version=version)
        if has_files or lists
        else "",
    )


def _version(caller: Caller, form_id: str, version: str, field: str) -> InstrumentVersion:
    """A publication of a form that the person needs; older ones too, for what is half filled in."""
    found = _versions_for(caller.device.user, form_id).filter(version=version).only(field).first()
    if found is None:
        raise NotFound(_("服务器上没有这个表单或版本，或您不再需要它。请更新表单列表。"))
    return found


def _versions_for(user: User, form_id: str) -> QuerySet[InstrumentVersion]:
    return InstrumentVersion.objects.filter(
        instrument__in=forms_of(user).filter(form_id=form_id).values("pk"),
        published_at__isnull=False,
    )


def _entity_lists(form: dict[str, Any]) -> list[str]:
    return [name for name in form.get("external_files", ()) if name in LISTS]


def _brought(files: dict[str, StoredBytes], device: Device) -> list[BroughtFile]:
    return [
        BroughtFile(
            name,
            MediaObject(
                **new_media_values(
                    media_id=new_id(), owner_id=device.user_id, filename=name, stored=stored
                )
            ),
            fresh=True,
        )
        for name, stored in files.items()
    ]


def _receipt(upload: Upload, accepted: Accepted) -> HttpResponse:
    document, absent = upload.document, sorted(accepted.missing)
    metadata = {
        "id": document.form.form.form_id,
        "version": document.form.form.version,
        "instanceID": f"uuid:{accepted.submission_id}",
        "submissionDate": clock.now().isoformat(),
        "isComplete": "false" if absent else "true",
    }
    content = message_xml(_receipt_text(absent), failed=False, metadata=metadata)
    return xml_response(content, status=202 if absent else 201)


def _receipt_text(absent: list[str]) -> str:
    if not absent:
        return _("填报已收到。")
    sentence = ngettext(
        "填报已收到，还缺 %(count)d 个文件：%(names)s。",
        "填报已收到，还缺 %(count)d 个文件：%(names)s。",
        len(absent),
    )
    return sentence % {"count": len(absent), "names": "、".join(absent[:5])}
