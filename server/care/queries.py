"""What media are used for, who may open originals, what is held, what is due, and who sees the log."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db.models import CharField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet

from media_storage.models import MediaObject
from server.activities.models import Activity, SubmissionAttachment, SubmissionConflict, Visit
from server.activities.queries import activities_managed_by, activities_visible_to
from server.care.models import Deletion, Export, Hold, OriginalsGrant, StorageUse
from server.conversations.models import MessageFile
from server.conversations.queries import media_visible_to, sent_to
from server.core.audit import AuditEntry
from server.findings.models import SETTLED, Finding, FindingAction
from server.grid.models import Appointment, Membership, School, User, in_term
from server.grid.queries import (
    area_paths,
    people_managed_by,
    schools_in_office_of,
    under,
)

Role = Membership.Role

# ---- what a file is used for -----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Use:
    """One place where a file serves: a submission's attachment, evidence of a rectification, or a
    message of a conversation."""

    at: datetime
    activity_id: UUID | None
    activity: str
    school_id: UUID | None
    school: str
    visit_id: UUID | None
    submission_id: UUID | None = None
    finding_id: UUID | None = None
    conversation_id: UUID | None = None

    def as_json(self) -> dict[str, Any]:
        """For certificates and manifests."""
        ids = (
            "activity_id",
            "school_id",
            "visit_id",
            "submission_id",
            "finding_id",
            "conversation_id",
        )
        named = {name: str(value) for name in ids if (value := getattr(self, name))}
        return {**named, "activity": self.activity, "school": self.school}


_PLACE = (
    "visit__activity_id",
    "visit__activity__title",
    "visit__school_id",
    "visit__school__name",
    "visit_id",
)


def uses_of(media_ids: Collection[UUID]) -> dict[UUID, list[Use]]:
    """Every use of these files, the first one first. Four queries, however many files."""
    found: dict[UUID, list[Use]] = {}
    for media_id, use in [
        *_attached(media_ids),
        *_contradicting(media_ids),
        *_evidence(media_ids),
        *_sent(media_ids),
    ]:
        found.setdefault(media_id, []).append(use)
    for uses in found.values():
        uses.sort(key=lambda use: use.at)
    return found


def _attached(media_ids: Collection[UUID]) -> Iterator[tuple[UUID, Use]]:
    rows = SubmissionAttachment.objects.filter(media__in=media_ids).order_by()
    yield from _of_submissions(rows, "submission__received_at")


def _contradicting(media_ids: Collection[UUID]) -> Iterator[tuple[UUID, Use]]:
    rows = SubmissionConflict.objects.filter(media__in=media_ids).order_by()
    yield from _of_submissions(rows, "received_at")


def _of_submissions(rows: QuerySet[Any], moment: str) -> Iterator[tuple[UUID, Use]]:
    place = [f"submission__{name}" for name in _PLACE]
    for row in rows.values_list("media_id", moment, "submission_id", *place):
        media_id, at, submission_id, activity_id, activity, school_id, school, visit_id = row
        yield (
            media_id,
            Use(
                at=at,
                activity_id=activity_id,
                activity=activity or "",
                school_id=school_id,
                school=school or "",
                visit_id=visit_id,
                submission_id=submission_id,
            ),
        )


def _evidence(media_ids: Collection[UUID]) -> Iterator[tuple[UUID, Use]]:
    rows = FindingAction.media.through.objects.filter(mediaobject__in=media_ids)
    finding = "findingaction__finding"
    for row in rows.values_list(
        "mediaobject_id",
        "findingaction__received_at",
        f"{finding}_id",
        f"{finding}__activity_id",
        f"{finding}__activity__title",
        f"{finding}__school_id",
        f"{finding}__school__name",
        f"{finding}__visit_id",
    ):
        media_id, at, finding_id, activity_id, activity, school_id, school, visit_id = row
        yield (
            media_id,
            Use(
                at=at,
                activity_id=activity_id,
                activity=activity or "",
                school_id=school_id,
                school=school,
                visit_id=visit_id,
                finding_id=finding_id,
            ),
        )


def _sent(media_ids: Collection[UUID]) -> Iterator[tuple[UUID, Use]]:
    rows = MessageFile.objects.filter(media__in=media_ids).select_related(
        *(f"message__conversation__{each}" for each in ("school", "visit__activity")),
        "message__conversation__finding__activity",
    )
    for row in rows.order_by():
        conversation = row.message.conversation
        activity, finding = conversation.activity, conversation.finding
        yield (
            row.media_id,
            Use(
                at=row.message.created_at,
                activity_id=activity.pk if activity else None,
                activity=activity.title if activity else "",
                school_id=conversation.school_id,
                school=conversation.school.name,
                visit_id=finding.visit_id if finding else conversation.visit_id,
                finding_id=conversation.finding_id,
                conversation_id=conversation.pk,
            ),
        )


_ATTACHED = SubmissionAttachment.objects.filter(media=OuterRef("pk")).order_by()
_CONTRADICTING = SubmissionConflict.objects.filter(media=OuterRef("pk")).order_by()
_EVIDENCE = FindingAction.media.through.objects.filter(mediaobject=OuterRef("pk"))
_SENT = MessageFile.objects.filter(media=OuterRef("pk")).order_by()


def _used(submission: Q, finding: Q, sent: Q) -> Q:
    """Media with a use whose visit, or whose finding, or whose message is such."""
    return (
        Q(Exists(_ATTACHED.filter(submission)))
        | Q(Exists(_CONTRADICTING.filter(submission)))
        | Q(Exists(_EVIDENCE.filter(finding)))
        | Q(Exists(_SENT.filter(sent)))
    )


_NOWHERE = Q(pk__in=[])
_TALK = "message__conversation"


def talk_in(field: str, value: Any, prefix: str = "") -> Q:
    """Conversations, or what belongs to one by `prefix`, of this activity, school or visit.

    `field` is the place's name, with a lookup of its own where it has one: "visit", "activity__in".
    """
    if field.startswith("school"):
        return Q(**{f"{prefix}{field}": value})
    visit = f"{prefix}{field}" if field.startswith("visit") else f"{prefix}visit__{field}"
    return Q(**{visit: value}) | Q(**{f"{prefix}finding__{field}": value})


def used_in(activity: Activity) -> Q:
    """Media that serve in this activity."""
    return _used(
        Q(submission__visit__activity=activity),
        Q(findingaction__finding__activity=activity),
        talk_in("activity", activity, f"{_TALK}__"),
    )


def used_at(schools: QuerySet[School]) -> Q:
    """Media that serve at these schools."""
    keys = schools.values("pk")
    return _used(
        Q(submission__visit__school__in=keys),
        Q(findingaction__finding__school__in=keys),
        talk_in("school__in", keys, f"{_TALK}__"),
    )


# ---- originals -------------------------------------------------------------------------------


def schools_in_custody_of(user: User) -> QuerySet[School]:
    """Schools for whose photos the person answers: as an office, not as a town group."""
    if user.is_superuser:
        return School.objects.all()
    return School.objects.filter(under(area_paths(user, Role.OFFICE), "area__path"))


def is_custodian(user: User) -> bool:
    """Whether the person answers for anybody's photos at all."""
    return user.is_superuser or bool(area_paths(user, Role.OFFICE))


def originals_open_to(user: User) -> QuerySet[MediaObject]:
    """Of the media that the person may see, those whose original they may open (ADR 18).

    Who took it; the office over the school; the visit's team; for evidence of a rectification also
    the school's inspectors of today, who verify it; whom an office has granted it; and for a file of a
    conversation those who were sent it (ADR 29). Else town groups, schools and experts have renditions.
    """
    sent = sent_to(user)
    visible = media_visible_to(user, sent)
    if user.is_superuser:
        return visible
    schools = School.objects.filter(
        Q(pk__in=schools_in_custody_of(user).values("pk")) | _granted_schools(user)
    )
    appointed = Appointment.objects.filter(in_term(), inspector=user).values("school")
    team = Visit.objects.filter(team=user).values("pk")
    alone = _ATTACHED.filter(
        submission__visit=None, submission__sender__in=people_of_offices(user).values("pk")
    )
    return visible.filter(
        Q(owner=user)
        | used_at(schools)
        | _used(
            Q(submission__visit__in=team),
            Q(findingaction__finding__visit__in=team)
            | Q(findingaction__finding__school__in=appointed),
            _NOWHERE,
        )
        | sent
        | Q(Exists(alone))
    )


def people_of_offices(user: User) -> QuerySet[User]:
    """Those with a role below the person's offices: the senders of what stands alone."""
    paths = area_paths(user, Role.OFFICE)
    roles = Membership.objects.filter(
        under(paths, "area__path") | under(paths, "school__area__path"), user=OuterRef("pk")
    )
    return User.objects.filter(Exists(roles))


def _granted_schools(user: User) -> Q:
    grants = OriginalsGrant.objects.filter(in_term(), user=user).order_by()
    path = ExpressionWrapper(OuterRef("area__path"), output_field=CharField())
    of_areas = grants.annotate(path=path).filter(path__startswith=F("area__path"))
    return Q(Exists(of_areas)) | Q(pk__in=grants.filter(school__isnull=False).values("school"))


def grants_visible_to(user: User) -> QuerySet[OriginalsGrant]:
    """Grants for places that the person answers for."""
    if user.is_superuser:
        return OriginalsGrant.objects.all()
    paths = area_paths(user, Role.OFFICE)
    return OriginalsGrant.objects.filter(
        under(paths, "area__path") | under(paths, "school__area__path")
    )


# ---- holds -----------------------------------------------------------------------------------


def held_now() -> Q:
    """Media below an active hold: their own, or that of a visit, activity or school they serve."""
    active = Hold.objects.filter(lifted_at=None).order_by()
    activities, schools, visits, media = (
        active.filter(**{f"{name}__isnull": False}).values(name) for name in Hold.TARGETS
    )
    return Q(pk__in=media) | _used(
        Q(submission__visit__activity__in=activities)
        | Q(submission__visit__school__in=schools)
        | Q(submission__visit__in=visits),
        Q(findingaction__finding__activity__in=activities)
        | Q(findingaction__finding__school__in=schools)
        | Q(findingaction__finding__visit__in=visits),
        held_talk(f"{_TALK}__"),
    )


def held_talk(prefix: str = "") -> Q:
    """Conversations, or what belongs to one by `prefix`, below an active hold."""
    active = Hold.objects.filter(lifted_at=None).order_by()
    held = Q()
    for name in ("activity", "school", "visit"):
        targets = active.filter(**{f"{name}__isnull": False}).values(name)
        held |= talk_in(f"{name}__in", targets, prefix)
    return held


def held_by(hold: Hold) -> Q:
    """Media below this hold, active or not."""
    if hold.media_id:
        return Q(pk=hold.media_id)
    name = next(name for name in Hold.TARGETS if getattr(hold, f"{name}_id"))
    target = getattr(hold, f"{name}_id")
    place = "submission__visit" if name == "visit" else f"submission__visit__{name}"
    return _used(
        Q(**{place: target}),
        Q(**{f"findingaction__finding__{name}": target}),
        talk_in(name, target, f"{_TALK}__"),
    )


def holds_visible_to(user: User) -> QuerySet[Hold]:
    """Holds on what the person's offices plan or see."""
    if user.is_superuser:
        return Hold.objects.all()
    schools = schools_in_office_of(user)
    return Hold.objects.filter(
        Q(activity__in=activities_managed_by(user).values("pk"))
        | Q(school__in=schools.values("pk"))
        | Q(visit__school__in=schools.values("pk"))
        | Q(media__in=MediaObject.objects.filter(used_at(schools)).values("pk"))
    )


# ---- what is due -----------------------------------------------------------------------------


def expired_activities(day: date) -> QuerySet[Activity]:
    """Activities whose photos are kept no longer, and of which the figures know any."""
    there = StorageUse.objects.filter(activity=OuterRef("pk"), files__gt=0).exclude(
        state=MediaObject.State.DELETED
    )
    return Activity.objects.filter(Exists(there), media_kept_until__lt=day)


def due_media(day: date, *, announced: bool = False) -> QuerySet[MediaObject]:
    """Media that no use keeps any more; with `announced`, also those that were found already.

    A use keeps a file while its activity's day has not passed, or where none is set; and while the
    visit, or the evidence, has an unsettled problem. So a photo of two activities is kept for the
    later one. A message keeps its files as its activity's day says, without an activity as long as it
    is there itself. What is held, or was kept by a person until a later day, is not due.
    """
    activity = "submission__visit__activity"
    finding = "findingaction__finding"
    unsettled = Finding.objects.exclude(state__in=SETTLED)
    keeps = _used(
        _keeps(activity, day)
        | Q(submission__visit__in=unsettled.filter(visit__isnull=False).values("visit")),
        _keeps(f"{finding}__activity", day) | ~Q(**{f"{finding}__state__in": SETTLED}),
        Q(message__gone="") & _talk_keeps(day),
    )
    there = MediaObject.objects.exclude(state=MediaObject.State.DELETED)
    due = there.filter(_used(Q(), Q(), Q())).exclude(keeps).exclude(held_now())
    if announced:
        return due
    spoken_for = Deletion.objects.filter(media=OuterRef("pk")).exclude(
        Q(state=Deletion.State.KEPT) & (Q(kept_until=None) | Q(kept_until__lt=day))
    )
    return due.filter(~Exists(spoken_for))


def _keeps(activity: str, day: date) -> Q:
    return Q(**{f"{activity}__media_kept_until": None}) | Q(
        **{f"{activity}__media_kept_until__gte": day}
    )


def _talk_keeps(day: date) -> Q:
    visit, finding = f"{_TALK}__visit", f"{_TALK}__finding"
    unsettled = Finding.objects.exclude(state__in=SETTLED).filter(visit__isnull=False)
    of_visit = _keeps(f"{visit}__activity", day) | Q(**{f"{visit}__in": unsettled.values("visit")})
    of_finding = _keeps(f"{finding}__activity", day) | ~Q(**{f"{finding}__state__in": SETTLED})
    return (
        Q(**{f"{_TALK}__subject": "school"})
        | Q(**{f"{_TALK}__subject": "visit"}) & of_visit
        | Q(**{f"{_TALK}__subject": "finding"}) & of_finding
    )


def deletions_visible_to(user: User) -> QuerySet[Deletion]:
    """Deletions at the schools of the person's offices, and of activities that these plan."""
    if user.is_superuser:
        return Deletion.objects.all()
    return Deletion.objects.filter(
        Q(school__in=schools_in_office_of(user).values("pk"))
        | Q(activity__in=activities_managed_by(user).values("pk"))
    )


def media_in_custody_of(user: User) -> QuerySet[MediaObject]:
    """Media that the person may have deleted or held: every use is at a school they answer for."""
    if user.is_superuser:
        return MediaObject.objects.all()
    schools = schools_in_custody_of(user)
    outside = School.objects.exclude(pk__in=schools.values("pk"))
    alone = _ATTACHED.filter(submission__visit=None)
    staff = people_of_offices(user).values("pk")
    return (
        MediaObject.objects.filter(
            used_at(schools) | Q(Exists(alone.filter(submission__sender__in=staff)))
        )
        .exclude(used_at(outside))
        .exclude(Exists(alone.exclude(submission__sender__in=staff)))
    )


# ---- exports, the log ------------------------------------------------------------------------


def exports_of(user: User) -> QuerySet[Export]:
    """One's own: an export is made of what its maker may see, and for nobody else."""
    return Export.objects.filter(by=user).select_related("activity")


def activities_exportable_by(user: User) -> QuerySet[Activity]:
    """Activities at the person's offices' schools, or that these plan."""
    if user.is_superuser:
        return Activity.objects.all()
    at_school = Visit.objects.filter(
        activity=OuterRef("pk"), school__in=schools_in_office_of(user).values("pk")
    )
    return activities_visible_to(user).filter(
        Q(pk__in=activities_managed_by(user).values("pk")) | Q(Exists(at_school))
    )


def exportable(user: User, activity: Activity) -> QuerySet[MediaObject]:
    """The activity's media at the schools for which the person speaks as an office."""
    schools = schools_in_office_of(user).values("pk")
    return MediaObject.objects.filter(
        _used(
            Q(submission__visit__activity=activity, submission__visit__school__in=schools),
            Q(
                findingaction__finding__activity=activity,
                findingaction__finding__school__in=schools,
            ),
            _NOWHERE,  # what people sent each other is no evidence of the activity
        )
    )


def audit_visible_to(user: User) -> QuerySet[AuditEntry]:
    """Deeds at the person's offices' schools and in their activities; else by whom they manage.

    One's own deeds are not hidden from oneself.
    """
    rows: QuerySet[AuditEntry] = AuditEntry.objects.all()
    if user.is_superuser:
        return rows
    nowhere = Q(school_id=None, activity_id=None)
    return rows.filter(
        Q(school_id__in=schools_in_office_of(user).values("pk"))
        | Q(activity_id__in=activities_managed_by(user).values("pk"))
        | nowhere & Q(by__in=people_managed_by(user).values("pk"))
        | Q(by=user)
    )
