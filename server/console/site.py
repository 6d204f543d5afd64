"""The console's site: offices and town groups enter, and the first page is the overview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.contrib.admin import autodiscover
from django.core.checks import CheckMessage
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils.translation import gettext as _

from server.console.access import standing_of
from server.console.live import overview_context, overview_part

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite as ThemedSite
    from django.contrib.admin.forms import AdminAuthenticationForm as ThemedLogin
else:
    from unfold.forms import AuthenticationForm as ThemedLogin
    from unfold.sites import UnfoldAdminSite as ThemedSite


class LoginForm(ThemedLogin):
    """Says what to do to a person who has a log-in but no office."""

    def confirm_login_allowed(self, user: Any) -> None:
        if user.is_active and not user.is_staff:
            raise ValidationError(
                _("管理后台供教育督导办和镇街督导组使用。督学和学校请在手机端登录。"),
                code="no_office",
            )
        super().confirm_login_allowed(user)


class ConsoleSite(ThemedSite):
    """Django's admin site with the console's door and first page."""

    login_form = LoginForm
    enable_nav_sidebar = True

    def check(self, app_configs: Sequence[AppConfig] | None) -> list[CheckMessage]:
        autodiscover()
        return super().check(app_configs)

    def has_permission(self, request: HttpRequest) -> bool:
        return standing_of(request).enters

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        context = {
            **self.each_context(request),
            "title": _("概览"),
            **overview_context(request),
            "is_fullwidth": "1",
            **(extra_context or {}),
        }
        request.current_app = self.name
        return TemplateResponse(request, "console/overview.html", context)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Load the console's modules first: live and worker, which have no pages, save 16 MB each."""
        autodiscover()
        live = path("overview/", self.admin_view(overview_part), name="overview_part")
        return [live, *super().get_urls()]
