"""The main job as ODK Collect speaks it: key, forms, lists, a submission in two posts, the finding closed.

The inspector never opens our own app: the settings QR code is all that Collect gets. The school and
the inspector's verification use the JSON API.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import zlib
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import httpx
import pytest
from lxml import etree

from server.activities.models import Submission, Visit
from server.activities.services.planning import create_activity, publish_activity
from server.core import clock, work
from server.instruments.library import workbook_path
from server.instruments.services import publish_instrument, upload_xlsform
from tests.cast import PASSWORD, Cast
from tests.media_storage.pictures import jpeg

LIST = {"list": "http://openrosa.org/xforms/xformsList"}
MANIFEST = {"manifest": "http://openrosa.org/xforms/xformsManifest"}
XFORM = {
    "x": "http://www.w3.org/2002/xforms",
    "h": "http://www.w3.org/1999/xhtml",
    "orx": "http://openrosa.org/xforms",
}
LICENCE_PHOTO, KITCHEN_PHOTO = jpeg(1200, 900), jpeg(900, 1200)


class Api:
    """Somebody on the JSON API."""

    def __init__(self, client: httpx.Client, username: str) -> None:
        self.client = client
        self.headers: dict[str, str] = {}
        device = {"id": str(uuid4()), "name": "手机", "platform": "android"}
        login = {"username": username, "password": PASSWORD, "device": device}
        self.headers = {"Authorization": f"Bearer {self.post('auth/sessions', login)['token']}"}

    def get(self, path: str) -> Any:
        return self._answer("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return self._answer("POST", path, body)

    def _answer(self, method: str, path: str, body: Any = None) -> Any:
        response = self.client.request(method, f"/api/v1/{path}", json=body, headers=self.headers)
        assert response.is_success, response.text
        return response.json()


def planned_visit(cast: Cast) -> Visit:
    """The office's part: the shipped food-safety instrument, an activity, its visits."""
    content = workbook_path("food_safety").read_bytes()
    upload_xlsform(by=cast.office, content=content)
    publish_instrument(by=cast.office, form_id="food_safety")
    draft = create_activity(
        by=cast.office,
        kind="routine",
        title="秋季校园食品安全检查",
        starts=clock.today(),
        ends=clock.today() + timedelta(days=6),
        instruments=["food_safety"],
        schools=[cast.school.pk, cast.far_school.pk],
    )
    return publish_activity(activity_id=draft.pk, by=cast.office).visits.get(school=cast.school)


def scanned(settings_qr: str) -> str:
    """The server address that Collect takes from the settings QR code."""
    return json.loads(zlib.decompress(base64.b64decode(settings_qr)))["general"]["server_url"]


def downloaded(client: httpx.Client, url: str, expected_hash: str) -> bytes:
    content = client.get(url).raise_for_status().content
    assert "md5:" + hashlib.md5(content).hexdigest() == expected_hash
    return content


def filled_in(xform: bytes, instance_id: str, answers: dict[str, str]) -> bytes:
    """The form's own blank instance with every check passed, then `answers` by path."""
    document = etree.fromstring(xform)
    root = document.find(".//x:instance/*", XFORM)
    assert root is not None
    checks = document.xpath(
        "//x:select1[starts-with(x:itemset/@nodeset, \"instance('conformity')\")]/@ref",
        namespaces=XFORM,
    )
    assert len(checks) >= 40
    places = {path.removeprefix("/data/"): "yes" for path in checks} | answers
    for path, value in places.items():
        steps = "/".join(f"*[local-name()='{name}']" for name in path.split("/"))
        (leaf,) = root.xpath(steps)
        leaf.text = value
    (identity,) = root.xpath("*[local-name()='meta']/*[local-name()='instanceID']")
    identity.text = f"uuid:{instance_id}"
    return etree.tostring(root, encoding="utf-8", xml_declaration=True)


def sent(
    client: httpx.Client, server: str, xml: bytes, photo: tuple[str, bytes], *, more: bool
) -> int:
    """One POST as Collect's: the document each time, one photo, the mark on all but the last."""
    name, content = photo
    files = {
        "xml_submission_file": ("submission.xml", xml, "text/xml"),
        name: (name, content, "image/jpeg"),
    }
    flag = {"*isIncomplete*": "yes"} if more else {}
    headers = {"X-OpenRosa-Version": "1.0", "Date": "whenever"}
    response = client.post(f"{server}/submission", files=files, data=flag, headers=headers)
    assert response.headers["X-OpenRosa-Version"] == "1.0"
    return response.status_code


@pytest.mark.django_db(transaction=True)
def test_a_finding_made_with_odk_collect_is_answered_and_closed(cast: Cast, live_server):
    visit = planned_visit(cast)
    with httpx.Client(base_url=live_server.url, timeout=30) as client:
        ada = Api(client, "ada")
        server = scanned(ada.get("me")["openrosa"]["settings_qr"])
        assert server.startswith(f"{live_server.url}/key/")

        # The form, whole and as hashed, with the list of Ada's visits beside it.
        forms = etree.fromstring(client.get(f"{server}/formList").raise_for_status().content)
        (listed,) = forms.iterfind("list:xform", LIST)
        assert listed.findtext("list:formID", None, LIST) == "food_safety"
        xform = downloaded(
            client,
            listed.findtext("list:downloadUrl", "", LIST),
            listed.findtext("list:hash", "", LIST),
        )
        manifest = etree.fromstring(
            client.get(listed.findtext("list:manifestUrl", "", LIST)).raise_for_status().content
        )
        lists = {
            file.findtext("manifest:filename", "", MANIFEST): downloaded(
                client,
                file.findtext("manifest:downloadUrl", "", MANIFEST),
                file.findtext("manifest:hash", "", MANIFEST),
            )
            for file in manifest.iterfind("manifest:mediaFile[@type='entityList']", MANIFEST)
        }
        (row,) = csv.DictReader(StringIO(lists["visits.csv"].decode()))
        assert cast.school.name in row["label"]

        # At the school, without a signal: one thing is wrong. At night: two posts over a weak link.
        instance_id = str(uuid4())
        xml = filled_in(
            xform,
            instance_id,
            {
                "visit_id": row["name"],
                "start": "2026-11-20T09:00:00.000+08:00",
                "end": "2026-11-20T10:30:00.000+08:00",
                "licence/licence_posted": "no",
                "licence/licence_posted_note": "许可证放在抽屉里",
                "licence/licence_posted_photo": "1758.jpg",
                "staff/staff_count": "6",
                "staff/staff_certified": "6",
                "conclusion/failed_items": "1",
                "conclusion/kitchen_photo": "1759.jpg",
                "conclusion/verdict": "fair",
            },
        )
        head = client.head(f"{server}/submission")
        assert head.status_code == 204
        assert int(head.headers["X-OpenRosa-Accept-Content-Length"]) > 10_000_000
        first, second = ("1758.jpg", LICENCE_PHOTO), ("1759.jpg", KITCHEN_PHOTO)
        assert sent(client, server, xml, first, more=True) == 202
        assert sent(client, server, xml, first, more=True) == 202  # the answer was lost on the way
        assert sent(client, server, xml, second, more=False) == 201
        assert sent(client, server, xml, second, more=False) == 201
        work.drain_all()

        submission = Submission.objects.get()
        assert (str(submission.pk), submission.visit) == (instance_id, visit)
        assert [each.media.state for each in submission.attachments.select_related("media")] == [
            "ready",
            "ready",
        ]

        # The school finds the problem, answers it; the inspector verifies.
        principal = Api(client, "principal")
        (finding,) = principal.get("findings")["results"]
        assert finding["state"] == "open"
        assert "许可证" in finding["title"]
        actions = f"findings/{finding['id']}/actions"
        answer = {
            "id": str(uuid4()),
            "action": "answer",
            "measures": "已公示在食堂入口",
            "media": [],
        }
        assert principal.post(actions, answer)["state"] == "answered"
        verified = ada.post(
            actions, {"id": str(uuid4()), "action": "verify", "note": "", "media": []}
        )
        assert verified["state"] == "closed"
        assert principal.get("findings")["results"][0]["state"] == "closed"

        # Carla has nothing of all this.
        carla = Api(client, "carla")
        assert carla.get("findings")["results"] == []
