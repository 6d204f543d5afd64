"""The lists that a phone fills its choices from: the person's schools, open visits, open findings.

ODK Collect keeps such a list by `name` (our id) and takes a row again only when its `__version` has
grown. Ours is the second of the row's last change, but never earlier than this morning, so that
what has no date of its own (a school that was renamed) reaches the phones by the next day.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, time
from io import StringIO
from typing import Any

from django.db.models import Max
from django.db.models.functions import Coalesce, Greatest
from django.utils.timezone import make_aware
from django.utils.translation import gettext as _

from server.activities.queries import open_visits_of, schools_known_to
from server.core import clock
from server.findings.models import SETTLED
from server.findings.queries import findings_visible_to
from server.grid.models import User

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""ODK Collect reads a version as a signed 32-bit integer: these seconds fit until 2088."""

HEAD = ("name", "label", "__version")

Row = dict[str, object]


def entity_list(filename: str, user: User) -> bytes:
    """One of LISTS as CSV, with the rows that concern this person. Raises KeyError."""
    columns, rows = LISTS[filename]
    text = StringIO()
    writer = csv.DictWriter(text, [*HEAD, *columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(user))
    return text.getvalue().encode()


def _schools(user: User) -> Iterator[Row]:
    rows = schools_known_to(user).filter(is_active=True).select_related("area")
    for school in rows.order_by("code"):
        yield {
            "name": school.pk,
            "label": school.name,
            "__version": _version(),
            "school_code": school.code,
            "stage": school.stage,
            "town": school.area.name,
            "enrolment": school.enrolment,
        }


def _visits(user: User) -> Iterator[Row]:
    rows = (
        open_visits_of(user)
        .select_related("activity", "school")
        .prefetch_related("activity__instruments")
        .annotate(
            changed_at=Greatest("created_at", Coalesce(Max("actions__received_at"), "created_at"))
        )
    )
    for visit in rows.order_by("activity__ends", "school__code", "pk"):
        activity, school = visit.activity, visit.school
        yield {
            "name": visit.pk,
            "label": _("%(school)s · %(activity)s（%(day)s 前）")
            % {"school": school.name, "activity": activity.title, "day": activity.ends},
            "__version": _version(visit.changed_at),
            "school_id": school.pk,
            "school_code": school.code,
            "school_name": school.name,
            "activity": activity.title,
            "state": visit.state,
            "due": activity.ends,
            "forms": " ".join(sorted(each.form_id for each in activity.instruments.all())),
        }


def _findings(user: User) -> Iterator[Row]:
    rows = findings_visible_to(user).exclude(state__in=SETTLED).select_related("school")
    for finding in rows.order_by("due_on", "pk"):
        yield {
            "name": finding.pk,
            "label": f"{finding.school.name} · {finding.title}",
            "__version": _version(finding.updated_at),
            "school_id": finding.school_id,
            "school_code": finding.school.code,
            "school_name": finding.school.name,
            "title": finding.title,
            "severity": finding.severity,
            "state": finding.state,
            "due": finding.due_on,
        }


def _version(changed_at: datetime | None = None) -> int:
    morning = make_aware(datetime.combine(clock.today(), time.min))
    return int((max(morning, changed_at or morning) - EPOCH).total_seconds())


LISTS: dict[str, tuple[tuple[str, ...], Callable[[User], Iterable[Any]]]] = {
    "schools.csv": (("school_code", "stage", "town", "enrolment"), _schools),
    "visits.csv": (
        (
            "school_id",
            "school_code",
            "school_name",
            "activity",
            "state",
            "due",
            "forms",
        ),
        _visits,
    ),
    "findings.csv": (
        ("school_id", "school_code", "school_name", "title", "severity", "state", "due"),
        _findings,
    ),
}
