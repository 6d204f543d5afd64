"""Activities, visits and what is filled in on them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mobile_api.serializers.common import (
    AreaBrief,
    PersonBrief,
    PhoneMoment,
    Place,
    Reader,
    SchoolBrief,
    Shape,
    place_of,
)
from mobile_api.serializers.evidence import FileEvidence, FlagOut, away_m
from mobile_api.serializers.instruments import InstrumentBrief
from server.activities.models import Activity, Submission, SubmissionAttachment, Visit
from server.activities.services.planning import MAX_KEEP_DAYS

# ---- activities -------------------------------------------------------------------------------


class ActivityIn(Shape):
    """`instruments` are form ids; schools one by one, or whole areas, or both."""

    id = serializers.UUIDField(required=False, help_text="Makes a repeated request harmless.")
    kind = serializers.ChoiceField(choices=Activity.Kind.choices)
    title = serializers.CharField(max_length=200)
    starts = serializers.DateField()
    ends = serializers.DateField(help_text="Included.")
    instruments = serializers.ListField(
        child=serializers.CharField(max_length=64), allow_empty=False, max_length=50
    )
    schools = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=5000)
    areas = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=500)
    announced = serializers.BooleanField(
        default=True, help_text="False: the school learns of it at check-in (四不两直)."
    )
    keep_media_days = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MAX_KEEP_DAYS,
        help_text="How long photos are kept after `ends`; null: for ever; absent: the server's rule.",
    )


class ActivityBrief(Shape):
    """The activity of a visit or a finding."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    kind = serializers.ChoiceField(choices=Activity.Kind.choices)
    starts = serializers.DateField()
    ends = serializers.DateField()
    announced = serializers.BooleanField()
    state = serializers.ChoiceField(choices=Activity.State.choices)


class ActivityOut(ActivityBrief):
    area = AreaBrief()
    instruments = InstrumentBrief(many=True)
    created_at = serializers.DateTimeField()
    published_at = serializers.DateTimeField(allow_null=True)
    keep_media_days = serializers.IntegerField(allow_null=True, help_text="null: for ever.")
    media_kept_until = serializers.DateField(allow_null=True)


class ActivityQuery(Shape):
    state = serializers.ChoiceField(choices=Activity.State.choices, required=False)

    lookups: ClassVar = {"state": "state"}


class PlannedVisitOut(Shape):
    school = SchoolBrief()
    team = PersonBrief(many=True)
    warnings = serializers.ListField(child=serializers.CharField())


class PreviewOut(Shape):
    """What publishing would make now, from today's appointments."""

    visits = PlannedVisitOut(many=True)
    without_inspector = SchoolBrief(many=True)


# ---- visits -----------------------------------------------------------------------------------


class VisitOut(Shape):
    """`summary` and `return_reason` are null for the school: they are between team and office."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=Visit.State.choices)
    activity = ActivityBrief()
    school = SchoolBrief()
    team = PersonBrief(many=True)
    instruments = InstrumentBrief(source="activity.instruments", many=True)
    checked_in_at = serializers.DateTimeField(allow_null=True)
    location = serializers.SerializerMethodField(help_text="Of the check-in.")
    distance_m = serializers.SerializerMethodField(help_text="From the school to the check-in.")
    completed_at = serializers.DateTimeField(allow_null=True)
    reviewed_at = serializers.DateTimeField(allow_null=True)
    summary = serializers.SerializerMethodField()
    return_reason = serializers.SerializerMethodField()
    flags = FlagOut(
        source="shown_flags", many=True, help_text="Of the check-in; between team and office."
    )

    @extend_schema_field(Place(allow_null=True))
    def get_location(self, visit: Visit) -> dict[str, float | None] | None:
        return place_of(visit)

    @extend_schema_field(serializers.FloatField(allow_null=True))
    def get_distance_m(self, visit: Visit) -> float | None:
        return away_m(visit, visit.school)

    def get_summary(self, visit: Visit) -> str | None:
        return visit.summary if self._inside(visit) else None

    def get_return_reason(self, visit: Visit) -> str | None:
        return visit.return_reason if self._inside(visit) else None

    def _inside(self, visit: Visit) -> bool:
        reader: Reader = self.context["reader"]
        return reader.is_on_team(visit) or reader.is_office_of(visit.school)


class VisitDetail(VisitOut):
    open_actions = serializers.SerializerMethodField(help_text="What the asking person may do now.")

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_open_actions(self, visit: Visit) -> list[str]:
        return self.context["reader"].visit_actions(visit)  # type: ignore[no-any-return]


class VisitQuery(Shape):
    status = serializers.MultipleChoiceField(choices=Visit.State.choices, required=False)
    school = serializers.UUIDField(required=False)
    activity = serializers.UUIDField(required=False)

    lookups: ClassVar = {"status": "state__in", "school": "school_id", "activity": "activity_id"}


class CheckInIn(Shape):
    """`id` is the action's own, of the phone's making; `at` is the phone's clock."""

    id = serializers.UUIDField()
    at = PhoneMoment()
    location = Place(allow_null=True)


class CompleteIn(Shape):
    id = serializers.UUIDField()
    at = PhoneMoment()
    summary = serializers.CharField(allow_blank=True, max_length=20_000)


class ReviewIn(Shape):
    id = serializers.UUIDField()


class ReturnIn(Shape):
    id = serializers.UUIDField()
    reason = serializers.CharField(max_length=2000)


# ---- submissions ------------------------------------------------------------------------------


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time without an offset would be anybody's guess."""


class NamedMedia(msgspec.Struct, frozen=True):
    """A file that the answers name, and the declared media object that brings it."""

    name: str
    media_id: UUID


class SubmissionBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a submission: its shape is checked here, its answers against the form."""

    form_id: str
    version: str
    answers: dict[str, Any]
    visit_id: UUID | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    device_time: Moment | None = None
    attachments: list[NamedMedia] = []


class NamedMediaIn(Shape):
    name = serializers.CharField()
    media_id = serializers.UUIDField()


class SubmissionIn(Shape):
    """For the document: `SubmissionBody` is what checks."""

    form_id = serializers.CharField()
    version = serializers.CharField()
    visit_id = serializers.UUIDField(required=False, allow_null=True)
    answers = serializers.DictField(
        help_text="Mirrors the form: groups are objects, repeats are arrays, a select_multiple is "
        "an array, an attachment is its file name."
    )
    started_at = serializers.DateTimeField(required=False, allow_null=True)
    ended_at = serializers.DateTimeField(required=False, allow_null=True)
    device_time = serializers.DateTimeField(required=False, allow_null=True)
    attachments = NamedMediaIn(many=True, required=False)


COMPLETENESS = (("complete", "all files have arrived"), ("incomplete", "files are missing"))


class AcceptedOut(Shape):
    """What became of a submission; a 409 tells of other content under the same id."""

    id = serializers.UUIDField(source="submission_id")
    state = serializers.SerializerMethodField()
    missing = serializers.ListField(
        child=serializers.CharField(), help_text="Files that the answers name and nobody brought."
    )

    @extend_schema_field(serializers.ChoiceField(choices=COMPLETENESS))
    def get_state(self, accepted: Any) -> str:
        return "incomplete" if accepted.missing else "complete"


class FileOut(FileEvidence):
    """A file of a submission. For its pictures ask GET /media/{media_id}."""

    name = serializers.CharField()
    media_id = serializers.UUIDField(allow_null=True)
    state = serializers.SerializerMethodField(help_text="`missing`, or the media's state.")
    reason = serializers.SerializerMethodField(help_text="Why it was rejected.")

    def get_state(self, file: SubmissionAttachment) -> str:
        return file.media.state if file.media else "missing"

    def get_reason(self, file: SubmissionAttachment) -> str:
        return file.media.reject_reason if file.media else ""


class AttachIn(Shape):
    visit_id = serializers.UUIDField()


class SubmissionOut(Shape):
    id = serializers.UUIDField()
    form_id = serializers.CharField(source="version.instrument.form_id")
    version = serializers.CharField(source="version.version")
    visit_id = serializers.UUIDField(allow_null=True)
    sender = PersonBrief()
    answers = serializers.DictField()
    state = serializers.SerializerMethodField()
    missing = serializers.SerializerMethodField()
    conflicts = serializers.IntegerField(
        source="conflict_count", help_text="Other contents that came under this id, and are kept."
    )
    attachments = FileOut(many=True)
    replaces = serializers.UUIDField(source="replaces_id", allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    device_time = serializers.DateTimeField(allow_null=True)
    received_at = serializers.DateTimeField()

    @extend_schema_field(serializers.ChoiceField(choices=COMPLETENESS))
    def get_state(self, submission: Submission) -> str:
        return "incomplete" if self.get_missing(submission) else "complete"

    def get_missing(self, submission: Submission) -> list[str]:
        return [
            file.name
            for file in submission.attachments.all()
            if not (file.media and file.media.is_uploaded)
        ]


class SubmissionQuery(Shape):
    visit = serializers.UUIDField(required=False)

    lookups: ClassVar = {"visit": "visit_id"}
