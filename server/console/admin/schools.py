"""Schools, with their inspectors and contacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.activities.queries import visits_visible_to
from server.console.access import person
from server.console.admin.base import Deed, Tool
from server.console.admin.links import links, page_link
from server.console.admin.workbooks import WorkbookAdmin, WorkbookForm
from server.console.care import held_fact, hold_deed
from server.console.filters import HasInspector, OwnTown
from server.console.forms import ConsoleForm
from server.console.gallery.selection import gallery_address
from server.core.errors import Text
from server.findings.queries import findings_visible_to
from server.grid.coordinates import CoordinateSystem
from server.grid.models import Appointment, Area, Membership, School, User, in_term
from server.grid.queries import (
    areas_visible_to,
    schools_in_office_of,
    schools_visible_to,
    under,
)
from server.grid.services import (
    save_school,
    scope_of,
)
from server.grid.workbooks import (
    export_schools,
    import_schools,
    schools_template,
)

SYSTEMS = [
    (CoordinateSystem.WGS84.value, gettext_lazy("WGS-84（卫星定位、天地图）")),
    (CoordinateSystem.GCJ02.value, gettext_lazy("GCJ-02（高德、腾讯地图）")),
    (CoordinateSystem.BD09.value, gettext_lazy("BD-09（百度地图）")),
]


class SystemField(forms.TypedChoiceField):
    """Which coordinates a position is given in; cleans to a CoordinateSystem."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            choices=SYSTEMS,
            coerce=CoordinateSystem,
            initial=CoordinateSystem.WGS84.value,
            required=False,
            empty_value=CoordinateSystem.WGS84,
            **kwargs,
        )


class SchoolWorkbookForm(WorkbookForm):
    """A workbook of schools."""

    system = SystemField(
        label=gettext_lazy("坐标系"),
        help_text=gettext_lazy("用于没有填写“坐标系”的行；导入时换算为 WGS-84"),
    )


class SchoolForm(ConsoleForm):
    """A school's own facts."""

    name = forms.CharField(label=gettext_lazy("学校名称"), max_length=120)
    code = forms.CharField(
        label=gettext_lazy("学校标识码"),
        max_length=10,
        help_text=gettext_lazy("10 位数字"),
        widget=forms.TextInput(attrs={"inputmode": "numeric"}),
    )
    stage = forms.ChoiceField(label=gettext_lazy("学段"), choices=School.Stage.choices)
    area = forms.ModelChoiceField(label=gettext_lazy("所在镇街"), queryset=Area.objects.none())
    address = forms.CharField(label=gettext_lazy("地址"), max_length=200, required=False)
    latitude = forms.FloatField(
        label=gettext_lazy("纬度"), required=False, help_text=gettext_lazy("十进制度数")
    )
    longitude = forms.FloatField(
        label=gettext_lazy("经度"),
        required=False,
        help_text=gettext_lazy("经度和纬度要么都填，要么都不填"),
    )
    system = SystemField(
        label=gettext_lazy("坐标系"),
        help_text=gettext_lazy("所填经纬度取自哪种地图；保存时换算为 WGS-84"),
    )
    enrolment = forms.IntegerField(label=gettext_lazy("在校生数"), min_value=0, initial=0)
    is_active = forms.BooleanField(label=gettext_lazy("在办"), required=False, initial=True)

    def limit_choices(self) -> None:
        scope = scope_of(self.by)
        areas: QuerySet[Area] = areas_visible_to(self.by)
        if not scope.everywhere:
            areas = areas.filter(under([*scope.office_paths, *scope.group_paths], "path"))
        self.fields["area"].queryset = areas  # type: ignore[attr-defined]


@admin.register(School)
class SchoolAdmin(WorkbookAdmin):
    list_display = ["name", "stage", "area", "enrolment", "inspectors", "code", "is_active"]
    list_filter = ["stage", OwnTown, HasInspector, "is_active"]
    search_fields = ["name", "code"]
    ordering = ["area__path", "name"]
    page_template = "console/school.html"
    filename = "schools"
    importer = staticmethod(import_schools)
    exporter = staticmethod(export_schools)
    template = staticmethod(schools_template)
    import_form = SchoolWorkbookForm

    def visible_to(self, user: User) -> QuerySet[School]:
        held = Appointment.objects.filter(in_term()).select_related("inspector")
        return (
            schools_visible_to(user)
            .select_related("area")
            .prefetch_related(Prefetch("appointments", held, to_attr="held"))
        )

    @admin.display(description=gettext_lazy("责任督学"))
    def inspectors(self, row: School) -> str:
        held: list[Appointment] = row.held  # type: ignore[attr-defined]
        return "、".join(str(each.inspector) for each in held) or "—"

    def may_add(self, request: HttpRequest) -> bool:
        return True

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return self._form(request, School(), title=_("新增学校"), initial={})

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {**super().pages(), "edit": ("<uuid:object_id>/edit/", self.edit_view)}

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        school: School = self.row(request, object_id)
        facts = [name for name in SchoolForm.base_fields if name != "system"]
        initial = {name: getattr(school, name) for name in facts}
        return self._form(request, school, title=str(school), initial=initial)

    def _form(
        self, request: HttpRequest, school: School, *, title: Text, initial: dict[str, Any]
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            values = dict(form.cleaned_data)
            system: CoordinateSystem = values.pop("system")
            for name, value in values.items():
                setattr(school, name, value)
            save_school(school=school, by=person(request), system=system)
            messages.success(request, _("已保存“%(name)s”。") % {"name": school.name})
            return self.page_of(school)

        back = "" if school._state.adding else self.page_of(school)
        return self.form_page(
            request, SchoolForm, do, title=title, submit=_("保存"), initial=initial, back=back
        )

    def facts(self, request: HttpRequest, row: School) -> Sequence[tuple[Text, Any]]:
        held: list[Appointment] = row.held  # type: ignore[attr-defined]
        contacts = [
            each.user
            for each in row.memberships.filter(
                in_term(), role=Membership.Role.SCHOOL_CONTACT
            ).select_related("user")
        ]
        position = "—" if row.latitude is None else f"{row.latitude:.6f}, {row.longitude:.6f}"
        return [
            (_("学段"), row.get_stage_display()),
            (_("所在镇街"), page_link(row.area)),
            (_("学校标识码"), row.code),
            (_("在校生数"), row.enrolment),
            (_("责任督学"), links(each.inspector for each in held)),
            (_("学校联系人"), links(contacts)),
            (_("地址"), row.address or "—"),
            (_("坐标（WGS-84）"), position),
            (_("在办"), _("是") if row.is_active else _("否")),
            *held_fact(request, "school", row),
        ]

    def deeds(self, request: HttpRequest, row: School) -> Mapping[str, Deed]:
        return hold_deed(request, "school")

    def page_tools(self, request: HttpRequest, row: School) -> Sequence[Tool]:
        photos = Tool(_("照片"), gallery_address(school=row.pk), "photo_library")
        if not schools_in_office_of(person(request)).filter(pk=row.pk).exists():
            return [photos]
        appoint = reverse("admin:grid_appointment_add")
        groups = reverse("admin:messaging_chatgroup_changelist")
        return [
            photos,
            Tool(_("修改"), self.link("edit", row.pk), "edit"),
            Tool(_("聘任督学"), f"{appoint}?school={row.pk}", "handshake"),
            Tool(_("群聊"), f"{groups}?school__id__exact={row.pk}", "forum"),
        ]

    def page_context(self, request: HttpRequest, row: School) -> dict[str, Any]:
        user = person(request)
        visits = visits_visible_to(user).filter(school=row).select_related("activity")
        findings = findings_visible_to(user).filter(school=row)
        return {
            "visits": visits.order_by("-activity__starts")[:10],
            "findings": findings.order_by("-created_at")[:10],
        }
