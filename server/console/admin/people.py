"""People and their log-ins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.hashers import make_password
from django.core.validators import RegexValidator
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from server.console.access import person
from server.console.admin.base import Deed, Tool
from server.console.admin.links import term_shown
from server.console.admin.workbooks import WorkbookAdmin
from server.console.filters import HoldsRole
from server.console.forms import ConsoleForm, DayInput
from server.core.changes import record_change
from server.core.clock import today
from server.core.errors import Text
from server.grid.models import Area, Membership, School, User, in_term
from server.grid.queries import (
    areas_visible_to,
    memberships_visible_to,
    people_managed_by,
    people_visible_to,
    schools_in_office_of,
    schools_visible_to,
)
from server.grid.services import (
    grant_membership,
    issue_password,
)
from server.grid.workbooks import (
    export_people,
    import_people,
    people_template,
)
from server.messaging.odk import qr_picture
from server.messaging.sessions import open_odk_session

Role = Membership.Role


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
            "odk": Deed(
                label=_("ODK Collect 二维码"),
                do=self._show_settings_qr,
                hint=_("用 ODK Collect 扫描即可登录；凭此码可以本人名义填报，请勿外传。"),
            ),
            "password": Deed(
                label=_("设置新密码"),
                do=self._issue_password,
                hint=_("原密码立即失效，新密码只显示一次。"),
                confirm=_("为“%(name)s”设置新密码") % {"name": row.name},
            ),
        }

    def _show_settings_qr(self, request: HttpRequest, row: User) -> Text:
        base_url = settings.PUBLIC_URL.rstrip("/") or request.build_absolute_uri("/").rstrip("/")
        picture = qr_picture(base_url, open_odk_session(row))
        words = _("“%s”的 ODK Collect 设置，离开本页后不再显示。") % row.name
        return format_html("<span>{}</span><br>{}", words, picture)

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
        memberships = memberships_visible_to(user).filter(user=row)
        return {
            "memberships": [(each, term_shown(each.starts, each.ends)) for each in memberships],
            "appointments": [(each, term_shown(each.starts, each.ends)) for each in appointments],
        }
