"""The collector leaves open sockets alone, and what closed ones left does not pile up."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from server.messaging.channels import still


@pytest.fixture(autouse=True)
def thawed(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(still, "FREEZE_EVERY", 2)
    monkeypatch.setattr(still, "LOOK_AFTER", 3)
    monkeypatch.setattr(still, "_opened", 0)
    monkeypatch.setattr(still, "_closed", 0)
    gc.unfreeze()
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Left:
    """Refers to itself, as what a closed socket leaves."""

    def __init__(self) -> None:
        self.itself = self


def test_open_sockets_are_put_aside_some_at_a_time():
    still.socket_opened()
    assert gc.get_freeze_count() == 0
    still.socket_opened()
    assert gc.get_freeze_count() > 1000


def test_with_open_sockets_the_collector_does_not_look_through_everything_by_itself():
    for _number in range(2):
        still.socket_opened()
    young = [Left() for _number in range(200_000)]  # enough for many collections of what is young
    del young
    full = gc.get_stats()[2]["collections"]
    old = [[Left()] for _number in range(200_000)]
    assert gc.get_stats()[2]["collections"] == full
    del old


def test_what_closed_sockets_left_goes_after_some_of_them():
    left = Left()
    known = weakref.ref(left)
    for _number in range(2):
        still.socket_opened()
    del left
    gc.collect()
    assert known() is not None  # put aside with the rest
    for _number in range(3):
        still.socket_closed()
    assert known() is None
    assert gc.get_freeze_count() > 1000
