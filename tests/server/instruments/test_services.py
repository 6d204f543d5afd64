"""An instrument's own settings: what a publication sets and what the office sets later."""

from __future__ import annotations

from typing import Any

import pytest

from server.core.audit import AuditEntry
from server.core.errors import NotFound
from server.instruments.models import Instrument
from server.instruments.services import publish_instrument, set_blur_faces, upload_xlsform
from tests.cast import Cast
from tests.forms import KITCHEN_SURVEY, YES_NO, xlsform


def publish(cast: Cast, **settings: Any) -> Instrument:
    content = xlsform(KITCHEN_SURVEY, YES_NO, {"form_id": "kitchen", **settings})
    upload_xlsform(by=cast.office, content=content)
    return publish_instrument(by=cast.office, form_id="kitchen").instrument


def test_publishing_takes_the_blur_setting_from_the_sheet(cast: Cast) -> None:
    assert publish(cast, blur_faces="yes").blur_faces
    assert not publish(cast, blur_faces="no").blur_faces


def test_a_sheet_that_says_nothing_leaves_the_setting(cast: Cast) -> None:
    publish(cast)
    set_blur_faces(by=cast.office, form_id="kitchen", blur=True)
    assert publish(cast).blur_faces


def test_each_change_is_in_the_audit_log(cast: Cast) -> None:
    publish(cast, blur_faces="yes")
    for blur in (True, False, False):
        set_blur_faces(by=cast.office, form_id="kitchen", blur=blur)
    entries = AuditEntry.objects.order_by("pk")
    assert [entry.details["blur_faces"] for entry in entries] == [True, False]
    assert {entry.action for entry in entries} == {"instrument.blur_changed"}


def test_only_the_instruments_office_may_set_it(cast: Cast) -> None:
    publish(cast)
    for person in (cast.ada, cast.carla, cast.principal, cast.town_group):
        with pytest.raises(NotFound):
            set_blur_faces(by=person, form_id="kitchen", blur=True)
    assert not Instrument.objects.get().blur_faces
