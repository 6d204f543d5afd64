"""The catalogue of events: who is told what and when, in whose words; and the page that words one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person
from server.console.admin.base import ScopedAdmin, sentence
from server.console.forms import ConsoleForm
from server.core.errors import DuxueError, Text
from server.grid.models import Area, User
from server.messaging.events import EventKind, event_kind, event_kinds
from server.messaging.models import EventWording
from server.messaging.templates import TEXTS
from server.messaging.wording import (
    NAMES,
    SAMPLES,
    Draft,
    areas_shown_to,
    areas_worded_by,
    draft_of,
    preview,
    problems_of,
    reset_wording,
    save_wording,
    versions_in_force,
    versions_of,
    versions_visible_to,
)

FIELD_LIMIT = 1_000_000
"""Longer texts are not even shown again; what is too long for a notice, the service says."""


class WordingForm(ConsoleForm):
    """What an event says in both languages, and what it is."""

    title_zh = forms.CharField(label=gettext_lazy("中文标题"), max_length=FIELD_LIMIT)
    body_zh = forms.CharField(
        label=gettext_lazy("中文正文"),
        max_length=FIELD_LIMIT,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    title_en = forms.CharField(label=gettext_lazy("英文标题"), max_length=FIELD_LIMIT)
    body_en = forms.CharField(
        label=gettext_lazy("英文正文"),
        max_length=FIELD_LIMIT,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    urgent = forms.BooleanField(
        label=gettext_lazy("紧急"),
        required=False,
        help_text=gettext_lazy("推送可以唤醒手机，不受免打扰时段限制"),
    )
    requires_ack = forms.BooleanField(
        label=gettext_lazy("需要确认收到"),
        required=False,
        help_text=gettext_lazy("收到的人须点“确认”，未确认的可以催办"),
    )
    enabled = forms.BooleanField(
        label=gettext_lazy("发送此通知"),
        required=False,
        help_text=gettext_lazy("不选即停用：此事件发生时不再通知任何人"),
    )

    def draft(self) -> Draft:
        values = self.cleaned_data
        # Browsers send line ends as the network does; a notice has plain ones.
        texts = {name: values[name].replace("\r\n", "\n") for name in TEXTS}
        switches = {name: values[name] for name in ("urgent", "requires_ack", "enabled")}
        return Draft(**texts, **switches)


@dataclass(frozen=True)
class Line:
    """One event in the catalogue."""

    kind: EventKind
    draft: Draft
    version: EventWording | None


@admin.register(EventWording)
class WordingAdmin(ScopedAdmin):
    """Its list is the catalogue; its rows are versions, which are shown and never changed."""

    def visible_to(self, user: User) -> QuerySet[EventWording]:
        return versions_visible_to(user)

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {"event": ("event/<str:event>/", self.event_view)}

    # ---- the catalogue -------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        areas = areas_shown_to(person(request)).order_by("path")
        area = self._area(request, areas)
        context = {
            "title": _("通知模板"),
            "areas": areas,
            "area": area,
            "lines": self._lines(area),
            "may_word": areas_worded_by(person(request)).filter(pk=area.pk).exists(),
        }
        return self.render(request, "console/notice_catalogue.html", context)

    def _lines(self, area: Area) -> Sequence[Line]:
        versions = versions_in_force(area.path)
        return [
            Line(kind, draft_of(versions.get(kind.key), kind.key), versions.get(kind.key))
            for kind in event_kinds()
        ]

    def _area(self, request: HttpRequest, areas: QuerySet[Area]) -> Area:
        """The area that the address names, else the first of one's own."""
        named = request.GET.get("area")
        if named:
            try:
                areas = areas.filter(pk=UUID(named))
            except ValueError:
                raise Http404 from None
        area = areas.first()
        if area is None:
            raise Http404
        return area

    # ---- one event -----------------------------------------------------------------------------

    def event_view(self, request: HttpRequest, event: str) -> HttpResponse:
        """The wording of an event in an area: edit, preview, reset, and its versions."""
        kind, by = self._kind(event), person(request)
        area = self._area(request, areas_shown_to(by).order_by("path"))
        may = areas_worded_by(by).filter(pk=area.pk).exists()
        current = versions_in_force(area.path).get(event)
        form = WordingForm(initial=vars(draft_of(current, event)), by=by)
        shown = draft_of(current, event)
        if request.method == "POST":
            if "reset" in request.POST:
                return self._reset(request, kind, area)
            form = WordingForm(request.POST, by=by)
            done = self._save_or_look(request, form, kind, area)
            if isinstance(done, HttpResponseBase):
                return done
            shown = done or shown
        context = {
            "title": kind.key,
            "kind": kind,
            "area": area,
            "form": form,
            "may_word": may,
            "current": current,
            "own": current if current and current.area_id == area.pk else None,
            "previewed": request.method == "POST",
            "texts": preview(kind, shown),
            "variables": [
                (f"{{{name}}}", NAMES[name], SAMPLES[name][0]) for name in sorted(kind.params)
            ],
            "versions": versions_of(event, area),
            "back": f"{reverse(f'admin:{self._name}_changelist')}?area={area.pk}",
        }
        return self.render(request, "console/wording.html", context)

    def _kind(self, event: str) -> EventKind:
        try:
            kind = event_kind(event)
        except KeyError:
            raise Http404 from None
        if kind.by_hand:
            raise Http404
        return kind

    def _save_or_look(
        self, request: HttpRequest, form: WordingForm, kind: EventKind, area: Area
    ) -> HttpResponse | Draft | None:
        """A saved draft's page; a draft to be previewed; nothing where it has faults."""
        if not form.is_valid():
            return None
        draft = form.draft()
        if "preview" in request.POST:
            problems = list(problems_of(kind, draft))
            for problem in problems:
                form.add_error(problem.pointer.strip("/"), str(problem.detail))
            return None if problems else draft
        try:
            save_wording(by=person(request), area_id=area.pk, event=kind.key, draft=draft)
        except DuxueError as error:
            form.refuse(error)
            return None
        messages.success(request, _("已保存。以后发出的通知按此措辞，已发出的不变。"))
        return redirect(self._page_of(kind, area))

    def _reset(self, request: HttpRequest, kind: EventKind, area: Area) -> HttpResponse:
        try:
            reset_wording(by=person(request), area_id=area.pk, event=kind.key)
            messages.success(request, _("已恢复默认。以后发出的通知按默认措辞，已发出的不变。"))
        except DuxueError as error:
            messages.error(request, sentence(error))
        return redirect(self._page_of(kind, area))

    def _page_of(self, kind: EventKind, area: Area) -> str:
        return f"{self.link('event', kind.key)}?area={area.pk}"

    # ---- a version -----------------------------------------------------------------------------

    def facts(self, request: HttpRequest, row: EventWording) -> Sequence[tuple[Text, Any]]:
        yes, no = _("是"), _("否")
        return [
            (_("事件"), row.event),
            (_("行政区"), row.area or _("系统默认")),
            (_("版本"), row.number),
            (_("修改人"), row.saved_by or "—"),
            (_("修改时间"), row.saved_at),
            (_("恢复默认"), yes if row.resets else no),
            (_("中文标题"), row.title_zh),
            (_("中文正文"), row.body_zh),
            (_("英文标题"), row.title_en),
            (_("英文正文"), row.body_en),
            (_("紧急"), yes if row.urgent else no),
            (_("需要确认"), yes if row.requires_ack else no),
            (_("发送"), yes if row.enabled else no),
        ]
