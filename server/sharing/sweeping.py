"""The sweeper of shared copies: goes round all pictures and marks those that were never looked at.

Marks are written with what they follow from. Left for it are pictures from before there were copies,
restored ones, and those that a path of the code forgot.
"""

from __future__ import annotations

from server.evidence.models import Round
from server.sharing.marking import mark_copies
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
