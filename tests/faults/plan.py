"""What is to go wrong: a list that follows from the seed alone, spread over the submissions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

StoreKind = Literal["s3", "folder"]

KILLS = {
    "api_worker": 30,
    "api": 14,
    "worker": 26,
    "postgres": 10,
    "postgres_backend": 6,
    "redis": 6,
}
"""SIGKILL, by weight: one process of the api or all of it, a worker, the database or one backend."""
STORE_KILLS = {"store": 14}

DISTURBANCES: dict[StoreKind, dict[str, int]] = {
    "s3": {"store_slow": 4, "store_cut": 4, "api_term": 2, "worker_term": 3},
    "folder": {"disk_full": 6, "api_term": 2, "worker_term": 3},
}
"""What hurts without a SIGKILL; one for every four kills."""


@dataclass(frozen=True)
class Fault:
    """`after` so many submissions, `kind` happens and lasts `seconds`; `pick` chooses a process."""

    after: int
    kind: str
    seconds: float
    pick: int

    @property
    def is_kill(self) -> bool:
        return self.kind in KILLS or self.kind in STORE_KILLS


def make_plan(*, seed: int, store: StoreKind, kills: int, submissions: int) -> list[Fault]:
    """`kills` kills and the disturbances between them, none in the last tenth: the rest recovers."""
    chance = random.Random(f"{seed} {store}")
    weights = {**KILLS, **(STORE_KILLS if store == "s3" else {})}
    kinds = _drawn(chance, weights, kills) + _drawn(chance, DISTURBANCES[store], kills // 4)
    chance.shuffle(kinds)
    moments = sorted(chance.randrange(1, max(2, submissions * 9 // 10)) for _kind in kinds)
    return [
        Fault(after, kind, seconds=round(chance.uniform(0.1, 2.0), 2), pick=chance.randrange(1000))
        for after, kind in zip(moments, kinds, strict=True)
    ]


def _drawn(chance: random.Random, weights: Mapping[str, int], number: int) -> list[str]:
    """Every kind at least once where there is room, the others by weight."""
    kinds = list(weights)
    drawn = kinds[:number]
    return drawn + chance.choices(kinds, list(weights.values()), k=number - len(drawn))
