"""The filters of the console's lists. The overview's links carry the same parameters."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from server.activities.machine import OPEN_STATES
from server.activities.models import Visit
from server.activities.queries import activities_visible_to, schools_known_to
from server.console.access import person
from server.console.states import (
    FINDING_STANDINGS,
    ON_TIME,
    OVERDUE,
    SOON,
    SOON_DAYS,
    TO_VERIFY,
)
from server.core.clock import today
from server.core.errors import Text
from server.findings.models import AT_SCHOOL, SETTLED, Finding
from server.grid.models import Appointment, Membership, User, in_term
from server.grid.queries import areas_visible_to

Choices = Iterable[tuple[str, Any]]


def _id(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


# ---- words that lists and figures share ------------------------------------------------------

PERIODS: dict[str, Text] = {
    "term": _("本学期"),
    "month": _("近 30 天"),
    "year": _("今年"),
    "all": _("全部时间"),
}
AGES: dict[str, tuple[int, int | None, Text]] = {
    "week": (0, 7, _("7 天内")),
    "fortnight": (8, 15, _("8–15 天")),
    "month": (16, 30, _("16–30 天")),
    "older": (31, None, _("30 天以上")),
}
"""Days since a finding was raised: from, to (inclusive), and the words."""


def period_starts(period: str) -> date | None:
    """The first day of a period that ends today; terms begin in February and September."""
    day = today()
    if period == "month":
        return day - timedelta(days=30)
    if period == "year":
        return day.replace(month=1, day=1)
    if period == "term":
        if day.month == 1:
            return date(day.year - 1, 9, 1)
        return date(day.year, 9 if day.month >= 9 else 2, 1)
    return None


def in_period(period: str, field: str) -> Q:
    """Rows whose day or moment `field` lies in the period."""
    first = period_starts(period)
    return Q(**{f"{field}__gte": first}) if first else Q()


def in_age(age: str) -> Q:
    """Findings that were raised so many days ago."""
    low, high, _words = AGES[age]
    condition = Q(created_at__date__lte=today() - timedelta(days=low)) if low else Q()
    if high is not None:
        condition &= Q(created_at__date__gte=today() - timedelta(days=high))
    return condition


def finding_standing(key: str) -> Q:
    """Unsettled findings by where they stand against their deadline."""
    day = today()
    soon = day + timedelta(days=SOON_DAYS)
    return {
        ON_TIME.key: Q(state__in=AT_SCHOOL, due_on__gt=soon),
        SOON.key: Q(state__in=AT_SCHOOL, due_on__gte=day, due_on__lte=soon),
        OVERDUE.key: Q(state__in=AT_SCHOOL, due_on__lt=day),
        TO_VERIFY.key: Q(state=Finding.State.ANSWERED),
    }[key]


DONE_STATES = (Visit.State.COMPLETED, Visit.State.REVIEWED)


def visit_progress(key: str) -> Q:
    """Visits by what is left to do; an overdue one is open after its activity's period."""
    return {
        "done": Q(state__in=DONE_STATES),
        "open": Q(state__in=OPEN_STATES),
        "overdue": Q(state__in=OPEN_STATES, activity__ends__lt=today()),
        "to_review": Q(state=Visit.State.COMPLETED),
    }[key]


# ---- filters ---------------------------------------------------------------------------------


class ConsoleFilter(SimpleListFilter):
    """A filter whose values are checked against its choices: an unknown one filters nothing."""

    words: ClassVar[dict[str, Text]] = {}

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return list(self.words.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None or value not in {str(key) for key, _words in self.lookup_choices}:
            return queryset
        return queryset.filter(self.condition(value))

    def condition(self, value: str) -> Q:
        raise NotImplementedError


class FindingStanding(ConsoleFilter):
    title = _("期限情况")
    parameter_name = "standing"
    words = {
        "unsettled": _("未销号"),
        **{each.key: each.shown.word for each in FINDING_STANDINGS},
    }

    def condition(self, value: str) -> Q:
        return ~Q(state__in=SETTLED) if value == "unsettled" else finding_standing(value)


class FindingAge(ConsoleFilter):
    title = _("提出已有")
    parameter_name = "age"
    words = {key: words for key, (_low, _high, words) in AGES.items()}

    def condition(self, value: str) -> Q:
        return in_age(value)


class VisitProgress(ConsoleFilter):
    title = _("进度")
    parameter_name = "progress"
    words = {
        "open": _("待完成"),
        "overdue": _("已逾期"),
        "to_review": _("待审核"),
        "done": _("已完成"),
    }

    def condition(self, value: str) -> Q:
        return visit_progress(value)


class Town(ConsoleFilter):
    """By the town of a school; `path` is the way from the row to the area."""

    title = _("镇街")
    parameter_name = "town"
    path = "school__area"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        towns = areas_visible_to(person(request)).filter(schools__isnull=False).distinct()
        return [(str(pk), name) for pk, name in towns.values_list("pk", "name")]

    def condition(self, value: str) -> Q:
        return Q(**{self.path: value})


class OwnTown(Town):
    path = "area"


class InActivity(ConsoleFilter):
    title = _("督导活动")
    parameter_name = "activity"
    path = "activity"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        rows = activities_visible_to(person(request)).values_list("pk", "title")
        return [(str(pk), title) for pk, title in rows[:200]]

    def condition(self, value: str) -> Q:
        return Q(**{self.path: value})


class AtSchool(ConsoleFilter):
    """One school, which a link names: too many to choose from a list."""

    title = _("学校")
    parameter_name = "school"
    path = "school"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        wanted = _id(request.GET.get(self.parameter_name))
        rows = schools_known_to(person(request)).filter(pk=wanted) if wanted else ()
        return [(str(school.pk), school.name) for school in rows]

    def condition(self, value: str) -> Q:
        return Q(**{self.path: value})


class SubmissionActivity(InActivity):
    path = "visit__activity"


class Period(ConsoleFilter):
    """By day; `path` is the moment that counts."""

    title = _("时间")
    parameter_name = "period"
    path = "created_at__date"
    words = PERIODS

    def condition(self, value: str) -> Q:
        return in_period(value, self.path)


class VisitPeriod(Period):
    """A visit belongs to every period that its activity reaches into."""

    path = "activity__ends"


class ActivityPeriod(Period):
    path = "ends"


class ReceivedPeriod(Period):
    path = "received_at__date"


class InTerm(ConsoleFilter):
    title = _("任期")
    parameter_name = "term"
    words = {"now": _("在任"), "over": _("已结束"), "coming": _("未开始")}

    def condition(self, value: str) -> Q:
        day = today()
        return {
            "now": Q(starts__lte=day) & (Q(ends=None) | Q(ends__gte=day)),
            "over": Q(ends__lt=day),
            "coming": Q(starts__gt=day),
        }[value]


class HoldsRole(ConsoleFilter):
    title = _("角色")
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return list(Membership.Role.choices)

    def condition(self, value: str) -> Q:
        day = today()
        holders = User.objects.filter(
            Q(memberships__ends=None) | Q(memberships__ends__gte=day),
            memberships__role=value,
            memberships__starts__lte=day,
        )
        return Q(pk__in=holders.values("pk"))


class HasInspector(ConsoleFilter):
    title = _("责任督学")
    parameter_name = "inspector"
    words = {"without": _("没有责任督学"), "with": _("有责任督学")}

    def condition(self, value: str) -> Q:
        held = Q(pk__in=Appointment.objects.filter(in_term()).values("school"))
        return held if value == "with" else ~held


class DeviceOpen(ConsoleFilter):
    title = _("登录")
    parameter_name = "session"
    words = {"open": _("有效"), "ended": _("已停用")}

    def condition(self, value: str) -> Q:
        return Q(revoked_at=None) if value == "open" else Q(revoked_at__isnull=False)
