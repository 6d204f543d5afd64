"""Phones that write into one conversation, lose answers, send again and read on: no hole, no double.

Every run draws a seed and prints it; DUXUE_SEED repeats the choices.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connections

from server.conversations.models import Conversation, Message
from tests.clients import Phone, new

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGES = 12
"""Of each phone."""


@pytest.fixture
def seed() -> int:
    chosen = int(os.environ.get("DUXUE_SEED") or random.randrange(2**32))
    print(f"DUXUE_SEED={chosen}")  # noqa: T201 - shown where the test fails
    return chosen


def logged_in(user: Any) -> Phone:
    phone = Phone()
    phone.log_in(user.username)
    return phone


def write(phone: Phone, path: str, name: str, choose: random.Random) -> list[str]:
    """Send in order; an answer may get lost, then the same goes again; some are taken back."""
    sent = []
    for number in range(MESSAGES):
        body = {"id": new(), "text": f"{name} {number}"}
        for _attempt in range(choose.choice([1, 1, 2, 4])):
            answer = phone.call("POST", path, body, status=201 if _attempt == 0 else 200)
        sent.append(body["id"])
        if choose.random() < 0.15:
            phone.post(f"{path}/{body['id']}/withdraw")
        assert answer["text"] == body["text"]
    return sent


class Copy:
    """A reader's copy: entries by number, and how often each came."""

    def __init__(self, phone: Phone, path: str, choose: random.Random) -> None:
        self.phone, self.path, self.choose = phone, path, choose
        self.entries: list[dict[str, Any]] = []

    @property
    def last(self) -> int:
        return self.entries[-1]["number"] if self.entries else 0

    def read_on(self) -> None:
        """One page after what is there. The answer may get lost: then nothing is kept of it."""
        limit = self.choose.choice([1, 3, 50])
        page = self.phone.get(self.path, after=self.last, limit=limit)
        if self.choose.random() < 0.8:
            self.entries += page["results"]

    def read_to_the_end(self) -> None:
        has_more = True
        while has_more:
            page = self.phone.get(self.path, after=self.last, limit=7)
            self.entries += page["results"]
            has_more = page["has_more"]


def together(*jobs: Callable[[], Any]) -> list[Any]:
    def run(job: Callable[[], Any]) -> Any:
        try:
            return job()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [each.result() for each in [pool.submit(run, job) for job in jobs]]


def test_every_reader_has_every_entry_once_and_in_order(seed, cast, of_school, settings):
    settings.CONVERSATION_MESSAGES_A_MINUTE = 10_000
    path = f"/conversations/{of_school.pk}/messages"
    people = {"ada": cast.ada, "principal": cast.principal, "office": cast.office}
    writers = {name: logged_in(user) for name, user in people.items()}
    readers = [
        Copy(logged_in(user), path, random.Random(f"{seed}-r{n}"))
        for n, user in enumerate((cast.ada, cast.town_group))
    ]
    done: list[str] = []

    def follow(copy: Copy) -> None:
        while len(done) < len(writers):
            copy.read_on()

    def work(name: str, phone: Phone) -> list[str]:
        try:
            return write(phone, path, name, random.Random(f"{seed}-{name}"))
        finally:
            done.append(name)

    sent = together(
        *(partial(work, *each) for each in writers.items()),
        *(partial(follow, copy) for copy in readers),
    )[: len(writers)]

    count = Conversation.objects.get().last_number
    for copy in readers:
        copy.read_to_the_end()
        assert [each["number"] for each in copy.entries] == list(range(1, count + 1))
        for ids in sent:  # each phone's messages in the order in which it sent them
            mine = [each["id"] for each in copy.entries if each["id"] in set(ids)]
            assert mine == ids
        gone = {each["about"] for each in copy.entries if each["kind"] == "withdrawn"}
        told = set(Message.objects.filter(gone="withdrawn").values_list("number", flat=True))
        assert gone == told
    assert Message.objects.filter(kind="message").count() == MESSAGES * len(writers)


@pytest.mark.parametrize("run", range(3))
def test_any_sequence_of_sends_and_breaks_leaves_the_same_copy(
    run, seed, cast, of_school, settings
):
    """One after the other, so that the seed repeats it wholly: send, send again, take back, go away,
    come back, lose an answer."""
    settings.CONVERSATION_MESSAGES_A_MINUTE = 10_000
    choose = random.Random(f"{seed}-{run}")
    path = f"/conversations/{of_school.pk}/messages"
    phones = [logged_in(user) for user in (cast.ada, cast.principal)]
    copies = [Copy(phone, path, choose) for phone in phones]
    sent: list[tuple[Phone, dict[str, Any]]] = []
    for _step in range(60):
        phone, copy = choose.choice(list(zip(phones, copies, strict=True)))
        match choose.choice(["send", "send", "again", "back", "read", "read"]):
            case "send":
                body = {"id": new(), "text": f"第 {len(sent)} 条"}
                phone.post(path, body, status=201)
                sent.append((phone, body))
            case "again" if sent:
                owner, body = choose.choice(sent)
                owner.post(path, body)
            case "back" if sent:
                owner, body = choose.choice(sent)
                owner.post(f"{path}/{body['id']}/withdraw")
            case "read":
                copy.read_on()
    for copy in copies:
        copy.read_to_the_end()
    numbers = list(range(1, Conversation.objects.get().last_number + 1))
    for copy in copies:
        assert [each["number"] for each in copy.entries] == numbers
        texts = [each["id"] for each in copy.entries if each["kind"] == "message"]
        assert texts == [body["id"] for _phone, body in sent]
