"""What every view of the phone's API has in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

from django.conf import settings
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from mobile_api.bodies import ApiRequest, JSONParser
from mobile_api.pagination import PageQuery, page_of, read_query
from mobile_api.polling import finish
from server.core.errors import Malformed, NotFound
from server.grid.models import User
from server.messaging.models import Device

M = TypeVar("M", bound=Model)
Shape = type[Serializer[Any]]


class PhoneView(APIView):
    """A bearer token, JSON in and out, problems, pages, ETags."""

    parser_classes: Sequence[Any] = (JSONParser,)

    @property
    def person(self) -> User:
        return cast(User, self.request.user)

    @property
    def device(self) -> Device:
        return cast(Device, self.request.auth)

    @property
    def base_url(self) -> str:
        """The address that the phone reaches us by, without a slash at the end."""
        return settings.PUBLIC_URL.rstrip("/") or self.request.build_absolute_uri("/").rstrip("/")

    def body(self, shape: Shape) -> dict[str, Any]:
        """The checked body. Raises Malformed, and DRF's ValidationError with the fields."""
        if not isinstance(self.request.data, dict):
            raise Malformed
        serializer = shape(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def query(self, shape: Shape) -> dict[str, Any]:
        """The checked parameters of the address. Raises Malformed."""
        return read_query(self.request, shape)

    def out(self, shape: Shape, item: Any, status: int = 200, **context: Any) -> Response:
        """The answer with one object."""
        return Response(shape(item, context=self._context(context)).data, status)

    def page(
        self, rows: QuerySet[M], shape: Shape, *, ordering: Sequence[str], **context: Any
    ) -> Response:
        """The answer with one page of a list."""
        found, following = page_of(rows, ordering=ordering, **self.query(PageQuery))
        results = shape(found, many=True, context=self._context(context)).data
        return Response({"results": results, "next": following})

    def _context(self, more: dict[str, Any]) -> dict[str, Any]:
        return {"person": self.person, "base_url": self.base_url, **more}

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        return ApiRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.add_post_render_callback(partial(_finish, request))
        return response


def one(rows: QuerySet[M], key: UUID) -> M:
    """The row with this id. Raises NotFound: what one may not see does not exist."""
    row = rows.filter(pk=key).first()
    if row is None:
        raise NotFound
    return row


def _finish(request: Request | HttpRequest, response: HttpResponse) -> HttpResponse:
    return finish(getattr(request, "_request", request), response)
