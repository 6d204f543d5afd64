"""Lists page by page while rows come in and go: nothing is missed, nothing comes twice."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobile_api.pagination import CursorInvalid, encode, page_of
from server.findings.models import Finding
from tests.cast import Cast

EXAMPLES = settings(
    deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Few days, so that many rows are equal in the first key.
DAYS = st.integers(0, 3)
ORDERINGS = [("due_on", "id"), ("-due_on", "-id"), ("-due_on", "id"), ("id",)]


def add(cast: Cast, day: int) -> Finding:
    return Finding.objects.create(
        school=cast.school,
        title="问题",
        severity="minor",
        due_on=date(2026, 11, 1) + timedelta(days=day),
        raised_by=cast.ada,
    )


@pytest.mark.django_db
@settings(EXAMPLES, max_examples=60)
@given(
    first=st.lists(DAYS, max_size=12),
    between=st.lists(st.tuples(st.lists(DAYS, max_size=3), st.integers(0, 20)), max_size=12),
    limit=st.integers(1, 5),
    ordering=st.sampled_from(ORDERINGS),
)
def test_a_walk_over_the_pages_misses_nothing_and_repeats_nothing(
    cast: Cast,
    first: list[int],
    between: list[tuple[list[int], int]],
    limit: int,
    ordering: tuple[str, ...],
):
    with transaction.atomic():
        there = {add(cast, day).pk for day in first}
        walked, cursor, gone, events = [], None, set(), iter(between)
        while True:
            page, cursor = page_of(
                Finding.objects.all(), ordering=ordering, limit=limit, cursor=cursor
            )
            walked += [row.pk for row in page]
            assert len(page) <= limit
            if cursor is None:
                break
            added, doomed = next(events, ([], 0))
            for day in added:
                add(cast, day)
            for pk in sorted(there)[doomed : doomed + 1]:
                gone.add(pk)
                Finding.objects.filter(pk=pk).delete()
        assert len(set(walked)) == len(walked)
        assert there - gone <= set(walked)
        transaction.set_rollback(True)


# Texts that a cursor may hold without being ours, in the place of each key.
RUBBISH = st.text(max_size=12) | st.sampled_from(
    ["\x00", "9999-12-31", "0000-00-00", "2026-11-23 10:00", "9999-12-31T23:59:59-12:00"]
)


@pytest.mark.django_db
@settings(EXAMPLES, max_examples=150)
@given(
    text=st.text(max_size=40)
    | st.lists(RUBBISH, max_size=3).map(encode)
    | st.tuples(RUBBISH, st.uuids()).map(encode)
)
def test_a_cursor_that_we_did_not_write_is_refused(text: str, db: None):
    for ordering in (("due_on", "id"), ("title", "id"), ("updated_at", "id")):
        try:
            page_of(Finding.objects.all(), ordering=ordering, limit=3, cursor=text or "-")
        except CursorInvalid:
            continue
