"""Look-alikes among a hundred thousand: all that are near are found, by index, on both databases."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from server.evidence.fingerprints import bands_of, differing_bits, take_fingerprints, twins_of
from server.evidence.models import BANDS, PhotoCheck
from tests.evidence import NINE

MANY = 100_000
WHOLE = (1 << 64) - 1


def signed(value: int) -> int:
    """As the database keeps it."""
    return value - (1 << 64) if value >> 63 else value


@given(st.integers(0, WHOLE), st.sets(st.integers(0, 63), max_size=3))
def test_whatever_differs_in_three_bits_at_most_shares_a_band(value, flips):
    other = value
    for bit in flips:
        other ^= 1 << bit
    assert differing_bits(signed(value), signed(other)) == len(flips)
    bands, others = bands_of(signed(value)), bands_of(signed(other))
    if None not in (*bands, *others):
        assert any(one == two for one, two in zip(bands, others, strict=True))


@pytest.mark.parametrize("flat", [None, 0, -1, 0b111_1111, signed(WHOLE ^ 0b111_1111)])
def test_an_empty_wall_has_no_bands(flat):
    assert set(bands_of(flat)) == {None}


def test_a_picture_has_four(settings):
    assert bands_of(0x0123_4567_89AB_CDEF) == (0xCDEF, 0x89AB, 0x4567, 0x0123)
    settings.EVIDENCE_FLAT_BITS = 0
    assert bands_of(0) == (0, 0, 0, 0)


@pytest.fixture
def many(db):
    """So many checks of photos that are not there; taken away again before anybody asks for them."""
    chance = random.Random(7)
    rows = [
        PhotoCheck(
            media_id=UUID(int=chance.getrandbits(128), version=4),
            sha256=f"{chance.getrandbits(256):064x}",
            perceptual_hash=signed(value := chance.getrandbits(64)),
            **dict(zip(BANDS, bands_of(value), strict=True)),
        )
        for _ in range(MANY)
    ]
    PhotoCheck.objects.bulk_create(rows, batch_size=10_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    yield rows
    PhotoCheck.objects.all().delete()


def near(check: PhotoCheck, rows: list[PhotoCheck]) -> dict[UUID, int]:
    """By comparing with every one."""
    apart = {row.pk: differing_bits(check.perceptual_hash, row.perceptual_hash) for row in rows}
    return {pk: bits for pk, bits in apart.items() if bits <= 3 and pk != check.pk}


def plant(many: list[PhotoCheck], value: int, number: int) -> PhotoCheck:
    row = PhotoCheck(media_id=UUID(int=number, version=4), work_due_at=NINE)
    row.save(force_insert=True)
    take_fingerprints(row, sha256=f"{number:064x}", perceptual_hash=signed(value))
    many.append(row)
    return row


def plan_of(sql: str) -> str:
    prefix = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{prefix} {sql}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


def test_among_a_hundred_thousand_all_that_are_near_are_found_by_index(many):
    chance = random.Random(11)
    chosen = chance.sample(many, 20)
    for number, row in enumerate(chosen):
        for apart in range(5):
            value = row.perceptual_hash & WHOLE
            for bit in chance.sample(range(64), apart):
                value ^= 1 << bit
            plant(many, value, number * 10 + apart)
    found = 0
    for row in chosen:
        twins = {twin.media_id: twin.bits for twin in twins_of(row).found}
        assert twins == near(row, many)
        found += len(twins)
    assert found >= 20 * 4

    with CaptureQueriesContext(
        connection,
    ) as queries:
        twins_of(chosen[0])
    same_bytes, same_hash, look_alikes = (query["sql"] for query in queries.captured_queries)
    for sql, indexes in (
        (same_bytes, ["same"]),
        (same_hash, ["band_0"]),
        (look_alikes, BANDS),
    ):
        plan = plan_of(sql)
        for index in indexes:
            assert f"photo_check_{index}" in plan
        assert "Seq Scan" not in plan
        assert "SCAN evidence_photocheck" not in plan
