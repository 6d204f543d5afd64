"""What follows from a stored submission: each layer above says what it makes of it.

Derivers run in one transaction per submission, at least once, so they must be idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.dispatch import Signal

from server.activities.models import Submission, SubmissionAttachment
from server.core.work import Pump, register
from server.instruments.answers import attachment_items
from server.instruments.models import InstrumentVersion
from server.instruments.queries import published_form

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


def name_items(submission: Submission) -> None:
    """Write beside each file of the submission which question of its form it proves."""
    files = list(submission.attachments.all())
    if not files:
        return
    versions = InstrumentVersion.objects.filter(pk=submission.version_id)
    form = published_form(*versions.values_list("instrument__form_id", "version").get()).form
    items = attachment_items(form, submission.answers)
    changed = [file for file in files if file.item != items.get(file.name, "")]
    for file in changed:
        file.item = items.get(file.name, "")
    SubmissionAttachment.objects.bulk_update(changed, ["item"])


def join_chain(submission: Submission) -> list[tuple[UUID, UUID]]:
    """Name the first document of the chain, whatever the order in which its parts arrived.

    An edit may come before what it replaces: until then its chain begins with the id it names. What
    arrives later brings its own root to everything behind it. Returns the roots that moved.
    """
    roots = _lock_around(submission)
    known = roots.get(submission.pk, submission.root_id)
    root = known
    if submission.replaces_id is not None:
        root = roots.get(submission.replaces_id, submission.replaces_id)
    moved = [(old, root) for old in {known, submission.pk} if old != root]
    for old_root, new_root in moved:
        behind = Submission.objects.filter(root_id=old_root).exclude(pk=root)
        # Again until nothing is left: an update that waited for another worker's does not see what
        # that one brought to the old root in the meantime.
        while behind.update(root_id=new_root):
            pass
    submission.root_id = root
    return moved


def _lock_around(submission: Submission) -> dict[UUID, UUID]:
    """Roots by id of the submission, of what it replaces and of its chain; others wait for us.

    Two documents of one chain that are derived at the same moment would each miss the other's part.
    """
    around = Q(pk__in=[submission.pk, submission.replaces_id]) | Q(root_id=submission.root_id)
    rows = Submission.objects.select_for_update().filter(around).order_by("pk")
    return dict(rows.values_list("pk", "root_id"))


PUMP = Pump(
    name="submissions",
    rows=Submission.objects.all,
    handle=derive,
)


def start() -> None:
    """Make the pump known to the workers."""
    register(PUMP)
    register_deriver(name_items)
