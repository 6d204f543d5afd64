"""What every view of the phone's API has in common."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

from django.conf import settings
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from mobile_api.bodies import ApiRequest, JSONParser, read_body
from mobile_api.pagination import PageQuery, page_of, read_query
from mobile_api.polling import finish
from mobile_api.serializers.common import Reader
from server.core.errors import Malformed, NotFound
from server.grid.models import User
from server.messaging.clocks import read_clock
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

    def read_clock(self, device: Device, *, at: datetime | None = None) -> None:
        """Take note of what the phone says that its clock shows; what cannot be read is no reading.

        `at`: when the request came, where much was done since.
        """
        told = self.request.META.get("HTTP_X_DEVICE_TIME")
        if told:
            try:
                moment = datetime.fromisoformat(told)
            except ValueError:
                return
            if moment.tzinfo:
                read_clock(device=device, device_time=moment, at=at)

    def body(self, shape: Shape) -> dict[str, Any]:
        """The checked body. Raises Malformed, and DRF's ValidationError with the fields."""
        if not isinstance(self.request.data, dict):
            raise Malformed
        serializer = shape(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def raw_body(self) -> bytes:
        """The body's bytes, for the hot path. Raises Malformed, TooLarge, UnsupportedMediaType."""
        if not self.request.content_type.lower().startswith(JSONParser.media_type):
            raise UnsupportedMediaType(self.request.content_type)
        stream = self.request.stream
        return read_body(stream, self.request) if stream else b""

    def query(self, shape: Shape) -> dict[str, Any]:
        """The checked parameters of the address. Raises Malformed."""
        return read_query(self.request, shape)

    def narrowed(self, rows: QuerySet[M], shape: Shape) -> QuerySet[M]:
        """The rows that the address asks for, by the query shape's `lookups`."""
        lookups: dict[str, str] = shape.lookups  # type: ignore[attr-defined]
        asked = self.query(shape)
        return rows.filter(**{lookups[name]: asked[name] for name in lookups if name in asked})

    def out(self, shape: Shape, item: Any, status: int = 200, **context: Any) -> Response:
        """The answer with one object."""
        return Response(shape(item, context=self.context(**context)).data, status)

    def page(
        self, rows: QuerySet[M], shape: Shape, *, ordering: Sequence[str], **context: Any
    ) -> Response:
        """The answer with one page of a list."""
        found, following = page_of(rows, ordering=ordering, **self.query(PageQuery))
        results = shape(found, many=True, context=self.context(**context)).data
        return Response({"results": results, "next": following})

    def context(self, **more: Any) -> dict[str, Any]:
        """What serializers may ask for."""
        return {"reader": Reader(self.person), "base_url": self.base_url, **more}

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
        whole = getattr(request, "_request", request)
        if isinstance(response, Response):
            response.add_post_render_callback(partial(finish, whole))
            return response
        return finish(whole, response)


class AnyAccept(DefaultContentNegotiation):
    """For files: the first renderer renders the problems, whatever the client would accept."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


def one(rows: QuerySet[M], key: UUID) -> M:
    """The row with this id. Raises NotFound: what one may not see does not exist."""
    return first(rows.filter(pk=key))


def first(rows: QuerySet[M]) -> M:
    """The first of the rows. Raises NotFound."""
    row = rows.first()
    if row is None:
        raise NotFound
    return row
