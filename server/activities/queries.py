"""Who may see which activities, visits and submissions: the only door to them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet
from django.utils.translation import gettext as _

from media_storage.models import MediaObject
from server.activities.machine import OPEN_STATES
from server.activities.models import Activity, Submission, SubmissionAttachment, Visit
from server.core.errors import NotFound
from server.grid.models import Membership, School, User, in_term
from server.grid.queries import (
    OFFICES,
    area_paths,
    office_paths,
    offices_over,
    schools_in_office_of,
    schools_visible_to,
    under,
)
from server.instruments.models import Instrument
from server.instruments.queries import instruments_visible_to


def activities_visible_to(user: User) -> QuerySet[Activity]:
    """Offices: those of their subtree, and those that reach their schools; others: by their visits.

    A school sees an announced activity from its publication on, an unannounced one from the check-in.
    """
    if user.is_superuser:
        return Activity.objects.all()
    theirs = visits_visible_to(user).filter(activity=OuterRef("pk"))
    return Activity.objects.filter(
        under(area_paths(user, *OFFICES), "area__path") | Q(Exists(theirs))
    )


def activities_listed_for(user: User) -> QuerySet[Activity]:
    """Visible activities with all that a list shows, in a number of queries that does not grow."""
    return (
        activities_visible_to(user)
        .select_related("area")
        .prefetch_related(Prefetch("instruments", with_current()))
    )


def activities_managed_by(user: User) -> QuerySet[Activity]:
    """Activities that the person's offices plan, publish and close."""
    if user.is_superuser:
        return Activity.objects.all()
    return Activity.objects.filter(under(area_paths(user, *OFFICES), "area__path"))


def planners_of(activity: Activity) -> QuerySet[User]:
    """The office or group that organises the activity; the office above, where nobody is left in it."""
    rows = Membership.objects.filter(in_term(), role__in=OFFICES, area=activity.area_id)
    own = User.objects.filter(pk__in=rows.values("user"), is_active=True)
    return own if own.exists() else offices_over(activity.area)


def visits_visible_to(user: User, paths: list[str] | None = None) -> QuerySet[Visit]:
    """Offices: their schools; team members: their visits; schools: theirs, once they may know.

    `paths`: the person's `office_paths`, where the caller has them.
    """
    if user.is_superuser:
        return Visit.objects.all()
    own_schools = Membership.objects.filter(in_term(), user=user, school__isnull=False)
    return Visit.objects.filter(
        Q(school__in=schools_in_office_of(user, paths).values("pk"))
        | Q(Exists(Visit.team.through.objects.filter(visit=OuterRef("pk"), user=user)))
        | (
            Q(school__in=own_schools.values("school"))
            & (Q(activity__announced=True) | Q(checked_in_at__isnull=False))
        )
    )


def visits_listed_for(user: User) -> QuerySet[Visit]:
    """Visible visits with all that a list shows, in a number of queries that does not grow."""
    return (
        visits_visible_to(user)
        .select_related("activity", "school", "school__area")
        .prefetch_related("team", Prefetch("activity__instruments", with_current()))
    )


def with_current() -> QuerySet[Instrument]:
    """Instruments with what names their current version, without its documents."""
    return Instrument.objects.select_related("current").defer(
        "current__xlsform", "current__xform", "current__form", "current__warnings"
    )


def instruments_known_to(user: User) -> QuerySet[Instrument]:
    """The instruments of the person's places, and those of visits that they make elsewhere."""
    visited = Activity.instruments.through.objects.filter(
        instrument=OuterRef("pk"), activity__visits__team=user
    )
    return Instrument.objects.filter(
        Q(pk__in=instruments_visible_to(user).values("pk")) | Q(Exists(visited))
    )


def open_visits_of(user: User) -> QuerySet[Visit]:
    """Visits that the person still has to make or finish, in running activities."""
    return Visit.objects.filter(
        team=user, state__in=OPEN_STATES, activity__state=Activity.State.PUBLISHED
    )


def forms_of(user: User) -> QuerySet[Instrument]:
    """The published instruments of the person's open visits, and those open to everybody."""
    needed = Activity.instruments.through.objects.filter(
        instrument=OuterRef("pk"), activity__in=open_visits_of(user).values("activity")
    )
    return Instrument.objects.filter(
        Q(open=True) | Q(Exists(needed)), current__isnull=False
    ).select_related("current")


def submissions_visible_to(user: User, paths: list[str] | None = None) -> QuerySet[Submission]:
    """One's own, and those of visible visits; a school sees none but its own contact's.

    What stands alone is seen by the offices of its sender, who can attach it to a visit. `paths`: the
    person's `office_paths`, where the caller has them.
    """
    if user.is_superuser:
        return Submission.objects.all()
    paths = office_paths(user) if paths is None else paths
    office = School.objects.filter(under(paths, "area__path")).values("pk")
    staff = Membership.objects.filter(
        under(paths, "area__path") | under(paths, "school__area__path"), user=OuterRef("sender")
    )
    return Submission.objects.filter(
        Q(sender=user)
        | Q(visit__school__in=office)
        | Q(Exists(staff), visit__isnull=True)
        | Q(
            Exists(Visit.team.through.objects.filter(visit=OuterRef("visit"), user=user)),
            visit__isnull=False,
        )
    )


def with_attachments(rows: QuerySet[Submission]) -> QuerySet[Submission]:
    """Submissions with their files, media and renditions, how many of them are missing, and
    how many other contents came under the same id."""
    files = SubmissionAttachment.objects.select_related("media").prefetch_related(
        "media__renditions"
    )
    return (
        rows.select_related("version__instrument", "sender", "visit")
        .defer("raw", "version__xlsform", "version__xform", "version__form", "version__warnings")
        .prefetch_related(Prefetch("attachments", queryset=files))
        .annotate(
            missing_count=Count("attachments", filter=missing("attachments__"), distinct=True),
            conflict_count=Count("conflicts", distinct=True),
        )
    )


def missing(prefix: str = "") -> Q:
    """Files that a document names and that have not arrived."""
    return Q(**{f"{prefix}media": None, f"{prefix}name__isnull": False}) | Q(
        **{f"{prefix}media__state__in": [MediaObject.State.DECLARED, MediaObject.State.ARRIVED]}
    )


def target_schools(activity: Activity) -> QuerySet[School]:
    """The active schools that the activity names, one by one or by area."""
    paths = list(activity.areas.values_list("path", flat=True))
    return School.objects.filter(
        Q(pk__in=activity.schools.values("pk")) | under(paths, "area__path"), is_active=True
    )


def schools_of_activities(activity_ids: Sequence[UUID]) -> QuerySet[School]:
    """The active schools that these activities are for: an audience of notices."""
    activities = Activity.objects.filter(pk__in=activity_ids)
    paths = [
        path
        for path in activities.values_list("areas__path", flat=True).distinct()
        if path is not None
    ]
    return School.objects.filter(
        Q(pk__in=activities.values("schools")) | under(paths, "area__path"), is_active=True
    )


def inspectors_of_activities(activity_ids: Sequence[UUID]) -> QuerySet[User]:
    """The teams of these activities' visits: an audience of notices."""
    return User.objects.filter(
        pk__in=Visit.team.through.objects.filter(visit__activity__in=activity_ids).values("user")
    )


def are_visible(activity_ids: Sequence[UUID], by: User) -> bool:
    """Whether the person sees every one of the activities."""
    wanted = set(activity_ids)
    return activities_visible_to(by).filter(pk__in=wanted).count() == len(wanted)


def schools_of_activity(activity_id: UUID, *, by: User) -> list[UUID]:
    """The schools that a visible activity is for. Raises NotFound."""
    activity = activities_visible_to(by).filter(pk=activity_id).first()
    if activity is None:
        raise NotFound(_("找不到这个活动，或您无权查看。"))
    return list(target_schools(activity).values_list("pk", flat=True))


def media_visible_to(user: User) -> QuerySet[MediaObject]:
    """One's own uploads, and the files of visible submissions. Findings add theirs (see findings)."""
    if user.is_superuser:
        return MediaObject.objects.all()
    files = SubmissionAttachment.objects.filter(
        media=OuterRef("pk"), submission__in=submissions_visible_to(user).values("pk")
    )
    return MediaObject.objects.filter(Q(owner=user) | Q(Exists(files)))


def schools_known_to(user: User) -> QuerySet[School]:
    """The schools of the grid's door, and those that the person visits without an appointment."""
    visited = Visit.objects.filter(team=user, school=OuterRef("pk"))
    return School.objects.filter(
        Q(pk__in=schools_visible_to(user).values("pk")) | Q(Exists(visited))
    )
