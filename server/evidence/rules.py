"""What contradicts what: pure functions from facts to claims. A claim that stands becomes a flag.

Every limit is a setting EVIDENCE_…, with its unit in its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import isfinite
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from media_storage.models import Facts, MediaObject
from server.activities.models import Activity, Visit
from server.evidence.models import Flag, PhotoCheck
from server.evidence.moments import Moments, Stay, differ
from server.evidence.uses import Use, one_occasion, shows_the_problem
from server.grid.coordinates import Point, distance_m, gcj02_to_wgs84

Code = Flag.Code
HINT, WARN = Flag.Severity.HINT, Flag.Severity.WARN
Source = PhotoCheck.Source

LARGEST_ZONE = timedelta(hours=14)
ZONE_SLACK = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One contradiction, with the values of both sides; `other`, where it is with another use."""

    code: Code
    severity: Flag.Severity
    details: dict[str, Any] = field(default_factory=dict)
    other: Use | None = None


@dataclass(frozen=True)
class Position:
    """A place by a phone or by EXIF, with its accuracy where it is known."""

    point: Point
    accuracy_m: float | None
    source: Source = Source.PHONE

    @property
    def reach_m(self) -> float:
        """How far off it may be."""
        unknown = settings.EVIDENCE_UNKNOWN_ACCURACY_METRES
        return unknown if self.accuracy_m is None else self.accuracy_m


def position_of(row: MediaObject | Facts | Visit, source: Source = Source.PHONE) -> Position | None:
    """The row's position, where it has one."""
    if row.latitude is None or row.longitude is None:
        return None
    accuracy = row.accuracy_m if row.accuracy_m is None or isfinite(row.accuracy_m) else None
    return Position((row.latitude, row.longitude), accuracy, source)


# ---- the photo itself -------------------------------------------------------------------------


def about_the_photo(media: MediaObject, facts: Facts | None, moments: Moments) -> Iterator[Claim]:
    """What contradicts itself wherever the photo is used."""
    yield from _about_its_origin(media, facts)
    yield from _about_clocks(media, facts, moments)


def _about_its_origin(media: MediaObject, facts: Facts | None) -> Iterator[Claim]:
    if media.origin == MediaObject.Origin.GALLERY:
        yield Claim(code=Code.GALLERY, severity=HINT, details={"origin": media.origin})
    if facts is None:
        return  # nobody has read the file yet
    camera = media.origin == MediaObject.Origin.CAMERA
    if camera and media.content_type.startswith("image/") and _says_nothing(facts):
        yield Claim(code=Code.NO_EXIF, severity=HINT, details={"origin": media.origin})
    if _names_an_editor(facts.software):
        yield Claim(code=Code.EDITED, severity=HINT, details={"software": facts.software})


def _says_nothing(facts: Facts) -> bool:
    told = (facts.exif, facts.camera_maker, facts.camera_model, facts.software)
    return facts.exif_at is None and facts.latitude is None and not any(told)


def _names_an_editor(software: str) -> bool:
    return any(word.lower() in software.lower() for word in settings.EVIDENCE_EDITORS if word)


def _about_clocks(media: MediaObject, facts: Facts | None, moments: Moments) -> Iterator[Claim]:
    yield from _clock_off(moments)
    latest, source = moments.phone_corrected, Source.PHONE
    if moments.source is Source.EXIF and moments.at and (not latest or moments.at > latest):
        latest, source = moments.at, Source.EXIF
    if latest:
        yield from _ahead(latest, source, moments.arrived)
    if moments.exif and moments.phone and differ(moments.exif, moments.phone):
        yield _times_differ(media, facts, moments.exif, moments.phone)


def _clock_off(moments: Moments) -> Iterator[Claim]:
    limit_ms = settings.EVIDENCE_CLOCK_OFF_SECONDS * 1000
    if not (moments.phone and moments.phone_corrected and moments.read_at):
        return
    if abs(moments.offset_ms or 0) > limit_ms:
        details = {
            "offset_ms": moments.offset_ms,
            "read_at": moments.read_at.isoformat(),
            "taken": moments.phone.isoformat(),
            "corrected": moments.phone_corrected.isoformat(),
        }
        yield Claim(code=Code.CLOCK_OFF, severity=HINT, details=details)


def _ahead(taken: datetime, source: Source, arrived: datetime) -> Iterator[Claim]:
    """Nothing arrives before it happened."""
    seconds = (taken - arrived).total_seconds()
    if seconds > settings.EVIDENCE_CLOCK_OFF_SECONDS:
        details = {
            "taken": taken.isoformat(),
            "source": source.value,
            "arrived": arrived.isoformat(),
            "seconds": round(seconds),
        }
        yield Claim(code=Code.CLOCK_AHEAD, severity=WARN, details=details)


def _times_differ(
    media: MediaObject, facts: Facts | None, exif: datetime, phone: datetime
) -> Claim:
    apart = abs(exif - phone)
    # Without a zone EXIF's clock is taken for the county's; another zone is off by whole hours.
    off_hours = min(apart % timedelta(hours=1), -apart % timedelta(hours=1))
    maybe_zone = bool(
        facts
        and not facts.exif_has_zone
        and apart <= LARGEST_ZONE + ZONE_SLACK
        and off_hours <= ZONE_SLACK
    )
    expected = maybe_zone or media.origin == MediaObject.Origin.GALLERY
    return Claim(
        code=Code.TIMES_DIFFER,
        severity=HINT if expected else WARN,
        details={
            "exif": exif.isoformat(),
            "phone": phone.isoformat(),
            "seconds": round(apart.total_seconds()),
            "maybe_zone": maybe_zone,
        },
    )


# ---- against the visit, or the finding --------------------------------------------------------


def against_the_stays(
    moments: Moments, stays: Sequence[Stay], activity: Activity
) -> Iterator[Claim]:
    """From another day than the visit, before the check-in, after the completion.

    Before anybody has checked in, the days of the activity stand in for those of the visit.
    """
    if moments.at is None:
        return
    taken = {"taken": moments.at.isoformat(), "source": moments.source.value}
    day = timezone.localdate(moments.at)
    if not stays:
        if not activity.starts <= day <= activity.ends:
            yield _other_day(taken, activity.starts, activity.ends, "activity")
        return
    margin = timedelta(minutes=settings.EVIDENCE_VISIT_MARGIN_MINUTES)
    nearest = min(stays, key=lambda stay: _away(moments.at, stay))  # type: ignore[arg-type]
    if _away(moments.at, nearest) <= margin:
        return
    if not any(_on_its_days(day, stay) for stay in stays):
        ends = timezone.localdate(nearest.ends) if nearest.ends else None
        yield _other_day(taken, timezone.localdate(nearest.begins), ends, "visit")
    elif moments.at < nearest.begins:
        yield Claim(
            code=Code.BEFORE_CHECK_IN,
            severity=HINT,
            details={
                **taken,
                "check_in": nearest.begins.isoformat(),
                "seconds": round((nearest.begins - moments.at).total_seconds()),
            },
        )
    elif nearest.ends:
        yield Claim(
            code=Code.AFTER_COMPLETION,
            severity=HINT,
            details={
                **taken,
                "completed": nearest.ends.isoformat(),
                "seconds": round((moments.at - nearest.ends).total_seconds()),
            },
        )


def _away(at: datetime, stay: Stay) -> timedelta:
    """How far from the stay a moment lies; nothing within it."""
    late = at - stay.ends if stay.ends else timedelta(0)
    return max(stay.begins - at, late, timedelta(0))


def _on_its_days(day: date, stay: Stay) -> bool:
    last = timezone.localdate(stay.ends) if stay.ends else date.max
    return timezone.localdate(stay.begins) <= day <= last


def _other_day(taken: dict[str, Any], first: date, last: date | None, reference: str) -> Claim:
    details = {
        **taken,
        "from": first.isoformat(),
        "to": last.isoformat() if last else None,
        "reference": reference,
    }
    return Claim(code=Code.OTHER_DAY, severity=WARN, details=details)


def against_the_finding(moments: Moments, raised: datetime, reference: str) -> Iterator[Claim]:
    """A photo of what was mended cannot be older than the problem."""
    margin = timedelta(minutes=settings.EVIDENCE_VISIT_MARGIN_MINUTES)
    if moments.at is None or moments.at >= raised - margin:
        return
    yield Claim(
        code=Code.BEFORE_FINDING,
        severity=WARN,
        details={
            "taken": moments.at.isoformat(),
            "source": moments.source.value,
            "raised": raised.isoformat(),
            "reference": reference,
            "seconds": round((raised - moments.at).total_seconds()),
        },
    )


# ---- places -----------------------------------------------------------------------------------


def against_the_place(
    positions: Sequence[Position], school: Point | None, check_in: Position | None
) -> Iterator[Claim]:
    """Taken elsewhere than at the school; at the check-in where the school has no position.

    Of several positions the one that is farthest off counts: a photo that claims two places is no
    better than its worse claim.
    """
    if school:
        reference, at, slack = "school", school, 0.0
    elif check_in:
        reference, at, slack = "check_in", check_in.point, check_in.reach_m
    else:
        return
    far = [place for place in positions if is_far(place, at, slack)]
    if not far:
        return
    worst = max(far, key=lambda place: (distance_m(place.point, at) - place.reach_m, place.source))
    yield _elsewhere(Code.OTHER_PLACE, worst, at, slack, reference=reference)


def against_the_school(check_in: Position, school: Point) -> Iterator[Claim]:
    """Checked in elsewhere than at the school."""
    if is_far(check_in, school):
        yield _elsewhere(Code.CHECK_IN_AWAY, check_in, school, 0.0, reference="school")


def check_in_ahead(at: datetime, arrived: datetime) -> Iterator[Claim]:
    """A check-in that arrived before it was made."""
    yield from _ahead(at, Source.PHONE, arrived)


def is_far(place: Position, at: Point, slack_m: float = 0.0) -> bool:
    """Farther than the limit, whatever the accuracy of both explains."""
    explained: float = settings.EVIDENCE_PLACE_METRES + place.reach_m + slack_m
    return distance_m(place.point, at) > explained


def _elsewhere(code: Code, place: Position, at: Point, slack: float, *, reference: str) -> Claim:
    unshifted = Position(gcj02_to_wgs84(place.point), place.accuracy_m)
    maybe_gcj02 = not is_far(unshifted, at, slack)
    return Claim(
        code=code,
        severity=HINT if maybe_gcj02 else WARN,
        details={
            "source": place.source.value,
            "lat": place.point[0],
            "lon": place.point[1],
            "accuracy_m": place.accuracy_m,
            "distance_m": round(distance_m(place.point, at), 1),
            "limit_m": settings.EVIDENCE_PLACE_METRES,
            "reference": reference,
            "maybe_gcj02": maybe_gcj02,
        },
    )


# ---- other uses -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Twin:
    """Another file that has the same bytes (`bits` is None) or whose picture differs in few bits."""

    media_id: UUID
    bits: int | None


def against_other_uses(
    use: Use, others: Sequence[tuple[Twin, Use]], *, is_picture: bool
) -> Iterator[Claim]:
    """The same photo elsewhere. Of one other place the most alike speaks; the first places by id are
    named, so that whoever comes first does not matter."""
    closest: dict[str, tuple[Twin, Use]] = {}
    for twin, other in sorted(others, key=lambda each: _alikeness(each[0])):
        closest.setdefault(other.place, (twin, other))
    problem: Claim | None = None
    elsewhere: list[Claim] = []
    for place in sorted(closest):
        twin, other = closest[place]
        if shows_the_problem(use, other):
            problem = _copied(Code.PROBLEM_PHOTO, WARN, twin, other)
        elif not one_occasion(use, other):
            same = twin.bits is None
            weak = "alone" in (use.kind, other.kind) or not is_picture
            code = Code.REUSED if same else Code.SIMILAR
            elsewhere.append(_copied(code, HINT if weak else WARN, twin, other))
    if problem:
        yield problem
    yield from elsewhere[: settings.EVIDENCE_NAMED_OTHERS]


def _alikeness(twin: Twin) -> tuple[int, UUID]:
    return (-1 if twin.bits is None else twin.bits, twin.media_id)


def _copied(code: Code, severity: Flag.Severity, twin: Twin, other: Use) -> Claim:
    details = {"bits": twin.bits, "other": other.kind}
    return Claim(code=code, severity=severity, details=details, other=other)
