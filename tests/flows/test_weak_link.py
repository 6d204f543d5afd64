"""A file over a line that breaks: it arrives whole, and little of it is sent twice.

Says what was sent again: pytest tests/flows/test_weak_link.py
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from media_storage import receiving
from media_storage.models import MediaObject
from media_storage.stores import get_store, open_store
from server.core import work
from tests.clients import Phone, new
from tests.links import Sender, WeakLink, breaks
from tests.media_storage.conftest import bucket_url

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = 1024 * 1024
VIDEO = b"\x00\x00\x00\x18ftypmp42"


@pytest.fixture(params=["folder", "swift"])
def storing_phone(
    request: pytest.FixtureRequest, settings: Any, phone: Any, cast: Any, live_server: Any
) -> Iterator[Phone]:
    """Ada's, with either store behind the API."""
    settings.PUBLIC_URL = live_server.url
    if request.param == "swift":
        url = request.getfixturevalue("s3_url")
        settings.MEDIA_STORE_URL = bucket_url(url, checksum="content-sha256")
    get_store().create()
    yield phone(cast.ada)
    open_store.cache_clear()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """A line for people, whether or not the test passes."""

    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return say


@dataclass
class Told:
    """What an upload took. Shares of the file's size."""

    asked: int
    sent_again: float
    answers: float

    def __str__(self) -> str:
        return (
            f"sent again {self.sent_again:.1%}, asked {self.asked} times, "
            f"answers {self.answers:.1%} of the file"
        )


class Uploading:
    """One file from its declaration until it is stored, by a phone that asks after every break."""

    def __init__(self, phone: Phone, content: bytes, link: str) -> None:
        self.phone, self.content, self.link = phone, content, link
        self.id = new()
        self.asked = self.answered = 0

    def run(self, places: list[int]) -> Told:
        declared = {
            "id": self.id,
            "filename": "课堂.mp4",
            "content_type": "video/mp4",
            "size": len(self.content),
            "sha256": hashlib.sha256(self.content).hexdigest(),
            **({"link": self.link} if self.link else {}),
        }
        upload = self.phone.post("/media", declared, status=201)["upload"]
        port = urlsplit(upload["parts"][0]["url"]).port
        assert port
        with WeakLink(port, places).running() as line:
            while upload["parts"]:
                if self._send(line, upload):
                    break
                upload = self._ask()
            assert line.broken == len(places)
        self._complete()
        sent_again = line.passed / len(self.content) - 1
        return Told(self.asked, sent_again, self.answered / len(self.content))

    def _send(self, line: WeakLink, upload: Any) -> bool:
        sender = Sender(line.port)
        try:
            for part in upload["parts"]:
                piece = self.content[part["offset"] : part["offset"] + part["size"]]
                status = sender.put(part["url"], piece, part["headers"])
                assert status in (0, 200)
                if not status:
                    return False
        finally:
            sender.close()
        return True

    def _ask(self) -> Any:
        path = f"/media/{self.id}/upload"
        answer = self.phone.raw("GET", path, headers={"Accept-Encoding": "gzip"})
        self.asked += 1
        self.answered += len(answer.content)
        return self.phone.get(path)["upload"]

    def _complete(self) -> None:
        path = f"/media/{self.id}/complete"
        answer = self.phone.raw("POST", path)
        assert answer.status_code in (200, 202), answer.content
        work.drain(receiving.PUMP)
        assert self.phone.post(path)["state"] == "stored"


def test_fifty_megabytes_over_twenty_breaks_arrive_with_less_than_a_tenth_sent_again(
    storing_phone: Phone, say: Callable[[str], None]
) -> None:
    content = VIDEO + os.urandom(50 * MEGABYTE)
    told = Uploading(storing_phone, content, "").run(breaks(20, within=len(content), seed=1))
    say(f"50 MB, 20 breaks: {told}")
    assert told.asked == 20
    assert 0 < told.sent_again < 0.1
    assert told.answers < 0.05
    media = MediaObject.objects.get()
    digest = hashlib.sha256()
    for chunk in get_store().read(media.key):
        digest.update(chunk)
    assert digest.hexdigest() == hashlib.sha256(content).hexdigest()


# A line that breaks every 2.5 MB, as above: two breaks for a photo of 5 MB.
@pytest.mark.parametrize(("link", "most"), [("weak", 0.15), ("", 1.0)])
def test_a_photo_over_two_breaks_is_not_sent_from_the_start_twice(
    storing_phone: Phone, say: Callable[[str], None], link: str, most: float
) -> None:
    content = VIDEO + os.urandom(5 * MEGABYTE)
    told = Uploading(storing_phone, content, link).run([2 * MEGABYTE, 4 * MEGABYTE])
    say(f"5 MB, 2 breaks, link {link!r}: {told}")
    assert told.sent_again < most
