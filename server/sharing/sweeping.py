"""The sweeper of shared copies: goes round all pictures and marks those that were never looked at.

Marks are written with what they follow from. Left for it are pictures from before there were copies,
restored ones, and those that a path of the code forgot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from media_storage import keys
from media_storage.keys import KeySource
from media_storage.models import MediaObject, Rendition
from server.evidence.models import Round
from server.sharing.making import SHARED, take_down
from server.sharing.marking import mark_copies
from server.sharing.models import SharedCopy
from server.sharing.uses import pictures

A_TURN = 1000


def sweep() -> int:
    """One turn, on from where the last one ended. Returns how many copies are to be made."""
    round_, _new = Round.objects.get_or_create(name="shared_copies")
    rows = pictures().order_by("pk").values_list("pk", "shared_copy__pk")
    page = list((rows.filter(pk__gt=round_.after) if round_.after else rows)[:A_TURN])
    found = mark_copies(pk for pk, copy in page if copy is None)
    after = page[-1][0] if len(page) == A_TURN else None
    Round.objects.filter(name="shared_copies").update(after=after)
    return found


@transaction.atomic
def lose_copies(ids: Sequence[Any]) -> None:
    """The store has these renditions no more: withdraw their copies, and have them made anew."""
    lost = set(Rendition.objects.filter(pk__in=ids).values_list("media_id", flat=True))
    # The media first: who makes it ready holds it while it marks its copy.
    media = MediaObject.objects.select_for_update(of=("self",)).filter(pk__in=lost).order_by("pk")
    marked = [row.pk for row in media]
    copies = SharedCopy.objects.select_for_update(of=("self",)).filter(pk__in=marked)
    take_down(copies.order_by("pk"))
    mark_copies(marked)


def start() -> None:
    """Tell the store's broom whose the copies are; called when the app is ready."""
    rows = Rendition.objects.filter(name__in=SHARED)
    keys.register(KeySource(name="shared copies", rows=rows.all, lost=lose_copies))
