"""Findings, the steps of their rectification, the matrix."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mobile_api.serializers.common import PersonBrief, PhoneMoment, SchoolBrief, Shape
from mobile_api.serializers.evidence import FlagOut
from server.evidence.queries import flags_at
from server.findings.machine import FINDING
from server.findings.models import Finding, FindingAction


class FindingIn(Shape):
    id = serializers.UUIDField()
    school_id = serializers.UUIDField()
    visit_id = serializers.UUIDField(required=False, allow_null=True, default=None)
    title = serializers.CharField(max_length=300)
    detail = serializers.CharField(max_length=10_000, allow_blank=True, default="")
    severity = serializers.ChoiceField(
        choices=Finding.Severity.choices, default=Finding.Severity.MINOR
    )
    due = serializers.DateField()


class FindingActionIn(Shape):
    """`id` is the action's own. answer needs `measures`; return, withdraw and reopen a `note`;
    postpone a `due`."""

    id = serializers.UUIDField()
    action = serializers.ChoiceField(choices=list(FINDING.actions.items()))
    note = serializers.CharField(max_length=10_000, allow_blank=True, default="")
    measures = serializers.CharField(max_length=10_000, allow_blank=True, default="")
    media = serializers.ListField(child=serializers.UUIDField(), default=list, max_length=50)
    due = serializers.DateField(required=False, allow_null=True, default=None)
    at = PhoneMoment(required=False, allow_null=True, default=None)


class ActionOut(Shape):
    """One step, as it happened."""

    id = serializers.UUIDField()
    action = serializers.CharField()
    by = PersonBrief()
    at = serializers.DateTimeField(help_text="By the phone's clock.")
    received_at = serializers.DateTimeField()
    from_state = serializers.CharField()
    to_state = serializers.CharField()
    note = serializers.CharField()
    measures = serializers.CharField()
    due = serializers.DateField(source="due_on", allow_null=True)
    media = serializers.SerializerMethodField()
    flags = serializers.SerializerMethodField(help_text="Of its photos.")

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_media(self, action: FindingAction) -> list[str]:
        return [str(media.pk) for media in action.media.all()]

    @extend_schema_field(FlagOut(many=True))
    def get_flags(self, action: FindingAction) -> Any:
        flags = [
            flag
            for media in action.media.all()
            for flag in flags_at(media, finding_id=action.finding_id)
        ]
        return FlagOut(flags, many=True, context=self.context).data


class FindingOut(Shape):
    id = serializers.UUIDField()
    school = SchoolBrief()
    activity_id = serializers.UUIDField(allow_null=True)
    visit_id = serializers.UUIDField(allow_null=True)
    submission_id = serializers.UUIDField(allow_null=True)
    item = serializers.CharField(help_text="The field of the form, for a derived finding.")
    title = serializers.CharField()
    detail = serializers.CharField()
    severity = serializers.ChoiceField(choices=Finding.Severity.choices)
    state = serializers.ChoiceField(choices=Finding.State.choices)
    due = serializers.DateField(source="due_on")
    overdue = serializers.BooleanField(source="is_overdue")
    raised_by = PersonBrief()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)
    actions = ActionOut(many=True)


class FindingDetail(FindingOut):
    open_actions = serializers.SerializerMethodField(help_text="What the asking person may do now.")

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_open_actions(self, finding: Finding) -> list[str]:
        return self.context["reader"].finding_actions(finding)  # type: ignore[no-any-return]


class FindingQuery(Shape):
    state = serializers.MultipleChoiceField(choices=Finding.State.choices, required=False)
    school = serializers.UUIDField(required=False)
    activity = serializers.UUIDField(required=False)
    visit = serializers.UUIDField(required=False)
    overdue = serializers.BooleanField(required=False, allow_null=True, default=None)

    lookups: ClassVar = {
        "state": "state__in",
        "school": "school_id",
        "activity": "activity_id",
        "visit": "visit_id",
    }


class MatrixQuery(Shape):
    activity = serializers.UUIDField(required=False)


class CellOut(Shape):
    """The findings of one item at one school."""

    item = serializers.CharField(help_text="`key` of the item.")
    states = serializers.ListField(child=serializers.CharField())
    findings = serializers.ListField(child=serializers.UUIDField())
    overdue = serializers.BooleanField()


class MatrixSchoolOut(Shape):
    id = serializers.UUIDField()
    name = serializers.CharField()
    total = serializers.IntegerField()
    settled = serializers.IntegerField()
    cleared = serializers.BooleanField(help_text="All its findings are settled.")
    cells = CellOut(many=True)


class MatrixItemOut(Shape):
    key = serializers.CharField()
    title = serializers.CharField()
    total = serializers.IntegerField()
    settled = serializers.IntegerField()


class TotalsOut(Shape):
    """校校清: schools_cleared of schools; 项项清: settled of total."""

    schools = serializers.IntegerField()
    schools_cleared = serializers.IntegerField()
    total = serializers.IntegerField()
    settled = serializers.IntegerField()


class MatrixOut(Shape):
    totals = TotalsOut()
    items = MatrixItemOut(many=True)
    schools = MatrixSchoolOut(many=True)
