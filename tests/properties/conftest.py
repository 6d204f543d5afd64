"""What the property tests share."""

from __future__ import annotations

import pytest

from server.activities.services.planning import create_activity, publish_activity
from server.core import clock
from server.instruments.models import InstrumentVersion
from server.instruments.services import publish_instrument, upload_xlsform
from tests.cast import Cast
from tests.forms import YES_NO, xlsform
from tests.properties.posts import DIARY_SURVEY


@pytest.fixture
def diary(cast: Cast) -> InstrumentVersion:
    """An instrument with three items and two photos, and Ada's only open visit, which uses it."""
    content = xlsform(DIARY_SURVEY, YES_NO, {"form_id": "diary", "form_title": "日志"})
    upload_xlsform(by=cast.office, content=content)
    version = publish_instrument(by=cast.office, form_id="diary")
    draft = create_activity(
        by=cast.office,
        kind="routine",
        title="日常督导",
        starts=clock.today(),
        ends=clock.today(),
        instruments=["diary"],
        schools=[cast.school.pk],
    )
    publish_activity(activity_id=draft.pk, by=cast.office)
    return version
