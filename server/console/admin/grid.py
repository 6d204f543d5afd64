"""Areas, schools, people, their roles and appointments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, BinaryIO

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.hashers import make_password
from django.core.validators import RegexValidator
from django.db import transaction
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.activities.queries import visits_visible_to
from server.console.access import person
from server.console.admin.base import XLSX, Deed, ScopedAdmin, Tool, attachment
from server.console.filters import HasInspector, HoldsRole, InTerm, OwnTown, Town
from server.console.forms import ConsoleForm, DayInput, UploadForm
from server.console.states import AMBER, GREEN, GREY, Shown
from server.core.changes import record_change
from server.core.clock import today
from server.core.errors import Text
from server.findings.queries import findings_visible_to
from server.grid.models import Appointment, Area, Membership, School, User, in_term
from server.grid.queries import (
    areas_visible_to,
    people_managed_by,
    people_visible_to,
    schools_in_office_of,
    schools_visible_to,
    under,
)
from server.grid.services import (
    appoint_inspector,
    end_appointment,
    end_membership,
    grant_membership,
    issue_password,
    save_school,
    scope_of,
)
from server.grid.workbooks import (
    ImportResult,
    export_people,
    export_schools,
    import_people,
    import_schools,
    people_template,
    schools_template,
)

Role = Membership.Role
MAX_WORKBOOK_BYTES = 10 * 2**20


def page_link(row: Any, words: object = "") -> SafeString:
    """A link to the page of a row."""
    meta = row._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html('<a class="dx-link" href="{}">{}</a>', address, words or row)


def links(rows: Any) -> SafeString:
    """Links to the pages of rows, or a dash."""
    return format_html_join("、", "{}", ((page_link(row),) for row in rows)) or SafeString("—")


def term_shown(starts: date, ends: date | None) -> Shown:
    """Whether a term is to come, holds, or is over."""
    if starts > today():
        return Shown(GREY, _("未开始"))
    if ends and ends < today():
        return Shown(GREY, _("已结束"))
    if ends and (ends - today()).days <= 60:
        return Shown(AMBER, _("在任，将到期"))
    return Shown(GREEN, _("在任"))


# ---- areas -----------------------------------------------------------------------------------


@admin.register(Area)
class AreaAdmin(ScopedAdmin):
    list_display = ["name", "level", "code", "parent", "school_count"]
    list_filter = ["level"]
    search_fields = ["name", "code"]

    def visible_to(self, user: User) -> QuerySet[Area]:
        active = Count("schools", filter=Q(schools__is_active=True))
        return areas_visible_to(user).select_related("parent").annotate(school_total=active)

    @admin.display(description=gettext_lazy("直属学校"))
    def school_count(self, row: Area) -> int:
        return int(row.school_total)  # type: ignore[attr-defined]

    def facts(self, request: HttpRequest, row: Area) -> Sequence[tuple[Text, Any]]:
        return [
            (_("级别"), row.get_level_display()),
            (_("行政区划代码"), row.code),
            (_("上级行政区"), page_link(row.parent) if row.parent else "—"),
            (_("直属学校"), self.school_count(row)),
        ]

    def page_tools(self, request: HttpRequest, row: Area) -> Sequence[Tool]:
        schools = reverse("admin:grid_school_changelist")
        return [Tool(_("查看这里的学校"), f"{schools}?town={row.pk}", "school")]


# ---- Excel -----------------------------------------------------------------------------------


class WorkbookAdmin(ScopedAdmin):
    """A list that is filled from Excel and written to it."""

    filename = ""
    importer: Callable[..., ImportResult]
    exporter: Callable[[Any], bytes]
    template: Callable[..., bytes]

    def list_tools(self, request: HttpRequest) -> Sequence[Tool]:
        shown = request.GET.urlencode()
        return [
            Tool(_("从 Excel 导入"), self.link("import"), "upload"),
            Tool(_("导出所列"), self.link("export") + (f"?{shown}" if shown else ""), "download"),
            Tool(_("下载模板"), self.link("template"), "draft"),
        ]

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {
            "import": ("import/", self.import_view),
            "export": ("export/", self.export_view),
            "template": ("template/", self.template_view),
        }

    def import_view(self, request: HttpRequest) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            file: BinaryIO = form.cleaned_data["file"]
            result = type(self).importer(file=file, by=person(request))
            words = {
                "created": result.created,
                "updated": result.updated,
                "unchanged": result.unchanged,
            }
            text = _("新增 %(created)s 条，更新 %(updated)s 条，%(unchanged)s 条没有变化。")
            messages.success(request, text % words)
            return reverse(f"admin:{self._name}_changelist")

        return self.form_page(
            request,
            WorkbookForm,
            do,
            title=_("从 Excel 导入%(what)s") % {"what": self.opts.verbose_name},
            submit=_("检查并导入"),
            intro=_("先下载模板填写。只要有一处错误，整个文件都不会导入，错误会逐行逐列列出。"),
        )

    def export_view(self, request: HttpRequest) -> HttpResponse:
        shown = self.get_changelist_instance(request).get_queryset(request)
        rows = self.visible_to(person(request)).filter(pk__in=shown.values("pk")).order_by()
        return attachment(type(self).exporter(rows), f"{self.filename}.xlsx", XLSX)

    def template_view(self, request: HttpRequest) -> HttpResponse:
        content = type(self).template(by=person(request))
        return attachment(content, f"{self.filename}-template.xlsx", XLSX)


class WorkbookForm(UploadForm):
    """A workbook of a bounded size."""

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MAX_WORKBOOK_BYTES:
            limit = MAX_WORKBOOK_BYTES // 2**20
            raise forms.ValidationError(
                _("文件不能超过 %(limit)s MB，请分成几个文件导入。") % {"limit": limit}
            )
        return file


# ---- schools ---------------------------------------------------------------------------------


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
        label=gettext_lazy("纬度"), required=False, help_text=gettext_lazy("WGS-84，度")
    )
    longitude = forms.FloatField(
        label=gettext_lazy("经度"),
        required=False,
        help_text=gettext_lazy("经度和纬度要么都填，要么都不填"),
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
        initial = {name: getattr(school, name) for name in SchoolForm.base_fields}
        return self._form(request, school, title=str(school), initial=initial)

    def _form(
        self, request: HttpRequest, school: School, *, title: Text, initial: dict[str, Any]
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            for name, value in form.cleaned_data.items():
                setattr(school, name, value)
            save_school(school=school, by=person(request))
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
            for each in row.memberships.filter(in_term(), role=Role.SCHOOL_CONTACT).select_related(
                "user"
            )
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
        ]

    def page_tools(self, request: HttpRequest, row: School) -> Sequence[Tool]:
        tools = []
        if schools_in_office_of(person(request)).filter(pk=row.pk).exists():
            appoint = reverse("admin:grid_appointment_add")
            tools = [
                Tool(_("修改"), self.link("edit", row.pk), "edit"),
                Tool(_("聘任督学"), f"{appoint}?school={row.pk}", "handshake"),
            ]
        return tools

    def page_context(self, request: HttpRequest, row: School) -> dict[str, Any]:
        user = person(request)
        visits = visits_visible_to(user).filter(school=row).select_related("activity")
        findings = findings_visible_to(user).filter(school=row)
        return {
            "visits": visits.order_by("-activity__starts")[:10],
            "findings": findings.order_by("-created_at")[:10],
        }


# ---- people ----------------------------------------------------------------------------------


class PersonForm(ConsoleForm):
    """What an office keeps about a person."""

    name = forms.CharField(label=gettext_lazy("姓名"), max_length=40)
    phone = forms.CharField(
        label=gettext_lazy("手机号"),
        max_length=16,
        required=False,
        validators=[RegexValidator(r"^\+?\d{5,15}$", gettext_lazy("应为电话号码"))],
        widget=forms.TextInput(attrs={"inputmode": "tel"}),
    )
    email = forms.EmailField(label=gettext_lazy("电子邮箱"), required=False)
    licence = forms.CharField(label=gettext_lazy("督学证号"), max_length=32, required=False)
    is_active = forms.BooleanField(label=gettext_lazy("可登录"), required=False, initial=True)


class RoleFields(ConsoleForm):
    """A role, and the place where it holds."""

    pointers = {"area_id": "area", "school_id": "school"}

    role = forms.ChoiceField(label=gettext_lazy("角色"), choices=Role.choices)
    area = forms.ModelChoiceField(
        label=gettext_lazy("行政区"),
        queryset=Area.objects.none(),
        required=False,
        help_text=gettext_lazy("学校联系人不填此项"),
    )
    school = forms.ModelChoiceField(
        label=gettext_lazy("学校"),
        queryset=School.objects.none(),
        required=False,
        help_text=gettext_lazy("只有学校联系人填写"),
    )
    starts = forms.DateField(label=gettext_lazy("开始日期"), widget=DayInput, initial=today)
    ends = forms.DateField(
        label=gettext_lazy("结束日期"),
        widget=DayInput,
        required=False,
        help_text=gettext_lazy("督学每届任期三年，留空即按三年计"),
    )

    def limit_choices(self) -> None:
        self.fields["area"].queryset = areas_visible_to(self.by)  # type: ignore[attr-defined]
        schools = schools_in_office_of(self.by).order_by("name")
        self.fields["school"].queryset = schools  # type: ignore[attr-defined]

    def role_values(self) -> dict[str, Any]:
        """The arguments of `grant_membership`."""
        values = self.cleaned_data
        return {
            "role": values["role"],
            "area_id": values["area"].pk if values["area"] else None,
            "school_id": values["school"].pk if values["school"] else None,
            "starts": values["starts"],
            "ends": values["ends"],
        }


class NewPersonForm(RoleFields, PersonForm):
    """A new person comes with a log-in name and a first role: without one, nobody could see them."""

    username = forms.CharField(
        label=gettext_lazy("登录名"),
        max_length=64,
        help_text=gettext_lazy("字母、数字，保存后不改"),
    )
    field_order = ["username", "name", "phone", "email", "licence", "role", "area", "school"]

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"].strip()
        if User.objects.filter(username=name).exists():
            raise forms.ValidationError(_("登录名“%(name)s”已被使用。") % {"name": name})
        return name


@admin.register(User)
class PersonAdmin(WorkbookAdmin):
    list_display = ["name", "username", "roles", "phone", "licence", "is_active"]
    list_filter = [HoldsRole, "is_active"]
    search_fields = ["name", "username", "phone", "licence"]
    ordering = ["username"]
    page_template = "console/person.html"
    filename = "people"
    importer = staticmethod(import_people)
    exporter = staticmethod(export_people)
    template = staticmethod(people_template)

    def visible_to(self, user: User) -> QuerySet[User]:
        held = Membership.objects.filter(in_term()).select_related("area", "school")
        return people_visible_to(user).prefetch_related(
            Prefetch("memberships", held, to_attr="held")
        )

    @admin.display(description=gettext_lazy("角色"))
    def roles(self, row: User) -> str:
        held: list[Membership] = row.held  # type: ignore[attr-defined]
        return "、".join(
            f"{each.get_role_display()}（{each.area or each.school}）" for each in held
        )

    def may_add(self, request: HttpRequest) -> bool:
        return True

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        def do(form: ConsoleForm) -> str:
            assert isinstance(form, NewPersonForm)  # noqa: S101 - the class given below
            user = self._create(form, person(request))
            messages.success(request, _("已新增“%(name)s”。请设置登录密码。") % {"name": user})
            return self.page_of(user)

        return self.form_page(request, NewPersonForm, do, title=_("新增人员"), submit=_("保存"))

    @transaction.atomic
    def _create(self, form: NewPersonForm, by: User) -> User:
        values = form.cleaned_data
        names = ("username", "name", "phone", "email", "licence", "is_active")
        user = User.objects.create(
            password=make_password(None), **{name: values[name] for name in names}
        )
        grant_membership(user_id=user.pk, by=by, **form.role_values())
        return user

    def pages(self) -> Mapping[str, tuple[str, Callable[..., HttpResponseBase]]]:
        return {**super().pages(), "edit": ("<uuid:object_id>/edit/", self.edit_view)}

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user: User = self.row(request, object_id)
        if not self._manages(request, user):
            raise Http404

        def do(form: ConsoleForm) -> str:
            self._change(user, form.cleaned_data)
            messages.success(request, _("已保存“%(name)s”。") % {"name": user.name})
            return self.page_of(user)

        return self.form_page(
            request,
            PersonForm,
            do,
            title=str(user),
            submit=_("保存"),
            initial={name: getattr(user, name) for name in PersonForm.base_fields},
            back=self.page_of(user),
        )

    @transaction.atomic
    def _change(self, user: User, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(user, name, value)
        user.save(update_fields=list(values))
        record_change("me", user.pk, user_ids=[user.pk])

    def _manages(self, request: HttpRequest, user: User) -> bool:
        return people_managed_by(person(request)).filter(pk=user.pk).exists()

    def deeds(self, request: HttpRequest, row: User) -> Mapping[str, Deed]:
        if not self._manages(request, row):
            return {}
        return {
            "password": Deed(
                label=_("设置新密码"),
                do=self._issue_password,
                hint=_("原密码立即失效，新密码只显示一次。"),
                confirm=_("为“%(name)s”设置新密码") % {"name": row.name},
            )
        }

    def _issue_password(self, request: HttpRequest, row: User) -> Text:
        password = issue_password(user_id=row.pk, by=person(request))
        return _("“%(name)s”的新密码：%(password)s　请当面或电话告知，离开本页后不再显示。") % {
            "name": row.name,
            "password": password,
        }

    def facts(self, request: HttpRequest, row: User) -> Sequence[tuple[Text, Any]]:
        return [
            (_("登录名"), row.username),
            (_("手机号"), row.phone or "—"),
            (_("电子邮箱"), row.email or "—"),
            (_("督学证号"), row.licence or "—"),
            (_("可登录"), _("是") if row.is_active else _("否")),
            (_("可进入管理后台"), _("是") if row.is_staff else _("否")),
        ]

    def page_tools(self, request: HttpRequest, row: User) -> Sequence[Tool]:
        grant = reverse("admin:grid_membership_add")
        tools = [Tool(_("授予角色"), f"{grant}?user={row.pk}", "badge")]
        if self._manages(request, row):
            tools.insert(0, Tool(_("修改"), self.link("edit", row.pk), "edit"))
        return tools

    def page_context(self, request: HttpRequest, row: User) -> dict[str, Any]:
        user = person(request)
        schools = schools_visible_to(user).values("pk")
        appointments = row.appointments.filter(school__in=schools).select_related("school")
        memberships = memberships_seen_by(user).filter(user=row)
        return {
            "memberships": [(each, term_shown(each.starts, each.ends)) for each in memberships],
            "appointments": [(each, term_shown(each.starts, each.ends)) for each in appointments],
        }


# ---- roles -----------------------------------------------------------------------------------


def memberships_seen_by(user: User) -> QuerySet[Membership]:
    """The roles in the person's visible areas and schools."""
    rows = Membership.objects.select_related("user", "area", "school")
    if user.is_superuser:
        return rows
    return rows.filter(
        Q(
            area__in=areas_visible_to(user).values("pk"),
            user__in=people_visible_to(user).values("pk"),
        )
        | Q(school__in=schools_visible_to(user).values("pk"))
    )


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
        return memberships_seen_by(user)

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
