"""What follows from a stored submission: each layer above says what it makes of it.

Derivers run in one transaction per submission, at least once, so they must be idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.db import transaction
from django.dispatch import Signal

from server.activities.models import Submission
from server.core.work import Pump, register

Deriver = Callable[[Submission], None]

chain_joined = Signal()
"""Documents of the chain `old_root` turned out to belong to the chain `new_root`."""

_derivers: list[Deriver] = []


def register_deriver(deriver: Deriver) -> None:
    """Call it when the app is ready."""
    if deriver not in _derivers:
        _derivers.append(deriver)


@transaction.atomic
def derive(submission: Submission) -> None:
    """Find the submission's place in its chain, then run every deriver on it; all or none."""
    for old_root, new_root in join_chain(submission):
        chain_joined.send(Submission, old_root=old_root, new_root=new_root)
    for deriver in _derivers:
        deriver(submission)


def join_chain(submission: Submission) -> list[tuple[UUID, UUID]]:
    """Name the first document of the chain, whatever the order in which its parts arrived.

    An edit may come before what it replaces: until then its chain begins with the id it names. What
    arrives later brings its own root to everything behind it. Returns the roots that moved.
    """
    root = submission.root_id
    if submission.replaces_id is not None:
        before = Submission.objects.filter(pk=submission.replaces_id).first()
        root = before.root_id if before else submission.replaces_id
    moved = [(old, root) for old in {submission.root_id, submission.pk} if old != root]
    for old_root, new_root in moved:
        Submission.objects.filter(root_id=old_root).exclude(pk=root).update(root_id=new_root)
    submission.root_id = root
    return moved


PUMP = Pump(
    name="submissions",
    rows=Submission.objects.all,
    handle=derive,
)


def start() -> None:
    """Make the pump known to the workers."""
    register(PUMP)
