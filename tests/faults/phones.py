"""Phones in the field: they send, are cut off, and send again until they are told that it is stored."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from tests.faults.documents import Filled, Photo, fill_in
from tests.faults.ledger import STORE, Ledger
from tests.faults.line import MISHAPS, Answer, ask

BOUNDARY = "duxue-faults-5d1f"
MISHAP = 0.06
"""How often something happens to a request on its way."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
AT = "2026-11-05T21:00:00+08:00"
JSON = {"Content-Type": "application/json"}


class GivenUp(Exception):
    """The run is over and this is still not stored."""


@dataclass
class Field:
    """What all phones share: where the server is, what is left to send, when to stop."""

    base_url: str
    store_port: int | None
    seed: int
    version: str
    submissions: int
    ledger: Ledger
    deadline: float
    """Of the monotonic clock: nothing new is begun after it."""
    patience: float = 120.0
    """How many seconds longer what was begun may take."""
    allowance: int = 0
    """So many may be begun by now: phones must not be through before the faults are."""
    taken: int = 0
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> int | None:
        """The number of the next submission; None when there are no more."""
        while True:
            with self.lock:
                if self.taken >= self.submissions or time.monotonic() > self.deadline:
                    return None
                if self.taken < self.allowance:
                    self.taken += 1
                    return self.taken
            time.sleep(0.05)  # until the faults have caught up

    def finish(self) -> None:
        with self.lock:
            self.done += 1

    def what_of(self, url: str) -> str:
        """In whose name an upload's answers are counted."""
        return STORE if self.store_port and f":{self.store_port}/" in url else "PUT upload"


@dataclass
class Sender:
    """One person's phone: sends requests, suffers mishaps, pauses, tries again."""

    field: Field
    person: Mapping[str, str]
    chance: random.Random

    def until(
        self,
        what: str,
        attempt: Callable[[], Answer],
        *,
        done: Sequence[int] = (200, 201),
        leave: Sequence[int] = (),
    ) -> Answer:
        """Repeat the attempt until it is answered with one of `done` or `leave`. Raises GivenUp."""
        for pause in self.pauses(what):
            answer = attempt()
            self.field.ledger.count(what, answer, allowed=tuple(leave))
            # An answer to half a body is about that half.
            if answer.status in (*done, *leave) and not answer.cut_short:
                return answer
            pause()
        raise AssertionError("pauses do not end")

    def pauses(self, what: str) -> Iterator[Callable[[], None]]:
        """Pauses that grow to a limit, shaken so that phones do not march in step."""
        longest = FIRST_PAUSE

        def pause() -> None:
            nonlocal longest
            self.field.ledger.retried()
            time.sleep(longest * self.chance.uniform(0.5, 1))
            longest = min(longest * 2, LONGEST_PAUSE)

        while time.monotonic() < self.field.deadline + self.field.patience:
            yield pause
        raise GivenUp(what)

    def send(
        self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Once, with or without a mishap."""
        mishap = self.chance.choice(MISHAPS) if self.chance.random() < MISHAP else None
        if mishap:
            self.field.ledger.mishap(mishap)
        return ask(method, url, body=body, headers=headers, mishap=mishap, chance=self.chance)

    def call(self, method: str, path: str, body: Any = b"") -> Answer:
        """The JSON API, once."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(
            method,
            f"{self.field.base_url}/api/v1{path}",
            content,
            {**JSON, "Authorization": f"Bearer {self.person['token']}"},
        )


@dataclass
class Phone(Sender):
    """One inspector's phone, who goes from visit to visit."""

    visits: Sequence[str]
    per_visit: int
    format = ""

    def run(self) -> None:
        """Until there is nothing left to send."""
        count = 0
        while (number := self.field.take()) is not None:
            visit_id = self.visits[count // self.per_visit % len(self.visits)]
            filled = fill_in(
                seed=self.field.seed,
                number=number,
                version=self.field.version,
                visit_id=visit_id,
                allow_large=self.format == "json",
            )
            try:
                self.work_on(filled, is_first=count % self.per_visit == 0)
            except GivenUp as what:
                self.field.ledger.is_unfinished(f"{filled.id}: {what}")
            count += 1

    def work_on(self, filled: Filled, *, is_first: bool) -> None:
        self.submit(filled)
        self.field.ledger.is_stored(filled, format=self.format, sender=self.person["id"])
        self.field.finish()

    def submit(self, filled: Filled) -> None:
        raise NotImplementedError


@dataclass
class Collect(Phone):
    """ODK Collect: the XML with every request, photos in one request or one each; after any failure
    all of it again. A file is forgotten after the 201 only."""

    format = "xml"

    def submit(self, filled: Filled) -> None:
        url = f"{self.field.base_url}/key/{self.person['key']}/submission"
        self.until("HEAD submission", lambda: self.send("HEAD", url), done=(204,))
        posts = self._posts(filled)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
            "X-OpenRosa-Version": "1.0",
        }
        for pause in self.pauses("POST submission"):
            answers = []
            for body in posts:
                answer = self._post(url, body, headers)
                answers.append(answer)
                if answer.status not in (201, 202) or answer.cut_short:
                    break
            if answers[-1].status == 201 and len(answers) == len(posts):
                return
            pause()

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Now and then twice at the same moment, as from a phone that changes its network."""
        if self.chance.random() < 0.03:
            with ThreadPoolExecutor(1) as other:
                double = other.submit(ask, "POST", url, body=body, headers=headers)
                answer = self.send("POST", url, body, headers)
                self.field.ledger.count("POST submission (double)", double.result(), allowed=())
        else:
            answer = self.send("POST", url, body, headers)
        self.field.ledger.count("POST submission", answer, allowed=())
        return answer

    def _posts(self, filled: Filled) -> list[bytes]:
        photos = list(filled.photos)
        if len(photos) < 2 or self.chance.random() < 0.5:
            return [multipart(filled, photos, last=True)]
        self.chance.shuffle(photos)
        return [multipart(filled, [photo], last=photo is photos[-1]) for photo in photos]


@dataclass
class App(Phone):
    """The phone app: check-in, photos straight to the store, the document, completion."""

    format = "json"

    def work_on(self, filled: Filled, *, is_first: bool) -> None:
        if is_first:
            self.act(filled.visit_id, "check-in", {"location": None})
        super().work_on(filled, is_first=is_first)
        if is_first:
            self.act(filled.visit_id, "complete", {"summary": "演练"})

    def act(self, visit_id: str, action: str, content: dict[str, Any]) -> None:
        """Twice with the same id, as when the first answer got lost."""
        body = {"id": str(uuid5(UUID(visit_id), action)), "at": AT, **content}
        path = f"/visits/{visit_id}/{action}"
        for _time in range(2):
            self.until(f"POST {action}", lambda: self.call("POST", path, body))
        self.field.ledger.is_done("visit", visit_id, action)

    def submit(self, filled: Filled) -> None:
        for photo in filled.photos:
            self._declare(photo)
        early = self.chance.random() < 0.3  # the document may come before its photos
        if early:
            self._put(filled)
        for photo in filled.photos:
            self._upload(photo)
        if not early:
            self._put(filled)

    def _put(self, filled: Filled) -> None:
        path = f"/submissions/{filled.id}"
        self.until("PUT submission", lambda: self.call("PUT", path, filled.json))

    def _declare(self, photo: Photo) -> None:
        body = {
            "id": photo.media_id,
            "filename": photo.name,
            "content_type": "image/jpeg",
            "size": len(photo.content),
            "sha256": photo.sha256,
            "taken_at": AT,
        }
        self.until("POST media", lambda: self.call("POST", "/media", body))

    def _upload(self, photo: Photo) -> None:
        """Ask what is missing, send it, complete; from the start where bytes did not arrive."""
        path = f"/media/{photo.media_id}"
        for pause in self.pauses("upload"):
            asked = self.until("GET upload", lambda: self.call("GET", f"{path}/upload"))
            sent = [
                self._send_part(photo, part) for part in json.loads(asked.body)["upload"]["parts"]
            ]
            if all(sent):
                done = self.until(
                    "POST complete", lambda: self.call("POST", f"{path}/complete"), leave=(409,)
                )
                if done.status == 200:
                    return  # 202: the server still reads it
            pause()

    def _send_part(self, photo: Photo, part: Mapping[str, Any]) -> bool:
        piece = photo.content[part["offset"] : part["offset"] + part["size"]]
        answer = self.send("PUT", part["url"], piece, part["headers"])
        self.field.ledger.count(self.field.what_of(part["url"]), answer, allowed=())
        return answer.is_success


def multipart(filled: Filled, photos: Sequence[Photo], *, last: bool) -> bytes:
    parts = [_part("xml_submission_file", "submission.xml", "text/xml", filled.xml)]
    parts += [_part(p.name, p.name, "image/jpeg", p.content) for p in photos]
    if not last:
        parts.append(_part("*isIncomplete*", "", "text/plain", b"yes"))
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def _part(name: str, filename: str, content_type: str, content: bytes) -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    return (
        (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        ).encode()
        + content
        + b"\r\n"
    )
