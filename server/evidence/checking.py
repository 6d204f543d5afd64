"""Checking photos and visits in the background: flags follow from the facts that are stored now.

A check computes what stands from all facts there are and writes the difference, so it may run any
number of times, in any order. Whatever changes a fact marks what depends on it as due, in its own
transaction (see marking). A photo that looks different to its twins than last time (other uses, other
bytes) has these checked again: each check writes its own photo's flags only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from media_storage.models import Facts, MediaObject
from server.activities.machine import CHECK_IN
from server.activities.models import Visit, VisitAction
from server.core import clock
from server.core.work import Pump
from server.evidence import rules
from server.evidence.fingerprints import take_fingerprints, twins_of
from server.evidence.marking import mark_photos, photos_of_visit
from server.evidence.models import Flag, PhotoCheck, VisitCheck
from server.evidence.moments import (
    Moments,
    Stay,
    action_at,
    moments_of,
    readings_of,
    stays_of,
)
from server.evidence.rules import Claim, Twin, position_of
from server.evidence.telling import tell_phones
from server.evidence.uses import Use, uses_of
from server.findings.models import Finding
from server.grid.coordinates import Point

# ---- photos -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One photo with all that is known about it, and what it is held against."""

    media: MediaObject
    facts: Facts | None
    uses: Sequence[Use]
    moments: Moments
    others: Sequence[tuple[Twin, Use]]
    visits: dict[UUID, Visit]
    findings: dict[UUID, Finding]
    stays: dict[UUID, list[Stay]]


def check_photo(check: PhotoCheck) -> None:
    """Flag one photo wherever it is used. One that is not ready has no flags yet, or none any more."""
    media = MediaObject.objects.select_related("facts").get(pk=check.pk)
    facts = facts_of(media)
    ready = media.state == MediaObject.State.READY
    take_fingerprints(
        check,
        sha256=media.sha256 if ready else "",
        perceptual_hash=facts.perceptual_hash if facts and ready else None,
    )
    uses = uses_of([media.pk]).get(media.pk, [])
    twins = twins_of(check)
    with suppress(_Overtaken):
        _write_photo(check, _photo(media, uses if ready else [], twins.found))
    seen = seen_of_photo(media, uses)
    if seen != check.seen:
        _mark_twins(media, twins.to_tell)
        PhotoCheck.objects.filter(pk=check.pk).update(seen=seen)


def facts_of(media: MediaObject) -> Facts | None:
    """What the file says of itself, if it has been read."""
    return getattr(media, "facts", None)


def seen_of_photo(media: MediaObject, uses: Sequence[Use]) -> str:
    """A digest of the photo's own facts and uses: what its twins, and its own check, go by."""
    facts = facts_of(media)
    told = facts and [
        facts.exif_at,
        facts.exif_has_zone,
        facts.latitude,
        facts.longitude,
        facts.accuracy_m,
        facts.software,
        facts.perceptual_hash,
    ]
    places = [
        [use.place, use.raised_at_visit, use.by_school, use.verifies, use.device_id] for use in uses
    ]
    return _digest([media.state, media.sha256, told, places])


def _mark_twins(media: MediaObject, twins: Iterable[UUID]) -> None:
    """Those that look the same now, and those that were flagged for looking the same before."""
    flagged = Flag.objects.filter(other_media=media).exclude(media=None)
    before = cast(Iterable[UUID], flagged.values_list("media_id", flat=True))
    mark_photos({*twins, *before} - {media.pk})


@transaction.atomic
def _write_photo(check: PhotoCheck, photo: Photo) -> None:
    flags = [_flag(use, claim) for use in photo.uses for claim in _claims(use, photo)]
    changed = _write_flags(Flag.objects.filter(media=photo.media), flags)
    tell_phones(changed)
    _still_current(
        check,
        clock_offset_ms=photo.moments.offset_ms,
        moment=photo.moments.at,
        moment_from=photo.moments.source.value,
    )


# ---- what a photo is held against -------------------------------------------------------------


def _photo(media: MediaObject, uses: Sequence[Use], twins: Sequence[Twin]) -> Photo:
    """In a number of queries that does not depend on how many uses and twins there are."""
    findings = Finding.objects.select_related("school").in_bulk(
        [use.finding_id for use in uses if use.finding_id]
    )
    at = {use.visit_id for use in uses} | {finding.visit_id for finding in findings.values()}
    visit_ids = [pk for pk in at if pk]
    return Photo(
        media=media,
        facts=facts_of(media),
        uses=uses,
        moments=_moments(media, uses),
        others=_other_uses(media, uses, twins),
        visits=Visit.objects.select_related("activity", "school").in_bulk(visit_ids),
        findings=findings,
        stays=stays_at(visit_ids),
    )


def _moments(media: MediaObject, uses: Sequence[Use]) -> Moments:
    """The clock of the phone that sent the record, where it was read; else of any of the owner's."""
    if media.owner_id is None:
        return moments_of(media, facts_of(media), [])
    readings = readings_of([media.owner_id]).get(media.owner_id, [])
    devices = {use.device_id for use in uses}
    of_device = [reading for reading in readings if reading.device_id in devices]
    return moments_of(media, facts_of(media), of_device or readings)


def _other_uses(
    media: MediaObject, uses: Sequence[Use], twins: Sequence[Twin]
) -> list[tuple[Twin, Use]]:
    """The uses of the twins, and the photo's own in other places."""
    by_id = {twin.media_id: twin for twin in twins}
    found = uses_of(by_id) if uses and by_id else {}
    of_twins = [(by_id[pk], use) for pk, each in found.items() for use in each]
    return [*((Twin(media.pk, None), use) for use in uses), *of_twins]


def stays_at(visit_ids: Sequence[UUID]) -> dict[UUID, list[Stay]]:
    """The stays at the school of each of the visits."""
    actions = list(VisitAction.objects.filter(visit__in=visit_ids).order_by("received_at", "pk"))
    readings = readings_of({action.by_id for action in actions}) if actions else {}
    steps: dict[UUID, list[tuple[str, Any]]] = {pk: [] for pk in visit_ids}
    for action in actions:
        at = action_at(action, readings.get(action.by_id, []))
        steps[action.visit_id].append((action.action, at))
    return {pk: stays_of(each) for pk, each in steps.items()}


def _school_at(row: Visit | Finding) -> Point | None:
    school = row.school
    if school.latitude is None or school.longitude is None:
        return None
    return school.latitude, school.longitude


def _claims(use: Use, photo: Photo) -> Iterable[Claim]:
    media, facts = photo.media, photo.facts
    yield from rules.about_the_photo(media, facts, photo.moments)
    is_picture = media.content_type.startswith("image/")
    yield from rules.against_other_uses(use, photo.others, is_picture=is_picture)
    places = [position_of(media), position_of(facts, PhotoCheck.Source.EXIF) if facts else None]
    known = [place for place in places if place]
    if use.visit_id:
        visit = photo.visits[use.visit_id]
        yield from rules.against_the_stays(photo.moments, photo.stays[visit.pk], visit.activity)
        yield from rules.against_the_place(known, _school_at(visit), position_of(visit))
    elif use.finding_id:
        finding = photo.findings[use.finding_id]
        yield from _against_finding(finding, photo)
        yield from rules.against_the_place(known, _school_at(finding), None)


def _against_finding(finding: Finding, photo: Photo) -> Iterable[Claim]:
    """The problem was there when the team came, whenever its record arrived."""
    stays = photo.stays[finding.visit_id] if finding.visit_id else []
    if stays:
        return rules.against_the_finding(photo.moments, stays[0].begins, "check_in")
    return rules.against_the_finding(photo.moments, finding.created_at, "finding")


# ---- visits -----------------------------------------------------------------------------------


def check_visit(check: VisitCheck) -> None:
    """Flag a visit's check-in, and have its photos checked again where the visit has changed."""
    visit = Visit.objects.select_related("activity", "school__area").get(pk=check.pk)
    actions = list(visit.actions.order_by("received_at", "pk"))
    with suppress(_Overtaken):
        _write_visit(check, visit, actions)
    seen = seen_of_visit(visit, actions)
    if seen != check.seen:
        mark_photos(photos_of_visit([visit.pk]))
        VisitCheck.objects.filter(pk=check.pk).update(seen=seen)


def seen_of_visit(visit: Visit, actions: Sequence[VisitAction]) -> str:
    """A digest of what photos are held against."""
    school = visit.school
    steps = sorted([str(action.pk), action.action, str(action.at)] for action in actions)
    place = [visit.latitude, visit.longitude, visit.accuracy_m]
    return _digest([school.latitude, school.longitude, place, steps])


@transaction.atomic
def _write_visit(check: VisitCheck, visit: Visit, actions: Sequence[VisitAction]) -> None:
    flags = [_check_in_flag(visit, claim) for claim in _claims_about(visit, actions)]
    tell_phones(_write_flags(Flag.objects.filter(visit=visit, media=None), flags))
    _still_current(check)


def _claims_about(visit: Visit, actions: Sequence[VisitAction]) -> Iterable[Claim]:
    check_in, school = position_of(visit), _school_at(visit)
    if check_in and school:
        yield from rules.against_the_school(check_in, school)
    for action in [each for each in actions if each.action == CHECK_IN][-1:]:
        readings = readings_of([action.by_id]).get(action.by_id, [])
        yield from rules.check_in_ahead(action_at(action, readings), action.received_at)


# ---- flags ------------------------------------------------------------------------------------


def _flag(use: Use, claim: Claim) -> Flag:
    other = claim.other
    return Flag(
        key=":".join([str(use.media_id), claim.code, use.place, other.place if other else ""]),
        code=claim.code.value,
        severity=claim.severity.value,
        details=claim.details,
        media_id=use.media_id,
        visit_id=use.visit_id,
        finding_id=use.finding_id,
        root_id=use.root_id,
        internal=not use.by_school,
        other_media_id=other.media_id if other else None,
        other_visit_id=other.visit_id if other else None,
        other_finding_id=other.finding_id if other else None,
    )


def _check_in_flag(visit: Visit, claim: Claim) -> Flag:
    return Flag(
        key=f"{visit.pk}:{claim.code}",
        code=claim.code.value,
        severity=claim.severity.value,
        details=claim.details,
        visit=visit,
    )


_CHANGING = ("severity", "internal", "details", "other_media_id", "cleared_at")


def _write_flags(stored: QuerySet[Flag], wanted: Sequence[Flag]) -> list[Flag]:
    """Store what is new, mend what has changed, clear what stands no more. Returns these."""
    found = {flag.key: flag for flag in wanted}
    kept = {flag.key: flag for flag in stored.order_by("key")}
    new = [found[key] for key in sorted(found) if key not in kept]
    changed = [flag for flag in kept.values() if _takes_over(flag, found.get(flag.key))]
    Flag.objects.bulk_create(new, ignore_conflicts=True)
    Flag.objects.bulk_update(changed, [name.removesuffix("_id") for name in _CHANGING])
    return [*new, *changed]


def _takes_over(flag: Flag, found: Flag | None) -> bool:
    """Let a stored flag be what was found now; whether that changes it."""
    if found is None:
        values: dict[str, Any] = {"cleared_at": flag.cleared_at or clock.now()}
    else:
        values = {name: getattr(found, name) for name in _CHANGING}
    differs = any(getattr(flag, name) != value for name, value in values.items())
    for name, value in values.items():
        setattr(flag, name, value)
    return differs


class _Overtaken(Exception):
    """A fact changed while we looked, and the row is due again: what we found may be old."""


def _still_current(check: PhotoCheck | VisitCheck, **found: Any) -> None:
    """The last write of a check: whatever changes a fact moves `work_due_at` in its transaction, so
    the row is ours only while nothing has. Last, so that we wait for nobody while we hold the row."""
    rows = type(check)._default_manager.filter(pk=check.pk, work_due_at=check.work_due_at)
    if not rows.update(checked_at=clock.now(), **found):
        raise _Overtaken


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


PHOTOS = Pump(name="photo_checks", rows=PhotoCheck.objects.all, handle=check_photo)
VISITS = Pump(name="visit_checks", rows=VisitCheck.objects.all, handle=check_visit)
