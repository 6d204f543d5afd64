"""Hints to open sockets that are still to be given."""

from __future__ import annotations

from django.db import models

from server.core.ids import new_id
from server.core.work import Work, due_index


class Hint(Work):
    """These people have something to fetch. Deleted when their sockets were told.

    One row for a batch of people, because a row for each person would be written, changed and kept
    for nothing: whoever misses a hint fetches when the socket opens again.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    message = models.JSONField()
    user_ids = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        indexes = [due_index("hint_due")]

    def __str__(self) -> str:
        return str(self.id)
