"""Those who do not inspect: offices and schools that sync all the time, schools that rectify."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid5

from tests.faults.line import Answer
from tests.faults.phones import AT, GivenUp, Sender

EVERY = 1.0
ACTED_ON = 4
"""One finding and one notice in so many is acted on, by its id."""


@dataclass
class Reader(Sender):
    """Syncs from cursor to cursor and notes whatever it is told of."""

    cursor: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            while not self.stop.wait(EVERY):
                self.catch_up()
        except GivenUp as what:
            self.field.ledger.is_unfinished(f"{self.person['id']}: {what}")

    def catch_up(self) -> None:
        """Until nothing is left that the server would tell now."""
        while True:
            answer = self.until("GET sync", self._ask)
            page = json.loads(answer.body)
            for change in page["changes"]:
                self.take(change)
            self.cursor = page["cursor"]
            if not page["has_more"]:
                return

    def _ask(self) -> Answer:
        query = f"?cursor={quote(self.cursor)}" if self.cursor else ""
        return self.call("GET", f"/sync{query}")

    def take(self, change: dict[str, Any]) -> None:
        self.field.ledger.saw(self.person["id"], change["type"], change["id"])


@dataclass
class School(Reader):
    """A school's contact, who answers some findings, and the inspector who verifies the answer."""

    inspector: Sender | None = None
    acted: set[str] = field(default_factory=set)

    def take(self, change: dict[str, Any]) -> None:
        super().take(change)
        key = change["id"]
        if key in self.acted or UUID(key).int % ACTED_ON:
            return
        if change["type"] == "finding":
            self.acted.add(key)
            self._rectify(key)
        elif change["type"] == "notice":
            self.acted.add(key)
            self._read(key)

    def _rectify(self, finding_id: str) -> None:
        assert self.inspector
        self._act(self, finding_id, "answer", {"measures": "已整改", "note": "", "media": []})
        self._act(self.inspector, finding_id, "verify", {"note": "", "media": []})

    def _act(self, who: Sender, finding_id: str, action: str, content: dict[str, Any]) -> None:
        """Twice with the same id, as when the first answer got lost."""
        body = {"id": str(uuid5(UUID(finding_id), action)), "action": action, **content}
        path = f"/findings/{finding_id}/actions"
        for _time in range(2):
            self.until(f"POST {action}", lambda: who.call("POST", path, body))
        self.field.ledger.is_done("finding", finding_id, action)

    def _read(self, notice_id: str) -> None:
        for _time in range(2):
            self.until(
                "POST read", lambda: self.call("POST", f"/notices/{notice_id}/read", {"at": AT})
            )
        self.field.ledger.is_done("notice", notice_id, self.person["id"])
