"""What the OpenRosa tests share: an instrument with files and lists, a client that speaks as Collect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.http import HttpResponse
from django.test import Client
from lxml import etree

from media_storage.models import MediaObject
from server.activities.models import Activity, Submission, SubmissionConflict, Visit
from server.activities.services.planning import create_activity, publish_activity
from server.core import clock
from server.grid.models import User
from server.instruments.models import InstrumentVersion
from server.instruments.services import publish_instrument, upload_xlsform
from server.messaging.sessions import key_for
from tests.activities import device_of
from tests.cast import Cast
from tests.forms import YES_NO, xlsform
from tests.media_storage.pictures import jpeg

LOGO = b"\x89PNG\r\n\x1a\n" + b"logo"

GATE_SURVEY = [
    {"type": "select_one_from_file visits.csv", "name": "visit_id", "label": "任务"},
    {
        "type": "select_one yes_no",
        "name": "guard",
        "label": "门卫是否在岗",
        "required": "yes",
        "finding": "no",
        "finding_severity": "minor",
        "finding_days": 5,
        "finding_title": "门卫不在岗",
        "media::image": "logo.png",
    },
    {"type": "image", "name": "front", "label": "大门照片"},
    {"type": "image", "name": "side", "label": "侧门照片"},
]

FRONT, SIDE = jpeg(64, 48), jpeg(48, 64)


@pytest.fixture
def gate(cast: Cast) -> InstrumentVersion:
    """An instrument with a picture in a question, the list of visits and two photos to take."""
    content = xlsform(GATE_SURVEY, YES_NO, {"form_id": "gate", "form_title": "校门检查"})
    upload_xlsform(by=cast.office, content=content, attachments={"logo.png": LOGO})
    return publish_instrument(by=cast.office, form_id="gate")


@pytest.fixture
def gate_visit(cast: Cast, gate: InstrumentVersion) -> Visit:
    """Ada's; Bruno and Carla have one each at their schools."""
    draft = create_activity(
        by=cast.office,
        kind=Activity.Kind.ROUTINE,
        title="校门安全检查",
        starts=clock.today(),
        ends=clock.today(),
        instruments=["gate"],
        schools=[cast.school.pk, cast.other_school.pk, cast.far_school.pk],
    )
    return publish_activity(activity_id=draft.pk, by=cast.office).visits.get(school=cast.school)


Part = tuple[str, str, bytes]
"""The part's name, its content type, its bytes."""


def xml_part(content: bytes) -> Part:
    return ("xml_submission_file", "text/xml", content)


def multipart(parts: Sequence[Part], boundary: str = "b0und4ry") -> bytes:
    """The body as Collect writes it: every part has a file name."""
    pieces = [
        f"--{boundary}\r\nContent-Disposition: form-data; "
        f'name="{name}"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, kind, content in parts
    ]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])


class Collector:
    """One person's ODK Collect with the key in its address."""

    def __init__(self, user: User) -> None:
        self.device = device_of(user)
        self.root = f"/key/{key_for(self.device)}"
        self.client = Client(enforce_csrf_checks=True)

    def get(self, path: str, *, status: int = 200, **headers: str) -> HttpResponse:
        """`path` below the key, or an absolute address that the server gave out."""
        path = path.removeprefix("http://testserver")
        path = path if path.startswith(self.root) else f"{self.root}/{path}"
        response = self.client.get(path, headers=headers)
        assert response.status_code == status, response.content.decode()
        return response

    def send(
        self, *parts: Part, incomplete: bool = False, status: int = 201, **headers: str
    ) -> HttpResponse:
        flag: list[Part] = [("*isIncomplete*", "text/plain", b"yes")] if incomplete else []
        return self.send_raw(multipart([*parts, *flag]), status=status, **headers)

    def send_raw(
        self,
        body: bytes,
        *,
        content_type: str = "multipart/form-data; boundary=b0und4ry",
        status: int,
        **headers: str,
    ) -> HttpResponse:
        response = self.client.post(
            f"{self.root}/submission", body, content_type=content_type, headers=headers
        )
        assert response.status_code == status, response.content.decode()
        return response


CollectorOf = Callable[[User], Collector]


@pytest.fixture
def collector(cast: Cast) -> CollectorOf:
    return Collector


def gate_xml(
    version: InstrumentVersion | str, *, instance: str = "", old: str = "", **answers: Any
) -> bytes:
    """A filled-in gate form; `answers` by field, `instance` and `old` as bare UUIDs."""
    number = version if isinstance(version, str) else version.version
    leaves = {"visit_id": "", "guard": "yes", "front": "", "side": "", **answers}
    body = "".join(f"<{name}>{value}</{name}>" for name, value in leaves.items())
    deprecated = f"<orx:deprecatedID>uuid:{old}</orx:deprecatedID>" if old else ""
    return (
        f'<data xmlns:orx="http://openrosa.org/xforms" id="gate" version="{number}">{body}'
        f"<orx:meta><orx:instanceID>uuid:{instance or uuid4()}</orx:instanceID>{deprecated}"
        "</orx:meta></data>"
    ).encode()


def message(response: HttpResponse) -> str:
    """What the phone shows."""
    root = etree.fromstring(response.content)
    assert root.tag == "{http://openrosa.org/http/response}OpenRosaResponse"
    return root.findtext("{http://openrosa.org/http/response}message") or ""


def stored_objects(folder: Path) -> list[Path]:
    """Every file in the store, half-written ones included."""
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def nothing_stored(media_folder: Path) -> Callable[[], None]:
    """Asserts that a refusal left neither rows nor bytes behind."""

    def check() -> None:
        assert not Submission.objects.exists()
        assert not SubmissionConflict.objects.exists()
        assert not MediaObject.objects.exists()
        assert stored_objects(media_folder) == []

    return check
