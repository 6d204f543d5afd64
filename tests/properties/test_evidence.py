"""The facts about three photos in any order, with a worker in between or not: the same flags stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media_storage.models import Facts, MediaObject
from media_storage.signals import media_processed
from server.activities.models import Submission, Visit
from server.evidence import sweeping
from server.evidence.models import Flag, PhotoCheck, VisitCheck
from server.findings.models import Finding
from server.grid.models import School
from server.grid.services import save_school
from server.messaging.clocks import read_clock
from server.messaging.models import Device
from tests.activities import device_of
from tests.cast import Cast
from tests.evidence import FAR, HOUR, NEAR, NOT_READ, Day

HASH = 0x0F1E_2D3C_4B5A_6978
OTHER_SCHOOL = (33.01, 108.0)


@dataclass
class World:
    """Three photos whose rows are there, and what is still to happen to them, by name.

    Each event happens at its own moment of the server's clock, whenever the example lets it.
    """

    day: Day
    cast: Cast
    version: str
    ada: Visit
    bruno: Visit
    finding: Finding
    photos: dict[str, MediaObject]
    expected: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.devices = {user.pk: device_of(user) for user in (self.cast.ada, self.cast.bruno)}
        self.ids: dict[str, UUID] = {name: uuid4() for name in self.photos}
        self.events: dict[str, Callable[[], object]] = {
            "ada checks in": lambda: self.day.check_in(self.ada, self.cast.ada, at=3, place=FAR),
            "ada completes": lambda: self.day.complete(self.ada, self.cast.ada, at=6),
            "bruno checks in": lambda: self.day.check_in(
                self.bruno, self.cast.bruno, place=OTHER_SCHOOL
            ),
            "bruno completes": lambda: self.day.complete(self.bruno, self.cast.bruno, at=1),
            "gate is ready": lambda: self.ready("gate"),
            "gate is read": lambda: self.read("gate", 0, exif=1.0),
            "gate is filled in": lambda: self.fill_in("gate", self.ada),
            "copy is ready": lambda: self.ready("copy"),
            "copy is read": lambda: self.read("copy", 0b11, exif=-50.0),
            "copy is filled in": lambda: self.fill_in("copy", self.bruno),
            "answer is ready": lambda: self.ready("answer"),
            "answer is read": lambda: self.read("answer", 0b1, exif=7.0),
            "answer is given": self.answer,
            "clock is read": self.read_clock,
            "school is moved": self.move_school,
        }

    def ready(self, name: str) -> None:
        MediaObject.objects.filter(pk=self.photos[name].pk).update(state="ready")
        media_processed.send(MediaObject, media=self.photos[name])

    def read(self, name: str, bits: int, *, exif: float) -> None:
        Facts.objects.create(
            media=self.photos[name], exif_at=self.day.at(exif), perceptual_hash=HASH ^ bits
        )

    def fill_in(self, name: str, visit: Visit) -> None:
        photo = self.photos[name]
        self.day.fill_in(
            photo,
            visit,
            id=self.ids[name],
            version=self.version,
            device=self.devices[photo.owner_id],
        )

    def answer(self) -> None:
        self.day.mend(self.finding, self.cast.principal, self.photos["answer"])

    def read_clock(self) -> None:
        """Ada's clock is three hours fast."""
        device = Device.objects.get(pk=self.devices[self.cast.ada.pk].pk)
        read_clock(device=device, device_time=self.day.moment + 3 * HOUR)

    def move_school(self) -> None:
        school = School.objects.get(pk=self.cast.school.pk)
        school.latitude, school.longitude = FAR
        save_school(school=school, by=self.cast.office)

    def play(self, order: list[str], works: list[bool]) -> set[str]:
        """Let it all happen, and tell the flags that stand."""
        moments = {name: n for n, name in enumerate(self.events)}
        for name, work in zip(order, works, strict=True):
            self.day.moment = self.day.at(12) + timedelta(minutes=moments[name])
            self.events[name]()
            if work:
                self.day.work()
        self.day.work()
        return standing()


def standing() -> set[str]:
    """Everything about the flags that stand, as text."""
    return {
        f"{flag.key} {flag.severity} {flag.internal} {flag.other_media_id} {sorted(flag.details.items())}"
        for flag in Flag.objects.filter(cleared_at=None)
    }


@pytest.fixture
def world(day, cast, kitchen, activity) -> World:
    ada = activity.visits.get(school=cast.school)
    bruno = activity.visits.get(school=cast.other_school)
    common = {"state": "stored", "facts": NOT_READ, "origin": "camera"}
    return World(
        day=day,
        cast=cast,
        version=kitchen.version,
        ada=ada,
        bruno=bruno,
        finding=day.find(ada, cast.ada),
        photos={
            "gate": day.photo(cast.ada, taken=4, content="gate", place=NEAR, **common),
            "copy": day.photo(cast.bruno, taken=0.5, content="gate", place=NEAR, **common),
            "answer": day.photo(cast.principal, taken=7, place=FAR, **common),
        },
    )


def in_order(order: list[str]) -> list[str]:
    """Nobody completes before the check-in."""
    for who in ("ada", "bruno"):
        first, second = f"{who} checks in", f"{who} completes"
        one, other = order.index(first), order.index(second)
        if other < one:
            order[one], order[other] = second, first
    return order


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
)
@given(data=st.data())
def test_the_flags_do_not_depend_on_the_order_in_which_the_facts_come(world: World, data):
    names = list(world.events)
    if not world.expected:
        world.expected = _played(world, names, [True] * len(names))
        assert {text.split(":")[1] for text in world.expected} == EXPECTED
    order = in_order(list(data.draw(st.permutations(names))))
    works = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    assert _played(world, order, works) == world.expected


EXPECTED = {
    "reused",  # gate and copy are one file
    "similar",  # the answer looks like the copy, which is another visit's
    "problem_photo",  # the answer looks like gate
    "other_day",  # the copy's EXIF
    "times_differ",
    "clock_off",  # Ada's
    "other_place",  # gate, after the school was moved
}


def _played(world: World, order: list[str], works: list[bool]) -> set[str]:
    with transaction.atomic():
        found = world.play(order, works)
        _check_nothing_is_left(world.day)
        transaction.set_rollback(True)
    return found


def _check_nothing_is_left(day: Day) -> None:
    """Nothing is due, and the sweeper agrees with what the marks have done."""
    for model in (PhotoCheck, VisitCheck, Submission):
        assert not model.objects.filter(work_due_at__isnull=False).exists()
        assert not model.objects.filter(work_dead_at__isnull=False).exists()
    assert sweeping.sweep() == 0
