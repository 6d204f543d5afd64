"""Phones and browsers that send the same thing several times at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar
from uuid import uuid4

import pytest
from django.db import connection

from server.core.ids import new_id
from server.messaging.composing import announce
from server.messaging.models import Delivery, Device
from server.messaging.queries import Audience
from server.messaging.reading import acknowledge
from server.messaging.services import notify
from server.messaging.sessions import TokenUnknown, device_for_token

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 6
T = TypeVar("T")


def at_once(do: Callable[[], T]) -> list[T]:
    """Do it in several threads that start together."""
    together = Barrier(AT_ONCE)

    def run() -> T:
        try:
            together.wait(10)
            return do()
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(AT_ONCE)]]


def test_a_race_of_identical_announcements_is_one_notice_and_success_for_all(cast):
    notice_id, audience = new_id(), Audience(schools=[cast.school.pk])

    def send() -> object:
        return announce(
            notice_id=notice_id, by=cast.office, title="会议", body="周三", audience=audience
        ).id

    assert at_once(send) == [notice_id] * AT_ONCE
    assert Delivery.objects.filter(channel="inbox").count() == 2  # the inspector, the principal


def test_a_race_of_logins_on_one_new_device_leaves_one_session(cast, log_in):
    device_id = uuid4()
    tokens = at_once(lambda: log_in(cast.ada, device_id)[0])
    assert Device.objects.count() == 1
    working = 0
    for token in tokens:
        try:
            device_for_token(token)
            working += 1
        except TokenUnknown:
            pass
    assert working == 1


def test_a_race_of_acknowledgements_is_one_moment_for_all(cast):
    notice = notify("announcement", recipients=[cast.ada], title="会议", body="周三")
    rows = at_once(lambda: acknowledge(notice_id=notice.id, by=cast.ada))
    assert len({row.acknowledged_at for row in rows}) == 1
