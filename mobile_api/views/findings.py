"""Findings, the steps of their rectification, the matrix."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.openapi import page_shape
from mobile_api.pagination import PageQuery
from mobile_api.serializers.findings import (
    FindingActionIn,
    FindingDetail,
    FindingIn,
    FindingOut,
    FindingQuery,
    MatrixOut,
    MatrixQuery,
)
from mobile_api.shown import findings_shown_to
from mobile_api.views.base import PhoneView, one
from server.findings.queries import matrix_of, overdue
from server.findings.services import Step, act_on_finding, raise_finding

TAGS = ["Findings"]


class FindingsView(PhoneView):
    @extend_schema(
        operation_id="list_findings",
        tags=TAGS,
        parameters=[FindingQuery, PageQuery],
        responses=page_shape(FindingOut),
    )
    def get(self, request: Request) -> Response:
        """Findings of my schools, by deadline."""
        rows = self.narrowed(findings_shown_to(self.person), FindingQuery)
        if (late := self.query(FindingQuery)["overdue"]) is not None:
            rows = overdue(rows, late)
        return self.page(rows, FindingOut, ordering=("due_on", "id"))

    @extend_schema(
        operation_id="raise_finding",
        tags=TAGS,
        request=FindingIn,
        responses={201: FindingDetail, 200: FindingDetail},
    )
    def post(self, request: Request) -> Response:
        """Enter a finding by hand; the school is told. The same again is 200."""
        entered = self.body(FindingIn)
        finding, created = raise_finding(
            finding_id=entered.pop("id"), due_on=entered.pop("due"), by=self.person, **entered
        )
        row = one(findings_shown_to(self.person), finding.pk)
        return self.out(FindingDetail, row, 201 if created else 200)


class FindingView(PhoneView):
    @extend_schema(operation_id="get_finding", tags=TAGS, responses=FindingDetail)
    def get(self, request: Request, id: UUID) -> Response:
        """One finding with its history, and what I may do with it now."""
        return self.out(FindingDetail, one(findings_shown_to(self.person), id))


class FindingActionsView(PhoneView):
    @extend_schema(
        operation_id="act_on_finding", tags=TAGS, request=FindingActionIn, responses=FindingDetail
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Answer, verify, return, postpone, withdraw or reopen; 409 in a state that forbids it."""
        taken = self.body(FindingActionIn)
        action_id, at, due_on = taken.pop("id"), taken.pop("at"), taken.pop("due")
        step = Step(**taken, due_on=due_on)
        act_on_finding(finding_id=id, action_id=action_id, by=self.person, step=step, at=at)
        return self.out(FindingDetail, one(findings_shown_to(self.person), id))


class MatrixView(PhoneView):
    @extend_schema(
        operation_id="findings_matrix", tags=TAGS, parameters=[MatrixQuery], responses=MatrixOut
    )
    def get(self, request: Request) -> Response:
        """Schools × items with their states, and the totals (校校清、项项清)."""
        asked = self.query(MatrixQuery)
        return self.out(MatrixOut, matrix_of(self.person, activity_id=asked.get("activity")))
