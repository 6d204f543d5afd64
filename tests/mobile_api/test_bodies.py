"""Reading bodies: whole, or refused before anybody looks into them."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace

import pytest

from mobile_api.bodies import read_body
from server.core.errors import Malformed


def test_a_body_whose_line_broke_is_refused_before_it_is_a_document():
    request = SimpleNamespace(META={"CONTENT_LENGTH": "100"})
    with pytest.raises(Malformed, match="中断"):
        read_body(BytesIO(b'{"form_id": "kit'), request)


def test_a_body_of_its_declared_length_is_read():
    request = SimpleNamespace(META={"CONTENT_LENGTH": "2"})
    assert read_body(BytesIO(b"{}"), request) == b"{}"
