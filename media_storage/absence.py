"""Why bytes are gone: what deletes stored objects on purpose registers itself here.

Whoever finds an object missing asks `explain_absence`. Without an explanation it is a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from uuid import UUID

Explainer = Callable[[Collection[UUID]], Mapping[UUID, str]]
"""Of these media ids, those whose bytes it deleted, each with what certifies it, such as the number
of a deletion certificate."""

_explainers: list[Explainer] = []


def register_explainer(explainer: Explainer) -> None:
    """Call it when the app is ready."""
    if explainer not in _explainers:
        _explainers.append(explainer)


def explain_absence(media_ids: Collection[UUID]) -> dict[UUID, str]:
    """What certifies that the bytes were deleted on purpose, by media id; nothing for the others."""
    found: dict[UUID, str] = {}
    for explainer in _explainers:
        found |= explainer(media_ids)
    return found
