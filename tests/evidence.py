"""A day at the schools of the cast, with a clock that stands still, for photos whose times are known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from media_storage.models import Facts, MediaObject
from media_storage.signals import media_processed
from server.activities.models import Submission, Visit
from server.activities.services.accepting import BroughtFile, accept_submission
from server.activities.services.documents import document_from_json
from server.activities.services.visits import Place, check_in, complete_visit
from server.core import work
from server.evidence.models import Flag, PhotoCheck, VisitCheck
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding, raise_finding
from server.grid.models import User
from tests.activities import device_of
from tests.forms import kitchen_answers

NINE = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
"""Nine o'clock on a Monday, at the county."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SCHOOL = (33.0, 108.0)
NEAR = (33.0005, 108.0)
FAR = (33.03, 108.0)


class Day:
    """The clock, and what people do by it. Times are hours from nine o'clock."""

    def __init__(self) -> None:
        self.moment = NINE + 12 * HOUR

    def at(self, hours: float) -> datetime:
        return NINE + hours * HOUR

    def tick(self) -> None:
        """No two steps of a visit arrive at the same moment."""
        self.moment += timedelta(seconds=1)

    def photo(
        self,
        owner: User,
        *,
        taken: float | None = 1.0,
        arrived: float = 12.0,
        place: tuple[float, float] | None = NEAR,
        accuracy: float | None = 10.0,
        content: str = "",
        state: str = "ready",
        facts: dict[str, Any] | None = None,
        **fields: Any,
    ) -> MediaObject:
        """A photo that was taken and has arrived; `facts` None: its EXIF agrees with the phone."""
        lat, lon = place or (None, None)
        media = MediaObject.objects.create(
            owner=owner,
            filename=fields.pop("filename", "photo.jpg"),
            content_type=fields.pop("content_type", "image/jpeg"),
            size=1000,
            sha256=hashlib.sha256((content or str(uuid4())).encode()).hexdigest(),
            taken_at=None if taken is None else self.at(taken),
            latitude=lat,
            longitude=lon,
            accuracy_m=accuracy if place else None,
            state=state,
            created_at=self.at(arrived),
            stored_at=self.at(arrived),
            **fields,
        )
        told = {} if taken is None else {"exif_at": self.at(taken), "exif": {"Make": "Test"}}
        if facts is not NOT_READ:
            Facts.objects.create(media=media, **(told if facts is None else facts))
        media_processed.send(MediaObject, media=media)
        return media

    def fill_in(
        self, media: MediaObject | None, visit: Visit | None, *, id: UUID | None = None, **more: Any
    ) -> Submission:
        """Ada's phone, or whose photo it is, sends a record with the photo."""
        owner = more.pop("sender", None) or media.owner
        document = document_from_json(
            submission_id=id or uuid4(),
            form_id="kitchen",
            version=more.pop("version"),
            answers=kitchen_answers(licence_photo="photo.jpg"),
            raw=b"{}",
            visit_id=visit.pk if visit else None,
            started_at=None,
            ended_at=None,
            device_time=None,
        )
        files = [BroughtFile("photo.jpg", media)] if media else []
        device = more.pop("device", None) or device_of(owner)
        accept_submission(document=document, device=device, files=files)
        return Submission.objects.get(pk=document.id)

    def check_in(
        self,
        visit: Visit,
        by: User,
        *,
        at: float = 0.0,
        place: tuple[float, float] | None = SCHOOL,
        accuracy: float | None = 10.0,
    ) -> None:
        where = Place(place[0], place[1], accuracy) if place else None
        self.tick()
        check_in(visit_id=visit.pk, action_id=uuid4(), by=by, at=self.at(at), place=where)

    def complete(self, visit: Visit, by: User, *, at: float = 3.0) -> None:
        self.tick()
        complete_visit(visit_id=visit.pk, action_id=uuid4(), by=by, at=self.at(at), summary="")

    def find(self, visit: Visit, by: User) -> Finding:
        """A problem that the inspector enters."""
        finding, _new = raise_finding(
            finding_id=uuid4(),
            by=by,
            school_id=visit.school_id,
            title="未公示食品经营许可证",
            due_on=(self.moment + 9 * DAY).date(),
            visit_id=visit.pk,
        )
        Finding.objects.filter(pk=finding.pk).update(created_at=self.at(2))
        return finding

    def mend(self, finding: Finding, by: User, *media: MediaObject, action: str = "answer") -> None:
        """A step of the rectification, with photos."""
        step = Step(
            action=action, measures="已整改", note="见照片", media=[each.pk for each in media]
        )
        act_on_finding(finding_id=finding.pk, action_id=uuid4(), by=by, step=step)

    def work(self) -> None:
        """The worker does all there is to do."""
        self.moment = max(self.moment, NINE + 24 * HOUR)
        work.drain_all()
        for model in (PhotoCheck, VisitCheck, Submission):
            assert list(model.objects.exclude(work_error="").values_list("work_error")) == []


NOT_READ: dict[str, Any] = {"not": "read"}


@pytest.fixture
def day(monkeypatch) -> Day:
    """The clock stands at nine in the evening of the day; the photos arrive then."""
    day = Day()
    monkeypatch.setattr(timezone, "now", lambda: day.moment)
    return day


@pytest.fixture
def bruno_visit(activity, cast) -> Visit:
    """Bruno's, at the other school."""
    return activity.visits.get(school=cast.other_school)


Record = Callable[..., Submission]


@pytest.fixture
def record(day, kitchen) -> Record:
    """`day.fill_in` with the published form."""

    def record(media: MediaObject | None, visit: Visit | None, **more: Any) -> Submission:
        return day.fill_in(media, visit, version=kitchen.version, **more)

    return record


def codes(media: MediaObject | None = None, **which: Any) -> list[str]:
    """The codes of the flags that stand, of a photo or otherwise."""
    flags = Flag.objects.filter(cleared_at=None, **which)
    if media is not None:
        flags = flags.filter(media=media)
    return sorted(flags.values_list("code", flat=True))


def flag(code: str, media: MediaObject | None = None, **which: Any) -> Flag:
    """The one flag of the code that stands."""
    flags = Flag.objects.filter(cleared_at=None, code=code, **which)
    return (flags.filter(media=media) if media else flags).get()
