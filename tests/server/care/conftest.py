"""A visit whose activity ended long ago, with a photo that is ready and one finding, settled."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from server.activities.models import Activity, Visit
from server.care.counting import follow_feed
from server.care.deleting import find_due
from server.care.models import Deletion
from server.core import clock, work
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding
from server.grid.models import User
from tests.cast import Cast
from tests.media_storage.conftest import store, store_url
from tests.media_storage.pictures import jpeg
from tests.server.console.conftest import fill_in, made_visit

__all__ = ["fill_in", "made_visit", "store", "store_url"]

LONG_AGO = timedelta(days=3)
"""Past UPLOAD_TIME: no address of an upload is valid any more."""


def expire(activity: Activity, *, days: int = 1) -> None:
    """Let the activity's photos be kept until yesterday, and everything be older than its addresses."""
    ends = clock.today() - timedelta(days=days + 1)
    Activity.objects.filter(pk=activity.pk).update(
        starts=ends, ends=ends, keep_media_days=days, media_kept_until=ends + timedelta(days=days)
    )
    MediaObject.objects.exclude(stored_at=None).update(stored_at=clock.now() - LONG_AGO)
    activity.refresh_from_db()


def settle(finding: Finding, cast: Cast) -> None:
    """Answered by the school and verified by Ada."""
    answer_with(finding, cast.principal)
    step = Step(action="verify", note="已核查")
    act_on_finding(finding_id=finding.pk, action_id=uuid4(), by=cast.ada, step=step)


def answer_with(finding: Finding, by: User, *media: MediaObject) -> None:
    """The school's measures, with this evidence."""
    step = Step(action="answer", measures="已整改", media=[each.pk for each in media])
    act_on_finding(finding_id=finding.pk, action_id=uuid4(), by=by, step=step)


def add_photo(
    owner: User, filename: str = "整改后.jpg", size: tuple[int, int] = (640, 480)
) -> MediaObject:
    """Stored and processed, and not used for anything yet."""
    stored = store_stream(filename=filename, content_type="image/jpeg", chunks=[jpeg(*size)])
    values = new_media_values(
        media_id=uuid4(), owner_id=owner.pk, filename=filename, stored=stored, taken_at=clock.now()
    )
    media = MediaObject.objects.create(**values)
    work.drain_all()
    media.refresh_from_db()
    return media


def found() -> list[Deletion]:
    """What a look for due files announces, after the figures have caught up."""
    follow_feed()
    before = set(Deletion.objects.values_list("pk", flat=True))
    find_due()
    return list(Deletion.objects.exclude(pk__in=before))


@pytest.fixture
def photo(settled: None, made_visit: Visit) -> MediaObject:
    """Ada's, of the licence, at the school."""
    return MediaObject.objects.get(submission_attachments__submission__visit=made_visit)


@pytest.fixture
def finding(made_visit: Visit) -> Finding:
    """The missing licence."""
    return Finding.objects.get(visit=made_visit)


@pytest.fixture
def expired(photo: MediaObject, finding: Finding, cast: Cast, activity: Activity) -> MediaObject:
    """The photo, when nothing keeps it any more."""
    settle(finding, cast)
    expire(activity)
    photo.refresh_from_db()
    return photo
