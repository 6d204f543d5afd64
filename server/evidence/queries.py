"""Who may see which flags, and flags for many photos at once: the only door to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Case, Exists, OuterRef, Prefetch, Q, QuerySet, Value, When

from media_storage.models import MediaObject
from server.activities.models import Submission, Visit
from server.activities.queries import submissions_visible_to, visits_visible_to
from server.evidence.models import Flag, FlagNote
from server.findings.queries import findings_visible_to
from server.grid.models import Appointment, User, in_term
from server.grid.queries import office_paths, schools_in_office_of

SHOWN = "shown_flags"
"""Where `with_flags` leaves the flags of a photo or a visit."""


def flags_visible_to(user: User) -> QuerySet[Flag]:
    """Offices: their schools'; teams: their visits'; inspectors: those of their schools' findings;
    everybody: those of their own photos. A school also sees those of what the school has sent."""
    return _visible(user, office_paths(user))


def _visible(user: User, paths: list[str]) -> QuerySet[Flag]:
    if user.is_superuser:
        return Flag.objects.all()
    return Flag.objects.filter(
        Q(media__owner=user)
        | _of_inspectors_and_offices(user, paths)
        | Q(internal=False, finding__in=findings_visible_to(user, paths).values("pk"))
    )


def flags_explained_by(user: User) -> QuerySet[Flag]:
    """The flags to which the person may add an explanation, as an inspector or an office."""
    if user.is_superuser:
        return Flag.objects.all()
    own = Q(media__owner=user, internal=True)
    return Flag.objects.filter(own | _of_inspectors_and_offices(user, office_paths(user)))


def _of_inspectors_and_offices(user: User, paths: list[str]) -> Q:
    office = schools_in_office_of(user, paths).values("pk")
    team = Visit.team.through.objects.filter(user=user)
    appointed = Appointment.objects.filter(
        in_term(), inspector=user, school=OuterRef("finding__school")
    )
    alone = Submission.objects.filter(
        root_id=OuterRef("root_id"), pk__in=submissions_visible_to(user, paths).values("pk")
    )
    return (
        Q(visit__school__in=office)
        | Q(Exists(team.filter(visit=OuterRef("visit"))))
        | Q(finding__school__in=office)
        | Q(Exists(team.filter(visit=OuterRef("finding__visit"))))
        | Q(Exists(appointed))
        | Q(Exists(alone), root_id__isnull=False)
    )


def flags_shown_to(user: User) -> QuerySet[Flag]:
    """Visible flags that stand, with all that showing them takes: their notes, and the other side,
    which is named only to who may see it (`names_other`)."""
    return every_flag_shown_to(user).filter(cleared_at=None)


def every_flag_shown_to(user: User) -> QuerySet[Flag]:
    """The same, with those that do not stand any more: for a photo's own page."""
    paths = office_paths(user)
    named = Q(
        other_visit__isnull=False, other_visit__in=visits_visible_to(user, paths).values("pk")
    ) | Q(
        other_finding__isnull=False,
        other_finding__in=findings_visible_to(user, paths).values("pk"),
    )
    return (
        _visible(user, paths)
        .select_related("other_visit__activity", "other_visit__school", "other_finding__school")
        .annotate(names_other=Case(When(named, then=Value(True)), default=Value(False)))
        .prefetch_related(Prefetch("notes", FlagNote.objects.select_related("by")))
    )


def flags_of(user: User, media_ids: Iterable[UUID]) -> dict[UUID, list[Flag]]:
    """The flags that stand, by photo, of any number of photos: two queries. Photos without: absent."""
    found: defaultdict[UUID, list[Flag]] = defaultdict(list)
    for flag in flags_shown_to(user).filter(media__in=list(media_ids)):
        found[flag.media_id].append(flag)  # type: ignore[index]  # of these photos
    return dict(found)


def flags_at(
    media: MediaObject,
    *,
    visit_id: UUID | None = None,
    finding_id: UUID | None = None,
    root_id: UUID | None = None,
) -> list[Flag]:
    """Of the flags that `with_flags` prefetched, those of one place where the photo is used."""
    place = (visit_id, finding_id, None if visit_id or finding_id else root_id)
    shown: list[Flag] = getattr(media, SHOWN)
    return [flag for flag in shown if (flag.visit_id, flag.finding_id, flag.root_id) == place]


def with_flags(user: User, way: str = "") -> Prefetch[Any]:
    """Prefetch for rows that lead to photos: `shown_flags` of each. `way` ends with two underscores.

    with_attachments(rows).prefetch_related(with_flags(user, "attachments__media__"))
    """
    return Prefetch(f"{way}flags", flags_shown_to(user), to_attr=SHOWN)


def with_check_in_flags(user: User, way: str = "") -> Prefetch[Any]:
    """Prefetch for rows that lead to visits: `shown_flags` of each, those of its check-in."""
    return Prefetch(f"{way}flags", flags_shown_to(user).filter(media=None), to_attr=SHOWN)
