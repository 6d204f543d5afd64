"""What all lists and pages of the console share: scope by query, rights by role, deeds by service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import UUID

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from server.console.access import person, standing_of
from server.console.forms import ConsoleForm
from server.core.errors import DuxueError, Problem, Text
from server.grid.models import User

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    ThemedAdmin = ModelAdmin[Any]
else:
    from unfold.admin import ModelAdmin as ThemedAdmin


@dataclass(frozen=True, kw_only=True)
class Deed:
    """A button of a page: what it says, what it asks for, and the service behind it.

    `do` gets the request and the row, and answers with the sentence that tells what was done, or with
    a response of its own. `new_tab`: where that response is shown.
    """

    label: Text
    do: Callable[[HttpRequest, Any], Text | HttpResponseBase]
    tone: str = "plain"
    note: Text = ""
    note_required: bool = False
    day: Text = ""
    hint: Text = ""
    confirm: Text = ""
    new_tab: bool = False


@dataclass(frozen=True)
class Tool:
    """A link above a list or on a page."""

    label: Text
    link: str
    icon: str = ""


@dataclass(frozen=True)
class Cell:
    """A refusal at a place of a workbook: sheet, row, column."""

    sheet: str
    row: str
    column: str
    detail: Text


class ScopedAdmin(ThemedAdmin):
    """A list of what the person may see, and a page for each row; nothing is changed but by deeds.

    Rights follow from the person's roles, not from Django's permission rows: whoever enters sees
    what the visibility query gives, `may_add` says who gets the form for a new row, and services
    decide the rest.
    """

    list_per_page = 50
    show_full_result_count = False
    list_before_template = "console/list_tools.html"
    empty_hint: Text = ""
    """Said under an empty list without filters: what will stand here, and how it begins."""
    actions: Any = None
    page_template: ClassVar[str] = "console/facts.html"

    # ---- scope and rights --------------------------------------------------------------------

    def visible_to(self, user: User) -> QuerySet[Any]:
        """The rows of the model's visibility query, with all that a list shows."""
        raise NotImplementedError

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = self.visible_to(person(request))
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows

    def may_add(self, request: HttpRequest) -> bool:
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return standing_of(request).enters

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return standing_of(request).enters

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return standing_of(request).enters and self.may_add(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    # ---- a list's tools ----------------------------------------------------------------------

    def list_tools(self, request: HttpRequest) -> Sequence[Tool]:
        return ()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"list_tools": self.list_tools(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    # ---- a row's page ------------------------------------------------------------------------

    def page_rows(self, user: User) -> QuerySet[Any]:
        """What a page is made from; more than a list needs."""
        return self.visible_to(user)

    def row(self, request: HttpRequest, object_id: str | UUID) -> Any:
        """The row, or a page that says it does not exist."""
        try:
            key = object_id if isinstance(object_id, UUID) else UUID(str(object_id))
        except ValueError:
            raise Http404 from None
        found = self.page_rows(person(request)).filter(pk=key).first()
        if found is None:
            raise Http404
        return found

    def facts(self, request: HttpRequest, row: Any) -> Sequence[tuple[Text, Any]]:
        """Label and value, for the page's list of facts."""
        return ()

    def deeds(self, request: HttpRequest, row: Any) -> Mapping[str, Deed]:
        """The buttons that are open to this person for this row now, by name."""
        return {}

    def page_tools(self, request: HttpRequest, row: Any) -> Sequence[Tool]:
        return ()

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise Http404
        row = self.row(request, object_id)
        context = {
            "title": str(row),
            "row": row,
            "original": row,
            "facts": self.facts(request, row),
            "deeds": self.deeds(request, row),
            "page_tools": self.page_tools(request, row),
            **self.page_context(request, row),
            **(extra_context or {}),
        }
        return self.render(request, self.page_template, context)

    def deed_view(self, request: HttpRequest, object_id: UUID, name: str) -> HttpResponseBase:
        """Do what a button says and come back to the page, with what was done or why not."""
        row = self.row(request, object_id)
        deed = self.deeds(request, row).get(name)
        if request.method != "POST":
            return redirect(self.page_of(row))
        if deed is None:
            messages.warning(request, _("此操作现在不能进行，页面已更新。请看清状态后再试。"))
            return redirect(self.page_of(row))
        try:
            done = deed.do(request, row)
            if isinstance(done, HttpResponseBase):
                return done
            messages.success(request, str(done))
        except DuxueError as error:
            messages.error(request, sentence(error))
        return redirect(self.page_of(row))

    # ---- forms -------------------------------------------------------------------------------

    def form_page(
        self,
        request: HttpRequest,
        form_class: type[ConsoleForm],
        do: Callable[[ConsoleForm], str],
        *,
        title: Text,
        submit: Text,
        initial: Mapping[str, Any] | None = None,
        intro: Text = "",
        back: str = "",
    ) -> HttpResponse:
        """Show the form; on sending, do it and go to the address that `do` answers with."""
        if request.method == "POST":
            form = form_class(request.POST, request.FILES, by=person(request))
            if form.is_valid():
                try:
                    return redirect(do(form))
                except DuxueError as error:
                    form.refuse(error)
        else:
            form = form_class(initial=dict(initial or {}), by=person(request))
        context = {
            "title": title,
            "form": form,
            "cells": [cell_of(problem) for problem in form.problems],
            "submit": submit,
            "intro": intro,
            "back": back or reverse(f"admin:{self._name}_changelist"),
        }
        return self.render(request, "console/form.html", context)

    def render(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        site = self.admin_site
        request.current_app = site.name
        whole = {**site.each_context(request), "opts": self.opts, "media": "", **context}
        return TemplateResponse(request, template, whole)

    # ---- addresses ---------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def page_of(self, row: Any) -> str:
        return reverse(f"admin:{self._name}_change", args=[row.pk])

    def link(self, name: str, *args: Any) -> str:
        """The address of one of `pages`."""
        return reverse(f"admin:{self._name}_{name}", args=args)

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        """More pages of the model: name → (route, view)."""
        return {}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        routes = [
            path(route, view(function), name=f"{self._name}_{name}")
            for name, (route, function) in self.pages().items()
        ]
        deed = path(
            "<uuid:object_id>/do/<slug:name>/", view(self.deed_view), name=f"{self._name}_do"
        )
        return [*routes, deed, *super().get_urls()]


def sentence(error: DuxueError) -> str:
    """Everything that a refusal says, in one line."""
    details = dict.fromkeys(str(problem.detail) for problem in error.problems)
    return " ".join(details) or str(error.detail)


def cell_of(problem: Problem) -> Cell:
    """A problem whose pointer is /sheet/row/column, or as much of that as it has."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in problem.pointer.split("/")[1:]]
    sheet, row, column = (*parts, "", "", "")[:3]
    return Cell(sheet, row, column, problem.detail)


Response = TypeVar("Response", bound=HttpResponseBase)


def attachment(content: bytes, filename: str, content_type: str) -> HttpResponse:
    """A file to keep, never a page to run."""
    return _to_keep(HttpResponse(content, content_type=content_type), filename)


def attachment_in_parts(
    parts: Iterator[bytes], filename: str, content_type: str
) -> StreamingHttpResponse:
    """The same, sent while it is made."""
    return _to_keep(StreamingHttpResponse(parts, content_type=content_type), filename)


def _to_keep(response: Response, filename: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


CSV = "text/csv; charset=utf-8"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
