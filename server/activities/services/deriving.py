"""What follows from a stored submission: each layer above says what it makes of it.

Derivers run in one transaction per submission, at least once, so they must be idempotent.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction

from server.activities.models import Submission
from server.core.work import Pump, register

Deriver = Callable[[Submission], None]

_derivers: list[Deriver] = []


def register_deriver(deriver: Deriver) -> None:
    """Call it when the app is ready."""
    if deriver not in _derivers:
        _derivers.append(deriver)


@transaction.atomic
def derive(submission: Submission) -> None:
    """Run every deriver on the submission, all or none."""
    for deriver in _derivers:
        deriver(submission)


PUMP = Pump(
    name="submissions",
    rows=Submission.objects.all,
    handle=derive,
)


def start() -> None:
    """Make the pump known to the workers."""
    register(PUMP)
