"""What is hashed is the value, however a database writes it down."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from server.activities.models import Submission
from server.receipts.contents import exact, moment, statement_hash
from tests.receipts import County


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((4.5, "4.5"), (4.0, "4"), (0.1, "0.1"), (-0.0, "0"), (1e-7, "0.0000001")),
        *((1e22, "10000000000000000000000"), (-33.0005, "-33.0005"), (100.0, "100"), (None, None)),
    ],
)
def test_a_number_is_written_by_its_exact_value(value, text):
    assert exact(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_written_number_reads_back_as_itself(value: float):
    text = exact(value)
    assert text is not None
    assert "e" not in text.lower()
    assert float(text) == value


def test_a_moment_is_utc_with_microseconds():
    there = timezone(timedelta(hours=8))
    assert moment(datetime(2026, 11, 23, 12, tzinfo=there)) == "2026-11-23T04:00:00.000000Z"


def test_equal_answers_have_equal_hashes_and_others_have_others():
    base = {"a": [1, 2.5, {"b": "校"}], "c": None, "d": True}
    assert statement_hash(base) == statement_hash(dict(reversed(base.items())))
    assert statement_hash({"a": 4.0}) == statement_hash({"a": 4})
    others = [{"a": 4.5}, {"a": "4.5"}, {"a": [4.5]}, {"a": None}, {"a": True}, {"a": 1}, {}]
    assert len({statement_hash(each) for each in others}) == len(others)


@pytest.mark.django_db
@pytest.mark.parametrize("number", [1e22, 4.0, 4.50, 1e-7, -0.0, 12345678901234567890, 0.1 + 0.2])
def test_what_the_database_gives_back_has_the_hash_of_what_it_was_given(county: County, number):
    row = county.send("a")
    answers = {"storage": {"fridge": number}, "z": "校", "a": [1, {"b": number}]}
    Submission.objects.filter(pk=row.pk).update(answers=answers)
    row.refresh_from_db()
    assert statement_hash(row.answers) == statement_hash(json.loads(json.dumps(answers)))
    assert connection.vendor in {"sqlite", "postgresql"}
