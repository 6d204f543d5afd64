"""Followers of the feed: each change once, none lost, the failure of one nobody else's."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from server.core import following
from server.core.changes import record_change
from server.core.following import FeedPlace, Follower, follow, look, take_place
from tests.feed import settle

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch):
    monkeypatch.setattr(following, "_followers", {})
    monkeypatch.setattr(following, "_resting", {})


class Listener:
    def __init__(self, name: str = "listener", **options: object) -> None:
        self.heard: list[UUID] = []
        self.breaks = False
        follow(Follower(name=name, tell=self.tell, **options))  # type: ignore[arg-type]

    def tell(self, changes) -> None:
        self.heard += [change.object_id for change in changes]
        if self.breaks:
            raise RuntimeError("under test")


def happened() -> UUID:
    changed = uuid4()
    record_change("visit", changed)
    settle()
    return changed


def test_a_follower_hears_what_comes_after_its_first_look_and_each_change_once():
    listener = Listener()
    happened()
    look()
    first, second = happened(), happened()
    assert look() == 2
    assert look() == 0
    assert listener.heard == [first, second]


def test_where_nothing_happens_a_look_writes_nothing(django_assert_num_queries):
    Listener(durable=True)
    happened()
    look()
    with django_assert_num_queries(2):
        assert look() == 0


def test_a_place_taken_with_the_thing_that_needs_it_misses_nothing_until_the_first_look():
    listener = Listener()
    happened()
    take_place("listener")
    changed = happened()
    take_place("listener")  # again: it stays where it is
    look()
    assert listener.heard == [changed]


def test_a_long_backlog_is_told_in_order(monkeypatch):
    monkeypatch.setattr(following, "CHANGES", 2)
    listener = Listener()
    happened()
    look()
    changed = [happened() for _number in range(7)]
    assert look() == 7
    assert listener.heard == changed


def test_a_durable_follower_that_fails_hears_it_again_and_the_others_hear_it_once(monkeypatch):
    durable, other = Listener("durable", durable=True), Listener("other")
    happened()
    look()
    changed = happened()
    durable.breaks = True
    look()
    durable.breaks = False
    monkeypatch.setattr(following, "_resting", {})
    look()
    assert durable.heard == [changed, changed]
    assert other.heard == [changed]


def test_a_hint_that_fails_is_not_told_again(monkeypatch):
    listener = Listener()
    happened()
    look()
    listener.breaks = True
    changed = happened()
    look()
    listener.breaks = False
    monkeypatch.setattr(following, "_resting", {})
    assert look() == 0
    assert listener.heard == [changed]


def test_a_follower_rests_and_then_hears_all_at_once():
    listener = Listener(rest_seconds=60.0)
    happened()
    look()
    first = happened()
    look()
    later = [happened() for _number in range(100)]
    assert look() == 0
    following._resting.clear()
    assert look() == 100
    assert listener.heard == [first, *later]


def test_a_place_that_another_worker_holds_is_left_to_it(monkeypatch):
    listener = Listener()
    happened()
    look()
    happened()
    monkeypatch.setattr(following, "_next", lambda follower: [])
    assert look() == 0
    assert listener.heard == []
    assert FeedPlace.objects.count() == 1
