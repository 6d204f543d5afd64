"""What inspectors and offices say to flags."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.serializers.evidence import FlagNoteIn, FlagOut
from mobile_api.views.base import PhoneView, one
from server.evidence.queries import every_flag_shown_to
from server.evidence.services import explain_flag


class FlagNotesView(PhoneView):
    @extend_schema(
        operation_id="explain_flag", tags=["Media"], request=FlagNoteIn, responses=FlagOut
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Add an explanation to a flag. It is kept with who and when. 403: a school cannot."""
        told = self.body(FlagNoteIn)
        explain_flag(flag_id=id, note_id=told["id"], by=self.person, text=told["text"])
        return self.out(FlagOut, one(every_flag_shown_to(self.person), id))
