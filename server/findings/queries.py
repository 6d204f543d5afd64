"""Who may see which findings, and the matrix of a county's rectification (校校清、项项清)."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.activities.queries import media_visible_to as activity_media_visible_to
from server.findings.models import Finding, FindingAction
from server.grid.models import Appointment, Membership, User, in_term
from server.grid.queries import schools_in_office_of


def findings_visible_to(user: User) -> QuerySet[Finding]:
    """Offices: their schools; inspectors: their appointments and visits; schools: their own."""
    if user.is_superuser:
        return Finding.objects.all()
    at_school = Membership.objects.filter(in_term(), user=user, school=OuterRef("school"))
    appointed = Appointment.objects.filter(in_term(), inspector=user, school=OuterRef("school"))
    on_team = Visit.team.through.objects.filter(visit=OuterRef("visit"), user=user)
    return Finding.objects.filter(
        Q(school__in=schools_in_office_of(user).values("pk"))
        | Q(Exists(at_school))
        | Q(Exists(appointed))
        | Q(Exists(on_team))
    )


def findings_listed_for(user: User) -> QuerySet[Finding]:
    """Visible findings with all that a list shows, in a number of queries that does not grow."""
    return (
        findings_visible_to(user)
        .select_related("school", "activity", "visit", "raised_by")
        .prefetch_related("actions__by", "actions__media")
    )


def media_visible_to(user: User) -> QuerySet[MediaObject]:
    """Files of visible submissions and of visible findings: the whole product's door to media."""
    evidence = FindingAction.media.through.objects.filter(
        mediaobject=OuterRef("pk"),
        findingaction__finding__in=findings_visible_to(user).values("pk"),
    )
    return MediaObject.objects.filter(
        Q(pk__in=activity_media_visible_to(user).values("pk")) | Q(Exists(evidence))
    )


def inspectors_of_finding(finding: Finding) -> QuerySet[User]:
    """Who verifies: the visit's team, and the school's inspectors of today."""
    appointed = Appointment.objects.filter(in_term(), school=finding.school_id)
    return User.objects.filter(
        Q(visits=finding.visit_id) & Q(visits__isnull=False)
        | Q(pk__in=appointed.values("inspector")),
        is_active=True,
    ).distinct()
