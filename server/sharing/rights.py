"""Who may open originals. Everybody else who sees a picture gets its shared copy."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from media_storage.models import MediaObject
from server.activities.models import SubmissionAttachment, Visit
from server.findings.models import FindingAction
from server.findings.queries import media_visible_to
from server.grid.models import Appointment, Membership, School, User, in_term
from server.grid.queries import area_paths, under


def originals_open_to(user: User) -> QuerySet[MediaObject]:
    """Of the media that the person may see, those whose original they may open."""
    return media_visible_to(user).filter(may_open(user))


def may_open(user: User) -> Q:
    """Who took it; the office over the school; the visit's team; for evidence of a rectification also
    the school's inspectors of today; for what stands alone the sender's office."""
    if user.is_superuser:
        return Q()
    paths = area_paths(user, Membership.Role.OFFICE)
    offices = School.objects.filter(under(paths, "area__path")).values("pk")
    team = Visit.objects.filter(team=user).values("pk")
    appointed = Appointment.objects.filter(in_term(), inspector=user).values("school")
    staff = Membership.objects.filter(
        under(paths, "area__path") | under(paths, "school__area__path")
    ).values("user")
    attached = SubmissionAttachment.objects.filter(media=OuterRef("pk")).filter(
        Q(submission__visit__school__in=offices)
        | Q(submission__visit__in=team)
        | Q(submission__visit=None, submission__sender__in=staff)
    )
    evidence = FindingAction.media.through.objects.filter(mediaobject=OuterRef("pk")).filter(
        Q(findingaction__finding__school__in=offices)
        | Q(findingaction__finding__visit__in=team)
        | Q(findingaction__finding__school__in=appointed)
    )
    return Q(owner=user) | Q(Exists(attached)) | Q(Exists(evidence))
