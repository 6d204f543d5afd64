"""Shared copies: what is hidden in them by hand, and making them anew."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mobile_api.serializers.sharing import SIDES, BlurBoxesIn, BlurBoxesOut, RemadeOut
from mobile_api.views.base import PhoneView
from server.sharing.services import blur_boxes_of, remake_copies, set_blur_boxes


class BlurBoxesView(PhoneView):
    @extend_schema(operation_id="get_blur_boxes", tags=["Media"], responses=BlurBoxesOut)
    def get(self, request: Request, id: UUID) -> Response:
        """What is hidden in a picture's shared copy. For whoever may open the original."""
        return self.out(BlurBoxesOut, blur_boxes_of(media_id=id, by=self.person))

    @extend_schema(
        operation_id="set_blur_boxes", tags=["Media"], request=BlurBoxesIn, responses=BlurBoxesOut
    )
    def put(self, request: Request, id: UUID) -> Response:
        """Hide these places, instead of those hidden by hand before. The copy is made anew."""
        boxes = [[box[side] for side in SIDES] for box in self.body(BlurBoxesIn)["boxes"]]
        return self.out(BlurBoxesOut, set_blur_boxes(media_id=id, by=self.person, boxes=boxes))


class SharedCopiesView(PhoneView):
    @extend_schema(
        operation_id="remake_shared_copies",
        tags=["Activities"],
        request=None,
        responses={202: RemadeOut},
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Have an activity's shared copies made as they should be now. For its office."""
        count = remake_copies(activity_id=id, by=self.person)
        return Response({"pictures": count}, 202)
