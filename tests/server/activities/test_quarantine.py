"""Refused documents: kept once, seen by the office, forgotten in time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.activities.models import RefusedDocument
from server.activities.services.quarantine import (
    forget_old,
    keep_refused,
    keeping_refused,
    refused_visible_to,
)
from server.core import clock
from server.core.errors import ContentConflict, Invalid, Malformed, Problem, Unavailable
from server.grid.models import User
from tests.activities import device_of
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def refuse(by: User, raw: bytes = b"<data", refusal: Exception | None = None) -> None:
    keep_refused(
        device=device_of(by), format="xml", raw=raw, refusal=refusal or Malformed("没有结束")
    )


def test_a_refused_document_is_kept_byte_for_byte_with_its_reason(cast: Cast):
    refuse(cast.ada, refusal=Invalid(problems=[Problem("/answers/age", "wrong_type", "应为整数")]))
    row = RefusedDocument.objects.get()
    assert bytes(row.raw) == b"<data"
    assert (row.code, row.sender) == ("invalid", cast.ada)
    assert "/answers/age: 应为整数" in row.reason


def test_a_retry_is_counted_and_not_kept_again(cast: Cast):
    for _ in range(3):
        refuse(cast.ada)
    refuse(cast.ada, raw=b"<other")
    assert sorted(RefusedDocument.objects.values_list("times", flat=True)) == [1, 3]


@pytest.mark.parametrize(
    ("refusal", "kept"), [(Malformed(), 1), (ContentConflict(), 0), (Unavailable(), 0)]
)
def test_only_what_is_held_against_the_document_is_kept(cast: Cast, refusal, kept: int):
    with (
        pytest.raises(type(refusal)),
        keeping_refused(device=device_of(cast.ada), format="json", raw=b"{}"),
    ):
        raise refusal
    assert RefusedDocument.objects.count() == kept


def test_offices_see_what_was_refused_in_their_subtree_only(cast: Cast):
    refuse(cast.principal)
    refuse(cast.carla)
    assert refused_visible_to(cast.office).count() == 2
    assert [row.sender for row in refused_visible_to(cast.town_group)] == [cast.principal]
    assert not refused_visible_to(cast.ada).exists()


def test_what_is_old_is_forgotten(cast: Cast, settings):
    refuse(cast.ada)
    refuse(cast.carla)
    long_ago = clock.now() - timedelta(days=settings.REFUSED_DOCUMENT_DAYS, minutes=1)
    RefusedDocument.objects.filter(sender=cast.ada).update(received_at=long_ago)
    assert forget_old() == 1
    assert RefusedDocument.objects.get().sender == cast.carla
