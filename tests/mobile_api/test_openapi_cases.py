"""Every operation of the OpenAPI document, called with what the document allows and with what it does
not: never a 500, and nothing in an answer that the document does not say.

A bounded run for the suite; DUXUE_EXAMPLES=200 asks more of each operation.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from django.db import transaction
from django.http import QueryDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from media_storage.models import MediaObject
from server.activities.models import Activity, Submission, Visit
from server.activities.services.accepting import accept_submission
from server.activities.services.documents import document_from_xml
from server.core import work
from server.findings.models import Finding
from server.grid.models import User
from server.instruments.models import InstrumentVersion
from server.messaging.models import Notice
from server.messaging.services import notify
from tests.activities import device_of
from tests.cast import Cast
from tests.clients import Phone
from tests.forms import kitchen_xml

pytestmark = pytest.mark.django_db

EXAMPLES = int(os.environ.get("DUXUE_EXAMPLES") or 6)
CPU_SECONDS = 3
"""For one call: none of the product's own takes a tenth of it."""

SCHEMA = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.yaml")
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]
PASSED_ON = {"Accept", "Accept-Language", "If-None-Match"}
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
def world(
    cast: Cast, kitchen: InstrumentVersion, activity: Activity, visit: Visit, settled: None
) -> dict[str, list[str]]:
    """Something of everything, and its ids by the first part of the address."""
    raw = kitchen_xml(kitchen.version, licence="no", licence_note="未见", licence_photo="1.jpg")
    accept_submission(document=document_from_xml(raw), device=device_of(cast.ada))
    media = MediaObject.objects.create(
        owner=cast.ada, filename="1.jpg", content_type="image/jpeg", size=9, sha256="0" * 64
    )
    notify(
        "announcement",
        recipients=[cast.ada, cast.office],
        created_by=cast.office,
        title="通知",
        body="内容",
    )
    work.drain_all()
    return {
        "activities": _ids(Activity),
        "findings": _ids(Finding),
        "instruments": ["kitchen", kitchen.version],
        "media": [str(media.pk)],
        "notices": _ids(Notice),
        "schools": [str(cast.school.pk), str(cast.far_school.pk)],
        "submissions": _ids(Submission),
        "visits": _ids(Visit),
    }


def _ids(model: Any) -> list[str]:
    return [str(pk) for pk in model.objects.values_list("pk", flat=True)]


@pytest.fixture(params=["ada", "office"])
def caller(request: pytest.FixtureRequest, cast: Cast) -> User:
    """An inspector, who may do little, and the office, which may do most."""
    return getattr(cast, request.param)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_an_operation_keeps_to_the_document(
    operation: Any, caller: User, world: dict[str, list[str]]
):
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(case=cases, pick=st.integers(0, 5))
    def call(case: Case, pick: int) -> None:
        with transaction.atomic():
            _name_something_real(case, world, pick)
            phone = Phone()
            phone.log_in(caller.username)
            began = time.process_time()
            response = _sent(case, phone)
            assert time.process_time() - began < CPU_SECONDS
            case.validate_response(response, checks=CHECKS)
            transaction.set_rollback(True)

    call()


def _sent(case: Case, phone: Phone) -> Response:
    """The case's very bytes through Django's test client, which keeps to the test's transaction."""
    request = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    url = urlsplit(request.url)
    body = request.body or b""
    answer = phone.raw(
        case.method,
        url.path,
        body if isinstance(body, bytes) else body.encode(),
        content_type=request.headers.get("Content-Type", ""),
        query=QueryDict(url.query),
        headers={name: value for name, value in request.headers.items() if name in PASSED_ON},
    )
    content = b"".join(answer) if answer.streaming else answer.content
    named = {name: [value] for name, value in answer.headers.items()}
    return Response(answer.status_code, named, content, request, elapsed=0, verify=False)


def _name_something_real(case: Case, world: dict[str, list[str]], pick: int) -> None:
    """Two calls of three are about things that exist: random ids are all answered by 404."""
    known = world.get(case.path.removeprefix("/api/v1/").split("/")[0])
    if not known or pick < 2:
        return
    for number, name in enumerate(case.path_parameters or {}):
        case.path_parameters[name] = known[(number + pick) % len(known)]
