"""Pictures that arrive, are filled in and are shared, step by step."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from media_storage.stores import get_store
from server.activities.models import Submission, Visit
from server.activities.services.accepting import BroughtFile, accept_submission
from server.activities.services.documents import document_from_json
from server.core import work
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding, raise_finding
from server.grid.models import User
from server.instruments.models import InstrumentVersion
from server.sharing.models import SharedCopy
from tests.activities import device_of
from tests.cast import Cast
from tests.forms import kitchen_answers
from tests.media_storage.faces import ground, head
from tests.media_storage.pictures import encoded

TAKEN = datetime(2026, 11, 23, 2, 12, 5, tzinfo=UTC)
ARRIVED = datetime(2026, 11, 23, 12, 31, 7, tzinfo=UTC)
Photo = Callable[..., MediaObject]


def picture(*, face: bool = False) -> bytes:
    image = ground(800, 600, seed=1)
    if face:
        drawn = head(300)
        image.paste(drawn, (250, 150), drawn)
    return encoded(image, quality=85)


def run(*pumps: str) -> None:
    """What a worker does for these pumps; as often as there is something."""
    known = {pump.name: pump for pump in work.pumps()}
    for name in pumps or tuple(known):
        while work.drain(known[name]):
            pass


def new_photo(owner: User | None, content: bytes = b"", **fields: Any) -> MediaObject:
    """Arrived, not looked at yet."""
    content_type = fields.pop("content_type", "image/jpeg")
    stored = store_stream(
        filename="a", content_type=content_type, chunks=[content or picture(face=True)]
    )
    values = new_media_values(
        media_id=uuid4(),
        owner_id=owner.pk if owner else None,
        filename="食堂.jpg",
        stored=stored,
        taken_at=TAKEN,
    )
    return MediaObject.objects.create(**{**values, "stored_at": ARRIVED, **fields})


def fill_in(visit: Visit | None, sender: User, *photos: MediaObject) -> Submission:
    """A kitchen form that names the photos, stored; not derived."""
    version = InstrumentVersion.objects.get(instrument__form_id="kitchen")
    document = document_from_json(
        submission_id=uuid4(),
        form_id="kitchen",
        version=version.version,
        answers=kitchen_answers(licence_photo="a.jpg" if photos else None),
        raw=b"{}",
        visit_id=visit.pk if visit else None,
        started_at=None,
        ended_at=None,
        device_time=None,
    )
    files = [BroughtFile("a.jpg", each) for each in photos]
    accept_submission(document=document, device=device_of(sender), files=files)
    return Submission.objects.get(pk=document.id)


def answer(finding: Finding, by: User, *photos: MediaObject) -> Finding:
    """The school's evidence for its rectification."""
    step = Step(action="answer", measures="已清理", media=[each.pk for each in photos])
    return act_on_finding(finding_id=finding.pk, action_id=uuid4(), by=by, step=step)


def found(cast: Cast, **fields: Any) -> Finding:
    values = {"school_id": cast.school.pk, "title": "未公示食品经营许可证", **fields}
    due = datetime(2027, 1, 31, tzinfo=UTC).date()
    return raise_finding(finding_id=uuid4(), by=cast.office, due_on=due, **values)[0]


def copy_of(media: MediaObject) -> SharedCopy:
    return SharedCopy.objects.get(pk=media.pk)


def names_of(media: MediaObject) -> set[str]:
    return set(media.renditions.values_list("name", flat=True))


def opened(media: MediaObject, name: str) -> Image.Image:
    key = media.renditions.get(name=name).key
    return Image.open(io.BytesIO(b"".join(get_store().read(key)))).convert("RGB")


@pytest.fixture
def shared_photo(cast: Cast, visit: Visit) -> MediaObject:
    """Ada's photo of a face at the school, shared as it is: the instrument does not hide faces."""
    media = new_photo(cast.ada, latitude=33.0005, longitude=108.0, accuracy_m=5.0)
    fill_in(visit, cast.ada, media)
    run()
    return media


def blur_kitchen(wanted: bool = True) -> None:
    """The instrument's setting."""
    from server.instruments.models import Instrument

    Instrument.objects.filter(form_id="kitchen").update(blur_faces=wanted)
