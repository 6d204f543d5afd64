"""The document and its page: open to everybody, whole, with nothing from outside."""

from __future__ import annotations

import re

import pytest
import yaml
from django.test import Client

from mobile_api.urls import v1


@pytest.fixture(scope="module")
def document() -> dict:
    answer = Client().get("/api/schema/", headers={"Accept": "application/yaml"})
    assert answer.status_code == 200
    return yaml.safe_load(answer.content)


def test_the_document_is_openapi_3_1_and_names_every_address(document):
    assert document["openapi"].startswith("3.1")
    assert len(document["paths"]) == len(v1)


def test_every_operation_says_how_it_refuses(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert "503" in operation["responses"], (method, path)
            if path not in {"/api/v1/auth/sessions", "/api/v1/receipts/keys"}:
                assert "401" in operation["responses"], (method, path)
                assert operation["security"] == [{"bearer": []}]
            assert operation["summary" if "summary" in operation else "description"]


def test_a_submissions_conflict_and_broken_rules_are_described(document):
    put = document["paths"]["/api/v1/submissions/{id}"]["put"]["responses"]
    assert {"200", "201", "400", "404", "409", "413", "415", "422"} <= put.keys()


def test_the_page_takes_nothing_from_outside(db):
    answer = Client().get("/api/docs/")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert "/static/drf_spectacular_sidecar/swagger-ui" in page
