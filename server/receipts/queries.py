"""Reading the chain: who may see its days, a receipt's way up its day's tree, the file of a receipt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from server.activities.models import Submission, SubmissionConflict
from server.grid.models import User
from server.grid.queries import OFFICES, has_role
from server.receipts.chain import NODE_RECEIPTS
from server.receipts.models import DayHead, Receipt
from server.receipts.proof import RECEIPT_FILE, Unreadable, is_hash, leaf, path_in

Kind = Receipt.Kind


def days_visible_to(user: User) -> QuerySet[DayHead]:
    """Offices see the days: they publish them. Nothing in them is about a school or a person."""
    return DayHead.objects.defer("nodes") if sees_days(user) else DayHead.objects.none()


def sees_days(user: User) -> bool:
    """Whether the person speaks for an office."""
    return user.is_superuser or has_role(user, *OFFICES)


def receipts_of(submission: Submission | UUID) -> QuerySet[Receipt]:
    """Those of a submission, and of what came under its id with other content."""
    pk = submission.pk if isinstance(submission, Submission) else submission
    conflicts = SubmissionConflict.objects.filter(submission=pk).order_by()
    return Receipt.objects.filter(
        Q(kind=Kind.SUBMISSION, subject=pk)
        | Q(kind=Kind.CONFLICT, subject__in=conflicts.values("pk"))
    )


def key_receipts() -> QuerySet[Receipt]:
    """Those that brought the chain's keys, in order."""
    return Receipt.objects.filter(kind=Kind.KEY).order_by("position")


class Proofs:
    """Ways up the trees of days. Keeps what it read last: ask in the order of positions."""

    def __init__(self) -> None:
        self._days: dict[Any, DayHead | None] = {}
        self._leaves: tuple[tuple[int, int], list[bytes]] = ((0, -1), [])

    def day_of(self, receipt: Receipt) -> DayHead | None:
        """The closed day of the receipt; None while it is open."""
        if receipt.day not in self._days:
            self._days = {receipt.day: DayHead.objects.filter(day=receipt.day).first()}
        return self._days[receipt.day]

    def of(self, receipt: Receipt) -> dict[str, Any] | None:
        """{index, count, path}; None while the day is open."""
        day = self.day_of(receipt)
        if day is None:
            return None
        index = receipt.position - day.first
        node, within = divmod(index, NODE_RECEIPTS)
        way = path_in(self._leaves_of(day, node), within) + path_in(day.node_list, node)
        return {"index": index, "count": day.count, "path": [each.hex() for each in way]}

    def _leaves_of(self, day: DayHead, node: int) -> list[bytes]:
        first = day.first + node * NODE_RECEIPTS
        last = min(first + NODE_RECEIPTS, day.first + day.count) - 1
        if self._leaves[0] != (first, last):
            rows = Receipt.objects.filter(position__range=(first, last)).order_by("position")
            hashes = rows.values_list("hash", flat=True)
            self._leaves = ((first, last), [_leaf(hash) for hash in hashes])
        return self._leaves[1]


def _leaf(hash: str) -> bytes:
    """Of a hash that was tampered with: one that leads nowhere."""
    return leaf(hash) if is_hash(hash) else b""


def envelope(row: Receipt | DayHead) -> dict[str, Any]:
    """The signed statement of a row. One that was tampered with is shown, and no verifier takes it."""
    try:
        return row.statement.envelope()
    except Unreadable:
        return {"signed": {"unreadable": row.body}, "signature": row.signature}


def public_key_of(row: Receipt) -> str:
    """The key that a receipt brought; empty where the row was tampered with."""
    content = envelope(row)["signed"].get("content", {})
    return str(content.get("public_key", ""))


def file_of(receipt: Receipt, keys: Iterable[Receipt]) -> dict[str, Any]:
    """One receipt with all that it takes to check it alone."""
    proofs = Proofs()
    day = proofs.day_of(receipt)
    return {
        "type": RECEIPT_FILE,
        "receipt": envelope(receipt),
        "proof": proofs.of(receipt),
        "day": envelope(day) if day else None,
        "keys": [envelope(key) for key in keys],
    }
