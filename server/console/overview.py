"""The figures of the first page: what waits, coverage, findings, deliveries, what is overdue.

Every figure is a query over what the person may see, and the number of statements does not depend
on how much there is. Every number knows the address of the list behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, CharField, Count, Exists, OuterRef, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from server.activities.machine import OPEN_STATES
from server.activities.models import Activity, SubmissionConflict, Visit
from server.activities.queries import (
    activities_managed_by,
    activities_visible_to,
    submissions_visible_to,
    visits_visible_to,
)
from server.console.access import person, standing_of
from server.console.filters import (
    AGES,
    DONE_STATES,
    PERIODS,
    finding_standing,
    in_age,
    in_period,
    visit_progress,
)
from server.console.states import (
    AMBER,
    BLUE,
    FINDING_STANDINGS,
    GREEN,
    GREY,
    OVERDUE,
    RED,
    SOON,
    TO_VERIFY,
    Shown,
    shown,
)
from server.core.errors import Text
from server.findings.models import SETTLED, Finding
from server.findings.queries import findings_visible_to
from server.grid.models import Appointment, School, User, in_term
from server.grid.queries import schools_in_office_of
from server.messaging.models import Delivery
from server.messaging.queries import notices_visible_to

LISTED = 8
"""How many rows the lists on the page show; the rest is behind their link."""


@dataclass(frozen=True)
class Selection:
    """What the page is about: whose, since when, which activity."""

    user: User
    place: str
    period: str
    activities: Sequence[Activity]
    activity: Activity | None

    @property
    def periods(self) -> Mapping[str, Text]:
        return PERIODS

    @property
    def parameters(self) -> dict[str, str]:
        """What a link to a list adds to its own filter."""
        if self.activity:
            return {"activity": str(self.activity.pk)}
        return {} if self.period == "all" else {"period": self.period}


@dataclass(frozen=True)
class Number:
    """A count with its words, its colour and the list behind it."""

    count: int
    words: Text
    tone: str
    link: str


@dataclass(frozen=True)
class Slice:
    """A part of a bar, in percent of the whole."""

    number: Number
    percent: float


@dataclass(frozen=True)
class Bar:
    """A row of a chart: parts of `total`, drawn as wide as `percent` of the longest row."""

    words: Text
    total: int
    slices: Sequence[Slice]
    percent: float
    link: str
    note: Text = ""


@dataclass(frozen=True)
class Overview:
    """Everything on the page, in its order."""

    waiting: Sequence[Number]
    coverage: Sequence[Bar]
    visits: Mapping[str, int]
    coverage_title: Text
    ages: Sequence[Bar]
    ages_title: Text
    age_legend: Sequence[Shown]
    states: Sequence[Number]
    deliveries: Sequence[Number]
    overdue_findings: Sequence[Finding]
    overdue_findings_link: str
    overdue_visits: Sequence[Visit]
    overdue_visits_link: str


def selection_of(request: HttpRequest) -> Selection:
    """Period and activity from the address; what is unknown there is left out."""
    user = person(request)
    rows = activities_visible_to(user).exclude(state=Activity.State.DRAFT)
    activities = list(rows.only("id", "title")[:100])
    wanted, period = request.GET.get("activity", ""), request.GET.get("period", "")
    return Selection(
        user=user,
        place=standing_of(request).place,
        period=period if period in PERIODS else "term",
        activities=activities,
        activity=next((each for each in activities if str(each.pk) == wanted), None),
    )


def overview_of(selection: Selection) -> Overview:
    """All figures of the page."""
    findings, visits = _findings(selection), _visits(selection)
    sums = _visit_sums(visits)
    ages = _finding_sums(findings)
    coverage = _coverage(sums, selection)
    overdue = ages["overdue"]
    return Overview(
        waiting=_waiting(selection, sums, ages),
        coverage=coverage,
        visits=_totals(sums),
        coverage_title=_coverage_title(sums),
        ages=_age_bars(ages, selection),
        ages_title=_ages_title(overdue, sum(ages["unsettled"].values())),
        age_legend=[each.shown for each in FINDING_STANDINGS],
        states=_finding_states(ages, selection),
        deliveries=_deliveries(selection),
        overdue_findings=_overdue_findings(findings),
        overdue_findings_link=_list("findings_finding", selection, standing="overdue"),
        overdue_visits=_overdue_visits(visits),
        overdue_visits_link=_list("activities_visit", selection, progress="overdue"),
    )


# ---- rows ------------------------------------------------------------------------------------


def _visits(selection: Selection) -> QuerySet[Visit]:
    rows = visits_visible_to(selection.user)
    if selection.activity:
        return rows.filter(activity=selection.activity)
    return rows.filter(in_period(selection.period, "activity__ends"))


def _findings(selection: Selection) -> QuerySet[Finding]:
    rows = findings_visible_to(selection.user)
    if selection.activity:
        return rows.filter(activity=selection.activity)
    return rows.filter(in_period(selection.period, "created_at__date"))


def _overdue_findings(rows: QuerySet[Finding]) -> list[Finding]:
    overdue = rows.filter(finding_standing("overdue")).select_related("school__area")
    return list(overdue.order_by("due_on")[:LISTED])


def _overdue_visits(rows: QuerySet[Visit]) -> list[Visit]:
    overdue = rows.filter(visit_progress("overdue"))
    overdue = overdue.select_related("school__area", "activity").prefetch_related("team")
    return list(overdue.order_by("activity__ends", "school__name")[:LISTED])


# ---- sums ------------------------------------------------------------------------------------


def _visit_sums(rows: QuerySet[Visit]) -> list[dict[str, Any]]:
    """One row per town with its counts."""
    counted: Iterable[Any] = (
        rows.order_by()
        .values("school__area", "school__area__name", "school__area__path")
        .annotate(
            planned=Count("pk"),
            done=Count("pk", filter=Q(state__in=DONE_STATES)),
            to_review=Count("pk", filter=visit_progress("to_review")),
            overdue=Count("pk", filter=visit_progress("overdue")),
            under_way=Count("pk", filter=Q(state__in=OPEN_STATES) & ~Q(state=Visit.State.ASSIGNED)),
        )
        .order_by("school__area__path")
    )
    return list(counted)


def _totals(sums: list[dict[str, Any]]) -> dict[str, int]:
    names = ("planned", "done", "to_review", "overdue", "under_way")
    return {name: sum(row[name] for row in sums) for name in names}


def _finding_sums(rows: QuerySet[Finding]) -> dict[str, Any]:
    """Counts by state, and of the unsettled ones by age and standing, in one statement."""
    age = Case(*(When(in_age(key), then=Value(key)) for key in AGES), output_field=CharField())
    standing = Case(
        *(When(finding_standing(each.key), then=Value(each.key)) for each in FINDING_STANDINGS),
        default=Value(""),
        output_field=CharField(),
    )
    counted = rows.order_by().annotate(age=age, standing=standing)
    states: dict[str, int] = dict.fromkeys(Finding.State.values, 0)
    unsettled: dict[tuple[str, str], int] = {}
    for row in counted.values("state", "age", "standing").annotate(n=Count("pk")):
        states[row["state"]] += row["n"]
        if row["state"] not in SETTLED:
            key = (row["age"] or "week", row["standing"])
            unsettled[key] = unsettled.get(key, 0) + row["n"]
    by_standing = {
        each.key: sum(n for (_age, key), n in unsettled.items() if key == each.key)
        for each in FINDING_STANDINGS
    }
    return {"states": states, "unsettled": unsettled, **by_standing}


# ---- what the page shows ---------------------------------------------------------------------


def _waiting(
    selection: Selection, sums: list[dict[str, Any]], findings: dict[str, Any]
) -> list[Number]:
    """What waits for this person, the overdue first; what is at zero is left out."""
    visits = _totals(sums)
    other = _other_work(selection.user)
    rows = [
        Number(
            findings[OVERDUE.key],
            _("项问题整改逾期"),
            RED,
            _list("findings_finding", selection, standing=OVERDUE.key),
        ),
        Number(
            visits["overdue"],
            _("个入校任务逾期未完成"),
            RED,
            _list("activities_visit", selection, progress="overdue"),
        ),
        Number(
            other["dead"],
            _("条通知未能送达"),
            RED,
            _list("messaging_delivery", state__exact="dead"),
        ),
        Number(
            other["conflicts"],
            _("份填报有冲突，待人工判断"),
            AMBER,
            _list("activities_submissionconflict"),
        ),
        Number(
            findings[SOON.key],
            _("项问题临近整改期限"),
            AMBER,
            _list("findings_finding", selection, standing=SOON.key),
        ),
        Number(
            findings[TO_VERIFY.key],
            _("项整改待核查"),
            BLUE,
            _list("findings_finding", selection, standing=TO_VERIFY.key),
        ),
        Number(
            visits["to_review"],
            _("个入校任务待审核"),
            BLUE,
            _list("activities_visit", selection, progress="to_review"),
        ),
        Number(
            other["drafts"],
            _("个督导活动尚未发布"),
            GREY,
            _list("activities_activity", state__exact="draft"),
        ),
        Number(
            other["without_inspector"],
            _("所学校没有责任督学"),
            GREY,
            _list("grid_school", inspector="without"),
        ),
    ]
    return [row for row in rows if row.count]


def _other_work(user: User) -> dict[str, int]:
    conflicts = SubmissionConflict.objects.filter(submission__in=submissions_visible_to(user))
    drafts = activities_managed_by(user).filter(state=Activity.State.DRAFT)
    held = Appointment.objects.filter(in_term(), school=OuterRef("pk"))
    bare: QuerySet[School] = schools_in_office_of(user).filter(~Exists(held), is_active=True)
    return {
        "conflicts": conflicts.count(),
        "drafts": drafts.count(),
        "without_inspector": bare.count(),
        "dead": _seen_deliveries(user).filter(state=Delivery.State.DEAD).count(),
    }


def _seen_deliveries(user: User) -> QuerySet[Delivery]:
    return Delivery.objects.filter(notice__in=notices_visible_to(user))


def _coverage(sums: list[dict[str, Any]], selection: Selection) -> list[Bar]:
    longest = max((row["planned"] for row in sums), default=0)
    return [_coverage_bar(row, longest, selection) for row in sums]


def _coverage_bar(row: dict[str, Any], longest: int, selection: Selection) -> Bar:
    town, planned = str(row["school__area"]), row["planned"]
    late_under_way = min(row["overdue"], row["under_way"])
    rest = planned - row["done"] - row["overdue"] - (row["under_way"] - late_under_way)
    parts = (
        (row["done"], _("已完成"), GREEN, "done"),
        (row["overdue"], _("已逾期"), RED, "overdue"),
        (row["under_way"] - late_under_way, _("进行中"), BLUE, "open"),
        (max(rest, 0), _("待入校"), GREY, "open"),
    )
    numbers = [
        Number(n, words, tone, _list("activities_visit", selection, town=town, progress=key))
        for n, words, tone, key in parts
    ]
    return Bar(
        words=row["school__area__name"],
        total=planned,
        slices=_slices(numbers, planned),
        percent=100 * planned / longest,
        link=_list("activities_visit", selection, town=town),
        note=f"{row['done']}/{planned} · {100 * row['done'] / planned:.0f}%",
    )


def _slices(numbers: Sequence[Number], total: int) -> list[Slice]:
    return [Slice(each, 100 * each.count / total) for each in numbers if each.count]


def _coverage_title(sums: list[dict[str, Any]]) -> str:
    total = _totals(sums)
    if not total["planned"]:
        return _("这段时间没有入校任务")
    words = {**total, "percent": f"{100 * total['done'] / total['planned']:.0f}"}
    text = _("已完成 %(done)s 次入校，占计划 %(planned)s 次的 %(percent)s%%")
    return text % words


def _age_bars(findings: dict[str, Any], selection: Selection) -> list[Bar]:
    unsettled: dict[tuple[str, str], int] = findings["unsettled"]
    totals = {age: sum(n for (key, _s), n in unsettled.items() if key == age) for age in AGES}
    longest = max(totals.values(), default=0) or 1
    return [
        Bar(
            words=AGES[age][2],
            total=total,
            slices=_slices(
                [
                    Number(
                        unsettled.get((age, each.key), 0),
                        each.shown.word,
                        each.shown.tone,
                        _list("findings_finding", selection, age=age, standing=each.key),
                    )
                    for each in FINDING_STANDINGS
                ],
                total,
            ),
            percent=100 * total / longest,
            link=_list("findings_finding", selection, age=age, standing="unsettled"),
            note=str(total),
        )
        for age, total in totals.items()
    ]


def _ages_title(overdue: int, total: int) -> str:
    if not total:
        return _("没有未销号的问题")
    if not overdue:
        return _("%(total)s 项问题未销号，没有逾期") % {"total": total}
    return _("%(total)s 项问题未销号，其中 %(overdue)s 项逾期") % {
        "total": total,
        "overdue": overdue,
    }


def _finding_states(findings: dict[str, Any], selection: Selection) -> list[Number]:
    counts = findings["states"]
    return [
        Number(
            counts[state.value],
            state.label,
            shown(state).tone,
            _list("findings_finding", selection, state__exact=state.value),
        )
        for state in Finding.State
    ]


def _deliveries(selection: Selection) -> list[Number]:
    rows = _seen_deliveries(selection.user).filter(in_period(selection.period, "created_at__date"))
    counts = dict(rows.order_by().values_list("state").annotate(n=Count("pk")))
    period = {} if selection.period == "all" else {"period": selection.period}
    return [
        Number(
            counts.get(state.value, 0),
            state.label,
            shown(state).tone,
            _list("messaging_delivery", None, state__exact=state.value, **period),
        )
        for state in Delivery.State
    ]


def _list(model: str, selection: Selection | None = None, **filters: str) -> str:
    """The address of a list with its filter."""
    parameters = {**(selection.parameters if selection else {}), **filters}
    query = f"?{urlencode(parameters)}" if parameters else ""
    return reverse(f"admin:{model}_changelist") + query
