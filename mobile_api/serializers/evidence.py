"""What is known about a photo's time and place, and what contradicts itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from media_storage.models import Facts, MediaObject
from mobile_api.serializers.common import PersonBrief, Place, SchoolBrief, Shape, place_of
from mobile_api.shown import places_of
from server.activities.models import SubmissionAttachment, Visit
from server.evidence.models import Flag, PhotoCheck
from server.evidence.moments import corrected, within_calendars
from server.evidence.queries import flags_at
from server.evidence.sentences import sentence
from server.evidence.services import MAX_TEXT
from server.grid.coordinates import distance_m
from server.grid.models import School

# ---- flags ------------------------------------------------------------------------------------


class FlagNoteOut(Shape):
    id = serializers.UUIDField()
    by = PersonBrief()
    at = serializers.DateTimeField()
    text = serializers.CharField()


class OtherSideOut(Shape):
    """Where the same photo is used; null for whoever may not see it."""

    media_id = serializers.UUIDField(allow_null=True)
    visit_id = serializers.UUIDField(allow_null=True)
    finding_id = serializers.UUIDField(allow_null=True)


class FlagOut(Shape):
    """One contradiction: a question, no verdict. `details` holds the values of both sides."""

    id = serializers.UUIDField()
    code = serializers.ChoiceField(choices=Flag.Code.choices)
    severity = serializers.ChoiceField(choices=Flag.Severity.choices)
    text = serializers.SerializerMethodField(help_text="What contradicts what, in one sentence.")
    details = serializers.DictField()
    media_id = serializers.UUIDField(allow_null=True, help_text="Null: about the check-in.")
    other = serializers.SerializerMethodField()
    notes = FlagNoteOut(source="notes.all", many=True)
    created_at = serializers.DateTimeField()

    def get_text(self, flag: Flag) -> str:
        return sentence(flag)

    @extend_schema_field(OtherSideOut(allow_null=True))
    def get_other(self, flag: Flag) -> dict[str, UUID | None] | None:
        if not flag.names_other:  # type: ignore[attr-defined]  # by flags_shown_to
            return None
        return {
            "media_id": flag.other_media_id,
            "visit_id": flag.other_visit_id,
            "finding_id": flag.other_finding_id,
        }


class FlagNoteIn(Shape):
    """`id` is of the sender's making, and makes a repeated request harmless."""

    id = serializers.UUIDField()
    text = serializers.CharField(max_length=MAX_TEXT)


# ---- times and places -------------------------------------------------------------------------


class TimesOut(Shape):
    """All that is known of when a photo was taken. `phone` and `exif` as they were written.

    `clock_offset_ms` is what the phone's clock was ahead of the server's at that time, null where
    nobody measured it. `taken` is the most likely time, by `taken_from`; `arrived` when the server
    heard of the file.
    """

    phone = serializers.DateTimeField(allow_null=True)
    phone_corrected = serializers.DateTimeField(allow_null=True)
    clock_offset_ms = serializers.IntegerField(allow_null=True)
    exif = serializers.DateTimeField(allow_null=True)
    exif_has_zone = serializers.BooleanField(
        help_text="False: EXIF gives no zone, and its clock is taken for the county's."
    )
    taken = serializers.DateTimeField(allow_null=True)
    taken_from = serializers.ChoiceField(choices=PhotoCheck.Source.choices)
    arrived = serializers.DateTimeField()


class DistancesOut(Shape):
    """Metres from the school, where both positions are known."""

    phone = serializers.FloatField(allow_null=True)
    exif = serializers.FloatField(allow_null=True)


class PlacesOut(Shape):
    """Where the photo was taken, by the phone and by EXIF."""

    phone = Place(allow_null=True)
    exif = Place(allow_null=True)


class UseOut(Shape):
    """A visit or a finding in which the photo is used, and how far from its school it was taken."""

    type = serializers.ChoiceField(choices=["visit", "finding"])
    id = serializers.UUIDField()
    school = SchoolBrief()
    distance_m = DistancesOut()


def times_of(media: MediaObject) -> dict[str, Any]:
    """TimesOut's fields."""
    facts: Facts | None = getattr(media, "facts", None)
    check: PhotoCheck | None = getattr(media, "photo_check", None)
    offset_ms = check.clock_offset_ms if check else None
    # One clock at the end of time must not spoil an answer with many files in it.
    phone = within_calendars(media.taken_at) if media.taken_at else None
    exif = within_calendars(facts.exif_at) if facts and facts.exif_at else None
    return {
        "phone": phone,
        "phone_corrected": corrected(phone, offset_ms) if phone else None,
        "clock_offset_ms": offset_ms,
        "exif": exif,
        "exif_has_zone": bool(facts and facts.exif_has_zone),
        "taken": check.moment if check else None,
        "taken_from": check.moment_from if check else "",
        "arrived": media.created_at,
    }


def distances_of(media: MediaObject, school: School | None) -> dict[str, float | None]:
    """DistancesOut's fields."""
    facts = getattr(media, "facts", None)
    return {"phone": away_m(media, school), "exif": away_m(facts, school) if facts else None}


def away_m(row: Any, school: School | None) -> float | None:
    """Metres between a row's position and the school, where both are known."""
    if school is None or None in (row.latitude, school.latitude):
        return None
    here, there = (row.latitude, row.longitude), (school.latitude, school.longitude)
    return round(distance_m(here, there), 1)  # type: ignore[arg-type]  # whole or absent, both


class EvidenceFields(Shape):
    """What the shapes of a file have in common: a serializer with `media_in` finds the rest."""

    origin = serializers.SerializerMethodField(help_text="What the phone says of where it is from.")
    times = serializers.SerializerMethodField()
    flags = serializers.SerializerMethodField()

    def media_in(self, row: Any) -> MediaObject | None:
        raise NotImplementedError

    def flags_in(self, row: Any) -> list[Flag]:
        raise NotImplementedError

    @extend_schema_field(serializers.ChoiceField(choices=MediaObject.Origin.choices))
    def get_origin(self, row: Any) -> str:
        media = self.media_in(row)
        return media.origin if media else ""

    @extend_schema_field(TimesOut(allow_null=True))
    def get_times(self, row: Any) -> dict[str, Any] | None:
        media = self.media_in(row)
        return TimesOut(times_of(media)).data if media else None

    @extend_schema_field(FlagOut(many=True))
    def get_flags(self, row: Any) -> Any:
        return FlagOut(self.flags_in(row), many=True, context=self.context).data


class FileEvidence(EvidenceFields):
    """For a file of a submission: its flags there, not those of other places."""

    distance_m = serializers.SerializerMethodField(help_text="From the school of the visit.")

    def media_in(self, row: SubmissionAttachment) -> MediaObject | None:
        return row.media

    def flags_in(self, row: SubmissionAttachment) -> list[Flag]:
        if row.media is None:
            return []
        submission = row.submission
        return flags_at(row.media, visit_id=submission.visit_id, root_id=submission.root_id)

    @extend_schema_field(DistancesOut(allow_null=True))
    def get_distance_m(self, row: SubmissionAttachment) -> dict[str, float | None] | None:
        visit = row.submission.visit
        return distances_of(row.media, visit.school) if row.media and visit else None


class MediaEvidence(EvidenceFields):
    """For a file on its own: all that is known, wherever it is used."""

    places = serializers.SerializerMethodField()
    uses = serializers.SerializerMethodField()

    def media_in(self, row: MediaObject) -> MediaObject:
        return row

    def flags_in(self, row: MediaObject) -> list[Flag]:
        flags: list[Flag] = row.shown_flags  # type: ignore[attr-defined]  # by with_flags
        return flags

    @extend_schema_field(PlacesOut)
    def get_places(self, row: MediaObject) -> dict[str, Any]:
        facts = getattr(row, "facts", None)
        return {"phone": place_of(row), "exif": place_of(facts) if facts else None}

    @extend_schema_field(UseOut(many=True))
    def get_uses(self, row: MediaObject) -> list[dict[str, Any]]:
        return [
            {
                "type": "visit" if isinstance(each, Visit) else "finding",
                "id": str(each.pk),
                "school": SchoolBrief(each.school).data,
                "distance_m": distances_of(row, each.school),
            }
            for each in places_of(self.context["reader"].user, row)
        ]
