"""Flags on the console's pages: buttons to explain them, a filter for lists, checks that died."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person
from server.console.admin.base import Deed
from server.console.filters import Choices, ConsoleFilter
from server.core.errors import Text
from server.core.ids import new_id
from server.core.work import retry_dead, wake
from server.evidence.models import Flag, PhotoCheck
from server.evidence.queries import flags_explained_by, flags_visible_to
from server.evidence.services import explain_flag
from server.grid.models import User

EXPLAIN = "explain-"


def explain_deeds(flags: Iterable[Flag], by: User) -> dict[str, Deed]:
    """A form for each of the flags that the person may explain; `parts/flags.html` shows them there."""
    ids = [flag.pk for flag in flags]
    open_to = set(flags_explained_by(by).filter(pk__in=ids).values_list("pk", flat=True))
    return {
        f"{EXPLAIN}{flag_id}": Deed(
            label=_("填写说明"),
            do=partial(_explain, flag_id=flag_id),
            note=_("说明"),
            note_required=True,
        )
        for flag_id in ids
        if flag_id in open_to
    }


def apart(deeds: Mapping[str, Deed]) -> dict[str, Any]:
    """For a page's context: its own buttons, and those that stand with the flags."""
    return {
        "deeds": {name: deed for name, deed in deeds.items() if not name.startswith(EXPLAIN)},
        "explains": {name: deed for name, deed in deeds.items() if name.startswith(EXPLAIN)},
    }


def _explain(request: HttpRequest, _row: Any, *, flag_id: UUID) -> Text:
    text = request.POST.get("note", "")
    explain_flag(flag_id=flag_id, note_id=new_id(), by=person(request), text=text)
    return _("已记下您的说明。")


def recheck_deed(check: PhotoCheck | None) -> dict[str, Deed]:
    """The button that gives a check that died a new life."""
    if check is None or check.work_dead_at is None:
        return {}

    def again(_request: HttpRequest, row: Any) -> Text:
        retry_dead(PhotoCheck.objects.filter(pk=row.pk))
        wake("photo_checks")
        return _("已重新排队核对。")

    label, hint = _("重新核对"), _("核对失败：%s") % check.work_error
    return {"recheck": Deed(label=label, do=again, tone="primary", hint=hint)}


class Flagged(ConsoleFilter):
    """Rows with flags that stand and that the person may see."""

    title = gettext_lazy("疑点")
    parameter_name = "flag"
    words = {
        "any": gettext_lazy("有疑点"),
        "open": gettext_lazy("有疑点，还没有说明"),
        "hint": gettext_lazy("只有提示"),
    }
    of_row: Callable[[QuerySet[Flag]], QuerySet[Flag]] = staticmethod(
        lambda flags: flags.filter(media=OuterRef("pk"))
    )

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [*self.words.items(), *Flag.Code.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None or value not in {str(key) for key, _words in self.lookup_choices}:
            return queryset
        flags = type(self).of_row(flags_visible_to(person(request)).filter(cleared_at=None))
        warned = flags.filter(severity=Flag.Severity.WARN)
        return queryset.filter(
            {
                "any": Q(Exists(warned)),
                "open": Q(Exists(warned.filter(notes=None))),
                "hint": Q(Exists(flags)) & ~Q(Exists(warned)),
            }.get(value)
            or Q(Exists(flags.filter(code=value)))
        )


class FlaggedVisit(Flagged):
    """By the visit's check-in and all its photos."""

    of_row = staticmethod(lambda flags: flags.filter(visit=OuterRef("pk")))


class FlaggedFinding(Flagged):
    """By the photos of the rectification."""

    of_row = staticmethod(lambda flags: flags.filter(finding=OuterRef("pk")))


class FlaggedSubmission(Flagged):
    """By the record's photos, at its visit."""

    of_row = staticmethod(
        lambda flags: flags.filter(
            Q(visit=OuterRef("visit")) | Q(root_id=OuterRef("root_id")),
            media__submission_attachments__submission=OuterRef("pk"),
        )
    )
