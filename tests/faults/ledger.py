"""What was sent, what was answered, what was seen: the side of the phones, kept outside the product."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.faults.documents import Filled
from tests.faults.line import Answer

STORE = "store"
KEPT = 30
"""How many different unexplained answers are kept word by word."""


@dataclass
class Ledger:
    """Written by all threads."""

    answers: Counter[str] = field(default_factory=Counter)
    mishaps: Counter[str] = field(default_factory=Counter)
    unexplained: Counter[str] = field(default_factory=Counter)
    unfinished: list[str] = field(default_factory=list)
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    visits: dict[str, list[str]] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    read: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, what: str, answer: Answer, *, allowed: tuple[int, ...]) -> None:
        """Every answer. What is neither success nor allowed here waits for an explanation.

        Another program's server answers as it likes: `store` is only counted.
        """
        with self._lock:
            self.answers[f"{what} {answer.status or 'none'}"] += 1
            if what == STORE:
                return
            if answer.cut_short and answer.is_success:
                self._keep(f"{what}: {answer.status} for half a body")
            elif answer.status == 503 and not answer.retry_after:
                self._keep(f"{what}: 503 without Retry-After: {answer.body[:300]!r}")
            elif not (answer.is_success or answer.cut_short or answer.status in (0, 503, *allowed)):
                self._keep(f"{what}: {answer.status} {answer.body[:600].decode(errors='replace')}")

    def mishap(self, kind: str) -> None:
        with self._lock:
            self.mishaps[kind] += 1

    def retried(self) -> None:
        with self._lock:
            self.retries += 1

    def is_stored(self, filled: Filled, *, format: str, sender: str) -> None:
        """The phone was told so, and forgets it."""
        raw = filled.xml if format == "xml" else filled.json
        entry = {
            "format": format,
            "sender": sender,
            "visit": filled.visit_id,
            "sha256": hashlib.sha256(raw).hexdigest(),
            "failing": list(filled.failing),
            "photos": {photo.name: photo.sha256 for photo in filled.photos},
        }
        with self._lock:
            self.stored[filled.id] = entry

    def is_done(self, kind: str, subject: str, action: str) -> None:
        """An action on a visit or finding, or the reading of a notice, was answered with success."""
        book = {"visit": self.visits, "finding": self.findings, "notice": self.read}[kind]
        with self._lock:
            book.setdefault(subject, []).append(action)

    def saw(self, person: str, type_: str, key: str) -> None:
        """A sync brought this object."""
        with self._lock:
            self.seen.setdefault(person, {}).setdefault(type_, set()).add(key)

    def is_unfinished(self, what: str) -> None:
        """The phone gave up at the end of the run: it would go on for ever."""
        with self._lock:
            self.unfinished.append(what)

    def as_json(self) -> dict[str, Any]:
        """For verify.py."""
        return {
            "stored": self.stored,
            "visits": self.visits,
            "findings": self.findings,
            "read": self.read,
            "seen": {
                person: {type_: sorted(keys) for type_, keys in types.items()}
                for person, types in self.seen.items()
            },
        }

    def _keep(self, text: str) -> None:
        self.unexplained[text if len(self.unexplained) < KEPT else "others"] += 1
