"""Who may see which instruments, and the compiled forms that the accept path keeps at hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.core.errors import NotFound
from server.grid.models import School, User
from server.grid.queries import OFFICES, area_paths, roles_of, schools_visible_to, under
from server.instruments.answers import Checker, checker_for
from server.instruments.compiled import Form, form_from_json
from server.instruments.models import FormAttachment, Instrument, InstrumentVersion


class UnknownForm(NotFound):
    code = "unknown_form"
    title = gettext_lazy("服务器上没有这个表单或版本")


@dataclass(frozen=True)
class PublishedForm:
    """A publication, ready to check answers with. Immutable, so it may be kept for ever."""

    version_id: UUID
    instrument_id: UUID
    form: Form
    checker: Checker


@lru_cache(maxsize=256)
def published_form(form_id: str, version: str) -> PublishedForm:
    """The publication that a document names. Raises UnknownForm."""
    row = (
        InstrumentVersion.objects.filter(
            instrument__form_id=form_id, version=version, published_at__isnull=False
        )
        .only("id", "instrument_id", "form")
        .first()
    )
    if row is None:
        raise UnknownForm(
            _("服务器上没有表单“%(form)s”的版本“%(version)s”。请更新表单后重试。")
            % {"form": form_id, "version": version}
        )
    form = form_from_json(row.form)
    return PublishedForm(row.pk, row.instrument_id, form, checker_for(form))


def instruments_visible_to(user: User) -> QuerySet[Instrument]:
    """Instruments of the areas above, at and (for offices) below the person's places."""
    if user.is_superuser:
        return Instrument.objects.all()
    return Instrument.objects.filter(
        Q(area__path__in=_paths_above(user)) | under(area_paths(user, *OFFICES), "area__path")
    )


def instruments_managed_by(user: User) -> QuerySet[Instrument]:
    """Instruments that the person's offices may replace and publish."""
    if user.is_superuser:
        return Instrument.objects.all()
    return Instrument.objects.filter(under(area_paths(user, *OFFICES), "area__path"))


def _paths_above(user: User) -> set[str]:
    places = set(roles_of(user).filter(area__isnull=False).values_list("area__path", flat=True))
    schools: QuerySet[School] = schools_visible_to(user)
    places |= set(schools.values_list("area__path", flat=True).distinct())
    return {path[: end + 1] for path in places for end, letter in enumerate(path) if letter == "/"}


def publications_of(
    instruments: QuerySet[Instrument], form_id: str, version: str
) -> QuerySet[InstrumentVersion]:
    """The named publication, if it belongs to one of these instruments, with its files' names."""
    return (
        InstrumentVersion.objects.filter(
            instrument__in=instruments.filter(form_id=form_id).values("pk"),
            version=version,
            published_at__isnull=False,
        )
        .select_related("instrument")
        .defer("xlsform")
        .prefetch_related(Prefetch("attachments", FormAttachment.objects.defer("content")))
    )
