"""Memberships and appointments: who holds what, from when to when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person
from server.console.admin.base import Deed, ScopedAdmin
from server.console.admin.links import page_link, term_shown
from server.console.admin.people import RoleFields
from server.console.filters import InTerm, Town
from server.console.forms import ConsoleForm, DayInput
from server.core.clock import today
from server.core.errors import Text
from server.grid.models import Appointment, Membership, School, User, in_term
from server.grid.queries import (
    memberships_visible_to,
    people_visible_to,
    schools_in_office_of,
    schools_visible_to,
)
from server.grid.services import (
    appoint_inspector,
    end_appointment,
    end_membership,
    grant_membership,
    scope_of,
)

Role = Membership.Role


class MembershipForm(RoleFields):
    """A role for a person."""

    pointers = {**RoleFields.pointers, "user_id": "user"}
    field_order = ["user", "role", "area", "school", "starts", "ends"]

    user = forms.ModelChoiceField(label=gettext_lazy("人员"), queryset=User.objects.none())

    def limit_choices(self) -> None:
        super().limit_choices()
        people = people_visible_to(self.by).filter(is_active=True)
        self.fields["user"].queryset = people.order_by("name")  # type: ignore[attr-defined]


class TermAdmin(ScopedAdmin):
    """Terms with a beginning and an end."""

    @admin.display(description=gettext_lazy("任期"))
    def term(self, row: Any) -> str:
        return f"{row.starts:%Y-%m-%d} — {row.ends:%Y-%m-%d}" if row.ends else f"{row.starts} —"

    @admin.display(description=gettext_lazy("状态"))
    def standing(self, row: Any) -> SafeString:
        return term_shown(row.starts, row.ends).badge

    def may_add(self, request: HttpRequest) -> bool:
        return True

    def _holds(self, row: Any) -> bool:
        return row.ends is None or row.ends >= today()


def last_day(request: HttpRequest) -> date | None:
    """The day of a deed's form; nothing where it is left blank."""
    try:
        return date.fromisoformat(request.POST.get("day", ""))
    except ValueError:
        return None


@admin.register(Membership)
class MembershipAdmin(TermAdmin):
    list_display = ["user", "role", "place", "term", "standing"]
    list_filter = ["role", InTerm]
    search_fields = ["user__name", "user__username", "area__name", "school__name"]
    ordering = ["role", "user__username"]

    def visible_to(self, user: User) -> QuerySet[Membership]:
        return memberships_visible_to(user)

    @admin.display(description=gettext_lazy("范围"))
    def place(self, row: Membership) -> str:
        return str(row.area or row.school)

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            assert isinstance(form, MembershipForm)  # noqa: S101 - the class given below
            user: User = form.cleaned_data["user"]
            grant_membership(user_id=user.pk, by=person(request), **form.role_values())
            messages.success(request, _("已授予角色。"))
            return reverse("admin:grid_user_change", args=[user.pk])

        return self.form_page(
            request,
            MembershipForm,
            do,
            title=_("授予角色"),
            submit=_("授予"),
            initial={"user": request.GET.get("user")},
        )

    def facts(self, request: HttpRequest, row: Membership) -> Sequence[tuple[Text, Any]]:
        return [
            (_("人员"), page_link(row.user)),
            (_("角色"), row.get_role_display()),
            (_("范围"), page_link(row.area or row.school)),
            (_("任期"), self.term(row)),
            (_("状态"), self.standing(row)),
        ]

    def deeds(self, request: HttpRequest, row: Membership) -> Mapping[str, Deed]:
        if not self._holds(row) or not scope_of(person(request)).may_grant(
            row.role, row.place_path
        ):
            return {}
        return {"end": Deed(label=_("结束任职"), do=self._end, day=_("最后一天"), tone="danger")}

    def _end(self, request: HttpRequest, row: Membership) -> Text:
        end_membership(membership_id=row.pk, by=person(request), last_day=last_day(request))
        return _("任职已结束。")


class AppointmentForm(ConsoleForm):
    """An inspector for a school."""

    pointers = {"inspector_id": "inspector", "school_id": "school", "schools": "inspector"}

    school = forms.ModelChoiceField(label=gettext_lazy("学校"), queryset=School.objects.none())
    inspector = forms.ModelChoiceField(label=gettext_lazy("责任督学"), queryset=User.objects.none())
    starts = forms.DateField(label=gettext_lazy("开始日期"), widget=DayInput, initial=today)
    ends = forms.DateField(
        label=gettext_lazy("结束日期"),
        widget=DayInput,
        required=False,
        help_text=gettext_lazy("留空即到该督学的任期结束"),
    )

    def limit_choices(self) -> None:
        schools = schools_in_office_of(self.by).filter(is_active=True).order_by("name")
        self.fields["school"].queryset = schools  # type: ignore[attr-defined]
        holders = Membership.objects.filter(in_term(), role=Role.INSPECTOR)
        people = people_visible_to(self.by).filter(pk__in=holders.values("user"), is_active=True)
        self.fields["inspector"].queryset = people.order_by("name")  # type: ignore[attr-defined]


@admin.register(Appointment)
class AppointmentAdmin(TermAdmin):
    list_display = ["school", "inspector", "term", "standing"]
    list_filter = [InTerm, Town]
    search_fields = ["school__name", "inspector__name", "inspector__username"]
    ordering = ["school__area__path", "school__name", "-starts"]

    def visible_to(self, user: User) -> QuerySet[Appointment]:
        rows = Appointment.objects.select_related("school__area", "inspector")
        return rows.filter(school__in=schools_visible_to(user).values("pk"))

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            values = form.cleaned_data
            row = appoint_inspector(
                inspector_id=values["inspector"].pk,
                school_id=values["school"].pk,
                starts=values["starts"],
                ends=values["ends"],
                by=person(request),
            )
            messages.success(request, _("已聘任：%(row)s。") % {"row": row})
            return reverse("admin:grid_school_change", args=[row.school_id])

        return self.form_page(
            request,
            AppointmentForm,
            do,
            title=_("聘任责任督学"),
            submit=_("聘任"),
            initial={"school": request.GET.get("school")},
        )

    def facts(self, request: HttpRequest, row: Appointment) -> Sequence[tuple[Text, Any]]:
        return [
            (_("学校"), page_link(row.school)),
            (_("责任督学"), page_link(row.inspector)),
            (_("任期"), self.term(row)),
            (_("状态"), self.standing(row)),
        ]

    def deeds(self, request: HttpRequest, row: Appointment) -> Mapping[str, Deed]:
        if not self._holds(row):
            return {}
        return {"end": Deed(label=_("结束聘任"), do=self._end, day=_("最后一天"), tone="danger")}

    def _end(self, request: HttpRequest, row: Appointment) -> Text:
        end_appointment(appointment_id=row.pk, by=person(request), last_day=last_day(request))
        return _("聘任已结束。")
