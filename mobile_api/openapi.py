"""What the OpenAPI document says beyond the views: bearer tokens, pages, and how things are refused."""

from __future__ import annotations

from functools import cache
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

from server.core.errors import registry

PROBLEM = "#/components/schemas/Problem"

DEVICE_TIME = OpenApiParameter(
    "X-Device-Time",
    OpenApiTypes.DATETIME,
    OpenApiParameter.HEADER,
    description="What the phone's clock shows when it sends the request, ISO 8601 with an offset. "
    "By it the server knows how far the clock is off, and corrects the times of photos.",
)

METHODS = ("get", "post", "put", "delete", "patch")
WITH_BODY = ("post", "put", "patch")

REFUSALS = {
    "400": "The request cannot be read: malformed JSON, wrong parameters, a bad cursor.",
    "401": "No, expired or revoked credentials.",
    "403": "Seen, but not this person's to do.",
    "404": "No such thing, or not visible to this person.",
    "409": "The state or an earlier write stands against it.",
    "410": "It was there and was deleted by the rules; its record stays.",
    "413": "The body is over the limit.",
    "415": "Not this content type.",
    "422": "The content breaks a rule; `errors` says where.",
    "429": "More often than is allowed; go on after `Retry-After` seconds.",
    "503": "A part that we depend on is down; try again after `Retry-After` seconds.",
}


class BearerToken(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # untyped library
    target_class = "mobile_api.authentication.DeviceTokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of POST /auth/sessions.",
        }


@cache
def page_shape(item: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """The shape of one page of a list."""
    return inline_serializer(
        item.__name__.removesuffix("Out") + "Page",
        {
            "results": item(many=True),
            "next": serializers.CharField(
                allow_null=True, help_text="`cursor` of the next page; null at the end."
            ),
        },
    )


def only_the_api(endpoints: list[Any], **_: Any) -> list[Any]:
    """The document's addresses. A preprocessing hook of drf-spectacular."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]


def describe_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Give every operation its refusals. A postprocessing hook of drf-spectacular."""
    components = result["components"]
    components["schemas"] |= {"Problem": problem_schema()}
    components["responses"] = {code: _response(code, text) for code, text in REFUSALS.items()}
    for path, operations in result["paths"].items():
        for method in METHODS:
            if method in operations:
                _refuse(path, method, operations[method])
    return result


def problem_schema() -> dict[str, Any]:
    """RFC 9457 with our members; `code` is the closed registry of server.core.errors."""
    text = {"type": "string"}
    error = {"type": "object", "properties": {"pointer": text, "code": text, "detail": text}}
    properties = {
        "type": text,
        "title": text,
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What to do, in the reader's language."},
        "code": {"type": "string", "enum": sorted(registry())},
        "errors": {
            "type": "array",
            "description": "`pointer`: JSON pointer into the body, or ?name of a parameter.",
            "items": error | {"required": ["pointer", "code", "detail"]},
        },
        "request_id": text,
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _refuse(path: str, method: str, operation: dict[str, Any]) -> None:
    codes = {"503"} | (REFUSALS.keys() & operation["responses"].keys())
    if operation.get("security") != [{}]:
        codes |= {"401"} | ({"403"} if method in WITH_BODY else set())
    parameters = operation.get("parameters", ())
    if "{" in path or "requestBody" in operation or any(map(_names_a_thing, parameters)):
        codes |= {"404"}
    if parameters or method in WITH_BODY:
        codes |= {"400"}
    if "requestBody" in operation or (method in WITH_BODY and "{" in path):
        codes |= {"409", "422"}
    if "requestBody" in operation:
        codes |= {"413", "415"}
    if path.endswith("/original"):
        codes |= {"410"}
    if operation["operationId"] == "send_message":
        codes |= {"429"}
    responses = operation["responses"]
    missing = {code: {"$ref": f"#/components/responses/{code}"} for code in sorted(codes)}
    operation["responses"] = {**missing, **responses}
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _names_a_thing(parameter: dict[str, Any]) -> bool:
    """By an id in the query, which may be unknown."""
    return bool(parameter["in"] == "query" and parameter["schema"].get("format") == "uuid")


def _response(status: str, text: str) -> dict[str, Any]:
    example = {
        "type": "about:blank",
        "title": "内容不符合要求",
        "status": int(status),
        "detail": "内容不符合要求",
        "code": _CODES[status],
        "errors": [{"pointer": "/device/id", "code": "required", "detail": "该字段是必填项。"}]
        if status == "422"
        else [],
        "request_id": "0b2f6c1e5d2f4a7b9c3d8e1f0a4b6c7d",
    }
    content = {"schema": {"$ref": PROBLEM}, "example": example}
    return {"description": text, "content": {"application/problem+json": content}}


_CODES = {
    "400": "malformed",
    "401": "not_authenticated",
    "403": "not_allowed",
    "404": "not_found",
    "409": "content_conflict",
    "410": "gone",
    "413": "too_large",
    "415": "unsupported_media_type",
    "422": "invalid",
    "429": "too_many_requests",
    "503": "unavailable",
}
