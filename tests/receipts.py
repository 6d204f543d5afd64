"""Receipts for tests: a chain with something of everything on it, and a clock that is moved by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zlib import crc32

import pytest

from media_storage.models import MediaObject
from media_storage.services import new_media_values, store_stream
from server.activities.models import Submission, Visit
from server.activities.services.accepting import BroughtFile, accept_submission
from server.activities.services.deriving import derive
from server.activities.services.documents import document_from_json, document_from_xml
from server.activities.services.visits import Place, check_in
from server.core import clock
from server.core.changes import Change
from server.core.errors import ContentConflict
from server.findings.models import Finding
from server.findings.services import Step, act_on_finding
from server.grid.models import User
from server.receipts import chain
from server.receipts.keys import PrivateKey
from server.receipts.models import Receipt
from tests.activities import device_of
from tests.cast import Cast
from tests.forms import kitchen_answers, kitchen_xml
from tests.media_storage.pictures import jpeg

NOON = datetime(2026, 11, 23, 4, tzinfo=UTC)
"""In the county; the Monday on which the chain begins."""


FIRST_KEY, SECOND_KEY = "a1" * 32, "b2" * 32


@pytest.fixture
def receipt_keys(settings) -> None:
    """The chain begins with the first and goes on with the second from Tuesday on."""
    settings.RECEIPT_KEY = f"{FIRST_KEY} {SECOND_KEY}"


@dataclass
class Time:
    """The server's clock, moved by hand; the feed's rows are dated by it as well."""

    moment: datetime = NOON
    _dated: int = 0

    def now(self) -> datetime:
        return self.moment

    def date_changes(self) -> None:
        """Changes written since the last call came at this moment."""
        rows = Change.objects.filter(id__gt=self._dated)
        rows.update(at=self.moment)
        self._dated = Change.objects.order_by("-id").values_list("id", flat=True).first() or 0

    def move(self, **by: float) -> None:
        self.date_changes()
        self.moment += timedelta(**by)


@pytest.fixture
def held_time(monkeypatch) -> Time:
    time = Time()
    monkeypatch.setattr(clock, "now", time.now)
    return time


@dataclass
class County:
    """What people did, and the chain over it."""

    cast: Cast
    visit: Visit
    time: Time
    ids: dict[str, UUID] = field(default_factory=dict)

    def make(self) -> int:
        """All receipts that are due now."""
        self.time.date_changes()
        before = Receipt.objects.count()
        while chain.extend(seconds=60):
            pass
        return Receipt.objects.count() - before

    def send(
        self, name: str = "", *, photo: str = "", arrived: bool = True, sender: User | None = None
    ) -> Submission:
        """Ada fills in the kitchen form on her visit."""
        sender = sender or self.cast.ada
        answers = {"licence_photo": photo} if photo else {}
        document = document_from_json(
            submission_id=uuid4(),
            form_id="kitchen",
            version=self.version,
            answers=kitchen_answers(licence="no", licence_note="证件在柜子里", **answers),
            raw=f'{{"answers": "of {name}"}}'.encode(),
            visit_id=self.visit.pk if sender == self.cast.ada else None,
            started_at=NOON - timedelta(minutes=20),
            ended_at=NOON,
            device_time=NOON + timedelta(seconds=30),
        )
        files = []
        if photo:
            media = new_photo(sender, photo)
            if not arrived:
                media.state, media.stored_at, media.work_due_at = "declared", None, None
            files = [BroughtFile(photo, media, fresh=True)]
        accept_submission(document=document, device=device_of(sender), files=files)
        submission = Submission.objects.get(pk=document.id)
        derive(submission)
        if name:
            self.ids[name] = submission.pk
        return submission

    def arrive(self, media: MediaObject) -> None:
        """The photo's bytes come at last, and are processed."""
        from media_storage.signals import media_processed

        MediaObject.objects.filter(pk=media.pk).update(state="ready", stored_at=clock.now())
        media.refresh_from_db()
        media_processed.send(MediaObject, media=media)

    def post_xml(self, name: str, raw: bytes) -> None:
        document = document_from_xml(raw)
        self.ids[name] = document.id
        accept_submission(document=document, device=device_of(self.cast.ada))
        derive(Submission.objects.get(pk=document.id))

    @property
    def version(self) -> str:
        return self.visit.activity.instruments.get(form_id="kitchen").current.version


def new_photo(owner: User, name: str) -> MediaObject:
    """Of other bytes for each name."""
    picture = jpeg(40 + crc32(name.encode()) % 100, 48)
    stored = store_stream(filename=name, content_type="image/jpeg", chunks=[picture])
    values = new_media_values(
        media_id=uuid4(),
        owner_id=owner.pk,
        filename=name,
        stored=stored,
        taken_at=NOON - timedelta(minutes=5),
    )
    values |= {"latitude": 33.0005, "longitude": 108.0005, "accuracy_m": 12.5, "origin": "camera"}
    return MediaObject(**values)


@pytest.fixture
def county(cast: Cast, visit: Visit, held_time: Time, settled: None, receipt_keys: None) -> County:
    """Nothing received yet, no chain yet."""
    return County(cast, visit, held_time)


@pytest.fixture
def chained(county: County) -> County:
    """Monday and Tuesday closed, Wednesday empty and closed, Thursday open."""
    _monday(county)
    county.make()
    county.time.move(days=1)
    _tuesday(county)
    county.make()
    county.time.move(days=2)
    county.send("thursday", photo="4.jpg")
    county.make()
    return county


def _monday(county: County) -> None:
    cast, visit = county.cast, county.visit
    place = Place(33.0005, 108.0005, 20.0)
    check_in(visit_id=visit.pk, action_id=uuid4(), by=cast.ada, at=NOON, place=place)
    county.send("photo", photo="1.jpg")
    first, second = str(uuid4()), str(uuid4())
    raw = kitchen_xml(county.version, instance=first)
    county.post_xml("xml", raw)
    other = raw.replace(b"</licence>", b"</licence><licence_photo>5.jpg</licence_photo>")
    with pytest.raises(ContentConflict):
        accept_submission(
            document=document_from_xml(other),
            device=device_of(cast.ada),
            files=[BroughtFile("5.jpg", new_photo(cast.ada, "5.jpg"), fresh=True)],
        )
    county.post_xml("edit", kitchen_xml(county.version, instance=second, old=first))
    evidence = new_photo(cast.principal, "mended.jpg")
    evidence.save(force_insert=True)
    finding = Finding.objects.filter(state="open").order_by("created_at")[0]
    for by, step in (
        (cast.principal, Step(action="answer", measures="已公示", media=[evidence.pk])),
        (cast.office, Step(action="return", note="照片看不清", due_on=clock.today())),
    ):
        act_on_finding(finding_id=finding.pk, action_id=uuid4(), by=by, step=step, at=NOON)
    county.send("late", photo="2.jpg", arrived=False)


def _tuesday(county: County) -> None:
    chain.rotate(to=PrivateKey(bytes.fromhex(SECOND_KEY)))
    late = Submission.objects.get(pk=county.ids["late"])
    county.arrive(late.attachments.get().media)
    county.send("tuesday", photo="3.jpg")
