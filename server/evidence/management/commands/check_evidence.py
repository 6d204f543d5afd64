"""`python -m server check_evidence [--all]`: have photos and visits checked again by the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandParser
from django.db.models import QuerySet

from media_storage.models import MediaObject
from server.activities.models import Visit
from server.evidence.marking import mark_photos, mark_visits
from server.evidence.sweeping import sweep_whole

AT_ONCE = 1000


class Command(BaseCommand):
    help = "Have what was left unchecked checked; with --all everything, after a limit was changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", dest="everything")

    def handle(self, *_args: Any, everything: bool, **_options: Any) -> None:
        count = _mark_all() if everything else sweep_whole()
        self.stdout.write(f"{count} photos and visits are to be checked; the workers are at it.")


def _mark_all() -> int:
    ready = MediaObject.objects.filter(state=MediaObject.State.READY)
    visited = Visit.objects.exclude(state=Visit.State.ASSIGNED)
    return _mark(ready, mark_photos) + _mark(visited, mark_visits)


def _mark(rows: QuerySet[Any], mark: Callable[[Iterable[UUID]], None]) -> int:
    """Page by page, so that a worker can go on meanwhile."""
    count, after = 0, None
    while True:
        page = rows.filter(pk__gt=after) if after else rows
        ids = list(page.order_by("pk").values_list("pk", flat=True)[:AT_ONCE])
        if not ids:
            return count
        mark(ids)
        count, after = count + len(ids), ids[-1]
