"""Visible rows with all that the shapes of serializers show, in a number of queries that does not grow."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet

from media_storage.models import Facts, MediaObject
from server.activities.models import Submission, Visit
from server.activities.queries import (
    submissions_visible_to,
    visits_listed_for,
    visits_visible_to,
    with_attachments,
)
from server.evidence.queries import with_check_in_flags, with_flags
from server.findings.models import Finding
from server.findings.queries import findings_listed_for, findings_visible_to
from server.grid.models import User
from server.grid.queries import office_paths


def visits_shown_to(user: User) -> QuerySet[Visit]:
    """Visible visits with the flags of their check-in."""
    return visits_listed_for(user).prefetch_related(with_check_in_flags(user))


def submissions_shown_to(user: User) -> QuerySet[Submission]:
    """Visible submissions with their files, and what is known about these."""
    rows = with_attachments(submissions_visible_to(user)).select_related("visit__school")
    return rows.prefetch_related(
        # What EXIF says beyond the columns may be long, and is not shown here.
        Prefetch("attachments__media__facts", Facts.objects.defer("exif")),
        "attachments__media__photo_check",
        with_flags(user, "attachments__media__"),
    )


def findings_shown_to(user: User) -> QuerySet[Finding]:
    """Visible findings with the flags of their photos."""
    return findings_listed_for(user).prefetch_related(with_flags(user, "actions__media__"))


def with_evidence(rows: QuerySet[MediaObject], user: User) -> QuerySet[MediaObject]:
    """Photos with what is known about them."""
    known = rows.select_related("facts", "photo_check").defer("facts__exif")
    return known.prefetch_related(with_flags(user))


def places_of(user: User, media: MediaObject) -> list[Visit | Finding]:
    """The visits and findings in which the photo is used, as far as the person may see them."""
    paths = office_paths(user)
    visits = Visit.objects.filter(
        pk__in=visits_visible_to(user, paths).values("pk"), submissions__attachments__media=media
    )
    findings = Finding.objects.filter(
        pk__in=findings_visible_to(user, paths).values("pk"), actions__media=media
    )
    return [
        *visits.select_related("school").order_by("pk").distinct(),
        *findings.select_related("school").order_by("pk").distinct(),
    ]
