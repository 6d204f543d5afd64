"""Fingerprints of files, and files with the same or nearly the same: found by index, never by a scan.

A perceptual hash has 64 bits; pictures that look the same differ in few of them. The hash is cut into
four bands of 16 bits, each with an index of its own. When two hashes differ in three bits at most, one
of the bands has none of these bits: so whatever is that near shares a band, and is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models import QuerySet
from django.db.models.expressions import Func

from server.evidence.models import BANDS, PhotoCheck
from server.evidence.rules import Twin

BITS = 64
BAND_BITS = 16
WHOLE = (1 << BITS) - 1
CROWD = 50
"""So many twins are looked at."""


class DifferingBits(Func):
    """In how many bits two hashes differ. PostgreSQL only."""

    template = "bit_count((%(expressions)s)::bit(64))"
    arg_joiner = " # "
    output_field = models.IntegerField()


def bands_of(perceptual_hash: int | None) -> tuple[int | None, ...]:
    """The four quarters of a hash; none for no hash, and for that of an empty wall, which all share."""
    if perceptual_hash is None:
        return (None,) * len(BANDS)
    bits = perceptual_hash & WHOLE
    if not settings.EVIDENCE_FLAT_BITS <= bits.bit_count() <= BITS - settings.EVIDENCE_FLAT_BITS:
        return (None,) * len(BANDS)
    mask = (1 << BAND_BITS) - 1
    return tuple(bits >> (BAND_BITS * place) & mask for place in range(len(BANDS)))


def differing_bits(one: int, other: int) -> int:
    """In how many bits two hashes differ; both may be written as signed."""
    return ((one ^ other) & WHOLE).bit_count()


def take_fingerprints(check: PhotoCheck, *, sha256: str, perceptual_hash: int | None) -> None:
    """Store what the file is compared by. Committed before anything is searched: of two that arrive
    at once, the later one sees the earlier."""
    values: dict[str, Any] = {"sha256": sha256, "perceptual_hash": perceptual_hash}
    values |= dict(zip(BANDS, bands_of(perceptual_hash), strict=True))
    if any(getattr(check, name) != value for name, value in values.items()):
        PhotoCheck.objects.filter(pk=check.pk).update(**values)
        for name, value in values.items():
            setattr(check, name, value)


@dataclass(frozen=True)
class Twins:
    """Files that are the same or look the same, and those among them that are to be told of this one."""

    found: Sequence[Twin]
    to_tell: frozenset[UUID]


def twins_of(check: PhotoCheck) -> Twins:
    """Other files with the same bytes, and pictures that look the same.

    Crowds are cut off, else each newcomer would cost as much as the crowd is large. Of a file that is
    everywhere the first by id are found, and nobody is told of one more. A picture that looks like so
    many others is a form or a test picture, and is compared with none.
    """
    same = [Twin(media_id, None) for media_id in _same_bytes(check)]
    known = {twin.media_id for twin in same}
    alike = [twin for twin in _look_alikes(check) if twin.media_id not in known]
    told = [*(same if len(same) <= CROWD else ()), *alike]
    return Twins(found=[*same[:CROWD], *alike], to_tell=frozenset(twin.media_id for twin in told))


def _same_bytes(check: PhotoCheck) -> list[UUID]:
    rows = PhotoCheck.objects.filter(sha256=check.sha256).exclude(sha256="").exclude(pk=check.pk)
    return list(rows.order_by("media_id").values_list("media_id", flat=True)[: CROWD + 1])


def _look_alikes(check: PhotoCheck) -> list[Twin]:
    if check.perceptual_hash is None or check.band_0 is None or _is_crowded(check):
        return []
    found = {
        media_id: differing_bits(check.perceptual_hash, other)
        for media_id, other in _sharing_a_band(check)
        if other is not None
    }
    near = [
        Twin(media_id, bits)
        for media_id, bits in found.items()
        if bits <= settings.EVIDENCE_SIMILAR_BITS and media_id != check.pk
    ]
    return sorted(near, key=lambda twin: twin.media_id) if len(near) <= CROWD else []


def _is_crowded(check: PhotoCheck) -> bool:
    """Whether many have this very hash: asked first, because it is cheap whatever their number."""
    rows = PhotoCheck.objects.filter(band_0=check.band_0, perceptual_hash=check.perceptual_hash)
    return len(rows.exclude(pk=check.pk).values_list("media_id")[: CROWD + 1]) > CROWD


def _sharing_a_band(check: PhotoCheck) -> QuerySet[PhotoCheck, tuple[UUID, int | None]]:
    """Candidates, by one index for each band. PostgreSQL also counts the bits, and gives no more than
    it takes to see that there are many; elsewhere we do."""
    first, *rest = (_in_band(check, band) for band in BANDS)
    return first.union(*rest)


def _in_band(check: PhotoCheck, band: str) -> QuerySet[PhotoCheck, tuple[UUID, int | None]]:
    rows = PhotoCheck.objects.filter(**{band: getattr(check, band)}).order_by()
    if connection.vendor != "postgresql":
        return rows.values_list("media_id", "perceptual_hash")
    # With its width: a plain integer is sent in 32 bits, and loses the upper half.
    own = models.Value(check.perceptual_hash, output_field=models.BigIntegerField())
    bits = DifferingBits("perceptual_hash", own)
    near = rows.alias(bits=bits).filter(bits__lte=settings.EVIDENCE_SIMILAR_BITS)
    return near.values_list("media_id", "perceptual_hash")[: CROWD + 2]
